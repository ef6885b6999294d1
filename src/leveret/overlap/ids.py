"""Which published recording a clip was cut from, where its name says so: a YouTube video or a Freesound upload.

Source: the layouts of AudioSet, VoxCeleb (idSPEAKER/VIDEO/NUMBER), ESC-50 (FOLD-UPLOAD-TAKE-TARGET), freefield1010
(UPLOAD.wav) and Freesound's own downloads (UPLOAD__USER__TITLE). The columns group and source of a manifest may say
youtube:VIDEO or freesound:UPLOAD.
Two clips of one recording need not overlap in time: what is shared is the video, not the seconds.
"""

import re
from collections.abc import Set
from typing import NamedTuple

from leveret.clips import Clip

YOUTUBE, FREESOUND = "youtube id", "freesound id"

_VOXCELEB = re.compile(r"(?:^|/)id\d{5}/([\w-]{11})/\d{5}(?:\.|$)")
_AUDIOSET = re.compile(r"^(?:Y([\w-]{11})|([\w-]{11})_\d+(?:\.\d+)?(?:_\d+(?:\.\d+)?)?|([\w-]{11}))$")
_ESC50 = re.compile(r"^[1-5]-(\d+)-[A-Z]-\d+$")
_DOWNLOAD = re.compile(r"^(\d+)__[^_].*__")
_DECLARED = re.compile(r"(youtube|freesound):([\w-]+)")
# folders of archives and copies, as whole names: ~/audioset-project/ may hold anything
_UPLOAD_FOLDERS = re.compile(r"/(?:freefield1010|ff1010(?:bird)?|fsd50k)(?:[._-][^/]*)?/", re.IGNORECASE)
_VIDEO_FOLDERS = re.compile(r"/(?:audio[-_ ]?set|vgg[-_ ]?sound)/", re.IGNORECASE)
_UPLOAD_SOURCES = re.compile(r"freesound|freefield1010|ff1010|fsd50k", re.IGNORECASE)
_VIDEO_SOURCES = re.compile(r"youtube|audio[-_ ]?set|vgg[-_ ]?sound", re.IGNORECASE)


class RecordingId(NamedTuple):
    """A published recording.

    Attributes:
        kind: YOUTUBE or FREESOUND.
        name: The id there.
        sure: Whether more than a file name of eleven letters says so, as a dataset, a manifest or a published folder
            does; Recording01.wav has such a name.
    """

    kind: str
    name: str
    sure: bool


def recording_ids(clip: Clip, owner: str = "") -> Set[RecordingId]:
    """The recordings that the clip seems to come from; empty where its name tells nothing.

    Two clips share a recording where at least one of both ids is sure.

    Args:
        owner: The published dataset or corpus that it belongs to, if any.
    """
    if owner == "audioset":
        return {RecordingId(YOUTUBE, clip.group, True)}
    for said in (clip.group, clip.source):
        if found := _DECLARED.fullmatch(said):
            site, name = found.groups()
            return {RecordingId(YOUTUBE if site == "youtube" else FREESOUND, name, True)}
    stem = clip.path.stem
    if found := _VOXCELEB.search(clip.path.as_posix()) or _VOXCELEB.search(clip.id):
        return {RecordingId(YOUTUBE, found[1], True)}
    if (found := _ESC50.match(stem)) or (found := _DOWNLOAD.match(stem)):
        return {RecordingId(FREESOUND, str(int(found[1])), True)}
    where = f"/{clip.path.as_posix()}"
    if stem.isdecimal() and (_UPLOAD_SOURCES.search(clip.source) or _UPLOAD_FOLDERS.search(where)):
        return {RecordingId(FREESOUND, str(int(stem)), True)}
    if found := _AUDIOSET.match(stem):
        video = found[1] or found[2] or found[3]
        # eleven letters may be a word; those of YouTube are drawn from 64
        mixed = sum(bool(re.search(letters, video)) for letters in ("[a-z]", "[A-Z]", "[0-9]"))
        if mixed == 3 or (found[1] and mixed == 2):
            sure = bool(_VIDEO_SOURCES.search(clip.source) or _VIDEO_FOLDERS.search(where))
            return {RecordingId(YOUTUBE, video, sure)}
    return frozenset()
