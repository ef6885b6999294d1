"""Test clips that a checkpoint was trained on: from a pretraining on a folder to the scorecard and the terminal."""

import json
import shutil

import numpy as np
import pytest
import torch

from leveret import cli, content
from leveret.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from leveret.clips import Clip
from leveret.overlap.report import Contamination
from leveret.overlap.trained_files import digests_of, met_in_training, trained_files

PRETRAIN = (
    "--encoder", "nfnet_tiny", "--batch", "8", "--steps", "1", "--crop-seconds", "0.2", "--setting", "hidden=[16]",
    "--workers", "0", "--track", "none", "--device", "cpu",
)  # fmt: skip
TEST_CLIPS = ("004", "010")
TRAIN_CLIPS = tuple(f"{k:03d}" for k in range(0, 60, 6))


@pytest.fixture
def manifest(tone_manifest):
    return tone_manifest()


def pretrained(manifest, where, names, *words):
    """A checkpoint that was trained on copies of these clips, under other names."""
    (folder := where / "sounds").mkdir()
    for name in names:
        shutil.copy(manifest.parent / "audio" / f"{name}.wav", folder / f"copy of {name}.wav")
    assert cli.main(["pretrain", *PRETRAIN, "--data", str(folder), "-o", str(where / "run"), *words]) == 0
    return where / "run" / "checkpoint.safetensors"


