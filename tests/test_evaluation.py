"""Evaluation end to end on tones; what other harnesses get wrong; the bad days."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.processes import Started

from leveret import audio, batches, embedding, runner
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.cache import stores
from leveret.checkpoint import save_checkpoint
from leveret.embedding_map import read_map
from leveret.evaluation import Evaluation, evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.file_embedding import embed
from leveret.home import cache_root
from leveret.protocols import Protocol
from leveret.registry import UnknownNameError, look_up
from leveret.runner import Compute
from leveret.runs import find_runs
from leveret.vectors import VectorFile, write_vectors

ONE_THREAD = Compute(device="cpu", threads=1)
SHORT = Protocol(steps=3000, check_rates=False)


@pytest.fixture
def config(tmp_path):
    return EvaluateConfig(compute=ONE_THREAD, output=tmp_path / "runs", floor=False)


@pytest.fixture
def embedded_rows(monkeypatch):
    """Number of rows that encoders really embedded, by encoder name."""
    counts: dict[str, int] = {}
    vectors = runner.Network.vectors

    def counting(self, batch, layers):
        counts[self.loaded.name] = counts.get(self.loaded.name, 0) + batch.num_rows
        return vectors(self, batch, layers)

    monkeypatch.setattr(runner.Network, "vectors", counting)
    return counts


def tiny_checkpoint(path: Path, seed: int = 0, change: float = 0.0) -> Path:
    sizes = look_up("encoders", "slowfast_nfnet_tiny")
    torch.manual_seed(seed)
    encoder = sizes.build()
    if change:
        with torch.no_grad():
            next(encoder.parameters()).view(-1)[0] += change
    save_checkpoint(path, "slowfast_nfnet_tiny", sizes, encoder)
    return path


def test_tones_are_told_apart_and_the_run_folder_says_everything(tone_manifest, config):
    (run,) = evaluate("melstats", f"manifest:{tone_manifest()}", "quick", config=config)
    (result,) = run.scorecard.tasks
    assert result.score == 1.0
    assert result.clips == {"train": 20, "valid": 20, "test": 20}
    assert result.coverage == 1
    assert (result.chance, result.majority) == (0.5, 0.5)
    assert {path.name for path in run.folder.iterdir()} == {
        "scorecard.json", "config.json", "log.txt", "predictions", "map", "report.html"
    }  # fmt: skip
    card = json.loads((run.folder / "scorecard.json").read_text())
    assert card["schema_version"] == 1
    assert card["protocol"]["title"] == "quick"
    assert {"device", "dtype", "versions", "code", "wall_seconds", "peak_memory_bytes"} <= card["run"].keys()
    assert card["encoder"]["digest"]
    predictions = run.predictions("tones")
    assert len(predictions.clip) == 20
    assert predictions.scores[0].shape == (20, 2)
    assert find_runs(config.output)[0].scorecard == run.scorecard


def test_the_test_clips_lie_on_a_map_whose_files_are_seen_from_the_run_folder(tone_manifest, config):
    class Listening(embedding.Reporter):
        def say(self, text):
            heard.append(text)

    heard = []
    manifest = tone_manifest()
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config, reporter=Listening())
    found = read_map(run.folder / "map" / "tones.parquet")
    assert sorted(found.clip) == sorted(run.predictions("tones").clip)
    assert {(run.folder / one).resolve() for one in found.audio} <= set((manifest.parent / "audio").resolve().iterdir())
    assert sum("embedding maps took" in text for text in heard) == 1
    off = replace(config, embedding_map=False)
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=off, reporter=Listening())
    assert not (run.folder / "map").exists()
    assert sum("embedding maps took" in text for text in heard) == 1


def test_cached_protocol_scores_with_the_papers_linear_probe(tone_manifest, config):
    (run,) = evaluate(
        "melstats", f"manifest:{tone_manifest()}", "cached", config=replace(config, protocol=SHORT, floor=True)
    )
    (result,) = run.scorecard.tasks
    assert run.scorecard.protocol["title"] == "cached@3000"
    assert result.clips == {"train": 20, "valid": 0, "test": 20}
    assert result.score > 0.6
    assert result.probe["steps"] == 3000


def test_several_encoders_decode_the_audio_once(tone_manifest, config, monkeypatch):
    decoded = []
    read_span = audio.read_span
    monkeypatch.setattr(batches, "read_span", lambda path, *rest: decoded.append(path) or read_span(path, *rest))
    runs = evaluate(["slowfast_nfnet_tiny", "melstats"], f"manifest:{tone_manifest()}", "quick", config=config)
    assert [run.scorecard.encoder["name"] for run in runs] == ["slowfast_nfnet_tiny", "melstats"]
    assert len(decoded) == 60
    # the floor of the one is the score of the other: it was run anyway
    floors = evaluate(
        ["slowfast_nfnet_tiny", "melstats"], f"manifest:{tone_manifest('again')}", "quick",
        config=replace(config, floor=True),
    )  # fmt: skip
    assert floors[0].scorecard.tasks[0].floor == floors[1].scorecard.tasks[0].score
    assert floors[1].scorecard.tasks[0].floor is None


def test_a_second_run_embeds_nothing_and_scores_the_same(tone_manifest, config, embedded_rows):
    manifest = tone_manifest()
    (first,) = evaluate("slowfast_nfnet_tiny", f"manifest:{manifest}", "quick", config=config)
    assert embedded_rows["slowfast_nfnet_tiny"] == 60
    (second,) = evaluate("slowfast_nfnet_tiny", f"manifest:{manifest}", "quick", config=config)
    assert embedded_rows["slowfast_nfnet_tiny"] == 60
    assert second.folder != first.folder
    np.testing.assert_array_equal(second.predictions("tones").scores[0], first.predictions("tones").scores[0])


def test_one_changed_weight_recomputes_the_score(tone_manifest, config, tmp_path, embedded_rows):
    manifest, path = tone_manifest(), tmp_path / "encoder.safetensors"
    (first,) = evaluate(str(tiny_checkpoint(path)), f"manifest:{manifest}", "quick", config=config)
    (second,) = evaluate(str(tiny_checkpoint(path, change=1e-3)), f"manifest:{manifest}", "quick", config=config)
    assert embedded_rows["encoder"] == 120
    assert first.scorecard.encoder["digest"] != second.scorecard.encoder["digest"]
    assert (first.predictions("tones").scores[0] != second.predictions("tones").scores[0]).any()


def test_two_checkpoints_of_one_class_never_share_rows(tone_manifest, config, tmp_path):
    manifest = tone_manifest()
    paths = [tiny_checkpoint(tmp_path / f"{seed}" / "encoder.safetensors", seed) for seed in _made(tmp_path, 0, 1)]
    evaluate([str(path) for path in paths], f"manifest:{manifest}", "quick", config=config)
    found = [store.identity["encoder"]["digest"] for store in stores(cache_root())]
    assert len(found) == 2 * 3  # two encoders, three splits
    assert len(set(found)) == 2


def _made(folder: Path, *names: int) -> list[int]:
    for name in names:
        (folder / str(name)).mkdir()
    return list(names)


def test_a_clip_with_other_samples_under_the_same_name_is_embedded_again(tone_manifest, config, embedded_rows):
    manifest = tone_manifest()
    evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    (manifest.parent / "audio" / "000.wav").write_bytes((manifest.parent / "audio" / "001.wav").read_bytes())
    evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    assert embedded_rows["melstats"] == 60 + 20  # the split that holds it


def test_sixty_of_120_corrupt_files_refuse_the_run_and_name_the_files(tone_manifest, config):
    manifest = tone_manifest(num_clips=120)
    for k in range(60):
        (manifest.parent / "audio" / f"{k:03d}.wav").write_bytes(b"not audio at all" * 10)
    with pytest.raises(TooManyBadFilesError) as refusal:
        evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    assert "60 of 120" in str(refusal.value)
    assert "000.wav" in str(refusal.value)
    assert "059.wav" in str(refusal.value)
    assert not list(config.output.rglob("scorecard.json"))


def test_skipped_files_are_counted_and_named_in_the_result(tone_manifest, config):
    manifest = tone_manifest()
    bad = manifest.parent / "audio" / "004.wav"  # a test clip
    bad.write_bytes(bad.read_bytes()[:100])
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=replace(config, policy="skip"))
    (result,) = run.scorecard.tasks
    assert list(result.skipped) == ["audio/004.wav"]
    assert result.clips["test"] == 19
    assert result.coverage == pytest.approx(19 / 20)
    assert any("1 clip skipped" in warning for warning in result.warnings)


def test_one_clip_of_a_hundred_of_the_task_may_be_bad_wherever_it_lies(tone_manifest, config):
    manifest = tone_manifest(num_clips=120)
    bad = [manifest.parent / "audio" / f"{k:03d}.wav" for k in (0, 4)]  # of train and of test
    wave, rate = soundfile.read(bad[0])
    soundfile.write(bad[0], np.full_like(wave, np.nan), rate, subtype="FLOAT")  # its header is good
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    assert list(run.scorecard.tasks[0].skipped) == ["audio/000.wav"]
    soundfile.write(bad[1], np.full_like(wave, np.nan), rate, subtype="FLOAT")
    with pytest.raises(TooManyBadFilesError, match="2 of 120 clips cannot be used, 1 may be"):
        evaluate("melstats", f"manifest:{manifest}", "quick", config=config)


def test_no_success_mark_when_nothing_was_embedded(tone_manifest, config):
    manifest = tone_manifest()
    for path in (manifest.parent / "audio").iterdir():
        path.write_bytes(b"")
    with pytest.raises(TooManyBadFilesError, match="60 of 60") as refusal:
        evaluate("melstats", f"manifest:{manifest}", "quick", config=replace(config, policy=BadFilePolicy("skip")))
    assert "and 50 more\nNone is left" in str(refusal.value)
    assert not config.output.exists() or not list(config.output.iterdir())


def test_an_encoder_whose_vectors_are_not_finite_is_named(tone_manifest, config, tmp_path):
    source = tmp_path / "broken.py"
    source.write_text(
        "import torch\n"
        "class Broken:\n"
        "    sample_rate = 16000\n"
        "    def embed(self, wave):\n"
        "        return torch.where(wave[:, :1] > 0.1, torch.nan, wave[:, :8])\n"
    )
    with pytest.raises(TooManyBadFilesError, match="Broken gives a vector that is not finite"):
        evaluate(f"py:{source}:Broken", f"manifest:{tone_manifest()}", "quick", config=config)


def test_a_crash_at_the_hundredth_clip_resumes_there(tone_manifest, config, monkeypatch, embedded_rows):
    manifest = tone_manifest(num_clips=160, splits="train test")
    config = replace(config, compute=replace(ONE_THREAD, batch_size=20))
    counting = runner.Network.vectors

    def crashing(self, batch, layers):
        if embedded_rows.get("melstats", 0) >= 100:
            raise MemoryError("the hundredth clip")
        return counting(self, batch, layers)

    monkeypatch.setattr(runner.Network, "vectors", crashing)
    with pytest.raises(MemoryError):
        evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    assert not list(config.output.iterdir())
    monkeypatch.setattr(runner.Network, "vectors", counting)
    evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    assert embedded_rows["melstats"] == 160  # not one clip twice


def stop_before(key, specs, config):
    """An evaluation that ends by Ctrl-C when this task is to be scored."""
    score = Evaluation._score

    def failing(self, reading, reporter):
        if reading.key == key:
            raise KeyboardInterrupt
        return score(self, reading, reporter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluation, "_score", failing)
        with pytest.raises(KeyboardInterrupt):
            evaluate("melstats", specs, "quick", config=config)


def test_an_interrupted_run_keeps_its_finished_tasks(tone_manifest, config, monkeypatch):
    specs = [f"manifest:{tone_manifest('one')}", f"manifest:{tone_manifest('two')}"]
    stop_before("tones-2", specs, config)
    assert [path.suffix for path in config.output.iterdir()] == [".partial"]
    scored, score = [], Evaluation._score
    monkeypatch.setattr(
        Evaluation,
        "_score",
        lambda self, reading, reporter: scored.append(reading.key) or score(self, reading, reporter),
    )
    (run,) = evaluate("melstats", specs, "quick", config=config)
    assert scored == ["tones-2"]
    assert "going on with" in (said := (run.folder / "log.txt").read_text())
    assert "1 of 2 tasks are scored" in said
    assert [result.task for result in run.scorecard.tasks] == ["tones", "tones"]
    assert list(config.output.iterdir()) == [run.folder]


def test_audio_that_was_replaced_under_its_name_is_scored_anew(tone_manifest, config):
    specs = [f"manifest:{tone_manifest('one')}", f"manifest:{tone_manifest('two')}"]
    stop_before("tones-2", specs, config)
    replaced = next(Path(specs[0].removeprefix("manifest:")).parent.glob("audio/*.wav"))
    soundfile.write(replaced, np.zeros(6400), 16_000)
    (run,) = evaluate("melstats", specs, "quick", config=config)
    assert "going on with" not in (run.folder / "log.txt").read_text()
    first, second = run.scorecard.tasks
    assert len(first.audio_hash) == 64
    assert first.audio_hash != second.audio_hash


def test_a_damaged_cache_is_named_and_computed_again(tone_manifest, config, embedded_rows, capsys):
    manifest = tone_manifest()
    (first,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    data = next(iter(stores(cache_root()))).folder / "rows.bin"
    content = bytearray(data.read_bytes())
    content[7] ^= 1
    data.write_bytes(content)

    class Listening(embedding.Reporter):
        said: list[str] = []  # noqa: RUF012 - one listener

        def say(self, text):
            self.said.append(text)

    (second,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config, reporter=Listening())
    assert any("damaged" in text for text in Listening.said)
    assert embedded_rows["melstats"] == 80
    assert second.scorecard.tasks[0].score == first.scorecard.tasks[0].score


def test_vectors_made_elsewhere_score_as_the_encoder_that_made_them(tone_manifest, config, tmp_path):
    manifest = tone_manifest()
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    paths = sorted((manifest.parent / "audio").iterdir())
    made = embed(paths, "melstats", compute=ONE_THREAD)
    names = [f"audio/{Path(name).name}" for name in made.file]
    write_vectors(tmp_path / "v.parquet", VectorFile(names, made.start, made.seconds, made.vector, {}))
    (foreign,) = evaluate(
        [], f"manifest:{manifest}", "quick", config=replace(config, vectors=(tmp_path / "v.parquet",))
    )
    np.testing.assert_allclose(foreign.predictions("tones").scores[0], run.predictions("tones").scores[0], atol=1e-4)


def test_vectors_of_other_files_are_refused(tone_manifest, config, tmp_path):
    zeros = np.zeros(1)
    vectors = VectorFile(["elsewhere.wav"], zeros, zeros, np.zeros((1, 3), np.float32), {})
    write_vectors(tmp_path / "v.parquet", vectors)
    with pytest.raises(ValueError, match=r"no vector of any clip.*elsewhere\.wav"):
        evaluate([], f"manifest:{tone_manifest()}", "quick", config=replace(config, vectors=(tmp_path / "v.parquet",)))


def test_folds_are_cross_validated(tone_manifest, config):
    manifest = tone_manifest()
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    # folds of several sizes and some wrong labels, so that a mean over folds is not one over clips
    folds = [0] * 8 + [1] * 12 + [2] * 40
    labels = [row["label"] if k % 7 else {"low": "high", "high": "low"}[row["label"]] for k, row in enumerate(rows)]
    lines = ["file,label,fold", *(f"{row['file']},{labels[k]},{folds[k]}" for k, row in enumerate(rows))]
    manifest.write_text("\n".join(lines))
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    (result,) = run.scorecard.tasks
    assert len(result.folds) == 3
    assert result.metrics["accuracy"] == pytest.approx(result.score)
    assert result.score == pytest.approx(np.mean(result.folds))
    assert result.interval[0] <= result.score <= result.interval[1]
    assert run.predictions("manifest").score() == pytest.approx(result.score)
    assert sorted(run.predictions("manifest").clip) == sorted(row["file"] for row in rows)


def test_slots_are_scored_by_exact_match(tone_manifest, config):
    manifest = tone_manifest()
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    lines = ["file,split,label:pitch,label:place"]
    lines += [f"{row['file']},{row['split']},{row['label']},{'ab'[k % 2]}" for k, row in enumerate(rows)]
    manifest.write_text("\n".join(lines))
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    (result,) = run.scorecard.tasks
    assert (result.kind, result.metric, result.score) == ("slots", "exact_match", 1.0)
    assert result.chance == 0.25
    assert set(result.metrics) == {"exact_match", "accuracy:pitch", "accuracy:place"}


def test_the_plan_tells_rows_and_bytes_before_the_work(tone_manifest, config, embedded_rows):
    evaluation = Evaluation(
        replace(config, encoders=("melstats",), tasks=(f"manifest:{tone_manifest()}",), protocol=Protocol(name="quick"))
    )
    plan = evaluation.plan()
    assert [(row["windows"], row["cached"], row["bytes"]) for row in plan.rows] == [(60, 0, 60 * 240 * 4)]
    assert plan.seconds > 0
    evaluation.run()
    assert [row["cached"] for row in evaluation.plan().rows] == [60]
    assert evaluation.plan().seconds == 0


@pytest.mark.parametrize(
    ("encoders", "tasks", "says"),
    [
        ("slowfast_nfnet_f1", "mini", "slowfast_nfnet_f0"),
        ("melstats", "manifets:x.csv", "manifest"),
    ],
)
def test_an_unknown_name_lists_the_nearest(config, encoders, tasks, says):
    with pytest.raises(UnknownNameError, match=says):
        evaluate(encoders, tasks, "quick", config=config)


def test_one_name_may_stand_by_itself_and_text_for_a_path(tone_manifest, config, tmp_path):
    manifest, checkpoint = tone_manifest(), tiny_checkpoint(tmp_path / "tiny.safetensors")
    vectors = embed(manifest.parent / "audio", checkpoint, compute=ONE_THREAD)
    write_vectors(tmp_path / "v.parquet", vectors)
    settings = replace(config, only="tones", layers="stem", vectors=f"{tmp_path}/v.parquet", output=f"{tmp_path}/runs")
    runs = evaluate(checkpoint, f"manifest:{manifest}", "quick", config=settings)
    assert [run.scorecard.encoder["name"] for run in runs] == ["tiny/stem", "v"]
    assert find_runs(str(runs[0].folder))[0].scorecard == runs[0].scorecard
    several = replace(settings, only=("tones",), layers=("stem",), vectors=(tmp_path / "v.parquet",))
    assert (several.only, several.layers) == (settings.only, settings.layers)
    with pytest.raises(UnknownNameError, match=f"manifest:{manifest}"):
        evaluate(checkpoint, manifest, "quick", config=settings)


def test_no_tasks_and_no_encoders_are_refused_before_anything_is_written(config):
    with pytest.raises(ValueError, match="no tasks are named; name some, such as mini"):
        evaluate("melstats", [], "quick", config=config)
    with pytest.raises(ValueError, match="nothing to evaluate: give encoders"):
        evaluate([], "mini", "quick", config=config)
    assert not config.output.exists()


SLOW_ENCODER = """
import os, time, torch
class Slow:
    sample_rate = 16000
    def embed(self, wave):
        time.sleep(0.02 * len(wave))
        return torch.stack([wave.mean(1), wave.std(1), wave.abs().amax(1), wave[:, 0]], 1)
