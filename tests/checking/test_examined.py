import time

import pytest
import torch
from torch import nn

from leveret.checking.examined import Examined, networks, told
from leveret.contracts import Encoder
from leveret.drift import moved, share
from leveret.loading import create_encoder, load_encoder
from leveret.stimuli import varied_sounds

CPU = torch.device("cpu")


class Short(Encoder):
    """Wants a tenth of a second, and hands out the same memory each time."""

    sample_rate = 8_000
    embed_dim = 2
    min_samples = 800
    convertible = False

    def __init__(self):
        super().__init__()
        self.layers = {"x": 2}
        self.memory = torch.zeros(1, 2)
        self.lengths = []

    def embed(self, features, layer=None):
        self.lengths.append(features.shape[1])
        self.memory[:] = features[:, :2]
        return self.memory


def examined_of(encoder, limit=60.0):
    sounds = torch.from_numpy(varied_sounds(8, encoder.sample_rate, 1.0))
    return Examined.of(load_encoder(encoder), CPU, sounds, limit)


def test_short_waves_are_padded_and_answers_kept_apart():
    short = Short()
    examined = examined_of(short)
    heard = []
    examined.advance = heard.append
    first = examined.vectors(torch.ones(1, 400))
    second = examined.vectors(torch.zeros(1, 1600))
    assert short.lengths == [800, 1600]
    assert first.tolist() == [[1, 1]]
    assert second.tolist() == [[0, 0]]
    assert heard == [0.05, 0.2]


def test_leverets_own_encoders_are_examined_as_they_embed():
    encoder = create_encoder("slowfast_nfnet_tiny")
    examined = examined_of(encoder)
    assert examined.encoder is not encoder
    with torch.inference_mode():
        torch.testing.assert_close(examined.vectors(examined.sounds[:2]), encoder(examined.sounds[:2]))
    assert examined_of(foreign := Short()).encoder is foreign


def test_the_limit_counts_what_has_passed_and_what_will(monkeypatch):
    examined = examined_of(Short(), limit=10.0)
    examined.pace = 0.5
    monkeypatch.setattr(time, "monotonic", lambda: examined.started + 4.0)
    assert examined.seconds_for(6.0) == 3.0
    assert examined.has_time_for(12.0)
    assert not examined.has_time_for(12.1)


def test_spread_is_the_median_distance():
    examined = examined_of(Short())
    examined.known = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    assert examined.spread() == pytest.approx(18**0.5)  # of 5, 1 and root 18


def test_moved_is_the_worst_pair_by_its_own_length():
    first = torch.tensor([[3.0, 4.0], [100.0, 0.0]])
    second = torch.tensor([[3.0, 4.5], [100.0, 1.0]])
    assert moved(first, second) == pytest.approx(0.5 / (9 + 4.5**2) ** 0.5)
    assert moved(first, first) == 0
    assert moved(torch.zeros(1, 2), torch.zeros(1, 2)) == 0
    assert moved(torch.zeros(1, 2), torch.ones(1, 2)) == 1
    assert moved(first, first[:1]) == float("inf")
    assert moved(first, first / 0) == float("inf")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0 %"), (0.345, "34.5 %"), (2e-4, "0.02 %"), (3e-7, "3e-07"), (float("inf"), "not finite")],
)
def test_shares_are_for_people(value, expected):
    assert share(value) == expected


def test_an_error_is_told_with_its_place_in_the_users_file(tmp_path):
    (tmp_path / "mine.py").write_text("def f(torch):\n    return torch.zeros(3).reshape(2, 2)\n")
    space = {}
    exec(compile((tmp_path / "mine.py").read_text(), str(tmp_path / "mine.py"), "exec"), space)
    with pytest.raises(RuntimeError) as caught:
        space["f"](torch)
    assert told(caught.value) == "RuntimeError: shape '[2, 2]' is invalid for input of size 3 (mine.py, line 2)"


def test_networks_that_plain_objects_hold_are_found():
    class Plain:
        def __init__(self):
            self.parts = {"a": [nn.Sequential(nn.Linear(1, 1))]}
            self.myself = self

    short = Short()
    short.foreign = Plain()
    short.child = nn.Linear(2, 2)
    found = networks(short)
    assert set(found) == {"", "child", "foreign.parts.a.0", "foreign.parts.a.0.0"}
    assert found["foreign.parts.a.0.0"] is short.foreign.parts["a"][0][0]