def evaluated(manifest, where, capsys, *words, encoder, others=()):
    capsys.readouterr()
    task = ["--tasks", f"manifest:{manifest}", "--protocol", "quick", "--no-floor", "-o", str(where / "runs")]
    status = cli.main(["evaluate", "--encoder", str(encoder), *map(str, others), *task, *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_test_clips_that_were_trained_on_are_counted_and_named(manifest, tmp_path, capsys):
    path = pretrained(manifest, tmp_path, [*TRAIN_CLIPS, *TEST_CLIPS])
    status, out, err = evaluated(manifest, tmp_path, capsys, "--json", encoder=path)
    assert status == 0, err
    (result,) = json.loads(out)[0]["tasks"]
    assert result["contamination"] == "2 clips"
    assert result["contaminated"] == ["audio/004.wav", "audio/010.wav"]
    status, out, _ = evaluated(manifest, tmp_path, capsys, encoder=path)
    assert "contamination" not in out
    assert "test clips met in training: 2 clips: audio/004.wav, audio/010.wav" in out


def test_train_clips_of_a_task_are_no_contamination(manifest, tmp_path, capsys):
    path = pretrained(manifest, tmp_path, TRAIN_CLIPS)
    _, out, _ = evaluated(manifest, tmp_path, capsys, "--json", encoder=path)
    (result,) = json.loads(out)[0]["tasks"]
    assert (result["contamination"], result["contaminated"]) == ("none found", [])
    _, out, _ = evaluated(manifest, tmp_path, capsys, encoder=path)
    assert "run, contamination: none found" in out
    assert "met in training" not in out


def test_a_checkpoint_without_digests_is_unchecked(manifest, tmp_path, capsys):
    path = pretrained(manifest, tmp_path, TEST_CLIPS, "--no-digests")
    _, out, _ = evaluated(manifest, tmp_path, capsys, "--json", encoder=path)
    (result,) = json.loads(out)[0]["tasks"]
    assert (result["contamination"], result["contaminated"]) == ("unchecked", [])
    _, out, _ = evaluated(manifest, tmp_path, capsys, encoder=path)
    assert "contamination" not in out


def test_many_clips_are_all_in_the_file_and_a_few_on_the_terminal(manifest, tmp_path, capsys):
    path = pretrained(manifest, tmp_path, [f"{k:03d}" for k in range(60)])
    status, out, err = evaluated(manifest, tmp_path, capsys, encoder=path)
    assert status == 0, err
    assert "20 clips: audio/004.wav, audio/005.wav, audio/010.wav and 17 more" in out
    card = json.loads(next((tmp_path / "runs").glob("*/scorecard.json")).read_text())
    assert len(card["tasks"][0]["contaminated"]) == 20


def test_files_are_read_for_their_digest_once(manifest, tmp_path, capsys, monkeypatch):
    path = pretrained(manifest, tmp_path, TEST_CLIPS)
    read = []
    file_sha256 = content.file_sha256
    monkeypatch.setattr(content, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    evaluated(manifest, tmp_path, capsys, encoder=path)
    sounds = [path.name for path in read if path.suffix == ".wav"]
    assert len(sounds) == len(set(sounds)) == 60  # each of train, validation and test once
    read.clear()
    evaluated(manifest, tmp_path, capsys, encoder=path)
    assert not [path for path in read if path.suffix == ".wav"]


def test_two_encoders_of_one_call_are_told_apart_and_a_report_adds_to_the_digests(manifest, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = pretrained(manifest, tmp_path / "a", TEST_CLIPS[:1])
    second = pretrained(manifest, tmp_path / "b", TRAIN_CLIPS)
    report, other = tmp_path / "report.json", tmp_path / "other"
    other.mkdir()
    shutil.copy(manifest.parent / "audio" / "011.wav", other / "x.wav")
    assert cli.main(["data", "overlap", str(other), f"manifest:{manifest}", "-o", str(report)]) == 0
    found = {}
    for name, words in (("digests", []), ("both", ["--contamination", str(report)])):
        _, out, _ = evaluated(manifest, tmp_path, capsys, *words, "--json", encoder=first, others=[second])
        found[name] = [card["tasks"][0]["contaminated"] for card in json.loads(out)]
    assert found["digests"] == [["audio/004.wav"], []]
    assert found["both"] == [["audio/011.wav", "audio/004.wav"], ["audio/011.wav"]]


def test_an_interrupted_run_of_other_digests_is_not_taken_up(manifest, tmp_path):
    from leveret.evaluation import Evaluation
    from leveret.evaluation_config import EvaluateConfig

    path = pretrained(manifest, tmp_path, TEST_CLIPS)
    found = load_checkpoint(path)
    kept = {key: tensor for key, tensor in found.beside.items() if key != "training_files"}
    same_weights = tmp_path / "checkpoint.safetensors"
    save_checkpoint(same_weights, found.name, found.config, found.encoder, found.extra, kept)
    config = {"tasks": (f"manifest:{manifest}",), "floor": False, "output": tmp_path / "runs"}
    one, two = (Evaluation(EvaluateConfig(encoders=(str(path),), **config)) for path in (path, same_weights))
    (mine,), (yours,) = one.entrants, two.entrants
    assert mine.about["digest"] == yours.about["digest"]
    assert mine.identity(one.works)["contamination"] != yours.identity(two.works)["contamination"]


@pytest.mark.parametrize(
    "kept",
    [torch.zeros(3, 31, dtype=torch.uint8), torch.zeros(32, dtype=torch.uint8), torch.zeros(3, 32),
     torch.zeros(0, 32, dtype=torch.uint8)],
)  # fmt: skip
def test_what_is_no_digest_is_refused_by_name(manifest, tmp_path, capsys, kept):
    path = pretrained(manifest, tmp_path, TEST_CLIPS)
    found = load_checkpoint(path)
    save_checkpoint(path, found.name, found.config, found.encoder, found.extra, {"training_files": kept})
    with pytest.raises(CheckpointError, match="expected one row of 32 bytes a file"):
        trained_files(load_checkpoint(path), str(path))
    status, _, err = evaluated(manifest, tmp_path, capsys, encoder=path)
    assert status == 2
    assert "the digests of training files in" in err


def test_a_test_clip_that_cannot_be_read_is_counted_as_unchecked(manifest, tmp_path):
    names = [manifest.parent / "audio" / f"{name}.wav" for name in TEST_CLIPS]
    clips = [Clip(path.name, path, (), "") for path in [*names, tmp_path / "gone.wav"]]
    digests = digests_of(clips, 1)
    assert [len(digest) for digest in digests] == [32, 32, 0]
    # digests that end in zeros, and 32 zeros, which is what an unreadable file must not be taken for
    trained = np.array([digests[1], bytes(32)], dtype="S32")
    assert met_in_training(clips, digests, trained) == Contamination(True, ("010.wav",), "1 of 3 test clips")
    assert str(met_in_training(clips, digests, trained)) == "1 clip (1 of 3 test clips unchecked)"
    assert str(met_in_training(clips[2:], digests[2:], trained)) == "unchecked"
    assert met_in_training(clips, [b"\1" + bytes(31), b"\1\0" + b"\2" * 30, b""], trained).clips == ()
