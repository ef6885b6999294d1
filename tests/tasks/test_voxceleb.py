"""VoxCeleb1: its own split list in, 1,251 speakers out; half of it, and old lists, are told."""

import csv
import shutil
from itertools import chain
from pathlib import Path

import pytest
import soundfile
from tests.tasks.toy_environment import evaluated
from tests.tasks.toy_speech import VOXCELEB_SPEAKERS, voxceleb_tree

from leveret.dataroots import DataRoots
from leveret.loading import find_tasks
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks import voxceleb
from leveret.tasks.voxceleb import LIST, OF_TEST_ARCHIVE, OFFICIAL_CLIPS, SPEAKERS, read_split, voxceleb_tasks


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return voxceleb_tree(tmp_path_factory.mktemp("data") / "voxceleb")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "voxceleb")


def fold_of(root, labels=None):
    (task,) = voxceleb_tasks(DataFolder(root, labels))
    return task.folds()[0]


@pytest.mark.real
def test_labels_and_archives_are_those_of_the_real_table_of_speakers(shared):
    with (shared / "meta" / "voxceleb" / "vox1_meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(row["VoxCeleb1_ID"] for row in rows) == SPEAKERS
    assert (len(SPEAKERS), SPEAKERS[0], SPEAKERS[-1]) == (1_251, "id10001", "id11251")
    assert {row["VoxCeleb1_ID"] for row in rows if row["Set"] == "test"} == OF_TEST_ARCHIVE
    assert sum(row["Set"] == "dev" for row in rows) == 1_211


@pytest.mark.real
def test_real_lines_of_the_list_are_read(shared, tmp_path):
    real = (shared / "meta" / "voxceleb" / "iden_split.sample.txt").read_text()
    (tmp_path / LIST).write_text(real + "2 id10003/tCq2LcKO6xY/00001.wav\n")
    lines = read_split(tmp_path / LIST)
    assert lines[0] == ("test", "id10003/na8-QEFmj44/00003.wav", "id10003", "id10003/na8-QEFmj44")
    assert [line.split for line in lines] == ["test", "train", "train", "train", "valid"]


def test_the_published_counts_are_those_of_the_paper():
    assert OFFICIAL_CLIPS == {"train": 138_361, "valid": 6_904, "test": 8_251}
    assert sum(OFFICIAL_CLIPS.values()) == 153_516
    assert round((OFFICIAL_CLIPS["train"] + OFFICIAL_CLIPS["test"]) / 1000) == 147  # the paper's table 1


def test_the_protocol_is_that_of_appendix_a(tree):
    (task,) = voxceleb_tasks(DataFolder(tree))
    assert (task.name, task.stands_for, task.suite, task.domain) == ("voxceleb", "voxceleb", "hares", "speech")
    assert (task.kind, task.metric, task.head, task.batch, task.steps) == ("single", "micro_f1", "linear", 64, 400_000)
    assert (task.crop_seconds, task.whole_clip, task.num_windows, task.mixed_passes) == (3.0, False, 0, 0)
    assert (task.labels, task.official_clips, task.substitute) == (SPEAKERS, OFFICIAL_CLIPS, False)


def test_the_toy_tree_is_divided_by_its_list_and_a_group_is_a_video(tree):
    fold = fold_of(tree)
    assert [len(part) for part in (fold.train, fold.valid, fold.test)] == [16, 8, 8]
    for part in (fold.train, fold.valid, fold.test):
        assert {clip.labels[0] for clip in part} == set(VOXCELEB_SPEAKERS)
        assert all(clip.path.is_file() for clip in part)
    assert (fold.test[0].id, fold.test[0].group) == ("wav/id10001/na8-QEFmj44/00001.wav", "id10001/na8-QEFmj44")
    assert not {clip.group for clip in fold.train} & {clip.group for clip in fold.test}


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
def test_the_toy_tree_runs_end_to_end(tree, tmp_path, protocol):
    (result,) = evaluated(tree, tmp_path, protocol).scorecard.tasks
    assert (result.task, result.clips["test"], len(result.unscored_classes)) == ("voxceleb", 8, 1_251 - 4)
    assert any("8 test clips, 8,251 were published" in text for text in result.warnings)
    assert "not the published one, byte for byte" in result.notes
    if protocol == "quick":
        assert result.score > 0.5


def test_the_published_list_is_known_by_its_digest(tree, monkeypatch):
    monkeypatch.setattr(voxceleb, "file_sha256", lambda path: voxceleb.LIST_SHA256)
    assert voxceleb_tasks(DataFolder(tree))[0].notes == ""


@pytest.mark.parametrize(("dev", "test"), [("dev", "test"), ("vox1_dev_wav", "vox1_test_wav"), (".", "test")])
def test_the_two_archives_may_lie_apart(tree, tmp_path, dev, test):
    root = voxceleb_tree(tmp_path / "apart", apart=True)
    for old, new in (("dev", dev), ("test", test)):
        if old != new:
            (root / new).mkdir(exist_ok=True)
            (root / old / "wav").rename(root / new / "wav")
    fold = fold_of(root)
    assert all(clip.path.is_file() for clip in chain(fold.train, fold.valid, fold.test))
    assert [clip.id for clip in fold.train] == [clip.id for clip in fold_of(tree).train]


def test_the_list_may_lie_elsewhere_and_a_copy_in_another_format_has_the_same_ids(copy, tmp_path):
    expected = [clip.id for clip in fold_of(copy).test]
    (copy / LIST).rename(tmp_path / "split.txt")
    for path in sorted(copy.rglob("*.wav")):
        wave, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".flac"), wave, rate)
        path.unlink()
    fold = fold_of(copy, tmp_path / "split.txt")
    assert [clip.id for clip in fold.test] == expected
    assert all(clip.path.is_file() for clip in fold.test)


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (["id10270"], r"only one of .* two archives is at .*: none of the 1 speakers of vox1_test_wav.zip is"),
        (["id10001", "id10003", "id11251"], r"only one of .*: none of the 3 speakers of vox1_dev_wav.zip is"),
    ],
)
def test_one_of_the_two_archives_alone_is_told(copy, gone, says):
    for name in gone:
        shutil.rmtree(copy / "wav" / name)
    with pytest.raises(MissingDatasetError, match=says):
        voxceleb_tasks(DataFolder(copy))
    with pytest.raises(MissingDatasetError, match="only one of VoxCeleb1's two archives"):
        find_tasks(["hares"], data=DataRoots(root=copy.parent))


