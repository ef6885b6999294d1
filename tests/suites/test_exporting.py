"""Tasks written for other suites come back as they were."""

import json
import signal
import sys
import tarfile
from runpy import run_path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from tests.processes import Started

from leveret.audio import read_span
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.clips import split_hash
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.loading import load_tasks
from leveret.suites.exporting import export_tasks, to_int16
from leveret.suites.parts import ExportError
from leveret.tasks.hear_tasks import read_vocabulary

SPECS = {"hear": "hear-tasks", "xares": "xares-tars"}
formats = pytest.mark.parametrize("format", SPECS)


@pytest.fixture
def tasks(tone_manifest):
    """A task of 60 tones with 16-bit files: task(splits=...) or task(column="fold", ...)."""

    def make(splits="train valid test", column="split", **changes):
        manifest = tone_manifest(splits=splits, num_clips=changes.pop("num_clips", 60))
        text = manifest.read_text().replace("task,split", f"task,{column}")
        for old, new in changes.pop("replace", {}).items():
            text = text.replace(old, new)
        manifest.write_text(text)
        settings = {"domain": "music", "crop_seconds": 0.3, "stands_for": "nsynth_pitch", "notes": "tones", **changes}
        manifest.with_name("manifest.tasks.json").write_text(json.dumps({"tones": settings}))
        return load_tasks([f"manifest:{manifest}"])

    return make


def back(format, folder):
    (task,) = load_tasks([f"{SPECS[format]}:{folder}"])
    return task


def score_of(spec, out):
    config = EvaluateConfig(output=out, floor=False)
    (run,) = evaluate("melstats", spec, "quick", config=config)
    return run.scorecard.tasks


@formats
@pytest.mark.parametrize("splits", ["train valid test", "train train test"])
def test_a_task_comes_back_with_its_clips_splits_and_settings(tasks, tmp_path, format, splits):
    (task,) = tasks(splits)
    (done,) = export_tasks([task], format, tmp_path / "out")
    again = back(format, done.folder)
    assert (done.num_clips, done.skipped, done.rounded, done.clipped, done.existed) == (60, {}, 0, 0, False)
    assert split_hash(again.folds()) == split_hash(task.folds())
    assert [clip.id for clip in again.folds()[0].train] == [clip.id for clip in task.folds()[0].train]
    for name in ("name", "domain", "kind", "slots", "metric", "crop_seconds", "whole_clip", "stands_for"):
        assert getattr(again, name) == getattr(task, name), name
    assert again.suite.startswith(f"{format}/")
    assert again.notes.startswith("tones; ")
    before, after = (one.folds()[0].test[3] for one in (task, again))
    np.testing.assert_array_equal(read_span(after.path)[0], read_span(before.path)[0])


@formats
def test_folds_come_back_in_the_order_of_the_task(tasks, tmp_path, format):
    (task,) = tasks("a b c d", column="fold")
    (done,) = export_tasks([task], format, tmp_path / "out")
    again = back(format, done.folder)
    assert split_hash(again.folds()) == split_hash(task.folds())
    for before, after in zip(task.folds(), again.folds(), strict=True):
        assert [clip.id for clip in before.train] == [clip.id for clip in after.train]


def test_heareval_finds_a_validation_fold_and_hears_own_tasks_can_be_exported_again(tasks, tmp_path):
    (task,) = tasks("a b c d", column="fold")
    (done,) = export_tasks([task], "hear", tmp_path / "out")
    (done.folder / "leveret.json").unlink()  # as a stranger's folder is
    hears = back("hear", done.folder)
    assert [len(fold.valid) for fold in hears.folds()] == [16, 14, 14, 16]  # fold 1, 2, 3, 0
    for format in SPECS:
        (again,) = export_tasks([hears], format, tmp_path / format)
        assert split_hash(back(format, again.folder).folds()) == split_hash(hears.folds())


@formats
@pytest.mark.parametrize("column", ["split", "fold"])
def test_the_score_is_the_same_to_the_last_digit(tasks, tmp_path, format, column):
    # the files are 16 bit already and no rate changes, so not one sample may differ
    replace = {"high": "x", "low": "y"} if column == "split" else {}
    (task,) = tasks("train test train" if column == "split" else "a b c", column=column, replace=replace)
    (done,) = export_tasks([task], format, tmp_path / "out")
    (before,) = score_of(f"manifest:{tmp_path / 'tones' / 'manifest.csv'}", tmp_path / "runs")
    (after,) = score_of(f"{SPECS[format]}:{done.folder}", tmp_path / "runs")
    assert after.score == before.score
    assert after.interval == before.interval
    assert after.split_hash == before.split_hash