"""


def command(*words: object) -> list[str]:
    return ["-m", "leveret", *map(str, words)]


def wait_for_rows(root: Path, num_rows: int) -> None:
    """Until the cache's journals record so many rows."""
    for _ in range(3000):
        lines = [
            json.loads(line) for path in root.rglob("journal.jsonl") for line in path.read_text().splitlines()[:-1]
        ]
        if sum(line["rows"][1] - line["rows"][0] for line in lines) >= num_rows:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {num_rows} rows below {root}")


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.soak)])
def test_a_killed_or_stopped_evaluation_goes_on_where_it_was(tone_manifest, tmp_path, how):
    manifest, source = tone_manifest(num_clips=160, splits="train test"), tmp_path / "slow.py"
    source.write_text(SLOW_ENCODER)
    words = command(
        "evaluate", "--encoder", f"py:{source}:Slow", "--tasks", f"manifest:{manifest}", "--protocol", "quick",
        "--no-floor", "--batch-size", "10", "-o", tmp_path / "runs",
    )  # fmt: skip
    process = Started(words)
    wait_for_rows(tmp_path / "home", 30)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "goes on from there" in said
        assert "Traceback" not in said
    assert not list((tmp_path / "runs").rglob("scorecard.json"))
    done = sum(store.num_done for store in stores(tmp_path / "home" / "embeddings", verify=True))
    assert 30 <= done < 160
    plan, _ = Started([*words, "--dry-run"]).ended_well()
    assert f"{done} of them cached" in plan
    out, _ = Started(words).ended_well()
    assert Path(out.split()[-1]).joinpath("scorecard.json").exists()


