"""Fluent Speech Commands, VoxForge, VoxCeleb1: their own lists in, their splits out; what is wrong is told."""

import shutil

import numpy as np
import pytest
from tests.tasks.toy_environment import evaluated
from tests.tasks.toy_speech import VOXCELEB, fluent_tree, voxceleb_tree, voxforge_tree

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.tasks.fluent import OFFICIAL_CLIPS as FLUENT_CLIPS
from leveret.tasks.fluent import fluent_tasks, read_split
from leveret.tasks.voxceleb import OFFICIAL_CLIPS as VOXCELEB_CLIPS
from leveret.tasks.voxceleb import SPEAKERS, voxceleb_tasks
from leveret.tasks.voxceleb import read_split as read_utterances
from leveret.tasks.voxforge import LANGUAGES, read_submissions, speaker_splits, voxforge_tasks

TREES = {"fluent_speech_commands": fluent_tree, "voxforge": voxforge_tree, "voxceleb": voxceleb_tree}
MAKE = {"fluent_speech_commands": fluent_tasks, "voxforge": voxforge_tasks, "voxceleb": voxceleb_tasks}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {name: make(root / name) for name, make in TREES.items()}


@pytest.fixture
def copied(trees, tmp_path):
    return lambda name: shutil.copytree(trees[name], tmp_path / "copy" / name)


def made(name, root, labels=None):
    (task,) = MAKE[name](DataFolder(root, labels))
    (fold,) = task.folds()
    return task, fold


@pytest.mark.parametrize("name", TREES)
def test_the_protocol_is_the_papers(trees, name):
    task, _ = made(name, trees[name])
    assert (task.name, task.suite, task.domain, task.crop_seconds) == (name, "hares", "speech", 3.0)
    assert (task.head, task.batch, task.steps, task.mixed_passes) == ("linear", 64, 400_000, 0)
    is_slots = name == "fluent_speech_commands"
    assert (task.kind, task.metric) == (("slots", "exact_match") if is_slots else ("single", "micro_f1"))
    assert len(task.labels) == {"fluent_speech_commands": 6 + 14 + 4, "voxforge": 6, "voxceleb": 1_251}[name]


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
@pytest.mark.parametrize("name", TREES)
def test_a_toy_tree_is_scored(trees, tmp_path, name, protocol):
    (result,) = evaluated(trees[name], tmp_path, protocol).scorecard.tasks
    assert result.clips["test"] > 0
    assert 0 <= result.score <= 1


@pytest.mark.parametrize("name", TREES)
def test_a_wrong_root_says_what_is_missing_and_where_it_is_to_be_had(tmp_path, name):
    with pytest.raises(MissingDatasetError, match=r"is missing; it is to be had from http"):
        made(name, tmp_path)


@pytest.mark.real
def test_fluent_has_the_published_counts_and_31_intents(shared):
    meta = shared / "meta" / "fluent_speech_commands"
    names = {"train": "train_data.notranscript.csv", "valid": "valid_data.csv", "test": "test_data.csv"}
    rows = {split: read_split(meta / name, split) for split, name in names.items()}
    assert {split: len(part) for split, part in rows.items()} == FLUENT_CLIPS
    assert FLUENT_CLIPS == {"train": 23_132, "valid": 3_118, "test": 3_793}
    intents = {split: {(row["action"], row["object"], row["location"]) for row in part} for split, part in rows.items()}
    assert len(intents["train"]) == 31
    assert intents["test"] <= intents["train"]
    speakers = {split: {row["speakerId"] for row in part} for split, part in rows.items()}
    assert [len(speakers[split]) for split in names] == [77, 10, 10]
    assert not speakers["train"] & speakers["test"]


def test_fluent_takes_tables_that_write_none_in_another_way(copied):
    root = copied("fluent_speech_commands")
    path = root / "fluent_speech_commands_dataset" / "data" / "train_data.csv"
    path.write_text(path.read_text().replace(",none\n", ",none_location\n"))
    _, fold = made("fluent_speech_commands", root)
    assert fold.train[0].labels == ("activate", "heat", "none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("activate", "explode"), "line 2: action 'explode'; expected one of activate, bring"),
        (("speakerId", "speaker"), "lacks the columns speakerId"),
        (("/aaa/", "/zzz/"), "expected wavs/speakers/SPEAKER/NAME.wav"),
        ((",aaa,", ",ddd,"), "expected wavs/speakers"),
    ],
)
def test_another_table_of_fluent_is_refused(copied, change, says):
    root = copied("fluent_speech_commands")
    path = root / "fluent_speech_commands_dataset" / "data" / "train_data.csv"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(DatasetError, match=says):
        made("fluent_speech_commands", root)


def test_other_splits_of_fluent_are_refused_since_speakers_meet(copied):
    root = copied("fluent_speech_commands")
    data = root / "fluent_speech_commands_dataset" / "data"
    (data / "test_data.csv").write_text((data / "train_data.csv").read_text())
    with pytest.raises(DatasetError, match=r"speaker 'aaa' is in train and in test"):
        made("fluent_speech_commands", root)


