"""ESC-50: its own table in, five folds of 400 out; what is missing or wrong is told."""

import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.tasks.esc50 import esc50_tasks, read_metadata

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def table(shared):
    return shared / "meta" / "esc50" / "esc50.csv"


@pytest.fixture(scope="session")
def tree(table, tmp_path_factory):
    """The official tree: real metadata, and files that hold 50 ms each."""
    root = tmp_path_factory.mktemp("esc50") / "ESC-50-master"
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    shutil.copy(table, root / "meta" / "esc50.csv")
    first = root / "audio" / "first.tmp"
    soundfile.write(first, np.full(800, 0.1), 16_000, format="WAV")
    for row in read_metadata(table):
        (root / "audio" / row.filename).hardlink_to(first)
    first.unlink()
    return root


def test_the_official_tree_gives_five_folds_of_400_with_every_class_in_each(tree):
    (task,) = esc50_tasks(DataFolder(tree.parent))
    folds = task.folds()
    assert [(len(fold.train), len(fold.valid), len(fold.test)) for fold in folds] == [(1600, 0, 400)] * 5
    for number, fold in enumerate(folds, 1):
        assert {clip.id[0] for clip in fold.test} == {str(number)}  # the first digit of the name is the fold
        assert set(Counter(clip.labels[0] for clip in fold.test).values()) == {8}
        assert not {clip.id for clip in fold.train} & {clip.id for clip in fold.test}
    assert len(task.labels) == 50
    assert (task.labels[0], task.labels[14], task.labels[49]) == ("dog", "chirping_birds", "hand_saw")
    assert all(
        clip.labels[0] == task.labels[int(clip.id.removesuffix(".wav").split("-")[-1])] for clip in folds[0].test
    )
    assert [(clip.path.name, clip.group) for clip in folds[0].test[:1]] == [("1-100032-A-0.wav", "100032")]


def test_the_protocol_is_the_papers(tree):
    (task,) = esc50_tasks(DataFolder(tree))
    assert (task.suite, task.domain, task.head, task.crop_seconds) == ("hares", "environment", "svm", 5.0)
    assert (task.mixed_passes, task.tuned_on_first_fold, task.metric) == (10, True, "micro_f1")


def test_audio_of_any_kind_in_any_folder_is_matched_by_stem(shared, table):
    (task,) = esc50_tasks(DataFolder(shared / "data" / "dev" / "esc50", table))
    assert {clip.path.suffix for fold in task.folds() for clip in fold.test} == {".ogg"}


def test_a_missing_table_says_where_to_get_it(tmp_path):
    with pytest.raises(DatasetError, match=r"meta/esc50.csv is missing; .*github.com/karolpiczak/ESC-50"):
        esc50_tasks(DataFolder(tmp_path))


def test_of_a_half_copied_archive_every_clip_is_made_so_that_what_is_missing_is_counted_and_named(tree, tmp_path):
    copied = tmp_path / "half"
    (copied / "audio").mkdir(parents=True)
    shutil.copytree(tree / "meta", copied / "meta")
    for path in sorted((tree / "audio").iterdir())[7:]:
        (copied / "audio" / path.name).hardlink_to(path)
    (task,) = esc50_tasks(DataFolder(copied))
    absent = [clip.path.name for clip in task.folds()[0].test if not clip.path.is_file()]
    assert len(absent) == 7
    assert absent[0] == "1-100032-A-0.wav"


def test_a_folder_without_the_audio_is_not_taken_for_a_dataset_that_lacks_all_of_it(tree, tmp_path):
    shutil.copytree(tree / "meta", tmp_path / "meta")
    with pytest.raises(MissingDatasetError, match=r"no audio of ESC-50 where it should be: .*1-100032-A-0.wav"):
        esc50_tasks(DataFolder(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: ["a,b", *lines[1:]], "lacks the columns filename, fold"),
        (lambda lines: lines[:401], "fold 1: 400; expected 5 folds of 400"),
        (lambda lines: [lines[0], lines[1].replace(",1,0,", ",6,0,"), *lines[2:]], "has fold 6 and target 0"),
        (lambda lines: lines[:1], "holds no clips"),
        (lambda lines: [lines[0], lines[1].replace(",dog,", ",cat,"), *lines[2:]], "does not pair each target"),
        (lambda lines: [lines[0], lines[1].replace(",1,0,", ",one,0,"), *lines[2:]], "cannot be read"),
        (lambda lines: [*lines[:2], lines[1], *lines[3:]], "names 1 clips twice, such as '1-100032-A-0'"),
    ],
)
def test_another_table_is_refused(table, tmp_path, change, says):
    path = tmp_path / "esc50.csv"
    path.write_text("\n".join(change(table.read_text().splitlines())) + "\n")
    with pytest.raises(DatasetError, match=says):
        read_metadata(path)