def test_what_is_not_there_is_told(copy):
    shutil.rmtree(copy / "wav" / "id10001")
    absent = [clip.id for clip in fold_of(copy).test if not clip.path.is_file()]
    assert absent == ["wav/id10001/na8-QEFmj44/00001.wav", "wav/id10001/na8-QEFmj44/00002.wav"]
    shutil.rmtree(copy / "wav")
    with pytest.raises(MissingDatasetError, match=r"no audio of VoxCeleb1 where it should be: .*voxceleb/wav/id10001"):
        voxceleb_tasks(DataFolder(copy))
    (copy / LIST).unlink()
    with pytest.raises(MissingDatasetError, match=r"iden_split.txt is missing; .*robots.ox.ac.uk"):
        voxceleb_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("id10001", "A.J._Buckley"),
         r"line 1: the speaker is called 'A.J._Buckley'; expected an id such as id10001: this is the list of the"),
        (lambda text: "split path\n" + text, r"line 1: 'split path'; expected '1\|2\|3 SPEAKER/VIDEO/UTTERANCE.wav'"),
        (lambda text: text.replace("1 id10001", "4 id10001"), r"line 1: '4 id10001/"),
        (lambda text: text.replace("id11251", "id11252"), r"line 25: '1 id11252.*from id10001 to id11251"),
        (lambda text: text.replace("id10001", "id00012"), r"line 1: '1 id00012"),
        (lambda text: text.replace("1 id10001/tCq2LcKO6xY/", "1 id10001/../../etc/"), r"line 1: '1 id10001/\.\./"),
        (lambda text: text.replace(".wav", ".m4a"), r"line 1: .*\.m4a'"),
        (lambda text: text + text.splitlines()[0] + "\n", r"names 1 clips twice, such as 'id10001/tCq2LcKO6xY"),
        (lambda text: text.replace("3 id1", "2 id1"), r"has 0 test clips; expected 8,251"),
    ],
)  # fmt: skip
def test_a_list_that_is_not_that_of_the_release_is_refused(copy, change, says):
    (copy / LIST).write_text(change((copy / LIST).read_text()))
    with pytest.raises(DatasetError, match=says):
        voxceleb_tasks(DataFolder(copy))


def test_not_every_file_of_150000_is_looked_for(tmp_path, monkeypatch):
    names = [f"{k % 3 + 1} id{10_001 + k % 1251}/video{k % 7 + k % 3}/{k // 1251:05d}.wav" for k in range(3 * 6_904)]
    (tmp_path / LIST).write_text("\n".join(names))
    for name in ("id10001", "id10270"):
        (tmp_path / "wav" / name).mkdir(parents=True)
    first = tmp_path / "wav" / names[0].split()[1]
    first.parent.mkdir()
    first.touch()
    looked_for = []
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: looked_for.append(path) or is_file(path))
    assert len(fold_of(tmp_path).test) == 6_904
    assert len(looked_for) < 300


def test_what_a_person_must_do_is_said_with_the_digests_of_the_archives():
    dataset = look_up("tasks", "voxceleb")
    assert [(archive.name, archive.num_bytes) for archive in dataset.archives] == [(LIST, 4_912_512)]
    assert "cat vox1_dev_wav_parta? > vox1_dev_wav.zip" in dataset.how
    assert dataset.how.count("sha256") == 5
