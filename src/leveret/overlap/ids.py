"""Which published recording a clip was cut from, where its name says so: a YouTube video or a Freesound upload.

Source: the layouts of AudioSet, VoxCeleb (idSPEAKER/VIDEO/NUMBER), ESC-50 (FOLD-UPLOAD-TAKE-TARGET), freefield1010
(UPLOAD.wav) and Freesound's own downloads (UPLOAD__USER__TITLE).
Two clips of one recording need not overlap in time: what is shared is the video, not the seconds.
"""

import re
from collections.abc import Set

from leveret.clips import Clip

YOUTUBE, FREESOUND = "youtube id", "freesound id"

_VOXCELEB = re.compile(r"(?:^|/)id\d{5}/([\w-]{11})/\d{5}(?:\.|$)")
_AUDIOSET = re.compile(r"^(?:Y([\w-]{11})|([\w-]{11})_\d+(?:\.\d+)?(?:_\d+(?:\.\d+)?)?|([\w-]{11}))$")
_ESC50 = re.compile(r"^[1-5]-(\d+)-[A-Z]-\d+$")
_DOWNLOAD = re.compile(r"^(\d+)__[^_].*__")
_UPLOAD_FOLDERS = re.compile(r"freefield1010|ff1010|fsd50k", re.IGNORECASE)


def recording_ids(clip: Clip, owner: str = "") -> Set[tuple[str, str]]:
    """Kind and id of each recording that the clip is known to come from; empty where its name tells nothing.

    Args:
        owner: The published dataset or corpus that it belongs to, if any.
    """
    if owner == "audioset":
        return {(YOUTUBE, clip.group)}
    stem = clip.path.stem
    if found := _VOXCELEB.search(clip.path.as_posix()) or _VOXCELEB.search(clip.id):
        return {(YOUTUBE, found[1])}
    if (found := _ESC50.match(stem)) or (found := _DOWNLOAD.match(stem)):
        return {(FREESOUND, str(int(found[1])))}
    if stem.isdecimal() and _UPLOAD_FOLDERS.search(f"{clip.source}/{clip.path.as_posix()}"):
        return {(FREESOUND, str(int(stem)))}
    if found := _AUDIOSET.match(stem):
        video = found[1] or found[2] or found[3]
        # eleven letters may be a word; those of YouTube are drawn from 64
        mixed = sum(bool(re.search(letters, video)) for letters in ("[a-z]", "[A-Z]", "[0-9]"))
        if mixed == 3 or (found[1] and mixed == 2):
            return {(YOUTUBE, video)}
    return frozenset()
