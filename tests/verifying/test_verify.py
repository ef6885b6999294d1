"""A sound run is verified; whatever is changed in it, or around it, is found and named."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leveret import cli
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.predictions import read_predictions, write_predictions
from leveret.probe_files import load_probe, save_probe
from leveret.protocols import Protocol
from leveret.runner import Compute
from leveret.runs import find_runs
from leveret.verifying.checks import VerificationError, faults
from leveret.verifying.records import why_not_verified
from leveret.verifying.verify import VerifyConfig, verify

CPU = Compute(device="cpu", threads=1)
CONFIG = VerifyConfig(compute=CPU, sample=4)


@pytest.fixture
def run_of(tone_manifest, tmp_path):
    """A run of melstats on tones."""

    def make(protocol="quick", save_probes=False, encoder="melstats", **changes):
        manifest = tone_manifest()
        settings = Protocol(check_rates=False, **changes)
        config = EvaluateConfig(
            compute=CPU, output=tmp_path / "runs", floor=False, save_probes=save_probes, protocol=settings
        )
        (run,) = evaluate(encoder, f"manifest:{manifest}", protocol, config=config)
        return run

    return make


def states(checks):
    return {check.what: check.state for check in checks}


def card(run, change):
    """The run with its scorecard changed."""
    path = run.folder / "scorecard.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return find_runs(run.folder)[0]


def test_a_sound_run_is_verified_and_stays_so_until_it_is_changed(run_of):
    run = run_of()
    assert "not verified on this machine" in why_not_verified(run.folder)
    checks = verify(run, CONFIG)
    assert states(checks) == {
        "config": "passed", "code": "noted", "encoder": "passed", "scores": "passed", "data": "passed",
        "embedded again": "passed",
    }  # fmt: skip
    assert "4 of 20 test clips, and the probe trained again on all: 100.0" in checks[-1].said
    assert faults(checks) == []
    assert why_not_verified(run.folder) == ""
    path = run.folder / "predictions" / "tones.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    assert why_not_verified(run.folder) == "predictions/tones.parquet is not what was verified"


def test_the_probes_that_a_run_kept_score_the_sample(run_of):
    run = run_of("cached", save_probes=True, steps=200)
    check = verify(run, CONFIG)[-1]
    assert check.state == "passed"
    assert "scored by the run's own probe, which was not trained again" in check.said


def test_without_probes_a_costly_protocol_is_not_checked_and_trained_again_on_request(run_of):
    run = run_of("cached", steps=200)
    check = verify(run, CONFIG)[-1]
    assert check.state == "not checked"
    assert "--save-probes" in check.said
    assert why_not_verified(run.folder).startswith("its verification failed: tones: embedded again: ")
    checks = verify(run, replace(CONFIG, again=True))
    assert faults(checks) == []
    assert why_not_verified(run.folder) == ""


def _higher_score(values):
    values["tasks"][0]["score"] = 0.75


def _higher_seed(values):
    values["tasks"][0] |= {"score": 0.75, "seeds": {"0": 0.75}}


def _better_class(values):
    values["tasks"][0]["per_class"]["low"] = 0.5


def _narrow_interval(values):
    values["tasks"][0]["interval"] = [0.5, 0.5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_higher_score, "the score is not the mean over the seeds"),
        (_higher_seed, "0.750000 of the first seed, the predictions give another"),
        (_better_class, "per_class is"),
        (_narrow_interval, "interval is"),
    ],
)
def test_a_scorecard_that_does_not_follow_from_its_predictions_fails(run_of, change, says):
    checks = verify(card(run_of(), change), CONFIG)
    assert states(checks)["scores"] == "failed"
    assert says in faults(checks)[0]


def test_predictions_that_were_made_up_are_found_by_embedding_again(run_of):
    run = run_of(save_probes=True)
    path = run.folder / "predictions" / "tones.parquet"
    found = read_predictions(path)
    write_predictions(path, replace(found, scores=[3 * found.scores[0]]))  # every label is as right as before
    checks = verify(run, CONFIG)
    assert states(checks)["scores"] == "passed"
    assert faults(checks)[0].startswith("tones: embedded again: the scores of ")


def test_a_probe_of_other_weights_gives_other_scores(run_of):
    run = run_of(save_probes=True)
    path = run.folder / "probes" / "tones.safetensors"
    probe = load_probe(path)
    (readout,) = probe.readouts
    tensors = {name: tensor + 1 if name.endswith("bias") else 2 * tensor for name, tensor in readout.tensors().items()}
    changed = type(readout).from_tensors(tensors, probe.encoder["embed_dim"], 2)
    save_probe(path, replace(probe, readouts=[changed]))
    assert states(verify(run, CONFIG))["embedded again"] == "failed"


def test_labels_that_changed_are_named(run_of):
    run = run_of()
    manifest = Path(json.loads((run.folder / "config.json").read_text())["settings"]["tasks"][0].partition(":")[2])
    manifest.write_text(manifest.read_text().replace("test,high,g1,audio/011", "test,low,g1,audio/011"))
    checks = verify(run, CONFIG)
    assert states(checks)["data"] == "failed"
    assert states(checks)["embedded again"] == "not checked"
    assert "audio/011.wav has other labels" in faults(checks)[0]


def test_audio_that_changed_moves_the_scores(run_of):
    run = run_of(save_probes=True)
    manifest = Path(json.loads((run.folder / "config.json").read_text())["settings"]["tasks"][0].partition(":")[2])
    for path in (manifest.parent / "audio").iterdir():
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(6400), 16_000)
    assert states(verify(run, CONFIG))["embedded again"] == "failed"


def test_data_that_is_gone_is_not_checked_and_found_elsewhere(run_of, tmp_path):
    run = run_of()
    spec = json.loads((run.folder / "config.json").read_text())["settings"]["tasks"][0]
    folder = Path(spec.partition(":")[2]).parent
    folder.rename(tmp_path / "elsewhere")
    checks = verify(run, CONFIG)
    assert states(checks)["data"] == "not checked"
    assert "--tasks" in faults(checks)[0]
    moved = replace(CONFIG, tasks=(f"manifest:{tmp_path / 'elsewhere' / 'manifest.csv'}",))
    assert faults(verify(run, moved)) == []


def test_another_encoder_is_not_the_one(run_of):
    run = run_of()
    checks = verify(run, replace(CONFIG, encoder="slowfast_nfnet_tiny"))
    assert states(checks)["encoder"] == "failed"
    assert "digest is " in faults(checks)[0]


def test_nobodys_code_runs_because_a_file_asks_for_it(run_of, tmp_path):
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")

    def change(values):
        values["encoder"]["spec"] = f"py:{trap}:X"

    checks = verify(card(run_of(), change), CONFIG)
    assert states(checks)["encoder"] == "not checked"
    assert not (tmp_path / "sprung").exists()


def test_vectors_that_were_made_elsewhere_cannot_be_embedded_again(run_of):
    def change(values):
        values["encoder"]["origin"] = "vectors made elsewhere"

    assert states(verify(card(run_of(), change), CONFIG))["encoder"] == "not checked"


def _other_digest(values):
    values["encoder"]["digest"] = "0" * 64


def test_config_and_scorecard_of_two_runs_are_told_apart(run_of):
    checks = verify(card(run_of(), _other_digest), CONFIG)
    assert states(checks)["config"] == "failed"
    assert states(checks)["encoder"] == "failed"


@pytest.mark.parametrize("text", [None, "", "[]", '{"encoder": {}, "settings": 1, "splits": {}}'])
def test_a_folder_without_a_config_is_refused(run_of, text):
    run = run_of()
    path = run.folder / "config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(VerificationError, match=r"config.json is missing or damaged"):
        verify(run, CONFIG)


def test_settings_of_no_protocol_are_refused(run_of):
    run = run_of()
    path = run.folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"settings": values["settings"] | {"protocol": {"name": "quick"}}}))
    with pytest.raises(VerificationError, match=r"the protocol of .* is none"):
        verify(run, CONFIG)


def test_predictions_that_cannot_be_read_fail(run_of):
    run = run_of()
    (run.folder / "predictions" / "tones.parquet").write_bytes(b"")
    assert states(verify(run, CONFIG))["scores"] == "failed"


def test_the_command_tells_and_its_exit_status_says_it_and_the_leaderboard_refuses(
    run_of, tmp_path, capsys, monkeypatch
):
    run = run_of()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["leaderboard", "runs", "--verified"]) == 2
    assert "1 that are left out" in capsys.readouterr().err
    assert cli.main(["verify", "runs", "--device", "cpu"]) == 0
    found = capsys.readouterr().out
    assert "embedded again" in found
    assert found.splitlines()[-1] == "verified"
    assert cli.main(["leaderboard", "runs", "--verified"]) == 0
    assert '<span class="verified">verified</span>' in (tmp_path / "leaderboard.html").read_text()
    assert cli.main(["leaderboard", "runs"]) == 0
    capsys.readouterr()
    card(run, _higher_score)
    assert cli.main(["verify", str(run.folder), "--device", "cpu", "--json"]) == 1
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["verified"] is False
    assert asdict(verify(find_runs(run.folder)[0], CONFIG)[3])["state"] == "failed"
    assert cli.main(["leaderboard", "runs", "--verified"]) == 2
    assert "its verification failed: tones: scores: the score is not the mean" in capsys.readouterr().err


def test_the_command_of_the_owner_of_the_code_is_said_in_full(run_of, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my encoder.py").write_text(
        "class E:\n    sample_rate = 16000\n    def embed(self, wave): return wave.unfold(1, 9, 9).square().mean(1)\n"
    )
    run = run_of(encoder="py:my encoder.py:E")
    capsys.readouterr()
    typed = f"leveret verify {run.folder} --encoder 'py:my encoder.py:E'"
    assert cli.main(["verify", str(run.folder), "--device", "cpu"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"not verified: encoder not checked; if you trust its code: {typed}"
    assert cli.main([*shlex.split(typed)[1:], "--device", "cpu"]) == 0
    capsys.readouterr()
    Path("my encoder.py").unlink()
    assert cli.main(["verify", str(run.folder), "--device", "cpu"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "not verified: encoder not checked, as the table says"


def test_damaged_runs_are_named_and_not_verified(run_of, capsys):
    run = run_of()
    (run.folder / "predictions" / "tones.parquet").write_bytes(b"")
    assert cli.main(["verify", str(run.folder)]) == 1
    assert "tones.parquet is missing or damaged" in capsys.readouterr().err
    assert cli.main(["verify", str(run.folder / "predictions")]) == 2
    assert "no finished run at" in capsys.readouterr().err


def test_a_run_tells_the_speed_of_its_encoder(run_of):
    measured = run_of().scorecard.run["embedding"]
    assert measured["audio_seconds"] == pytest.approx(60 * 0.4)
    assert measured["seconds"] > 0
