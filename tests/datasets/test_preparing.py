"""`data prepare`: a smaller copy in the same layout, on which scores are those of the original."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from leveret import cli
from leveret.datasets import preparing
from leveret.datasets.preparing import prepare
from leveret.progress import Reporter
from leveret.published_audio import DataFolder, DatasetError
from leveret.tasks.esc50 import esc50_tasks


def command(capsys, *words):
    status = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_copy_has_the_layout_and_scores_as_the_original(publish, toy, tmp_path, capsys):
    publish()
    copy = tmp_path / "copy"
    status, out, err = command(capsys, "data", "prepare", "toy", "--data", toy.parent, "-o", copy)
    assert status == 0, err
    assert "24 audio files (0 were there), 1 others, 0 left out: " in out
    assert "cut" not in err
    assert files_below(copy) == [f"toy/{name.replace('.wav', '.flac')}" for name in files_below(toy)]
    info = soundfile.info(copy / "toy" / "audio" / "00.flac")
    assert (info.samplerate, info.channels, info.format, info.subtype, info.frames) == (
        16_000, 1, "FLAC", "PCM_16", 4800,
    )  # fmt: skip
    assert (copy / "toy" / "list.csv").read_bytes() == (toy / "list.csv").read_bytes()
    scores = []
    for root in (toy.parent, copy):
        words = ["evaluate", "--encoder", "melstats", "--tasks", "toy_pitch", "--protocol", "quick", "--json"]
        status, out, err = command(capsys, *words, "--data", root, "-o", tmp_path / "runs", "--bad-files", "fail")
        assert status == 0, err
        scores.append(json.loads(out)[0]["tasks"][0]["score"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    assert scores[0] > 0.8


def test_a_second_call_makes_only_what_is_missing_or_changed(toy, tmp_path, monkeypatch):
    prepare(toy, tmp_path / "copy", 2, Reporter())
    (tmp_path / "copy" / "audio" / "03.flac").unlink()
    soundfile.write(toy / "audio" / "04.wav", np.full(4410, 0.25), 22_050)
    os.utime(toy / "audio" / "04.wav", (1, 1))
    made = []
    monkeypatch.setattr(preparing, "load", lambda path, rate: made.append(path.name) or np.full(400, 0.25, np.float32))
    done = prepare(toy, tmp_path / "copy", 1, Reporter())
    assert sorted(made) == ["03.wav", "04.wav"]
    assert (done.num_audio, done.num_kept) == (24, 22)


def test_what_was_stopped_in_a_file_leaves_no_half_file_under_its_name(toy, tmp_path, monkeypatch):
    def stop(path, *_, **__):
        path.write_bytes(b"fLaC half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparing.soundfile, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(toy, tmp_path / "copy", 1, Reporter())
    assert files_below(tmp_path / "copy") == ["list.csv"]
    assert prepare(toy, tmp_path / "copy", 1, Reporter()).num_audio == 24


def test_bad_files_are_counted_named_and_not_in_the_copy(publish, toy, tmp_path, capsys):
    publish()
    (toy / "audio" / "07.wav").write_text("not audio")
    words = ("data", "prepare", "toy", "--data", toy.parent, "-o", tmp_path / "copy")
    status, _, err = command(capsys, *words)
    assert status == 2
    assert "1 of 24 clips cannot be used" in err
    assert "07.wav" in err
    status, out, err = command(capsys, *words, "--bad-files", "skip", "--json")
    assert status == 0
    row = json.loads(out)
    assert (row["num_audio"], row["num_kept"]) == (23, 23)
    assert [path.rsplit("/", 1)[1] for path in row["bad"]] == ["07.wav"]
    assert "left out: " in err
    assert not (tmp_path / "copy" / "toy" / "audio" / "07.flac").exists()


def test_a_file_that_broke_since_is_not_left_in_the_copy(toy, tmp_path):
    prepare(toy, tmp_path / "copy", 1, Reporter())
    (toy / "audio" / "07.wav").write_text("not audio")
    prepare(toy, tmp_path / "copy", 1, Reporter())
    assert not (tmp_path / "copy" / "audio" / "07.flac").exists()


def test_two_formats_of_one_name_archives_and_loud_files_are_told(toy, tmp_path):
    soundfile.write(toy / "audio" / "00.flac", np.zeros(4000), 16_000)
    soundfile.write(toy / "audio" / "01.wav", np.full(4000, 1.5), 16_000, "FLOAT")
    soundfile.write(toy / "audio" / "03.wav", np.full(4000, -1.0), 16_000, "FLOAT")
    (toy / "toy.zip").write_bytes(b"PK")
    done = prepare(toy, tmp_path / "copy", 1, Reporter())
    assert "'00.flac' in another format" in done.bad[str(toy / "audio" / "00.wav")]
    assert done.clipped == 1
    assert done.left_out == [str(toy / "toy.zip")]
    assert (done.num_audio, done.num_others) == (24, 1)


def test_the_command_says_that_something_was_cut_off(publish, toy, tmp_path, capsys):
    publish()
    soundfile.write(toy / "audio" / "01.wav", np.full(4000, 1.5), 16_000, "FLOAT")
    status, _, err = command(capsys, "data", "prepare", "toy", "--data", toy.parent, "-o", tmp_path / "copy")
    assert status == 0
    assert "16 bits cut 1 file off at full scale, which can move scores" in err


def test_what_is_16_kHz_mono_and_16_bits_comes_out_as_it_was(toy, tmp_path):  # noqa: N802
    samples = np.random.default_rng(0).integers(-32768, 32768, 8000, dtype=np.int16)
    soundfile.write(toy / "audio" / "00.wav", samples, 16_000)
    assert prepare(toy, tmp_path / "copy", 1, Reporter()).clipped == 0
    assert np.array_equal(soundfile.read(tmp_path / "copy" / "audio" / "00.flac", dtype="int16")[0], samples)


@pytest.mark.parametrize("place", ["", "copy", ".."])
def test_a_copy_inside_the_original_is_refused(toy, place):
    with pytest.raises(DatasetError, match="lie in each other"):
        prepare(toy, toy / place, 1, Reporter())


def test_a_folder_without_audio_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no audio below"):
        prepare(tmp_path / "empty", tmp_path / "copy", 1, Reporter())


def test_a_copy_that_does_not_fit_is_not_begun(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 10_000})())
    with pytest.raises(OSError, match=r"a copy in .* needs 0\.00 GB"):
        prepare(toy, tmp_path / "copy", 1, Reporter())
    assert files_below(tmp_path / "copy") == []


def test_hares_is_more_than_one_dataset(capsys, tmp_path):
    status, _, err = command(capsys, "data", "prepare", "hares", "-o", tmp_path)
    assert status == 2
    assert "prepare them one by one" in err


@pytest.mark.real
def test_a_copy_of_some_of_the_real_esc50_is_read_by_stem(shared, tmp_path):
    here = tmp_path / "some" / "audio"
    here.mkdir(parents=True)
    for path in sorted((shared / "data" / "dev" / "esc50").rglob("*.ogg"))[::200]:
        shutil.copy(path, here)
    (tmp_path / "some" / "meta").mkdir()
    shutil.copy(shared / "meta" / "esc50" / "esc50.csv", tmp_path / "some" / "meta")
    done = prepare(tmp_path / "some", tmp_path / "copy", 2, Reporter())
    assert (done.num_audio, done.num_others, done.bad) == (10, 1, {})
    clips = {clip.id: clip.path for fold in folds_of_esc50(tmp_path / "copy") for clip in fold.test}
    found = [path for path in clips.values() if path.is_file()]
    assert len(found) == 10
    assert {path.suffix for path in found} == {".flac"}


def folds_of_esc50(root):
    (task,) = esc50_tasks(DataFolder(root))
    return task.folds()


def test_a_dataset_as_parquet_is_copied_as_the_tree_that_it_is_unpacked_into(publish, toy, tmp_path, capsys):
    publish()
    (root := tmp_path / "parquet" / "toy").mkdir(parents=True)
    rows = [
        {"file": f"audio/{path.name}", "audio": {"bytes": path.read_bytes(), "path": path.name}}
        for path in sorted((toy / "audio").iterdir())
    ]
    parquet.write_table(pa.Table.from_pylist(rows), root / "train.parquet")
    shutil.copy(toy / "list.csv", root / "list.csv")
    status, out, err = command(capsys, "data", "prepare", "toy", "--data", root.parent, "-o", tmp_path / "copy")
    assert status == 0, err
    assert "24 audio files (0 were there)" in out
    assert command(capsys, "data", "check", "toy", "--data", tmp_path / "copy")[0] == 0
