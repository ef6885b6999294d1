"""VoxForge: the published rule over the complete list; archives that are missing, packed or empty are counted."""

import re
import shutil

import pytest
import soundfile
from tests.tasks.toy_environment import evaluated
from tests.tasks.toy_speech import VOXFORGE_TOP, voxforge_tree

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks import voxforge
from leveret.tasks.voxforge import (
    LANGUAGES,
    LIST,
    NUM_ARCHIVES,
    NUM_CLIPS,
    read_submissions,
    speaker_splits,
    voxforge_tasks,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return voxforge_tree(tmp_path_factory.mktemp("data") / "voxforge")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "voxforge")


def task_of(root, labels=None):
    (task,) = voxforge_tasks(DataFolder(root, labels))
    return task


def split_ids(task):
    (fold,) = task.folds()
    return {split: {clip.id for clip in getattr(fold, split)} for split in ("train", "valid", "test")}


def archive_folder(root, name):
    (found,) = root.rglob(name)
    return found


class MersenneTwister:
    """MT19937 from its paper (Matsumoto and Nishimura, 1998), seeded by the routine of 2002."""

    def __init__(self, seed):
        self.state = [seed]
        for k in range(1, 624):
            self.state.append((1812433253 * (self.state[-1] ^ (self.state[-1] >> 30)) + k) & 0xFFFFFFFF)
        self.place = 624

    def draw(self):
        if self.place == 624:
            for k in range(624):
                mixed = (self.state[k] & 0x80000000) | (self.state[(k + 1) % 624] & 0x7FFFFFFF)
                self.state[k] = self.state[(k + 397) % 624] ^ (mixed >> 1) ^ (0x9908B0DF if mixed & 1 else 0)
            self.place = 0
        y = self.state[self.place]
        self.place += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9D2C5680
        y ^= (y << 15) & 0xEFC60000
        return y ^ (y >> 18)

    def below_or_at(self, largest):
        """Uniform over 0 to largest: draws of as many bits as it has, until one fits."""
        while True:
            value = self.draw() & ((1 << largest.bit_length()) - 1)
            if value <= largest:
                return value


def splits_written_anew(speakers):
    order = sorted(set(speakers))
    generator = MersenneTwister(0)
    for k in range(len(order) - 1, 0, -1):
        other = generator.below_or_at(k)
        order[k], order[other] = order[other], order[k]
    trained, validated = int(0.7 * len(order)), int((0.7 + 0.1) * len(order))
    return {
        speaker: "train" if k < trained else "valid" if k < validated else "test" for k, speaker in enumerate(order)
    }


@pytest.mark.real
def test_the_rule_over_the_real_names_is_that_of_an_independent_program(shared):
    submissions = read_submissions(shared / "meta" / "voxforge" / "voxforge_urls.sample.txt")
    assert len(submissions) == 1_044
    assert {one.language for one in submissions} == set(LANGUAGES)
    speakers = [one.speaker for one in submissions]
    assert speaker_splits(speakers) == splits_written_anew(speakers)
    # some speak several languages, and stand in one split all the same
    many = {one.speaker for one in submissions if one.language == "de"} & {
        one.speaker for one in submissions if one.language == "en"
    }
    assert {"1337ad", "AndreyBarrientosCostaRica"} <= many


def test_the_first_words_of_the_generator_are_the_published_ones():
    # of mt19937ar with the seed 5489, as the C++ standard has it: its 10,000th number
    generator = MersenneTwister(5489)
    assert [generator.draw() for _ in range(10_000)][-1] == 4_123_659_995


@pytest.mark.parametrize("count", [10, 30, 101])
def test_shares_are_added_up_in_floats_as_published(count):
    speakers = [f"s{k:03d}" for k in range(count)]
    splits = list(speaker_splits(speakers).values())
    assert splits == list(splits_written_anew(speakers).values())
    # 0.7 + 0.1 is less than 0.8, so of ten speakers not one is for validation
    assert splits.count("valid") == {10: 0, 30: 2, 101: 10}[count]


@pytest.mark.real
def test_the_list_of_the_programs_own_tests_is_divided_as_published(shared):
    submissions = read_submissions(shared / "meta" / "voxforge" / "tfds_fake_urls_list.txt")
    assert speaker_splits(one.speaker for one in submissions) == splits_written_anew(one.speaker for one in submissions)


def test_a_list_too_short_to_be_divided_is_told(tmp_path):
    (tmp_path / LIST).write_text("h/downloads/es/Trunk/x-20100101-a.tgz\n")
    with pytest.raises(DatasetError, match=r"has 1 archives of 1 speakers, too few .* complete list of 13,837"):
        read_submissions(tmp_path / LIST)


def test_the_protocol_is_that_of_appendix_a(tree):
    task = task_of(tree)
    assert (task.name, task.stands_for, task.suite, task.domain) == ("voxforge", "voxforge", "hares", "speech")
    assert (task.kind, task.metric, task.head, task.batch, task.steps) == ("single", "micro_f1", "linear", 64, 400_000)
    assert (task.crop_seconds, task.whole_clip, task.num_windows, task.mixed_passes) == (3.0, False, 0, 0)
    assert task.labels == ("de", "en", "es", "fr", "it", "ru")


