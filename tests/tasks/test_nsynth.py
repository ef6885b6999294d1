"""NSynth: its own index in, instruments and pitches out; what is missing, mixed or of another version is told."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.tasks.toy_music import nsynth_tree

from leveret.audio import window_starts
from leveret.bad_files import TooManyBadFilesError
from leveret.dataroots import DataRoots
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.protocols import Protocol
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.runner import Compute
from leveret.tasks import nsynth
from leveret.tasks.nsynth import FAMILIES, KEYS, nsynth_tasks, read_notes


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return nsynth_tree(tmp_path_factory.mktemp("data") / "nsynth")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "nsynth")


def change(index, change_record):
    """Rewrite an index with its first record changed."""
    records = json.loads(index.read_text())
    change_record(next(iter(records.values())))
    index.write_text(json.dumps(records))


@pytest.mark.real
def test_the_real_index_has_the_keys_that_are_read(shared):
    path = shared / "meta" / "nsynth" / "nsynth-test.examples.excerpt.json"
    records = json.loads(path.read_text())
    notes = list(read_notes(path))
    assert len(notes) == len(records) == 23
    for note, (name, record) in zip(notes, records.items(), strict=True):
        assert set(KEYS) < set(record)
        assert (note.name, note.instrument, note.pitch) == (name, record["instrument_str"], record["pitch"])
        assert FAMILIES[note.family] == record["instrument_family_str"]
    assert notes[0] == ("bass_synthetic_068-049-025", "bass_synthetic_068", 0, 49)


def test_the_protocols_are_those_of_appendix_a(tree):
    instrument, pitch = nsynth_tasks(DataFolder(tree))
    for task in (instrument, pitch):
        assert (task.suite, task.domain, task.kind, task.metric) == ("hares", "music", "single", "micro_f1")
        assert (task.head, task.batch, task.steps, task.mixed_passes) == ("linear", 64, 400_000, 0)
        assert (task.whole_clip, task.substitute, task.stands_for) == (False, False, task.name)
        assert task.official_clips == {"train": 289_205, "valid": 12_678, "test": 4_096}
        assert sum(task.official_clips[split] for split in ("train", "test")) == 293_301  # table 1: 293k
    assert (instrument.name, len(instrument.labels), instrument.crop_seconds) == ("nsynth_instrument", 11, 4.0)
    assert (pitch.name, len(pitch.labels), pitch.crop_seconds) == ("nsynth_pitch", 128, 1.0)
    windows = window_starts(4.0, pitch.crop_seconds, num_windows=pitch.num_windows)
    np.testing.assert_allclose(windows, [0, 1, 2, 3], atol=1e-9)
    assert window_starts(4.0, instrument.crop_seconds, num_windows=instrument.num_windows) == [0]
    assert (instrument.labels[0], instrument.labels[9], instrument.labels[10]) == ("bass", "synth_lead", "vocal")
    assert (pitch.labels[0], pitch.labels[127]) == ("0", "127")


def test_the_published_files_are_named_with_their_checksums():
    dataset = look_up("tasks", "nsynth")
    assert sum(dataset.archives[k].num_bytes or 0 for k in range(3)) < dataset.num_bytes == 25_233_566_634
    assert [archive.checksum for archive in dataset.archives] == [
        "md5:fde6665a93865503ba598b9fac388660", "md5:87e94a00a19b6dbc99cf6d4c0c0cae87",
        "md5:5e6f8719bf7e16ad0a00d518b78af77d",
    ]  # fmt: skip
    assert dataset.tasks == ("nsynth_instrument", "nsynth_pitch")


def test_the_tree_of_the_archives_gives_its_splits_in_groups_of_instruments(tree):
    for task, label in zip(nsynth_tasks(DataFolder(tree.parent)), ("guitar", "60"), strict=True):
        (fold,) = task.folds()
        assert [len(part) for part in (fold.train, fold.valid, fold.test)] == [6, 4, 4]
        first = fold.test[0]
        assert (first.id, first.labels) == ("nsynth-test/audio/guitar_acoustic_030-060-100.wav", (label,))
        assert first.group == "guitar_acoustic_030"
        assert all(clip.path.is_file() for part in (fold.train, fold.valid, fold.test) for clip in part)


@pytest.mark.parametrize("protocol", ["quick", "cached"])
def test_toy_notes_are_told_apart_end_to_end(tree, tmp_path, protocol):
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", floor=False,
        data=DataRoots(folders={"nsynth": tree}),
        protocol=Protocol(name=protocol, steps=2000 if protocol == "cached" else None, check_rates=False),
    )  # fmt: skip
    (run,) = evaluate("melstats", "nsynth", protocol, config=config)
    instrument, pitch = run.scorecard.tasks
    assert (instrument.task, pitch.task) == ("nsynth_instrument", "nsynth_pitch")
    assert instrument.score == 1.0
    assert pitch.score == 1.0
    assert instrument.clips == {"train": 6, "valid": 4 if protocol == "quick" else 0, "test": 4}
    assert instrument.coverage == pytest.approx(4 / 4096)  # a toy says by itself that it is none of the published sets


def test_one_task_of_the_two_is_had_by_its_name(tree, tmp_path):
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", floor=False,
        data=DataRoots(folders={"nsynth": tree}),
    )  # fmt: skip
    (run,) = evaluate("melstats", "nsynth_pitch", "quick", config=config)
    assert [task.task for task in run.scorecard.tasks] == ["nsynth_pitch"]


def test_without_the_validation_split_there_is_none_and_the_result_says_so(copy):
    shutil.rmtree(copy / "nsynth-valid")
    for task in nsynth_tasks(DataFolder(copy)):
        assert not task.folds()[0].valid
        assert "nsynth-valid is not there" in task.notes


def test_audio_elsewhere_and_of_another_format_is_matched_by_name(copy):
    (copy / "flac").mkdir()
    for path in list(copy.glob("*/audio/*.wav")):
        path.rename(copy / "flac" / f"{path.stem}.flac")
    shutil.rmtree(copy / "nsynth-train" / "audio")
    (fold,) = nsynth_tasks(DataFolder(copy))[0].folds()
    assert {clip.path.suffix for clip in (*fold.train, *fold.valid, *fold.test)} == {".flac"}
    assert all(clip.path.is_file() for clip in fold.train)


def test_the_indices_may_lie_elsewhere(copy, tmp_path):
    for index in copy.glob("*/examples.json"):
        (tmp_path / "labels" / index.parent.name).mkdir(parents=True)
        index.rename(tmp_path / "labels" / index.parent.name / index.name)
    with pytest.raises(MissingDatasetError, match=r"nsynth-train/examples.json is missing; .*magenta"):
        nsynth_tasks(DataFolder(copy))
    assert len(nsynth_tasks(DataFolder(copy, tmp_path / "labels"))[0].folds()[0].test) == 4


def test_of_a_half_copied_archive_the_missing_files_are_counted_and_named(copy, tmp_path):
    for path in sorted((copy / "nsynth-train" / "audio").iterdir())[:3]:
        path.unlink()
    (fold,) = nsynth_tasks(DataFolder(copy))[0].folds()
    assert len(fold.train) == 6
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", data=DataRoots(folders={"nsynth": copy})
    )
    with pytest.raises(TooManyBadFilesError, match=r"3 of 14.*\n?.*guitar_acoustic_010-060-100.wav"):
        evaluate("melstats", "nsynth_instrument", "quick", config=config)


def test_a_folder_of_something_else_says_what_was_expected(tmp_path):
    with pytest.raises(MissingDatasetError, match=r"nsynth-train/examples.json is missing; .*CC BY 4.0"):
        nsynth_tasks(DataFolder(tmp_path))


def test_indices_without_any_audio_are_no_dataset(copy):
    for folder in copy.glob("*/audio"):
        shutil.rmtree(folder)
    with pytest.raises(
        MissingDatasetError, match=r"no audio of NSynth where it should be: .*nsynth-train/audio/guitar"
    ):
        nsynth_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pitch": 128}, r"has pitch 128 and instrument_family 3; expected 0 to 127 and 0 to 10"),
        ({"pitch": "60"}, r"has pitch '60'"),
        ({"instrument_family": 11}, r"instrument_family 11; expected 0 to 127 and 0 to 10"),
        ({"instrument_family": 4}, r"instrument_family 4 \('guitar'\).*expected a name FAMILY_SOURCE_III"),
        ({"pitch": 61}, r"and pitch 61; expected a name"),
        ({"instrument_str": "guitar_acoustic_011"}, r"instrument_str 'guitar_acoustic_011'"),
        ({"note_str": "x"}, r"has note_str 'x'"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(copy, changes, says):
    change(copy / "nsynth-train" / "examples.json", lambda record: record.update(changes))
    with pytest.raises(DatasetError, match=says):
        nsynth_tasks(DataFolder(copy))


def test_a_record_without_a_key_is_named(copy):
    change(copy / "nsynth-test" / "examples.json", lambda record: record.pop("instrument_str"))
    with pytest.raises(DatasetError, match=r"'guitar_acoustic_030-060-100' lacks instrument_str; expected the records"):
        nsynth_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with ''"),
        ("[]", r"begins with '\[\]'"),
        ('{"a": {}', "'a' lacks note_str"),
        ('{"a": 1}', "ends early"),
        ('{"a": {"b": [1, }', "ends early"),
        ("{} {}", "something follows its end"),
        ('{"../../x": {}}', r"'../../x' lacks note_str"),
        ("{}", "holds 0 notes; expected 289,205"),
        ('{"a": ' + "[" * 3_000_000, r"no record can be made of '\"a\": \[\["),
    ],
)
def test_what_is_no_index_is_refused(copy, text, says):
    (copy / "nsynth-train" / "examples.json").write_text(text)
    with pytest.raises(DatasetError, match=says):
        nsynth_tasks(DataFolder(copy))


def test_bytes_that_are_no_text_are_refused(copy):
    (copy / "nsynth-train" / "examples.json").write_bytes(b'{"\xff": {}}')
    with pytest.raises(DatasetError, match="cannot be read"):
        nsynth_tasks(DataFolder(copy))


@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
def test_an_index_is_read_the_same_whatever_the_pieces(tree, monkeypatch, step):
    path = tree / "nsynth-train" / "examples.json"
    whole = [name for name in json.loads(path.read_text())]
    monkeypatch.setattr(nsynth, "_CHARACTERS_AT_ONCE", step)
    assert [note.name for note in read_notes(path)] == whole


def test_a_name_that_leads_out_of_the_folder_is_refused(copy):
    index = copy / "nsynth-train" / "examples.json"
    records = json.loads(index.read_text())
    record = next(iter(records.values()))
    index.write_text(json.dumps({"../../etc": {**record, "note_str": "../../etc"}}))
    with pytest.raises(DatasetError, match=r"'../../etc' has note_str.*expected a name FAMILY_SOURCE"):
        nsynth_tasks(DataFolder(copy))


def test_splits_of_two_divisions_are_refused(copy):
    shutil.copy(copy / "nsynth-train" / "examples.json", copy / "nsynth-test" / "examples.json")
    with pytest.raises(DatasetError, match=r"2 instruments are in train and in test, such as 'guitar_acoustic_010'"):
        nsynth_tasks(DataFolder(copy))


def test_more_notes_than_were_published_are_another_version(copy, monkeypatch):
    monkeypatch.setattr(nsynth, "OFFICIAL_CLIPS", {"train": 5, "valid": 12_678, "test": 4_096})
    with pytest.raises(DatasetError, match=r"holds 6 notes; expected 5, the train split"):
        nsynth_tasks(DataFolder(copy))


def test_the_two_tasks_share_what_is_read_of_the_index(tree):
    instrument, pitch = nsynth_tasks(DataFolder(tree))
    assert instrument.parts is pitch.parts
    assert replace(pitch, label="family", slots=instrument.slots).folds()[0].test == instrument.folds()[0].test
