"""Each planted fault is found by name; healthy encoders pass without a false alarm."""

import json

import pytest

from leveret.checking.encoder import CheckConfig, CheckReport, check
from leveret.progress import Reporter
from leveret.registry import UnknownNameError

QUICK = CheckConfig(quick=True, device="cpu")

PLANTED = """
import torch
from torch import nn


class Healthy(nn.Module):
    sample_rate = 16000

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv1d(1, 16, 400, 160, padding=200), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.2)
        )

    def pool(self, wave):
        return self.net(wave[:, None]).mean(2)

    def embed(self, wave):
        return self.pool(wave)


class BatchNorm(Healthy):
    def embed(self, wave):
        self.net[2].train()
        return self.pool(wave)


class BatchMean(Healthy):
    def embed(self, wave):
        vectors = self.pool(wave)
        return vectors - vectors.mean(0)


class LastSample(Healthy):
    def embed(self, wave):
        return self.pool(wave[:, :-1])


class LastFrame(Healthy):
    def embed(self, wave):
        return self.net(wave[:, None])[:, :, :-2].mean(2)


class Multiple(Healthy):
    def embed(self, wave):
        return self.pool(wave.reshape(len(wave), -1, 160).flatten(1))


class Silence(Healthy):
    def embed(self, wave):
        return self.pool(wave / wave.abs().amax(1, keepdim=True))


class Dropout(Healthy):
    def embed(self, wave):
        self.train()
        return self.pool(wave)


class FunctionalDropout(Healthy):
    def embed(self, wave):
        return nn.functional.dropout(self.pool(wave), 0.1, training=True)


class Born:
    sample_rate = 16000

    def __init__(self):
        self.net = Healthy()  # nobody calls eval() on what a plain object holds

    def embed(self, wave):
        return self.net.embed(wave).numpy()


class Collapsed(Healthy):
    def embed(self, wave):
        return self.pool(0 * wave)


class Constant(Healthy):
    def embed(self, wave):
        return 3 + self.pool(wave)


class FirstSecond(Healthy):
    def embed(self, wave):
        return self.pool(wave[:, :16000])


class Tiny(Healthy):
    def embed(self, wave):
        return 1e-5 * self.pool(wave)


class Dead(Healthy):
    def embed(self, wave):
        vectors = self.pool(wave)
        vectors[:, 3:6] = 1
        return vectors


class Nan(Healthy):
    def embed(self, wave):
        return self.pool(wave) / 0 if wave.any() else self.pool(wave)


class Frames(Healthy):
    def embed(self, wave):
        return self.net(wave[:, None])


class Unseeded(Healthy):
    def __init__(self):
        super().__init__()
        torch.seed()
        self.net[0].reset_parameters()


class TenSeconds(Healthy):
    def embed(self, wave):
        assert wave.shape[1] == 160_000, "wants ten seconds"
        return self.pool(wave)


class Needy(Healthy):
    def embed(self, wave):
        if len(wave) == 8:
            raise MemoryError("eight are too many")
        return self.pool(wave)


class Import:
    import no_such_module_of_anybody
"""