def test_the_toy_tree_is_divided_by_speakers_over_all_languages(tree):
    (fold,) = task_of(tree).folds()
    parts = [fold.train, fold.valid, fold.test]
    assert sum(len(part) for part in parts) == 6 * 6 * 2
    groups = [{clip.group for clip in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6 * 5 + 1
    (home,) = [part for part in parts if any(clip.group == "anonymous" for clip in part)]
    assert {clip.labels[0] for clip in home if clip.group == "anonymous"} == set(LANGUAGES)
    assert all(clip.path.is_file() for part in parts for clip in part)
    assert "de/despeaker0-20100001-abc/wav/a0400.wav" in {clip.id for part in parts for clip in part}


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
def test_the_toy_tree_runs_end_to_end(tree, tmp_path, protocol):
    (result,) = evaluated(tree, tmp_path, protocol).scorecard.tasks
    assert (result.task, result.coverage, result.substitute) == ("voxforge", 1.0, True)
    assert "voxforge_urls.txt is not the published list" in result.notes
    if protocol == "quick":
        assert result.score > 0.5


def test_the_published_list_is_no_substitute(tree, monkeypatch):
    monkeypatch.setattr(voxforge, "file_sha256", lambda path: voxforge.LIST_SHA256)
    task = task_of(tree)
    assert (task.substitute, task.notes, task.official_clips) == (False, "", {})


def test_a_speaker_who_is_not_there_does_not_move_the_others(copy, tree):
    whole = split_ids(task_of(tree))
    gone = next(iter(sorted(whole["test"]))).split("/")[1]
    shutil.rmtree(archive_folder(copy, gone))
    rest = split_ids(task_of(copy))
    assert {split: {i for i in ids if gone not in i} for split, ids in whole.items()} == rest
    task = task_of(copy)
    assert "1 of 36 archives are missing, each counted as 12.8 clips" in task.notes
    # so that a part of the archives is no full coverage
    counts = {split: len(ids) for split, ids in rest.items()}
    assert task.official_clips == {**counts, "test": counts["test"] + round(NUM_CLIPS / NUM_ARCHIVES)}


def test_archives_are_found_at_any_depth_and_in_another_format(copy):
    expected = split_ids(task_of(copy))
    for path in sorted(copy.rglob("*.wav")):
        wave, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".flac"), wave, rate)
        path.unlink()
    for language in LANGUAGES:
        (copy / language).mkdir()
        for folder in sorted((copy / VOXFORGE_TOP / language).rglob("*-*-*")):
            # as by `tar -C NAME`, a folder in a folder of the same name
            (copy / language / folder.name).mkdir()
            folder.rename(copy / language / folder.name / folder.name)
    shutil.rmtree(copy / VOXFORGE_TOP.parts[0])
    assert split_ids(task_of(copy)) == expected


def test_archives_that_are_packed_or_hold_no_wav_are_counted_apart(copy):
    packed, flac_only = (archive_folder(copy, f"frspeaker{k}-2010{k:02d}01-abc") for k in (1, 2))
    packed.with_suffix(".tgz").write_bytes(b"never opened")
    shutil.rmtree(packed)
    (flac_only / "wav").rename(flac_only / "flac")
    task = task_of(copy)
    assert re.search(r"1 of 36 archives are missing, 1 of them still packed \(find .* -execdir tar", task.notes)
    assert "1 archives hold no wav files and are left out, as published" in task.notes


def test_packed_archives_alone_say_how_to_unpack_them(copy):
    for folder in sorted(path for path in copy.rglob("*-*-*") if path.is_dir()):
        folder.with_suffix(".tgz").touch()
        shutil.rmtree(folder)
    with pytest.raises(
        MissingDatasetError, match=r"36 archives of VoxForge at .* are still packed; .*-execdir tar -xzf"
    ):
        task_of(copy)


def test_what_is_not_there_is_told(tree, tmp_path):
    with pytest.raises(MissingDatasetError, match=r"voxforge_urls.txt is missing; .*storage.googleapis.com"):
        task_of(tmp_path)
    with pytest.raises(MissingDatasetError, match=r"no audio of VoxForge at .*wget -x -i voxforge_urls.txt"):
        task_of(tmp_path, tree / LIST)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("url", r"line 1: 'url'; expected HOST/downloads/LANGUAGE/.../NAME.tgz"),
        ("www.a.org/downloads/SpeechCorpus/Trunk/Audio/x-2010-a.tgz", r"line 1: .*SpeechCorpus.*out of de, en, es"),
        ("www.a.org/downloads/nl/Trunk/Audio/x-2010-a.tgz", r"line 1: .*/nl/"),
        ("www.a.org/downloads/de/Trunk/Audio/x-2010-a.zip", r"line 1: .*\.zip'"),
        ("http://www.a.org/downloads/de/Trunk/despeaker0-20100001-abc.tgz", r"names 1 clips twice.*'despeaker0"),
    ],
)  # fmt: skip
def test_a_list_of_something_else_is_refused(copy, line, says):
    (copy / LIST).write_text(f"{line}\n{(copy / LIST).read_text()}")
    with pytest.raises(DatasetError, match=says):
        task_of(copy)


def test_names_without_a_date_are_speakers_of_their_own(tmp_path):
    urls = ["FVera_ES_01", "DPinto_ES_01-a", *(f"s{k}-20100101-a" for k in range(10))]
    path = tmp_path / LIST
    path.write_text("\n".join(f"h/downloads/es/Trunk/Audio/{name}.tgz" for name in urls))
    assert [one.speaker for one in read_submissions(path)][:2] == ["FVera_ES_01", "DPinto_ES_01"]


def test_what_is_fetched_is_the_list_and_the_rest_is_said():
    dataset = look_up("tasks", "voxforge")
    assert [(archive.name, archive.num_bytes) for archive in dataset.archives] == [(LIST, 1_344_189)]
    assert dataset.licence == "GPL"
    assert "wget -x -i voxforge_urls.txt" in dataset.how
    assert "-execdir tar -xzf" in dataset.how
