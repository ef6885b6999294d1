"""Speech Commands: the lists in, 12 and 35 classes out; two versions are never mixed."""

import shutil
import zipfile
from collections import Counter

import pytest
from tests.tasks.toy_environment import evaluated
from tests.tasks.toy_speech import speech_commands_tree

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.tasks.speech_commands import (
    LABELS_V1,
    LABELS_V2,
    SILENCE,
    SILENCE_WINDOWS,
    TEN_WORDS,
    UNKNOWN,
    VERSIONS,
    read_list,
    speech_commands_tasks,
)

V002 = VERSIONS["v0.02"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return speech_commands_tree(tmp_path_factory.mktemp("data") / "speech_commands")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "speech_commands")


def both(root, **settings):
    return {task.name: task for task in speech_commands_tasks(DataFolder(root, **settings))}


@pytest.mark.real
def test_the_published_lists_have_the_published_counts(shared):
    meta = shared / "meta"
    test, valid = (read_list(meta / "speech_commands_v2" / name, V002, k) for k, name in enumerate(LISTS))
    assert (len(test), len(valid)) == (11_005, 9_981)
    assert 105_829 - len(test) - len(valid) == V002.official["train"] - 668 == 84_843
    ten = Counter(name.split("/")[0] for name in test)
    assert sum(ten[word] for word in TEN_WORDS) == 4_074
    assert 4_074 + 2 * V002.num_extra == V002.official["test"] == 4_890
    v001 = VERSIONS["v0.01"]
    test, valid = (read_list(meta / "speech_commands_v1" / name, v001, k) for k, name in enumerate(LISTS))
    assert (len(test), len(valid)) == (6_835, 6_798)
    ten = Counter(name.split("/")[0] for name in test)
    assert sum(ten[word] for word in TEN_WORDS) + 2 * 257 == v001.official["test"] == 3_081


LISTS = ("testing_list.txt", "validation_list.txt")


def test_the_published_background_files_give_the_published_windows():
    assert sum(SILENCE_WINDOWS.values()) - SILENCE_WINDOWS["running_tap"] == 668
    assert SILENCE_WINDOWS["running_tap"] == 121


@pytest.mark.real
def test_the_two_small_archives_run_end_to_end(shared, tmp_path):
    root = tmp_path / "speech_commands"
    for name in ("speech_commands_v0.02", "speech_commands_test_set_v0.02"):
        with zipfile.ZipFile(shared / "meta" / "speech_commands_v2" / "hear_small" / f"{name}-small.zip") as archive:
            archive.extractall(root)
    for folder in list(root.iterdir()):
        if folder.name.endswith("-small"):
            folder.rename(folder.with_name(folder.name.removesuffix("-small")))
    tasks = both(root)
    there = {
        name: {split: sum(clip.path.is_file() for clip in getattr(fold, split)) for split in ("train", "valid", "test")}
        for name, task in tasks.items()
        for fold in task.folds()
    }
    assert there["speech_commands_v1"]["test"] == 96
    run = evaluated(root, tmp_path, "quick", only=("speech_commands_v1",), skip=True)
    (result,) = run.scorecard.tasks
    assert result.clips["test"] == 96
    assert result.coverage == pytest.approx(96 / 4_890)
    assert any("2.0% of the test clips scored" in warning for warning in result.warnings)


def test_the_protocol_is_the_papers(tree):
    tasks = both(tree)
    assert [len(tasks[name].labels) for name in ("speech_commands_v1", "speech_commands_v2")] == [12, 35]
    for task in tasks.values():
        assert (task.crop_seconds, task.head, task.batch, task.steps) == (1.0, "linear", 64, 400_000)
        assert (task.suite, task.domain, task.kind, task.metric) == ("hares", "speech", "single", "micro_f1")
    assert tasks["speech_commands_v1"].labels == LABELS_V1
    assert tasks["speech_commands_v2"].labels == LABELS_V2 == tuple(sorted(LABELS_V2))