@pytest.mark.real
@pytest.mark.parametrize("name", ["voxforge_urls.sample.txt", "tfds_fake_urls_list.txt"])
def test_voxforge_divides_the_speakers_by_the_published_rule(shared, name):
    submissions = read_submissions(shared / "meta" / "voxforge" / name)
    assert {one.language for one in submissions} <= set(LANGUAGES)
    names = sorted({one.name.split("-")[0] for one in submissions})
    # the rule, written a second time: a permutation of the sorted names, cut at 0.7 and 0.7 + 0.1
    order = [names[k] for k in np.random.RandomState(0).permutation(len(names))]
    cuts = int(0.7 * len(names)), int((0.7 + 0.1) * len(names))
    expected = {speaker: ("train", "valid", "test")[sum(k >= cut for cut in cuts)] for k, speaker in enumerate(order)}
    assert speaker_splits(one.speaker for one in submissions) == expected


def test_voxforge_splits_do_not_depend_on_what_is_on_this_disk(trees, copied):
    whole, fold = made("voxforge", trees["voxforge"])
    root = copied("voxforge")
    _, before = made("voxforge", root)
    shutil.rmtree(before.train[0].path.parents[1])
    task, smaller = made("voxforge", root)
    assert len(smaller.train) == len(fold.train) - 2
    assert {clip.id for clip in smaller.test} == {clip.id for clip in fold.test}
    assert {clip.group for clip in fold.train}.isdisjoint(clip.group for clip in fold.test)
    assert whole.substitute
    assert "not the published list" in task.notes
    assert "archives are missing" in task.notes


def test_voxforge_says_how_to_unpack_what_is_packed(copied):
    root = copied("voxforge")
    for folder in list(root.glob("www*/downloads/*/Trunk/Audio/Main/16kHz_16bit/*")):
        shutil.rmtree(folder)
        folder.with_name(f"{folder.name}.tgz").touch()
    with pytest.raises(MissingDatasetError, match=r"39 archives of VoxForge at .* are still packed; .*tar -xzf"):
        made("voxforge", root)


@pytest.mark.parametrize("line", ["http://x/downloads/pt/Trunk/a-20080101-x.tgz", "hello"])
def test_another_list_of_voxforge_is_refused(copied, line):
    root = copied("voxforge")
    with (root / "voxforge_urls.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DatasetError, match=r"line 41: .*expected HOST/downloads/LANGUAGE"):
        made("voxforge", root)


@pytest.mark.real
def test_voxceleb_has_the_1251_speakers_of_its_table(shared):
    rows = (shared / "meta" / "voxceleb" / "vox1_meta.csv").read_text().splitlines()[1:]
    assert tuple(sorted(row.split(",")[0] for row in rows)) == SPEAKERS
    assert VOXCELEB_CLIPS == {"train": 138_361, "valid": 6_904, "test": 8_251}
    assert sum(VOXCELEB_CLIPS.values()) == 153_516


def test_voxceleb_reads_both_archives_merged_or_apart(trees, copied):
    _, merged = made("voxceleb", trees["voxceleb"])
    assert (len(merged.train), len(merged.valid), len(merged.test)) == (5, 1, 3)
    assert [clip.labels for clip in merged.test] == [(speaker,) for speaker in VOXCELEB]
    root = copied("voxceleb")
    (root / "dev").mkdir()
    (root / "wav").rename(root / "dev" / "wav")
    (root / "test" / "wav").mkdir(parents=True)
    (root / "dev" / "wav" / "id10270").rename(root / "test" / "wav" / "id10270")
    _, apart = made("voxceleb", root)
    assert [clip.id for clip in apart.train] == [clip.id for clip in merged.train]
    assert all(clip.path.is_file() for clip in (*apart.train, *apart.test))


def test_voxceleb_without_the_test_archive_says_so(copied):
    root = copied("voxceleb")
    shutil.rmtree(root / "wav" / "id10270")
    with pytest.raises(MissingDatasetError, match=r"only one of VoxCeleb1's two archives .*vox1_test_wav.zip"):
        made("voxceleb", root)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("3 A.J._Buckley/1zcIwhmdeo4/00001.wav", "the speaker is called 'A.J._Buckley'; expected an id"),
        ("3 id11252/1zcIwhmdeo4/00001.wav", "from id10001 to id11251"),
        ("4 id10001/1zcIwhmdeo4/00001.wav", r"expected '1\|2\|3 SPEAKER"),
        ("1 id10001/video0/00000.wav", "names 1 clips twice"),
    ],
)
def test_another_list_of_voxceleb_is_refused(copied, line, says):
    root = copied("voxceleb")
    with (root / "iden_split.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DatasetError, match=says):
        made("voxceleb", root)


@pytest.mark.real
def test_lines_of_the_published_voxceleb_list_are_read(shared, tmp_path):
    sample = (shared / "meta" / "voxceleb" / "iden_split.sample.txt").read_text().splitlines()
    lines = [line for line in sample if line[:1] in "123" and " id1" in line]
    assert lines
    (tmp_path / "iden_split.txt").write_text("\n".join([*lines, *(f"{k} id1000{k}/v/00001.wav" for k in (1, 2, 3))]))
    found = read_utterances(tmp_path / "iden_split.txt")
    assert len(found) == len(lines) + 3
    assert {utterance.speaker for utterance in found} <= set(SPEAKERS)