@formats
def test_what_16_bits_cannot_hold_is_counted_and_32_bits_keep_it(tasks, tmp_path, format):
    (task,) = tasks()
    test = task.folds()[0].test
    wave = np.linspace(-1.5, 1.5, 6400).astype(np.float32)
    soundfile.write(test[0].path, wave, 16000, subtype="FLOAT")
    soundfile.write(test[1].path, wave / 3, 16000, subtype="FLOAT")
    (done,) = export_tasks([task], format, tmp_path / "16")
    assert (done.rounded, done.clipped) == (2, 1)
    (rough,) = (clip for clip in back(format, done.folder).folds()[0].test if clip.id == test[1].id)
    # half a step of 16 bits
    np.testing.assert_allclose(read_span(rough.path)[0], wave / 3, atol=2**-16, rtol=0)
    (done,) = export_tasks([task], format, tmp_path / "32", bits=32)
    assert (done.rounded, done.clipped) == (0, 0)
    (exact,) = (clip for clip in back(format, done.folder).folds()[0].test if clip.id == test[0].id)
    np.testing.assert_array_equal(read_span(exact.path)[0], wave)


def test_16_bit_samples_round_to_the_nearest_and_stop_at_full_scale():
    wave = np.array([0, 1, -1, 2, -2, 0.6 / 32768, -32767 / 32768], np.float32)
    assert to_int16(wave).tolist() == [0, 32767, -32768, 32767, -32768, 1, -32767]


def test_a_multi_label_task_comes_back(tasks, tmp_path):
    (task,) = tasks(replace={"high": "high|any|a=cmd", "low": "any"}, kind="multi")
    for format in SPECS:
        (done,) = export_tasks([task], format, tmp_path / format)
        again = back(format, done.folder)
        assert (again.kind, again.metric, again.labels) == ("multi", "map", ("a=cmd", "any", "high"))
        assert split_hash(again.folds()) == split_hash(task.folds())


def test_spans_of_one_file_become_files_of_their_own(tasks, tmp_path):
    (task,) = tasks()
    manifest = tmp_path / "tones" / "manifest.csv"
    rows = [f"{split},{label},000.wav,{start},{start + 0.1}" for split in ("train", "test") for label, start in
            (("a", 0.0 if split == "train" else 0.1), ("b", 0.2 if split == "train" else 0.3))]  # fmt: skip
    spans = manifest.with_name("spans.csv")
    spans.write_text("split,label,file,start,end\n" + "\n".join(rows).replace("000.wav", "audio/000.wav") + "\n")
    (task,) = load_tasks([f"manifest:{spans}"])
    (done,) = export_tasks([task], "hear", tmp_path / "out")
    again = back("hear", done.folder)
    assert split_hash(again.folds()) == split_hash(task.folds())
    whole = read_span(manifest.with_name("audio") / "000.wav")[0]
    np.testing.assert_array_equal(read_span(again.folds()[0].test[1].path)[0], whole[4800:6400])


def test_hears_metadata_says_what_heareval_asks_for(tasks, tmp_path):
    (done,) = export_tasks(tasks(), "hear", tmp_path / "out", sample_rates=(16000, 48000))
    assert done.folder.name.startswith("tones-leveret-")
    assert done.folder.name.endswith("-full")
    metadata = json.loads((done.folder / "task_metadata.json").read_text())
    wanted = {
        "task_name": "tones", "embedding_type": "scene", "prediction_type": "multiclass", "split_mode": "trainvaltest",
        "sample_duration": 0.4, "evaluation": ["top1_acc", "mAP"], "splits": ["train", "valid", "test"],
    }  # fmt: skip
    assert {key: metadata[key] for key in wanted} == wanted
    assert read_vocabulary(done.folder / "labelvocabulary.csv") == ["high", "low"]
    for rate in (16000, 48000):
        files = sorted((done.folder / str(rate) / "test").iterdir())
        assert [file.name for file in files] == sorted(json.loads((done.folder / "test.json").read_text()))
        info = soundfile.info(files[0])
        assert (info.samplerate, info.subtype, info.frames, info.channels) == (rate, "PCM_16", round(0.4 * rate), 1)


def test_clips_of_unlike_length_keep_it_and_heareval_is_told_to_take_them_one_by_one(tasks, tmp_path):
    (task,) = tasks()
    clip = task.folds()[0].test[0]
    wave, _ = soundfile.read(clip.path, dtype="int16")
    soundfile.write(clip.path, wave[:5000], 16000)
    (done,) = export_tasks([task], "hear", tmp_path / "out")
    assert json.loads((done.folder / "task_metadata.json").read_text())["sample_duration"] is None
    (xares,) = export_tasks([task], "xares", tmp_path / "out")
    assert "batch_size_encode=1," in (xares.folder / "xares_task.py").read_text()
    for format, folder in (("hear", done.folder), ("xares", xares.folder)):
        (again,) = (one for one in back(format, folder).folds()[0].test if one.id == clip.id)
        assert soundfile.info(again.path).frames == 5000


