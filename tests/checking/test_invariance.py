import pytest
import torch
from torch import nn
from torch.nn import functional as F

from leveret.checking.examined import Examined
from leveret.checking.invariance import check_batch, check_determinism, check_input, check_modes, watching_modes
from leveret.contracts import Encoder
from leveret.loading import load_encoder
from leveret.stimuli import varied_sounds


class Toy(Encoder):
    """Energies of eight filtered versions of a wave; each test plants a fault."""

    sample_rate = 8_000
    embed_dim = 8
    convertible = False

    def __init__(self, fault=lambda self, vectors: vectors):
        super().__init__()
        self.layers = {"x": 8}
        self.fault = fault
        self.calls = 0
        self.net = nn.Sequential(nn.Conv1d(1, 8, 64, 32), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.5))

    def embed(self, features, layer=None):
        self.calls += 1
        return self.fault(self, self.net(features[:, None]).mean(2))


def examined_of(encoder):
    torch.manual_seed(0)
    sounds = torch.from_numpy(varied_sounds(8, encoder.sample_rate, 1.0))
    return Examined.of(load_encoder(encoder), torch.device("cpu"), sounds, 60.0)


@pytest.mark.parametrize("check", [check_batch, check_determinism, check_input, check_modes])
def test_a_healthy_encoder_passes(check):
    assert check(examined_of(Toy())).status == "pass"


@pytest.mark.parametrize(
    ("fault", "status", "case"),
    [
        (lambda self, v: v - v.mean(0), "fail", "alone"),
        (lambda self, v: v + torch.arange(float(len(v)))[:, None], "fail", ""),
        (lambda self, v: v.sort(0)[0], "fail", ""),
        (lambda self, v: v * (1 + 1e-3 * len(v)), "warn", "alone"),
        (lambda self, v: v * (1 + 1e-6 * len(v)), "pass", ""),
        (lambda self, v: v / v.amax(), "fail", ""),
    ],
    ids=["mean", "position", "sort", "a little", "rounding", "maximum"],
)
def test_what_depends_on_the_batch_is_found(fault, status, case):
    found = check_batch(examined_of(Toy(fault)))
    assert (found.name, found.status) == ("batch", status)
    assert case in found.seen
    assert "0.01 % of its length" in found.expected


@pytest.mark.parametrize(
    ("fault", "status", "case"),
    [
        (lambda self, v: F.dropout(v, 0.5, training=True), "fail", "a vector moves by"),
        (lambda self, v: v + self.calls, "fail", "a vector moves by"),
        (lambda self, v: v * (1 + 1e-5 * self.calls), "pass", "after other sounds"),
        (lambda self, v: v if self.calls < 4 else 2 * v, "fail", "after other sounds"),
        (lambda self, v: v if self.calls != 6 else 2 * v, "fail", "the same eight waves moved"),
    ],
    ids=["dropout", "state", "rounding", "after others", "as evaluate asks"],
)
def test_what_changes_from_call_to_call_is_found(fault, status, case):
    found = check_determinism(examined_of(Toy(fault)))
    assert (found.name, found.status) == ("determinism", status)
    assert case in found.seen


def test_writing_into_waves_or_features_is_found():
    class InPlace(Toy):
        def embed(self, features, layer=None):
            features *= 2
            return super().embed(features)

    class Frontend(InPlace):
        def frontend(self, wave):
            return wave.clone()

    assert "the waves and the features" in check_input(examined_of(InPlace())).seen
    found = check_input(examined_of(Frontend()))
    assert found.status == "fail"
    assert "into the features that" in found.seen


@pytest.mark.parametrize(("index", "kind"), [(2, "BatchNorm1d"), (3, "Dropout")])
def test_a_module_in_training_mode_is_named(index, kind):
    encoder = Toy()
    examined = examined_of(encoder)
    encoder.net[index].train()
    found = check_modes(examined)
    assert found.status == "fail"
    assert found.seen == f"in training mode: net.{index} ({kind})"


def test_a_module_that_is_switched_only_while_it_is_called_is_named():
    class Sly(Toy):
        def embed(self, features, layer=None):
            self.net[2].train()
            vectors = super().embed(features)
            self.net[2].eval()
            return vectors

    encoder = Sly()
    found = check_modes(examined_of(encoder))
    assert found.status == "fail"
    assert "net.2 (BatchNorm1d)" in found.seen
    with watching_modes(encoder) as caught:
        encoder.net[3].train()
        encoder(torch.ones(1, 8_000))
    assert caught == {"net.2": "BatchNorm1d", "net.3": "Dropout"}
    encoder.net[3].eval()
    encoder(torch.ones(1, 8_000))
    assert "net.3" in caught  # no longer watched


def test_a_network_that_a_plain_object_holds_is_looked_at():
    class Plain:
        def __init__(self):
            self.net = nn.Dropout(0.5)  # in training mode, as every module is born

    encoder = Toy()
    encoder.plain = Plain()
    assert "plain.net (Dropout)" in check_modes(examined_of(encoder)).seen


def test_batch_norm_without_running_statistics_is_named():
    encoder = Toy()
    encoder.net[2] = nn.BatchNorm1d(8, track_running_stats=False)
    found = check_modes(examined_of(encoder))
    assert found.status == "fail"
    assert found.seen == "batch norm without running statistics: net.2"


def test_a_mode_that_does_nothing_is_a_warning():
    encoder = Toy()
    examined = examined_of(encoder)
    encoder.net[1].train()
    found = check_modes(examined)
    assert found.status == "warn"
    assert "net.1 (ReLU)" in found.seen
