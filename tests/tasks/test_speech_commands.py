"""Speech Commands: its own lists in, 12 and 35 classes out, over two versions; what is missing or mixed is told."""

import shutil
from collections import Counter
from zipfile import ZipFile

import pytest
import soundfile
from tests.tasks.toy_environment import evaluated
from tests.tasks.toy_speech import COMMAND_SPEAKERS, speech_commands_tree

from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.dataroots import DataRoots
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.loading import find_tasks
from leveret.protocols import Protocol
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.runner import Compute
from leveret.tasks.speech_commands import (
    BACKGROUND,
    LABELS_V1,
    LABELS_V2,
    LISTS,
    OFFICIAL_V2,
    SILENCE_WINDOWS,
    TEN_WORDS,
    VERSIONS,
    Words,
    read_list,
    speaker,
    speech_commands_tasks,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return speech_commands_tree(tmp_path_factory.mktemp("data") / "speech_commands")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "speech_commands")


def fold_of(root, task="speech_commands_v1", **folder):
    (made,) = speech_commands_tasks(DataFolder(root, only=(task,), **folder))
    return made.folds()[0]


def real_words(shared, version, train):
    lists = shared / "meta" / f"speech_commands_{'v2' if version == 'v0.02' else 'v1'}"
    test, valid = (read_list(lists / name, VERSIONS[version], k) for k, name in enumerate(LISTS))
    return Words(VERSIONS[version], lists, {name: lists / name for name in [*train, *valid, *test]}, test, valid)


@pytest.mark.real
def test_the_lists_of_v2_have_the_published_counts_and_share_no_speaker(shared):
    fold = real_words(shared, "v0.02", []).fold(LABELS_V2)
    assert (len(fold.valid), len(fold.test)) == (9_981, 11_005) == (OFFICIAL_V2["valid"], OFFICIAL_V2["test"])
    assert not {clip.group for clip in fold.valid} & {clip.group for clip in fold.test}
    assert {clip.labels[0] for clip in fold.test} == set(LABELS_V2)
    assert OFFICIAL_V2["train"] == 105_829 - 9_981 - 11_005


@pytest.mark.real
def test_the_test_set_of_v1_has_4074_words_of_the_list_and_408_clips_each_of_unknown_and_silence(shared, tmp_path):
    lists = shared / "meta" / "speech_commands_v2"
    tested = tmp_path / "speech_commands_test_set_v0.02"
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / "0a7c2a8d_nohash_0.wav").touch()
    for folder in ("_unknown_", "_silence_"):
        (tested / folder).mkdir(parents=True)
    names = (lists / LISTS[0]).read_text().split()
    for k, name in enumerate([name for name in names if name.split("/")[0] not in TEN_WORDS][:408]):
        (tested / "_unknown_" / f"{name.replace('/', '_')}.wav").touch()
        (tested / "_silence_" / f"{k}.wav").touch()
    fold = fold_of(tmp_path, labels=lists)
    counts = Counter(clip.labels[0] for clip in fold.test)
    assert sum(counts[word] for word in TEN_WORDS) == 4_074
    assert (counts["_unknown_"], counts["_silence_"], counts.total()) == (408, 408, 4_890)
    assert counts.total() == VERSIONS["v0.02"].official["test"]


@pytest.mark.real
def test_the_literal_v1_has_51088_words_to_train_on_18538_of_them_in_the_ten(shared):
    train = (shared / "meta" / "speech_commands_v1" / "train_list.derived.txt").read_text().split()
    words = real_words(shared, "v0.01", train)
    fold = words.fold(TEN_WORDS)
    assert len(words.files) == 64_721 == VERSIONS["v0.01"].num_clips
    assert (len(fold.train), len(fold.valid), len(fold.test)) == (51_088, 6_798, 6_835)
    assert sum(clip.labels[0] in TEN_WORDS for clip in fold.train) == 18_538
    assert sum(clip.labels[0] in TEN_WORDS for clip in fold.test) == 2_567
    assert VERSIONS["v0.01"].official["test"] == 2_567 + 257 + 257 == 3_081
    assert VERSIONS["v0.01"].official["train"] == 51_088 + 668