@pytest.mark.parametrize(("column", "splits"), [("split", "train valid test"), ("fold", "a b")])
def test_x_ares_finds_tars_by_its_patterns_and_a_task_file_that_is_python(tasks, tmp_path, monkeypatch, column, splits):
    (done,) = export_tasks(tasks(splits, column=column), "xares", tmp_path / "out")
    names = sorted(path.name for path in done.folder.glob("*.tar"))
    if column == "split":
        assert names == ["test-00000.tar", "train-00000.tar", "valid-00000.tar"]
    else:
        assert names == ["wds-audio-fold-0-00000.tar", "wds-audio-fold-1-00000.tar"]
    with tarfile.open(done.folder / names[0]) as tar:
        members = tar.getmembers()
        assert [member.name.split(".")[1] for member in members] == ["wav", "json"] * (len(members) // 2)
        assert [member.name.split(".")[0] for member in members[::2]] == [m.name.split(".")[0] for m in members[1::2]]
        file = tar.extractfile(members[1])
        assert file is not None
        assert set(json.loads(file.read())) == {"label", "id", "group", "source"}
    assert (done.folder / ".audio_tar_ready").exists()
    stand_in = ModuleType("xares.task")
    stand_in.TaskConfig = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xares", ModuleType("xares"))
    monkeypatch.setitem(sys.modules, "xares.task", stand_in)
    config = run_path(str(done.folder / "xares_task.py"))["leveret_config"]("an encoder")
    assert (config["name"], config["env_root"], config["output_dim"]) == ("tones", done.folder.parent, 2)
    assert config["k_fold_splits"] == (["0", "1"] if column == "fold" else None)
    assert config["metric"] == "accuracy"
    assert config["label_processor"]({"label": "low"}) == 1


def test_tars_are_cut_into_shards(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.suites.xares.CLIPS_A_TAR", 7)
    (task,) = tasks()
    (done,) = export_tasks([task], "xares", tmp_path / "out")
    assert sorted(path.name for path in done.folder.glob("test*.tar")) == [f"test-{k:05d}.tar" for k in range(3)]
    assert split_hash(back("xares", done.folder).folds()) == split_hash(task.folds())


def test_the_same_export_again_is_left_as_it_is_and_another_is_refused(tasks, tmp_path):
    (task,) = tasks()
    (first,) = export_tasks([task], "hear", tmp_path / "out")
    marks = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    (again,) = export_tasks([task], "hear", tmp_path / "out")
    assert again.existed
    assert (again.num_clips, again.folder) == (first.num_clips, first.folder)
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == marks
    with pytest.raises(ExportError, match="is there already and is not this export; remove it"):
        export_tasks([task], "hear", tmp_path / "out", sample_rates=(8000,))
    (tmp_path / "out" / "tones").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export_tasks([task], "xares", tmp_path / "out")


@formats
def test_a_killed_export_leaves_no_folder_of_that_name_and_the_next_one_goes_on(tasks, tmp_path, format):
    tasks()
    manifest, out = tmp_path / "tones" / "manifest.csv", tmp_path / "out"
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from leveret.loading import load_tasks\n"
        "from leveret.suites import exporting\n"
        f"writer = exporting.WRITERS['{format}']\n"
        "add, calls = writer.add, []\n"
        "def killed(self, *rest):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 30: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    add(self, *rest)\n"
        "writer.add = killed\n"
        f"exporting.export_tasks(load_tasks(['manifest:{manifest}']), '{format}', Path('{out}'))\n"
    )
    (tmp_path / "killed.py").write_text(script)
    export = Started([tmp_path / "killed.py"])
    _, said = export.communicate(timeout=60)
    assert export.returncode == -signal.SIGKILL, said
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]
    (task,) = load_tasks([f"manifest:{manifest}"])
    (whole,) = export_tasks([task], format, out)
    assert split_hash(back(format, whole.folder).folds()) == split_hash(task.folds())
    assert [path.name for path in out.iterdir()] == [whole.folder.name]


def test_two_exports_of_one_task_at_once_are_told_apart(tasks, tmp_path):
    (task,) = tasks()
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".tones.partial.lock"), pytest.raises(ExportError, match="another process"):
        export_tasks([task], "xares", tmp_path / "out")