OWN = """
from leveret.contracts import Encoder


class Own(Encoder):
    embed_dim = 4
    layers = {"wide": 8, "x": 4}
    convertible = False

    def embed(self, features, layer=None):
        return features.square().unfold(1, 100, 100).mean(1)[:, : self.layers[layer or "x"]].log1p()


class Width(Own):
    embed_dim = 5


class Layer(Own):
    def embed(self, features, layer=None):
        return features[:, :4]


class Default(Own):
    layers = {"x": 4, "wide": 8}


class InPlace(Own):
    def embed(self, features, layer=None):
        features *= 1.5
        return super().embed(features, layer)
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    # the class whose body fails would take the others with it
    head, _, broken = PLANTED.partition("\n\nclass Import:")
    (folder / "planted.py").write_text(head)
    (folder / "broken.py").write_text(f"class Import:{broken}")
    (folder / "own.py").write_text(OWN)
    return lambda name, file="planted": f"py:{folder / file}.py:{name}"


def statuses(report: CheckReport) -> dict[str, str]:
    return {finding.name: finding.status for finding in report.findings if finding.status != "pass"}


def seen(report: CheckReport, name: str) -> str:
    (finding,) = (finding for finding in report.findings if finding.name == name)
    assert finding.expected
    assert finding.advice
    return finding.seen


@pytest.mark.parametrize("name", ["melstats", "slowfast_nfnet_tiny"])
def test_leverets_own_encoders_pass_without_a_false_alarm(name):
    report = check(name, CheckConfig(device="cpu"))
    assert statuses(report) == {}
    assert report.usable
    assert [finding.name for finding in report.findings][:4] == ["shapes", "vectors", "scale", "eval mode"]


@pytest.mark.parametrize(("name", "file"), [("Healthy", "planted"), ("Own", "own")])
def test_a_healthy_encoder_of_somebody_else_passes(planted, name, file):
    report = check(planted(name, file), QUICK)
    assert {name for name, status in statuses(report).items() if status == "fail"} == set()
    assert report.usable
    assert report.about["name"] == name


@pytest.mark.parametrize(
    ("name", "failing", "check_name", "says"),
    [
        ("BatchNorm", {"eval mode", "batch"}, "eval mode", "in training mode: foreign.net.2 (BatchNorm1d)"),
        ("BatchMean", {"batch"}, "batch", "alone, a vector moves by 100 % of its length"),
        ("Multiple", {"one more"}, "one more", "where 16000 work: RuntimeError: shape"),
        ("Silence", {"hard sounds"}, "hard sounds", "silence: NaN in 16 of 16 numbers"),
        ("Dropout", {"eval mode", "determinism"}, "eval mode", "foreign.net.3 (Dropout)"),
        ("FunctionalDropout", {"determinism"}, "determinism", "a vector moves by"),
        ("Born", {"eval mode", "determinism"}, "eval mode", "foreign.net.net.2 (BatchNorm1d)"),
        ("Collapsed", {"vectors"}, "vectors", "12 different sounds lie 0 % of their length apart"),
        ("FirstSecond", {"whole clip"}, "whole clip", "the last tenth of a clip of 3 s changes nothing"),
        ("Needy", {"speed", "vectors", "determinism"}, "speed", "MemoryError: eight are too many (planted.py, line"),
        ("Nan", None, "vectors", "12 of 12 ordinary sounds give NaN or infinite numbers"),
    ],
)
def test_a_planted_fault_is_found(planted, name, failing, check_name, says):
    config = QUICK if name != "Needy" else CheckConfig(device="cpu")
    report = check(planted(name), config)
    assert not report.usable
    found = {name for name, status in statuses(report).items() if status == "fail"}
    assert failing is None or found == failing
    assert says in seen(report, check_name)


@pytest.mark.parametrize(
    ("name", "check_name", "says"),
    [
        ("LastSample", "last samples", "the last sample changes nothing"),
        ("LastFrame", "last samples", "ms change nothing"),
        ("Constant", "vectors", "of their length apart"),
        ("Tiny", "scale", "median length"),
        ("Unseeded", "weights", "others when the encoder is made once more"),
        ("Dead", "scale", "3 of 16 dimensions never change"),
    ],
)
def test_what_can_be_lived_with_is_a_warning(planted, name, check_name, says):
    report = check(planted(name), QUICK)
    assert report.usable
    assert statuses(report)[check_name] == "warn"
    assert says in seen(report, check_name)


@pytest.mark.parametrize(
    ("name", "file", "says"),
    [
        ("Frames", "planted", "expected a tensor or array (2, D)"),
        ("Import", "broken", "line 2: ModuleNotFoundError: No module named 'no_such_module_of_anybody'"),
        ("Nobody", "planted", "has no class 'Nobody'"),
    ],
)
def test_what_cannot_be_loaded_is_a_finding(planted, name, file, says):
    report = check(planted(name, file), QUICK)
    assert statuses(report) == {"loading": "fail"}
    assert says in seen(report, "loading")
    assert report.costs is None
    json.dumps(report.described())


def test_a_network_of_one_length_is_told_what_to_do(planted):
    (finding,) = check(planted("TenSeconds"), QUICK).findings
    assert finding.seen.startswith("AssertionError: wants ten seconds")
    assert "pad or cut" in finding.advice


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Width", "vectors (2, 4)"),
        ("Layer", "layers of another width than declared: wide: 4 for 8"),
        ("Default", "layers {'x': 4, 'wide': 8}, embed_dim 4"),
    ],
)
def test_a_width_that_is_not_the_declared_one_ends_it(planted, name, says):
    report = check(planted(name, "own"), QUICK)
    assert statuses(report) == {"shapes": "fail"}
    assert says in seen(report, "shapes")


def test_writing_into_the_waves_is_found_where_no_adapter_guards_them(planted):
    report = check(planted("InPlace", "own"), QUICK)
    assert "the waves and the features" in seen(report, "input")


def test_what_a_failed_foundation_makes_meaningless_is_not_judged(planted):
    report = check(planted("FunctionalDropout"), QUICK)
    assert {name for name, status in statuses(report).items() if status == "note"} == {"batch", "ends", "sample rate"}


def test_the_costs_are_told(planted):
    costs = check(planted("Healthy"), CheckConfig(device="cpu")).costs
    assert costs is not None
    assert (costs.parameters, costs.weight_bytes) == (16 * 400 + 3 * 16, 4 * (16 * 400 + 3 * 16))
    assert costs.gmacs == pytest.approx(16 * 400 * 301 / 1e9)
    assert set(costs.clips_a_second or {}) == {1, 8}
    quick = check(planted("Born"), QUICK).costs
    assert quick is not None
    assert quick.parameters == costs.parameters  # also what a plain object holds
    assert set(quick.clips_a_second or {}) == {1}


def test_weights_are_counted_as_they_are_loaded():
    costs = check("slowfast_nfnet_tiny", QUICK).costs
    assert costs is not None
    assert costs.parameters == 22_532


def test_an_unknown_name_is_the_users_mistake():
    with pytest.raises(UnknownNameError, match="Did you mean 'melstats'"):
        check("melstat")
    with pytest.raises(ValueError, match="try --device cpu"):
        check("melstats", CheckConfig(device="nowhere"))


def test_long_work_is_announced_bounded_and_reported(planted, monkeypatch):
    said, done = [], []

    class Listening(Reporter):
        def say(self, text):
            said.append(text)

        def stage(self, label, total, unit):
            from contextlib import nullcontext

            done.append((label, total, unit))
            return nullcontext(done.append)

    monkeypatch.setattr("leveret.checking.encoder._LEAST_SECONDS", 0.0)
    report = check(planted("Healthy"), CheckConfig(device="cpu", limit=1e-6), Listening())
    assert "over the limit of 0; the quick examination instead (--limit)" in said[0]
    assert "Healthy: about " in said[1]
    assert done[0][0] == "checking Healthy"
    assert done[0][1] == pytest.approx(QUICK.audio_seconds())
    assert sum(done[1:]) > 0
    notes = {name for name, status in statuses(report).items() if status == "note"}
    assert notes == {"long clips", "speed"}
    assert report.usable


def test_the_announced_amount_is_what_is_done(planted):
    for config in (QUICK, CheckConfig(device="cpu")):
        done = []

        class Counting(Reporter):
            def stage(self, label, total, unit, done=done):
                from contextlib import nullcontext

                return nullcontext(done.append)

        check(planted("Healthy"), config, Counting())
        assert sum(done) == pytest.approx(config.audio_seconds(), rel=0.25)


@pytest.mark.real
def test_real_sounds_take_the_place_of_made_ones(dev_audio, tmp_path):
    report = check("slowfast_nfnet_tiny", CheckConfig(quick=True, device="cpu", audio=dev_audio))
    assert statuses(report) == {}
    with pytest.raises(ValueError, match="at least 8 are needed"):
        check("melstats", CheckConfig(audio=dev_audio[:3]))