def test_668_windows_of_silence_complete_the_published_85511_and_121_the_10102():
    train = sum(count for stem, count in SILENCE_WINDOWS.items() if stem != "running_tap")
    assert (train, SILENCE_WINDOWS["running_tap"]) == (668, 121)
    official = VERSIONS["v0.02"].official
    assert official == {"train": 84_843 + 668, "valid": 9_981 + 121, "test": 4_890}
    assert official["train"] + official["test"] == 90_401  # the 90k of the paper's table 1


@pytest.fixture(scope="module")
def small(shared, tmp_path_factory):
    """The two small real archives, each unpacked into the folder of the whole one."""
    root = tmp_path_factory.mktemp("real") / "speech_commands"
    for name in ("speech_commands_v0.02", "speech_commands_test_set_v0.02"):
        with ZipFile(shared / "meta" / "speech_commands_v2" / "hear_small" / f"{name}-small.zip") as archive:
            archive.extractall(root / name)
    return root


@pytest.mark.real
def test_a_real_background_file_is_cut_into_121_windows(small):
    fold = fold_of(small)
    spans = [(clip.start, clip.end) for clip in fold.valid if clip.path.name == "running_tap.wav"]
    seconds = soundfile.info(small / "speech_commands_v0.02" / BACKGROUND / "running_tap.wav").duration
    assert len(spans) == 121
    assert spans[:2] == [(0.0, 1.0), (0.5, 1.5)]
    assert seconds - 0.5 <= spans[-1][1] < seconds


@pytest.mark.real
@pytest.mark.parametrize("protocol", ["quick", "cached"])
def test_the_two_small_real_archives_run_end_to_end(small, tmp_path, protocol):
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", floor=False, policy=BadFilePolicy("skip"),
        protocol=Protocol(name=protocol, steps=20 if protocol == "cached" else None, check_rates=False),
        data=DataRoots(root=small.parent),
    )  # fmt: skip
    (run,) = evaluate("melstats", "speech_commands", protocol, config=config)
    v1, v2 = run.scorecard.tasks
    # 96 clips of the test set; of the 77 words two lists name 10 and 11
    assert (v1.clips["train"], v1.clips["test"]) == (56, 96)
    assert (v2.clips["train"], v2.clips["test"]) == (56, 10)
    assert v1.clips["valid"] == (11 + 121 if protocol == "quick" else 0)
    assert v1.coverage == pytest.approx(96 / 4_890)
    # silence of the five other background files, words of the test set, and of the validation list where it is read
    assert len(v1.skipped) == 668 + (4_074 - 80) + (9_981 - 11 if protocol == "quick" else 0)


@pytest.mark.real
def test_of_a_small_part_of_the_archive_what_is_missing_is_named_before_anything_is_embedded(small, tmp_path):
    with pytest.raises(TooManyBadFilesError, match=r"clips cannot be used.*\n.*does not exist") as refusal:
        evaluated(small, tmp_path, "cached")
    assert "--bad-files skip" in str(refusal.value)


@pytest.mark.parametrize("task", ["speech_commands_v1", "speech_commands_v2"])
def test_the_protocol_is_that_of_appendix_a(tree, task):
    (made,) = speech_commands_tasks(DataFolder(tree, only=(task,)))
    assert (made.name, made.stands_for, made.suite, made.domain, made.kind) == (task, task, "hares", "speech", "single")
    assert (made.metric, made.head, made.batch, made.steps) == ("micro_f1", "linear", 64, 400_000)
    assert (made.crop_seconds, made.whole_clip, made.num_windows, made.mixed_passes) == (1.0, False, 0, 0)
    assert len(made.labels) == {"speech_commands_v1": 12, "speech_commands_v2": 35}[task]
    assert not made.substitute


def test_labels_are_in_the_published_order():
    assert " ".join(LABELS_V1) == "down go left no off on right stop up yes _silence_ _unknown_"
    assert list(LABELS_V2) == sorted(LABELS_V2)
    assert len(VERSIONS["v0.01"].words) == 30