@formats
def test_unreadable_clips_are_refused_or_skipped_by_name(tasks, tmp_path, format):
    (task,) = tasks()
    broken = task.folds()[0].train[0]
    broken.path.write_text("not audio")
    with pytest.raises(TooManyBadFilesError, match=broken.path.name):
        export_tasks([task], format, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (done,) = export_tasks([task], format, tmp_path / "out", policy=BadFilePolicy("skip"))
    assert list(done.skipped) == [broken.id]
    assert done.num_clips == 59
    assert len(back(format, done.folder).folds()[0].train) == 19


def test_a_clip_that_breaks_off_while_it_is_decoded_leaves_nothing_behind(tasks, tmp_path, monkeypatch):
    (task,) = tasks()
    monkeypatch.setattr("leveret.batches._decode", lambda clip, rates: f"{clip.id} breaks off")
    with pytest.raises(TooManyBadFilesError, match="60 of 60 clips"):
        export_tasks([task], "hear", tmp_path / "out", policy=BadFilePolicy("skip"))
    assert list((tmp_path / "out").iterdir()) == []


def test_hostile_names_become_harmless_and_come_back(tmp_path):
    names = ["\x1b[31mred.wav", "a\nb.wav", "=cmd|.wav", "x" * 200 + ".wav", "..wav", "caf\u00e9.wav", "q/../q.wav"]
    (tmp_path / "q").mkdir()
    rows = ["split,label,file"]
    for number, name in enumerate(names * 2):
        path = tmp_path / (name if number < len(names) else f"2{name}")
        if "/" in name:
            path = tmp_path / "q" / ".." / (f"q{number}.wav")
        soundfile.write(tmp_path / path.name if "/" in name else path, np.full(1600, 0.1), 16000, format="WAV")
        file = str(path.relative_to(tmp_path)) if "/" in name else path.name
        rows.append(f'{"test" if number < len(names) else "train"},{"ab"[number % 2]},"{file}"')
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    (task,) = load_tasks([f"manifest:{tmp_path / 'm.csv'}"])
    for format in SPECS:
        (done,) = export_tasks([task], format, tmp_path / format)
        assert split_hash(back(format, done.folder).folds()) == split_hash(task.folds())
        for path in done.folder.rglob("*.wav"):
            assert path.name.isascii()
            assert len(path.name) < 60
            assert set(path.name) <= set(map(chr, range(33, 127))) - set("/\\=|*?<>:\"'")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sample_rates": ()}, "expected one or more different ones"),
        ({"sample_rates": (16000, 16000)}, "expected one or more different ones"),
        ({"sample_rates": (1,)}, "sample rate 1 Hz; expected 4000 to 192000"),
        ({"format": "xares", "sample_rates": (16000, 48000)}, "X-ARES resamples itself, so give one"),
    ],
)
def test_options_that_make_no_sense_are_refused(tasks, tmp_path, options, complaint):
    with pytest.raises(ExportError, match=complaint):
        export_tasks(tasks(), **{"format": "hear", "output": tmp_path / "out", **options})
    assert not any((tmp_path / "out").glob("*"))


def test_no_tasks_are_no_export(tmp_path):
    with pytest.raises(ExportError, match="no tasks to export"):
        export_tasks([], "hear", tmp_path)


def test_two_folds_are_too_few_for_hear(tasks, tmp_path):
    with pytest.raises(ExportError, match="has 2 folds; HEAR needs 3"):
        export_tasks(tasks("a b", column="fold"), "hear", tmp_path / "out")


def test_a_full_disk_is_told_before_anything_is_written(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OSError, match="the export of 'tones' needs"):
        export_tasks(tasks(), "hear", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_is_a_file_is_told(tasks, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ExportError, match="cannot be a folder"):
        export_tasks(tasks(), "hear", tmp_path / "out")


@pytest.fixture
def speakers(shared, tmp_path):
    """A small real task of Ogg files, and its result."""
    config = EvaluateConfig(output=tmp_path / "runs", floor=False, only=("speech_speaker_en",))
    manifest = f"manifest:{shared / 'data' / 'dev' / 'manifest.csv'}"
    (run,) = evaluate("melstats", manifest, "quick", config=config)
    return load_tasks([manifest], ["speech_speaker_en"]), run.scorecard.tasks[0]


@pytest.mark.real
@formats
def test_a_real_task_of_lossy_files_comes_back_to_the_same_score_in_32_bits(speakers, tmp_path, format):
    tasks, before = speakers
    (done,) = export_tasks(tasks, format, tmp_path / "out", bits=32)
    (after,) = score_of(f"{SPECS[format]}:{done.folder}", tmp_path / "runs")
    assert (after.score, after.interval, after.split_hash) == (before.score, before.interval, before.split_hash)


@pytest.mark.real
def test_a_real_task_of_lossy_files_comes_back_to_about_the_same_score_in_16_bits(speakers, tmp_path):
    tasks, before = speakers
    (done,) = export_tasks(tasks, "hear", tmp_path / "out")
    assert done.rounded == 100
    (after,) = score_of(f"hear-tasks:{done.folder}", tmp_path / "runs")
    # rounding moves the vectors of near-silence a little: allow for one of the forty test clips
    assert after.score == pytest.approx(before.score, abs=1.01 / 40)