def test_twelve_classes_are_made_of_ten_words_the_others_and_windows_of_noise(tree):
    (fold,) = both(tree)["speech_commands_v1"].folds()
    counts = Counter(clip.labels[0] for clip in fold.train)
    # two clips of each word are in no list; 2.2 s of noise hold three windows, each half a second after the last
    assert counts == {**dict.fromkeys(TEN_WORDS, 2), UNKNOWN: 2 * 25, SILENCE: 3 * 5}
    windows = [(clip.start, clip.end) for clip in fold.train if clip.id.startswith("_background_noise_/white")]
    assert windows == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    assert {clip.group for clip in fold.valid if clip.labels == (SILENCE,)} == {"_background_noise_/running_tap.wav"}
    assert Counter(clip.labels[0] for clip in fold.test) == {**dict.fromkeys(TEN_WORDS, 1), UNKNOWN: 2, SILENCE: 2}
    unknown = next(clip for clip in fold.test if clip.labels == (UNKNOWN,))
    assert (unknown.id, unknown.group) == ("_unknown_/seven_fb7eb480_nohash_1.wav.wav", "fb7eb480")


def test_thirty_five_classes_are_divided_by_the_lists(tree):
    (fold,) = both(tree)["speech_commands_v2"].folds()
    assert (len(fold.train), len(fold.valid), len(fold.test)) == (70, 35, 35)
    assert not {clip.labels[0] for clip in fold.train} ^ set(LABELS_V2)


@pytest.mark.parametrize("layout", ["unpacked into one folder", "torchaudio"])
def test_other_layouts_give_the_same_clips(tree, copy, layout):
    if layout == "torchaudio":
        (copy / "SpeechCommands").mkdir()
        (copy / "speech_commands_v0.02").rename(copy / "SpeechCommands" / "speech_commands_v0.02")
    else:
        for path in list((copy / "speech_commands_v0.02").iterdir()):
            path.rename(copy / path.name)
        (copy / "speech_commands_v0.02").rmdir()
    for name, task in both(copy).items():
        (expected,), (found,) = both(tree)[name].folds(), task.folds()
        for split in ("train", "valid", "test"):
            assert [clip.id for clip in getattr(found, split)] == [clip.id for clip in getattr(expected, split)]
            assert all(clip.path.is_file() for clip in getattr(found, split))


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
def test_a_toy_tree_is_scored(tree, tmp_path, protocol):
    results = evaluated(tree, tmp_path, protocol).scorecard.tasks
    assert [result.task for result in results] == ["speech_commands_v1", "speech_commands_v2"]
    assert [result.clips["test"] for result in results] == [14, 35]


def test_the_35_classes_need_no_test_set_and_the_12_say_which_archive_is_missing(copy):
    shutil.rmtree(copy / "speech_commands_test_set_v0.02")
    assert list(both(copy, only=("speech_commands_v2",))) == ["speech_commands_v2"]
    with pytest.raises(MissingDatasetError, match=r"speech_commands_test_set_v0.02.tar.gz; unpack it there"):
        both(copy)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("yes/00000000_nohash_0.mp3", "expected WORD/HASH_nohash_N.wav"),
        ("hello/00000000_nohash_0.wav", "with one of the 35 words of v0.02"),
        ("../../etc/passwd", "line 36: '../../etc/passwd'"),
    ],
)
def test_a_list_with_another_line_is_refused(copy, line, says):
    with (copy / "speech_commands_v0.02" / "testing_list.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DatasetError, match=says):
        both(copy)


def test_a_list_of_another_version_is_refused(copy):
    path = copy / "speech_commands_v0.02" / "testing_list.txt"
    added = ("backward", "follow", "forward", "learn", "visual")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith(added)))
    with pytest.raises(DatasetError, match=r"is not that of v0.02: it has 30 entries of 30 words"):
        both(copy)


def test_two_versions_in_one_folder_are_refused(copy):
    (copy / "speech_commands_v0.02").rename(copy / "speech_commands_v0.01")
    with pytest.raises(DatasetError, match=r"two versions|with one of the 30 words of v0.01"):
        both(copy, variant="v0.01", only=("speech_commands_v1",))


def test_a_missing_list_and_a_wrong_root_are_told(copy, tmp_path):
    (copy / "speech_commands_v0.02" / "validation_list.txt").unlink()
    with pytest.raises(MissingDatasetError, match=r"validation_list.txt is missing; it is to be had from"):
        both(copy)
    with pytest.raises(MissingDatasetError, match=r"testing_list.txt is missing"):
        both(tmp_path)