def test_the_toy_tree_is_divided_by_the_rule_of_the_twelve_classes(tree):
    fold = fold_of(tree)
    train, valid, test = (Counter(clip.labels[0] for clip in part) for part in (fold.train, fold.valid, fold.test))
    assert train == {**dict.fromkeys(TEN_WORDS, 2), "_unknown_": 50, "_silence_": 10}
    assert valid == {**dict.fromkeys(TEN_WORDS, 1), "_unknown_": 25, "_silence_": 2}
    assert test == {**dict.fromkeys(TEN_WORDS, 1), "_unknown_": 2, "_silence_": 2}
    assert all(clip.path.is_file() for part in (fold.train, fold.valid, fold.test) for clip in part)
    ids = [clip.id for part in (fold.train, fold.valid, fold.test) for clip in part]
    assert len(set(ids)) == len(ids)
    assert "_background_noise_/pink_noise.wav@0.5-1.5" in ids
    assert "_unknown_/seven_bb05582b_nohash_0.wav.wav" in ids


def test_the_toy_tree_is_divided_by_the_lists_into_35_classes(tree):
    fold = fold_of(tree, "speech_commands_v2")
    assert [len(part) for part in (fold.train, fold.valid, fold.test)] == [70, 35, 35]
    assert {clip.group for clip in fold.test} == set(COMMAND_SPEAKERS["testing"])
    assert not {clip.group for clip in fold.train} & {clip.group for clip in fold.test}


def test_a_group_is_a_speaker_or_the_file_that_silence_was_cut_from(tree):
    assert speaker("_unknown_/seven_fb7eb481_nohash_1.wav.wav") == "fb7eb481" == speaker("yes/fb7eb481_nohash_0.wav")
    silent = {clip.group for clip in fold_of(tree).train if clip.labels == ("_silence_",)}
    assert silent == {f"{BACKGROUND}/{stem}.wav" for stem in SILENCE_WINDOWS if stem != "running_tap"}


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
def test_the_toy_tree_runs_end_to_end(tree, tmp_path, protocol):
    run = evaluated(tree, tmp_path, protocol)
    assert [result.task for result in run.scorecard.tasks] == ["speech_commands_v1", "speech_commands_v2"]
    assert [result.clips["test"] for result in run.scorecard.tasks] == [14, 35]
    assert any("14 test clips, 4,890 were published" in text for text in run.scorecard.tasks[0].warnings)
    if protocol == "quick":
        assert all(result.score > 0.5 for result in run.scorecard.tasks)


def test_the_literal_first_version_is_a_variant_beside_the_second(copy):
    speech_commands_tree(copy, "v0.01")
    v1, v2 = speech_commands_tasks(DataFolder(copy, variant="v0.01"))
    assert (v1.variant, v1.official_clips["test"]) == ("v0.01", 3_081)
    assert "not from v0.02, whose counts are the paper's" in v1.notes
    assert len(v1.folds()[0].train) == 2 * 30 + 10
    assert {clip.path.parts[-3] for clip in v2.folds()[0].test} == {"speech_commands_v0.02"}
    default = speech_commands_tasks(DataFolder(copy))[0]
    assert (default.variant, default.official_clips["test"]) == ("v0.02", 4_890)


def test_an_archive_unpacked_straight_into_the_folder_is_found(copy):
    expected = fold_of(copy)
    for path in sorted((copy / "speech_commands_v0.02").iterdir()):
        path.rename(copy / path.name)
    assert [clip.id for clip in fold_of(copy).train] == [clip.id for clip in expected.train]
    # the test set over the words, too: the words of both are the same files
    for path in sorted((copy / "speech_commands_test_set_v0.02").iterdir()):
        shutil.copytree(path, copy / path.name, dirs_exist_ok=True)
    shutil.rmtree(copy / "speech_commands_test_set_v0.02")
    fold = fold_of(copy)
    assert [[clip.id for clip in part] for part in (fold.train, fold.test)] == [
        [clip.id for clip in part] for part in (expected.train, expected.test)
    ]


