"""LibriSpeech: what its transcripts name, subset after subset."""

import shutil

import pytest
from tests.tasks.toy_music import librispeech_tree

from leveret.audio import load
from leveret.published_audio import Corpus, DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks.librispeech import OFFICIAL_CLIPS, librispeech_clips


@pytest.fixture
def tree(tmp_path):
    return librispeech_tree(tmp_path / "librispeech")


def test_the_tree_of_the_archives_gives_the_three_train_subsets_and_no_other(tree):
    clips = librispeech_clips(DataFolder(tree))
    assert [clip.id for clip in clips] == [
        "train-clean-100/103/1240/103-1240-0000.flac", "train-clean-100/103/1240/103-1240-0001.flac",
        "train-clean-360/14/208/14-208-0000.flac", "train-clean-360/14/208/14-208-0001.flac",
        "train-other-500/20/205/20-205-0000.flac", "train-other-500/20/205/20-205-0001.flac",
    ]  # fmt: skip
    assert [clip.group for clip in clips[::2]] == ["103", "14", "20"]
    assert {clip.labels for clip in clips} == {()}
    assert len(load(clips[0].path, 16_000)) == 24_000
    assert clips == librispeech_clips(DataFolder(tree / "LibriSpeech"))


def test_it_is_960_hours_in_three_archives():
    corpus = look_up("tasks", "librispeech", "CORPORA")
    assert isinstance(corpus, Corpus)
    assert corpus.hours == pytest.approx(960, abs=1)
    assert sum(OFFICIAL_CLIPS.values()) == 281_241
    assert [archive.name for archive in corpus.archives] == [f"{subset}.tar.gz" for subset in OFFICIAL_CLIPS]
    assert sum(archive.num_bytes for archive in corpus.archives) == corpus.num_bytes
    assert all(archive.checksum.startswith("md5:") for archive in corpus.archives)


def test_a_missing_subset_is_named(tree):
    shutil.rmtree(tree / "LibriSpeech" / "train-other-500")
    shutil.rmtree(tree / "LibriSpeech" / "train-clean-360" / "14")
    with pytest.raises(DatasetError, match=r"LibriSpeech lacks train-clean-360, train-other-500; the 960") as caught:
        librispeech_clips(DataFolder(tree))
    assert not isinstance(caught.value, MissingDatasetError)


def test_a_folder_of_something_else_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingDatasetError, match=r"no LibriSpeech at .*openslr.org/12"):
        librispeech_clips(DataFolder(tmp_path))


def test_what_a_transcript_names_is_a_clip_though_its_audio_is_missing(tree):
    missing = next(tree.rglob("103-1240-0001.flac"))
    missing.unlink()
    clips = librispeech_clips(DataFolder(tree))
    assert len(clips) == 6
    assert [clip.path for clip in clips if not clip.path.exists()] == [missing]


def test_without_transcripts_the_audio_is_listed_whatever_its_format(tree):
    before = [clip.id for clip in librispeech_clips(DataFolder(tree))]
    for path in list(tree.rglob("*.trans.txt")):
        path.unlink()
    for path in list(tree.rglob("*.flac")):
        path.rename(path.with_suffix(".wav"))
    clips = librispeech_clips(DataFolder(tree))
    assert [clip.id for clip in clips] == before
    assert {clip.path.suffix for clip in clips} == {".wav"}


def test_transcripts_without_any_audio_are_no_corpus(tree):
    for path in list(tree.rglob("*.flac")):
        path.unlink()
    with pytest.raises(MissingDatasetError, match=r"no audio of LibriSpeech where it should be: .*103-1240-0000.flac"):
        librispeech_clips(DataFolder(tree))


@pytest.mark.parametrize("content", [b"../../x AS IT WAS\n", b"\xff\xfe\x00"])
def test_a_transcript_of_something_else_is_refused(tree, content):
    next(tree.rglob("103-1240.trans.txt")).write_bytes(content)
    with pytest.raises(DatasetError, match=r"103-1240.trans.txt (names '../../x'; expected|cannot be read)"):
        librispeech_clips(DataFolder(tree))