def test_leveret_evaluates_with_a_broken_torchaudio_on_the_path(tone_manifest, tmp_path):
    broken = tmp_path / "site" / "torchaudio"
    broken.mkdir(parents=True)
    for name in ("torchaudio", "torchvision", "timm"):
        (tmp_path / "site" / f"{name}.py").write_text(f"raise OSError('lib{name}.so: undefined symbol')\n")
    (broken / "__init__.py").write_text("raise OSError('libtorchaudio.so: undefined symbol')\n")
    words = command(
        "evaluate", "--encoder", "slowfast_nfnet_tiny", "--tasks", f"manifest:{tone_manifest()}", "--protocol", "quick",
        "-o", tmp_path / "runs",
    )  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("crop", [0, -1, 0.001, float("nan"), float("inf"), 1e6])
def test_a_crop_that_is_no_length_is_refused(crop):
    with pytest.raises(ValueError, match=r"crop=.*; expected 0\.025"):
        EvaluateConfig(crop=crop)


@pytest.mark.parametrize("settings", [{"threads": 0}, {"threads": -1}, {"batch_size": 0}, {"batch_size": -3}])
def test_threads_and_batches_of_none_are_refused(settings):
    with pytest.raises(ValueError, match="expected 1 or more"):
        Compute(**settings)


def test_rows_of_another_dtype_are_never_taken(tone_manifest, embedded_rows):
    sounds = [str(tone_manifest(num_clips=10).parent / "audio")]
    vectors = {
        dtype: embed(sounds, "slowfast_nfnet_tiny", compute=replace(ONE_THREAD, dtype=dtype)).vector
        for dtype in ("float32", "bfloat16")
    }
    assert embedded_rows["slowfast_nfnet_tiny"] == 20
    assert not np.array_equal(vectors["float32"], vectors["bfloat16"])


def test_a_layer_that_the_floor_lacks_is_refused_where_it_is_the_only_encoder(tone_manifest, config):
    with pytest.raises(UnknownNameError, match="no layer 'conv1'"):
        evaluate("melstats", f"manifest:{tone_manifest()}", "quick", config=replace(config, layers=("conv1",)))
