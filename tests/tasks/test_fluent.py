"""Fluent Speech Commands: its own tables in, three slots out; tables of another kind are told."""

import csv
import shutil

import pytest
import soundfile
from tests.tasks.toy_environment import evaluated
from tests.tasks.toy_speech import FLUENT_SPEAKERS, fluent_tree

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks import fluent
from leveret.tasks.fluent import OFFICIAL_CLIPS, SLOTS, fluent_tasks, read_split

TOP = "fluent_speech_commands_dataset"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return fluent_tree(tmp_path_factory.mktemp("data") / "fluent_speech_commands")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "fluent_speech_commands")


def fold_of(root, labels=None):
    (task,) = fluent_tasks(DataFolder(root, labels))
    return task.folds()[0]


@pytest.fixture(scope="module")
def real_tables(shared, tmp_path_factory):
    """The real tables under the names of the archive, beside one file of audio that they name."""
    root = tmp_path_factory.mktemp("real")
    (root / "data").mkdir()
    meta = shared / "meta" / "fluent_speech_commands"
    for split, name in (("train", "train_data.notranscript"), ("valid", "valid_data"), ("test", "test_data")):
        shutil.copy(meta / f"{name}.csv", root / "data" / f"{split}_data.csv")
    with (root / "data" / "train_data.csv").open(newline="") as file:
        path = root / next(csv.DictReader(file))["path"]
    path.parent.mkdir(parents=True)
    path.touch()
    return root


@pytest.mark.real
def test_the_real_tables_have_the_published_counts_31_intents_and_97_speakers_of_one_split_each(real_tables):
    fold = fold_of(real_tables)
    parts = {"train": fold.train, "valid": fold.valid, "test": fold.test}
    assert {split: len(clips) for split, clips in parts.items()} == {"train": 23_132, "valid": 3_118, "test": 3_793}
    assert {split: len(clips) for split, clips in parts.items()} == OFFICIAL_CLIPS
    speakers = {split: {clip.group for clip in clips} for split, clips in parts.items()}
    assert [len(speakers[split]) for split in parts] == [77, 10, 10]
    assert len(set.union(*speakers.values())) == 97
    intents = {split: {clip.labels for clip in clips} for split, clips in parts.items()}
    assert len(intents["train"]) == 31
    assert intents["test"] | intents["valid"] <= intents["train"]
    for k, (_, labels) in enumerate(SLOTS):
        assert {intent[k] for intent in intents["train"]} == set(labels)


@pytest.mark.real
def test_tables_that_write_none_object_are_the_same_tables(real_tables, tmp_path):
    root = shutil.copytree(real_tables, tmp_path / "dump")
    expected = {split: read_split(root / "data" / f"{split}_data.csv", split) for split in OFFICIAL_CLIPS}
    for split, rows in expected.items():
        with (root / "data" / f"{split}_data.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["path", "speakerId", "action", "object", "location"])
            writer.writeheader()
            for row in rows:
                renamed = {slot: f"none_{slot}" for slot in ("object", "location") if row[slot] == "none"}
                writer.writerow({**row, **renamed})
    assert {split: read_split(root / "data" / f"{split}_data.csv", split) for split in OFFICIAL_CLIPS} == expected


def test_the_protocol_is_that_of_appendix_a(tree):
    (task,) = fluent_tasks(DataFolder(tree))
    assert (task.name, task.stands_for) == ("fluent_speech_commands", "fluent_speech_commands")
    assert (task.suite, task.domain, task.kind, task.metric) == ("hares", "speech", "slots", "exact_match")
    assert (task.head, task.batch, task.steps) == ("linear", 64, 400_000)
    assert (task.crop_seconds, task.whole_clip, task.num_windows, task.mixed_passes) == (3.0, False, 0, 0)
    assert [(name, len(labels)) for name, labels in task.slots] == [("action", 6), ("object", 14), ("location", 4)]
    assert all(list(labels) == sorted(labels) for _, labels in task.slots)
    assert (task.slots[1][1][0], task.slots[1][1][10]) == ("Chinese", "none")
    assert not task.substitute


def test_the_toy_tree_is_divided_by_its_tables(tree):
    fold = fold_of(tree)
    for split, clips in (("train", fold.train), ("valid", fold.valid), ("test", fold.test)):
        assert {clip.group for clip in clips} == set(FLUENT_SPEAKERS[split])
        assert len(clips) == 5 * len(FLUENT_SPEAKERS[split])
        assert all(clip.path.is_file() for clip in clips)
    assert fold.test[3].labels == ("change language", "Chinese", "none")
    assert fold.test[3].id == "wavs/speakers/4BrX8aDqK2cLZRYl/00000003-452c-11e9-b1e4-e5985dca719e.wav"


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
def test_the_toy_tree_runs_end_to_end(tree, tmp_path, protocol):
    (result,) = evaluated(tree, tmp_path, protocol).scorecard.tasks
    assert (result.task, result.metric, result.clips["test"]) == ("fluent_speech_commands", "exact_match", 5)
    assert {"exact_match", "accuracy:action", "accuracy:object", "accuracy:location"} <= result.metrics.keys()
    assert any("5 test clips, 3,793 were published" in text for text in result.warnings)
    if protocol == "quick":
        assert result.score > 0.5


def test_tables_and_audio_may_lie_apart(copy, tmp_path):
    (copy / TOP / "data").rename(tmp_path / "tables")
    expected = [clip.path for clip in fold_of(copy, tmp_path / "tables").test]
    assert all(path.is_file() for path in expected)
    assert [clip.path for clip in fold_of(copy / TOP, tmp_path / "tables" / "test_data.csv").test] == expected


def test_a_copy_in_another_format_has_the_same_ids(copy):
    expected = [clip.id for clip in fold_of(copy).test]
    for path in sorted(copy.rglob("*.wav")):
        wave, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".flac"), wave, rate)
        path.unlink()
    assert [clip.id for clip in fold_of(copy).test] == expected
    assert all(clip.path.is_file() for clip in fold_of(copy).test)


