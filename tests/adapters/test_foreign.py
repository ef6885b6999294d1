import pytest
import torch

from leveret.adapters.foreign import AdapterError, WaveEncoder, options_of, whole_number
from leveret.registry import UnknownNameError


class Recorder(WaveEncoder):
    """Says of each wave its first and last sample, and remembers what lengths it saw."""

    def __init__(self, least=400, most=None):
        super().__init__("test:recorder", 1_000)
        self.min_samples, self.max_samples = least, most
        self.lengths = []
        self.measure()
        self.lengths.clear()

    def vectors(self, wave, layer):
        self.lengths.append(wave.shape[1])
        found = torch.stack([wave[:, 0], wave[:, -1]], 1)
        wave.zero_()
        return found


def ramp(num_samples):
    return torch.arange(1.0, num_samples + 1)[None]


@pytest.mark.parametrize(
    ("num_samples", "starts"),
    [(300, [0]), (400, [0]), (1000, [0]), (1001, [0, 1]), (2000, [0, 1000]), (2001, [0, 1000, 1001])],
)
def test_waves_are_padded_and_cut_to_what_the_model_takes(num_samples, starts):
    encoder = Recorder(400, 1000)
    wave = ramp(num_samples)
    found = encoder(wave)
    assert encoder.lengths == [min(1000, max(400, num_samples))] * len(starts)
    assert torch.equal(wave, ramp(num_samples))  # although it writes into what it gets
    assert found[0, 0] == pytest.approx(1 + sum(starts) / len(starts))


def test_a_layer_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UnknownNameError, match=r"no layer 'last'.* Known: embedding"):
        Recorder().embed(ramp(500), "last")


def test_options_stand_behind_the_last_number_sign(tmp_path):
    assert options_of("x:a", "a#rate=2,layer=3", ("rate", "layer")) == ("a", {"rate": "2", "layer": "3"})
    assert options_of("x:a", "a#b#rate=2", ("rate",)) == ("a#b", {"rate": "2"})
    assert options_of("x:a", "a", ("rate",)) == ("a", {})
    (tmp_path / "a#b").touch()
    assert options_of("x:a", str(tmp_path / "a#b"), ("rate",)) == (str(tmp_path / "a#b"), {})
    with pytest.raises(AdapterError, match="option '' is not understood"):
        options_of("x:a#", "a#", ("rate",))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "", " 1", "٣", "1" * 5000])
def test_a_number_is_digits(text):
    with pytest.raises(AdapterError, match="expected a whole number above 0"):
        whole_number("x:a", {"rate": text}, "rate")
