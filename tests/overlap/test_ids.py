"""Ids of recordings are read where a name says them, and words are not taken for ids."""

from pathlib import Path

import pytest

from leveret.clips import Clip
from leveret.overlap.ids import recording_ids


def ids(path, owner="", group="g", source=""):
    return {one[:2] for one in found(path, owner, group, source)}


def found(path, owner="", group="g", source=""):
    return recording_ids(Clip(path, Path(path), (), group, source), owner)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("audio/1-100032-A-0.wav", ("freesound id", "100032")),
        ("ff1010bird_wav/wav/64486.wav", ("freesound id", "64486")),
        ("FSD50K.dev_audio/64486.wav", ("freesound id", "64486")),
        ("mine/64486__someone__a-dog.wav", ("freesound id", "64486")),
        ("wav/id10001/1zcIwhmdeo4/00001.wav", ("youtube id", "1zcIwhmdeo4")),
        ("eval/Y1zcIwhmdeo4.wav", ("youtube id", "1zcIwhmdeo4")),
        ("eval/1zcIwhmdeo4_30.000_40.000.flac", ("youtube id", "1zcIwhmdeo4")),
        ("eval/1zcIwhmdeo4.flac", ("youtube id", "1zcIwhmdeo4")),
    ],
)
def test_a_name_says_the_recording(path, expected):
    assert ids(path) == {expected}


@pytest.mark.parametrize(
    "path", ["recording_1.wav", "yesterday_ab.wav", "Yesterday_ab.wav", "000.wav", "64486.wav", "1-2.wav"]
)
def test_a_word_or_a_bare_number_is_no_id(path):
    assert ids(path) == set()


def test_a_clip_of_audioset_has_its_video_for_a_group():
    assert ids("x/abcdefghijk.wav", "audioset", group="abcdefghijk") == {("youtube id", "abcdefghijk")}


@pytest.mark.parametrize(
    ("path", "source", "sure"),
    [
        ("mine/Recording01.wav", "", False),
        ("mine/Recording01_10.wav", "", False),
        ("mine/1zcIwhmdeo4.wav", "", False),
        ("mine/Y1zcIwhmdeo4.wav", "", False),
        ("AudioSet/eval/1zcIwhmdeo4.wav", "", True),
        ("audioset-project/mine/Recording01.wav", "", False),
        ("/home/me/youtube/mine/Recording01.wav", "", False),
        ("mine/1zcIwhmdeo4.wav", "YouTube", True),
        ("wav/id10001/1zcIwhmdeo4/00001.wav", "", True),
        ("audio/1-100032-A-0.wav", "", True),
    ],
)
def test_eleven_letters_alone_are_a_guess(path, source, sure):
    assert [one.sure for one in found(path, source=source)] == [sure]


@pytest.mark.parametrize("column", ["group", "source"])
def test_a_manifest_says_the_recording_whatever_the_file_is_called(column):
    assert ids("mine/17.wav", **{column: "youtube:1zcIwhmdeo4"}) == {("youtube id", "1zcIwhmdeo4")}
    assert ids("mine/1-100032-A-0.wav", **{column: "freesound:64486"}) == {("freesound id", "64486")}
    assert all(one.sure for one in found("mine/17.wav", **{column: "freesound:64486"}))
    assert ids("mine/17.wav", **{column: "youtube: some video"}) == set()


def test_a_number_is_an_upload_by_its_source_or_in_the_folder_of_an_archive_alone():
    assert ids("mine/64486.wav", source="Freesound") == {("freesound id", "64486")}
    assert ids("mine/FSD50K.eval_audio/64486.wav") == {("freesound id", "64486")}
    assert ids("my-fsd50k-models/numbers/64486.wav") == set()