def test_of_a_half_copied_tree_every_clip_is_made(copy):
    gone = sorted((copy / TOP / "wavs").rglob("*.wav"))[::3]
    for path in gone:
        path.unlink()
    fold = fold_of(copy)
    clips = [*fold.train, *fold.valid, *fold.test]
    assert sorted(clip.path for clip in clips if not clip.path.is_file()) == gone


def test_what_is_not_there_is_told(copy, tmp_path):
    shutil.rmtree(copy / TOP / "wavs")
    with pytest.raises(MissingDatasetError, match=r"no audio of Fluent Speech Commands where it should be: .*/wavs/"):
        fluent_tasks(DataFolder(copy))
    (copy / TOP / "data" / "valid_data.csv").unlink()
    with pytest.raises(MissingDatasetError, match=r"valid_data.csv is missing; .*huggingface.co"):
        fluent_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace(",path,", ",wav,", 1), r"test_data.csv lacks the columns path: its first line is"),
        (lambda text: text.replace("speakerId,", "", 1), r"lacks the columns speakerId"),
        (lambda text: text.replace("activate,lights", "explode,lights", 1), r"line 2: action 'explode'; expected"),
        (lambda text: text.replace("heat,none", "heat,attic"), r"line 3: location 'attic'; .*bedroom, kitchen, none"),
        (lambda text: text.replace("wavs/speakers/", "/data/"), r"line 2: path '/data/.*expected wavs/speakers"),
        (lambda text: text.replace("wavs/speakers/4B", "wavs/speakers/../4B"), r"line 2: path 'wavs/speakers/../4B"),
        (lambda text: text + text.splitlines()[1] + "\n", r"names 1 clips twice, such as 'wavs/speakers/4BrX8a"),
        (lambda text: text.splitlines()[0] + "\n", r"has 0 rows; expected 3,793, the test split"),
        (lambda text: text.replace("4BrX8aDqK2cLZRYl", "2BqVo8kVB2Skwgyb"), r"speaker '2BqV.*' is in train and in"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_the_published_one_is_refused(copy, change, says):
    path = copy / TOP / "data" / "test_data.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetError, match=says):
        fluent_tasks(DataFolder(copy))


def test_more_rows_than_were_published_are_another_split(copy, monkeypatch):
    monkeypatch.setattr(fluent, "OFFICIAL_CLIPS", {**OFFICIAL_CLIPS, "test": 4})
    with pytest.raises(DatasetError, match=r"has 5 rows; expected 4, the test split"):
        fluent_tasks(DataFolder(copy))


def test_the_archive_is_that_of_the_mirror():
    dataset = look_up("tasks", "fluent_speech_commands")
    assert "academic" in dataset.licence
    assert [archive.urls[0].rpartition("/")[2] for archive in dataset.archives] == ["fluent.tar.gz"]