def test_the_folders_of_torchaudio_are_found(copy):
    (copy / "SpeechCommands").mkdir()
    (copy / "speech_commands_v0.02").rename(copy / "SpeechCommands" / "speech_commands_v0.02")
    assert all(clip.path.is_file() for clip in fold_of(copy, "speech_commands_v2").test)
    (copy / "speech_commands_test_set_v0.02").rename(copy / "SpeechCommands" / "speech_commands_test_set_v0.02")
    assert all(clip.path.is_file() for clip in fold_of(copy).test)
    inner = copy / "SpeechCommands" / "speech_commands_v0.02"
    assert all(clip.path.is_file() for clip in fold_of(inner).test)


def test_a_copy_in_another_format_has_the_same_ids(copy):
    expected = fold_of(copy)
    for path in sorted(copy.rglob("*.wav")):
        wave, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".flac"), wave, rate)
        path.unlink()
    fold = fold_of(copy)
    for now, then in ((fold.train, expected.train), (fold.valid, expected.valid), (fold.test, expected.test)):
        assert sorted(clip.id for clip in now) == sorted(clip.id for clip in then)
        assert {clip.path.suffix for clip in now} == {".flac"}
        assert all(clip.path.is_file() for clip in now)


def test_words_and_background_files_that_are_missing_are_made_all_the_same(copy):
    base = copy / "speech_commands_v0.02"
    (base / BACKGROUND / "pink_noise.wav").unlink()
    (base / "zero" / "bb05582b_nohash_0.wav").unlink()
    (copy / "speech_commands_test_set_v0.02" / "yes" / "bb05582b_nohash_0.wav").unlink()
    absent = [clip for clip in fold_of(copy).train if not clip.path.is_file()]
    assert len(absent) == 118 == SILENCE_WINDOWS["pink_noise"]
    assert [clip.id for clip in fold_of(copy).test if not clip.path.is_file()] == ["yes/bb05582b_nohash_0.wav"]
    test = fold_of(copy, "speech_commands_v2").test
    assert [clip.id for clip in test if not clip.path.is_file()] == ["zero/bb05582b_nohash_0.wav"]


def test_without_the_test_set_35_classes_are_scored_and_what_12_need_is_named(copy):
    shutil.rmtree(copy / "speech_commands_test_set_v0.02")
    data = DataRoots(root=copy.parent)
    with pytest.raises(MissingDatasetError, match=r"no test set of Speech Commands at .*test_set_v0.02.tar.gz; unpack"):
        find_tasks(["speech_commands_v1"], data=data)
    assert [task.name for task in find_tasks(["speech_commands_v2"], data=data).tasks] == ["speech_commands_v2"]
    found = find_tasks(["hares"], data=data)
    assert [task.name for task in found.tasks] == ["speech_commands_v2"]
    assert "no test set" in found.missing["speech_commands_v1"]


def test_a_missing_list_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingDatasetError, match=r"testing_list.txt is missing; .*speech_commands_v0.02.tar.gz"):
        speech_commands_tasks(DataFolder(tmp_path))


def test_a_folder_with_lists_and_no_audio_is_told(tree, tmp_path):
    for name in LISTS:
        shutil.copy(tree / "speech_commands_v0.02" / name, tmp_path)
    with pytest.raises(MissingDatasetError, match=r"no audio of Speech Commands v0.02 where it should be"):
        speech_commands_tasks(DataFolder(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: ["file", *lines], r"testing_list.txt, line 1: 'file'; expected WORD/HASH_nohash_N.wav"),
        (lambda lines: ["lol/bb05582b_nohash_0.wav"], r"line 1: 'lol/.*'; expected .* 35 words of v0.02"),
        (lambda lines: ["../../yes/bb05582b_nohash_0.wav"], r"line 1: '../../yes"),
        (lambda lines: [*lines, lines[0]], r"names 1 clips twice, such as 'backward/"),
        (lambda lines: [line for line in lines if line.split("/")[0] in VERSIONS["v0.01"].words],
         r"is not that of v0.02: it has 30 entries of 30 words; expected 11,005 of 35"),
        (lambda lines: [*lines, "yes/b2ae3928_nohash_0.wav"], r"1 clips stand in both testing_list.txt and validation"),
        (lambda lines: [f"yes/{k:08x}_nohash_0.wav" for k in range(11_006)], r"it has 11,006 entries of 1 words"),
    ],
)  # fmt: skip
def test_a_list_that_is_not_that_of_the_version_is_refused(copy, change, says):
    path = copy / "speech_commands_v0.02" / "testing_list.txt"
    path.write_text("\n".join(change(path.read_text().split())))
    with pytest.raises(DatasetError, match=says):
        speech_commands_tasks(DataFolder(copy))


