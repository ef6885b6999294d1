"""`leveret pretrain` as a person meets it: a folder of sounds to a checkpoint, again, and what it refuses."""

import json
import re

import numpy as np
import pytest
import soundfile
import torch

from leveret import cli
from leveret.checkpoint import load_checkpoint
from leveret.content import file_sha256
from leveret.training_log import read_log

TINY = (
    "--encoder", "nfnet_tiny", "--batch", "8", "--steps", "4", "--crop-seconds", "0.2", "--log-every", "1",
    "--checkpoint-every", "2", "--setting", "hidden=[16]", "--workers", "0", "--track", "none", "--device", "cpu",
)  # fmt: skip


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for k in range(6):
        soundfile.write(folder / f"{k}.wav", 0.1 * np.random.default_rng(k).standard_normal(16_000), 16_000)
    return folder


@pytest.fixture
def leveret(capsys):
    def run(*words):
        status = cli.main(["pretrain", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_folder_of_sounds_becomes_a_checkpoint(leveret, sounds, tmp_path):
    words = (*TINY, "--objective", "simclr", "--data", sounds, "-o", tmp_path / "run")
    status, out, err = leveret(*words)
    assert status == 0, err
    assert out == f"4 steps: {tmp_path / 'run' / 'checkpoint.safetensors'}\n"
    assert "step 2 of 4: loss " in err
    lines = read_log(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"loss", "accuracy", "trivial_pairs", "padded"} < set(lines[0])
    found = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert found.extra["data"]["num_clips"] == 6
    digests = {bytes(row).hex() for row in found.beside["training_files"].numpy()}
    assert digests == {file_sha256(path) for path in sounds.iterdir()}
    status, out, err = leveret(*words, "--json")
    assert status == 0, err
    assert json.loads(out)["step"] == 4
    assert "is finished, with all its 4 steps" in err
    assert len(read_log(tmp_path / "run")) == 4
    status, out, err = leveret(*words, "--seed", "1")
    assert status == 2
    assert "holds another run (seed was 0 and is 1)" in err


def test_clips_that_cannot_be_used_are_told_a_line_each(leveret, sounds, tmp_path):
    for name in ("bad", "worse"):
        (sounds / f"{name}.wav").write_bytes(b"no audio")
    status, _, err = leveret(*TINY, "--data", sounds, "--bad-files", "skip", "-o", tmp_path / "run")
    assert status == 0, err
    assert "\\n" not in err
    lines = err.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("2 clips cannot be used; others stood in"))
    assert [sum(name in line for line in lines[at + 1 : at + 3]) for name in ("bad.wav", "worse.wav")] == [1, 1]


def test_the_classifier_of_supervised_pretraining_is_kept_with_its_labels(leveret, tone_manifest, tmp_path):
    words = ("--objective", "supervised", "--data", tone_manifest(), "-o", tmp_path / "run", "--no-digests")
    status, _, err = leveret(*(word for word in TINY if word not in ("--setting", "hidden=[16]")), *words)
    assert status == 0, err
    found = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert found.extra["labels"] == ["high", "low"]
    assert "training_files" not in found.beside
    (weight,) = (tensor for name, tensor in found.beside.items() if name.endswith("weight"))
    assert weight.shape == (2, found.encoder.embed_dim)


def test_the_checkpoint_is_an_encoder_spec(leveret, sounds, tmp_path, capsys):
    assert leveret(*TINY, "--data", sounds, "-o", tmp_path / "run")[0] == 0
    path = tmp_path / "run" / "checkpoint.safetensors"
    assert cli.main(["embed", str(sounds), "--encoder", str(path), "-o", str(tmp_path / "v.npz")]) == 0
    assert "6 vectors of 64 numbers" in capsys.readouterr().out


def test_a_recipe_at_small_scale_is_written_into_the_checkpoint_with_what_was_changed(leveret, sounds, tmp_path):
    words = ("--recipe", "slowfast_nfnet_f0_simclr", "--scale", "small", *TINY, "--corpus", sounds)
    status, _, err = leveret(*words, "-o", tmp_path / "run")
    assert status == 0, err
    extra = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").extra
    assert (extra["recipe"], extra["scale"]) == ("slowfast_nfnet_f0_simclr", "small")
    changed = dict(part.split("=", 1) for part in extra["changed"])
    assert changed["corpus"] == f"{sounds} (audioset)"
    assert changed["encoder"] == "nfnet_tiny (slowfast_nfnet_small)"
    assert changed["batch"] == "8 (128)"
    assert "recipe slowfast_nfnet_f0_simclr, scale small, changed (and its own): corpus=" in err


def test_a_small_recipe_takes_shorter_crops_where_clips_are_short(leveret, sounds, tmp_path):
    words = [word for word in TINY if word not in ("--crop-seconds", "0.2")]
    words = ["--recipe", "slowfast_nfnet_f0_simclr", "--scale", "small", *words, "--corpus", str(sounds)]
    status, _, err = leveret(*words, "-o", tmp_path / "run")
    assert status == 0, err
    assert "clips are short (median 1.00 s), and so are the crops" in err
    config = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").extra["changed"]
    assert "simclr.crop_seconds=0.6 (1.0)" in config


def test_a_dry_run_shows_recipe_and_run_and_leaves_nothing(leveret, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEVERET_DATA", raising=False)
    status, out, err = leveret("--recipe", "wav2vec2_librispeech", "--scale", "small", "--batch", "64", "--dry-run")
    assert status == 0, err
    assert out.startswith("the recipe, as the paper has it:\n")
    assert "recipe   wav2vec2_librispeech: tables 2, 4, row Wav2Vec2.0" in out
    assert "this run wav2vec2_small by wav2vec2; batch 64," in " ".join(out.split())
    assert re.search(
        r"^here     about .* on \w+, estimated from products of matrices in float32\ndata     none", out, re.M
    )
    assert "changed (in brackets the recipe's own): batch=64 (128)" in " ".join(out.split())
    status, out, _ = leveret("--recipe", "wav2vec2_librispeech", "--dry-run", "--json")
    assert (status, json.loads(out)["batch"], json.loads(out)["steps"]) == (0, 256, 80_000)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_looks_at_what_would_be_trained_on(leveret, sounds, tmp_path):
    words = ("--recipe", "slowfast_nfnet_f0_simclr", "--scale", "small", "--dry-run")
    status, out, err = leveret(*words, "--corpus", sounds)
    assert status == 0, err
    assert out.endswith(
        f"data     {sounds}: 6 clips, median 1 s; fewer than a batch has, so a step meets clips again\n"
    )
    status, _, err = leveret(*words, "--data", sounds)
    assert status == 2
    assert "no AudioSet at" in err


def test_an_encoder_is_probed_while_it_is_trained(leveret, sounds, tone_manifest, tmp_path):
    task = f"manifest:{tone_manifest(num_clips=20)}"
    words = (*TINY, "--data", sounds, "-o", tmp_path / "run", "--probe-tasks", task)
    status, out, err = leveret(*words, "--probe-every", "2")
    assert status == 0, err
    assert out == f"4 steps: {tmp_path / 'run' / 'checkpoint.safetensors'}\n"
    probes = [line for line in read_log(tmp_path / "run") if "probe_seconds" in line]
    assert [line["step"] for line in probes] == [0, 2, 4]
    assert f"probe after step 2: tones {100 * probes[1]['probe/tones']:.1f} (" in err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["probe_tasks"] == [task]
    status, _, err = leveret(*words[:-2])  # a probe is no part of what a run is
    assert status == 0, err


def test_ctrl_c_says_how_to_go_on(leveret, sounds, tmp_path, monkeypatch):
    def interrupted(config, folder, batches, **options):
        from signal import SIGINT

        from leveret.training import Outcome

        return Outcome(3, folder / "checkpoint.safetensors", SIGINT)

    monkeypatch.setattr("leveret.training.pretrain", interrupted)
    status, _, err = leveret(*TINY, "--data", sounds, "-o", tmp_path / "run")
    assert status == 130
    assert "stopped after step 3 of 4; the same command goes on from there" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "0 values of --data; expected one thing to train on"),
        (("--data", "nowhere"), "no corpus 'nowhere'"),
        (("--data", "nowhere/sounds"), "no folder nowhere/sounds; expected one with audio files"),
        (("--data", "sounds", "--encoder", "nfnet_tny"), "Did you mean 'nfnet_tiny'"),
        (("--recipe", "resnet50_simclr"), "to follow the recipe with other audio, name that: --corpus"),
        (("--recipe", "resnet_simclr"), "Did you mean 'resnet50_simclr'"),
        (("--data", "sounds", "--scale", "small"), "--scale small without a recipe"),
        (("--data", "sounds", "--objective", "simcrl"), "Did you mean 'simclr'"),
        (("--data", "sounds", "--objective", "supervised", "--setting"), "this corpus has none"),
        (("--data", "sounds", "--setting", "temperature"), "--setting temperature: expected NAME=VALUE"),
        (("--data", "sounds", "--setting", "heat=2"), "no setting of simclr 'heat'"),
        (("--data", "sounds", "--crop-seconds", "30"), "are shorter than the crop of 30 s"),
        (("--data", "sounds", "--probe-every", "5"), "--probe-every 5 without tasks; name some with --probe-tasks"),
        (("--data", "sounds", "--probe-tasks", "esc_50"), "Did you mean 'esc50'"),
        (("--data", "sounds", "--probe-tasks", "esc50"), "nobody says where ESC-50 lies"),
        (("--data", "sounds", "--steps", "0"), "steps=0; expected 1 or more"),
        (("--data", "sounds", "--encoder", "resnet_tiny", "--micro-batch", "2"), "resnet_tiny has batch norm"),
        (("--data", "sounds", "--encoder", "melstats"), "melstats has nothing to train"),
        (("--data", "sounds", "--track", "wandb"), "wandb is asked for and not installed"),
    ],
)
def test_a_users_mistake_is_one_clear_error(leveret, sounds, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("leveret.training_log.find_spec", lambda name: None)
    status, out, err = leveret(*TINY, *words, "-o", "run")
    assert status == 2
    assert says in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "run" / "states").exists()


def test_a_run_in_a_thread_gets_no_signals(leveret, sounds, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        words = (*TINY, "--data", sounds, "-o", tmp_path / "run")
        assert pool.submit(cli.main, ["pretrain", *map(str, words)]).result() == 0
    assert torch.are_deterministic_algorithms_enabled() is False
