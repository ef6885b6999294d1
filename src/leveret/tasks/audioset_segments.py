"""AudioSet's tables of segments, and the audio that is there of two million: read a line and a name at a time.

Source: the format of the published tables; leveret's own code.
"""

import csv
import os
import re
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, overload

from leveret.audio import SUFFIXES
from leveret.clips import Clip
from leveret.contracts import DatasetError, MissingDatasetError
from leveret.tasks.published_files import read_table

TABLES = "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/"
NUM_LABELS = 527
LABEL_TABLE = "class_labels_indices.csv"
COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
_PROMISE = re.compile(r"num_segs=(\d+)")
_ID_LETTERS = 11
_PARENTS = ("audios", "audio", "data", "wav", "")


class Split(NamedTuple):
    """A published table of segments.

    Attributes:
        table: Its file name.
        folders: That its audio may lie in; the first is that of the PANNs authors.
        num_segments: As published.
    """

    table: str
    folders: tuple[str, ...]
    num_segments: int


EVAL = Split("eval_segments.csv", ("eval_segments", "eval"), 20_371)
BALANCED = Split(
    "balanced_train_segments.csv", ("balanced_train_segments", "balanced_train", "bal_train"), 22_160
)  # fmt: skip
UNBALANCED = Split(
    "unbalanced_train_segments.csv", ("unbalanced_train_segments", "unbalanced_train", "unbal_train"), 2_041_789
)  # fmt: skip


class _Place(NamedTuple):
    """Folder, prefix and ending of audio files, one object for all that share them; the least is taken of several."""

    folder_number: int
    suffix_number: int
    prefix: str
    suffix: str
    folder: str

    def path(self, youtube_id: str) -> Path:
        """Of one segment."""
        return Path(self.folder, f"{self.prefix}{youtube_id}{self.suffix}")


class Segments(Sequence[Clip]):
    """Clips that are made when asked for: two million of them held as objects would take a gigabyte.

    Args:
        ids: YouTube ids.
        labels: Of each, equal ones the same object.
        places: Of each.
    """

    def __init__(self, ids: Sequence[str], labels: Sequence[tuple[str, ...]], places: Sequence[_Place]) -> None:
        self.ids = list(ids)
        self._kinds = list(dict.fromkeys(places))
        number = {place: k for k, place in enumerate(self._kinds)}
        self._kind = array("H", (number[place] for place in places))
        self._labels = list(labels)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        name = self.ids[index]
        return Clip(name, self._kinds[self._kind[index]].path(name), self._labels[index], name)

    def __add__(self, other: "Segments") -> "Segments":
        places = [one._kinds[kind] for one in (self, other) for kind in one._kind]
        return Segments(self.ids + other.ids, self._labels + other._labels, places)