def test_two_versions_in_one_folder_are_refused(copy, tmp_path):
    first = speech_commands_tree(tmp_path / "first", "v0.01") / "speech_commands_v0.01"
    first.rename(copy / "speech_commands_v0.01")
    shutil.copytree(copy / "speech_commands_v0.02" / "visual", copy / "speech_commands_v0.01" / "visual")
    with pytest.raises(DatasetError, match=r"holds the folder 'visual'; v0.01 has 64,721 words of 30 kinds"):
        speech_commands_tasks(DataFolder(copy, variant="v0.01", only=("speech_commands_v1",)))


def test_more_words_than_the_archive_has_are_two_versions(copy, monkeypatch):
    monkeypatch.setattr("leveret.tasks.speech_commands.audio_of", lambda *_: {str(k): copy for k in range(105_830)})
    with pytest.raises(DatasetError, match=r"holds 105,830 words; v0.02 has 105,829 words .* two versions"):
        speech_commands_tasks(DataFolder(copy))


def test_the_test_set_of_another_version_is_refused(copy):
    tested = copy / "speech_commands_test_set_v0.02"
    stranger = tested / "yes" / "00000000_nohash_0.wav"
    stranger.touch()
    with pytest.raises(DatasetError, match=r"'yes/00000000_nohash_0.wav', which testing_list.txt does not name"):
        fold_of(copy)
    stranger.unlink()
    for k in range(255):
        (tested / "_silence_" / f"a{k}.wav").touch()
    with pytest.raises(DatasetError, match=r"257 clips of _silence_ and 2 clips of _unknown_; the test set of v0.02"):
        fold_of(copy)
    shutil.rmtree(tested / "_unknown_")
    shutil.rmtree(tested / "_silence_")
    (tested / "_silence_").mkdir()
    with pytest.raises(DatasetError, match=r"0 clips of _silence_ and 0 clips of _unknown_"):
        fold_of(copy)


def test_what_is_downloaded_has_the_published_sizes():
    dataset = look_up("tasks", "speech_commands")
    assert (dataset.licence, dataset.variants) == ("CC BY 4.0", ("v0.02", "v0.01"))
    default = dataset.archives_of("v0.02")
    assert [archive.num_bytes for archive in default] == [2_428_923_189, 112_563_277]
    assert dataset.num_bytes == sum(archive.num_bytes for archive in default)
    assert all(archive.checksum.startswith("sha256:") for archive in default)


@pytest.mark.parametrize("variant", ["v0.02", "v0.01"])
def test_the_archives_of_a_variant_are_unpacked_to_where_both_its_tasks_look(tmp_path, variant):
    dataset = look_up("tasks", "speech_commands")
    for version in ("v0.01", "v0.02"):
        speech_commands_tree(tmp_path / "all", version)
    for archive in dataset.archives_of(variant):
        shutil.copytree(tmp_path / "all" / archive.into, tmp_path / "got" / archive.into)
        assert archive.name == f"{archive.into}.tar.gz"
    assert len(list((tmp_path / "got").iterdir())) == {"v0.02": 2, "v0.01": 3}[variant]
    v1, v2 = dataset.make(DataFolder(tmp_path / "got", variant=variant))
    assert v1.variant == variant
    assert v2.official_clips == OFFICIAL_V2
