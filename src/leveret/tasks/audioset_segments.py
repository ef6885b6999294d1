"""AudioSet's tables of segments, and the audio that is there of two million: read a line and a name at a time.

Source: the format of the published tables; leveret's own code.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, overload

from leveret.audio import SUFFIXES
from leveret.clips import Clip
from leveret.published_audio import DatasetError, MissingDatasetError
from leveret.tasks.published_files import read_table

TABLES = "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/"
NUM_LABELS = 527
LABEL_TABLE = "class_labels_indices.csv"
COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
_PROMISE = re.compile(r"num_segs=(\d{1,9})\b")
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
    """Clips that are made when asked for: two million of them held as objects would take a gigabyte."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._labels: list[tuple[str, ...]] = []
        self._places: list[_Place] = []

    def append(self, youtube_id: str, labels: tuple[str, ...], place: _Place) -> None:
        """One more; equal labels and places had better be the same objects."""
        self._ids.append(youtube_id)
        self._labels.append(labels)
        self._places.append(place)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        name = self._ids[index]
        return Clip(name, self._places[index].path(name), self._labels[index], name)


def read_labels(path: Path) -> dict[str, str]:
    """Machine id -> display name of the 527 labels, in the order of their indices.

    Raises:
        DatasetError: Missing, another header or number, an index out of order, or a label twice.
    """
    found: dict[str, str] = {}
    for number, row in enumerate(read_table(path, ("index", "mid", "display_name"), TABLES + LABEL_TABLE)):
        where = f"{path}, line {number + 2}: index {row['index']!r}, mid {row['mid']!r}, {row['display_name']!r}"
        if row["index"] != str(number):
            raise DatasetError(f"{where}; expected index {number}, since the order is that of the score columns")
        if row["mid"] in found or row["display_name"] in found.values():
            raise DatasetError(f"{where} stands there twice; expected the file of {TABLES}{LABEL_TABLE}")
        found[row["mid"]] = row["display_name"]
    if len(found) != NUM_LABELS:
        raise DatasetError(
            f"{path} holds {len(found)} labels; expected {NUM_LABELS}, the file of {TABLES}{LABEL_TABLE}"
        )
    return found


def read_segments(path: Path, split: Split, names: Mapping[str, str]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Line, YouTube id and labels of each segment.

    Args:
        names: Machine id -> label.

    Raises:
        DatasetError: Missing, another header, a line that is no segment, a label that is none, or a number of segments
            that is not the one that the header says, or more than were published.
    """
    source = TABLES + split.table
    if not path.is_file():
        raise MissingDatasetError(f"{path} is missing; it is to be had from {source}")
    combinations: dict[str, tuple[str, ...]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first, promised = _read_header(file, path, source)
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            count = 0
            for row in reader:
                line = first + reader.line_num
                if len(row) != len(COLUMNS) or not _is_span(row[1], row[2]):
                    raise DatasetError(
                        f"{path}, line {line}: {', '.join(row)[:200]!r} is no segment; expected {', '.join(COLUMNS)}, "
                        f"as in the file of {source}"
                    )
                labels = combinations.get(row[3])
                if labels is None:
                    unknown = [mid for mid in row[3].split(",") if mid not in names]
                    if unknown:
                        raise DatasetError(
                            f"{path}, line {line}: {row[0]!r} has the label {unknown[0]!r}, none of the {len(names)} "
                            f"of {LABEL_TABLE}; both must be of one version, expected those of {TABLES}"
                        )
                    labels = combinations[row[3]] = tuple(names[mid] for mid in row[3].split(","))
                count += 1
                yield line, row[0], labels
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); expected the file of {source}") from error
    if promised is not None and count != promised:
        raise DatasetError(
            f"{path} holds {count:,} segments, but its header says {promised:,}: it was cut or changed; expected the "
            f"file of {source}"
        )
    if count > split.num_segments:
        raise DatasetError(
            f"{path} holds {count:,} segments; expected {split.num_segments:,}: this is another table, or another "
            f"version; expected the file of {source}"
        )


def find_segments(
    root: Path, split: Split, table: Path, names: Mapping[str, str], elsewhere: Mapping[str, str], into: Segments
) -> int:
    """Add the segments of a table whose audio is there, in the order of the table, and say how many they are.

    Args:
        names: Machine id -> label.
        elsewhere: YouTube id -> table of the segments that must not stand in this one too.
        into: What they are added to.

    Raises:
        DatasetError: As `read_segments`, or a segment stands in this table twice, or in another one.
    """
    there: dict[str, _Place | None] = dict(_audio_of(root, split.folders))
    before = len(into)
    for line, name, labels in read_segments(table, split, names):
        if name in elsewhere:
            raise DatasetError(
                f"{table}, line {line}: {name!r} stands in {elsewhere[name]} too; the published tables share no "
                f"segment, expected the file of {TABLES}{split.table}"
            )
        if name in there:
            place = there[name]
            if place is None:
                raise DatasetError(
                    f"{table}, line {line}: {name!r} stands there twice; expected the file of {TABLES}{split.table}"
                )
            into.append(name, labels, place)
            there[name] = None
    return len(into) - before


def has_audio_folder(root: Path, split: Split) -> bool:
    """Whether a folder is there that the audio of a split may lie in."""
    return any(folder.is_dir() for folder in _folders(root, split.folders))


def _read_header(file: Iterable[str], path: Path, source: str) -> tuple[int, int | None]:
    """Lines before the first segment, and how many segments they say; one copy has its column names without a hash."""
    promised: int | None = None
    for number, line in enumerate(file, 1):
        if [word.strip() for word in line.lstrip("# ").split(",")] == list(COLUMNS):
            return number, promised
        if not line.startswith("#"):
            break
        found = _PROMISE.search(line)
        promised = int(found[1]) if found else promised
    else:
        number, line = 1, ""
    raise DatasetError(
        f"{path}, line {number}: {line.strip()[:200]!r}; expected two lines that begin with a hash and then "
        f"'# {', '.join(COLUMNS)}', the file of {source}"
    )


def _is_span(start: str, end: str) -> bool:
    try:
        return 0 <= float(start) < float(end)
    except ValueError:
        return False


def _folders(root: Path, names: Sequence[str]) -> list[Path]:
    return [root / parent / name for parent in _PARENTS for name in names]


def _audio_of(root: Path, names: Sequence[str]) -> dict[str, _Place]:
    """YouTube id -> where its file lies, of all files in the folders of those names and below."""
    found: dict[str, _Place] = {}
    shared: dict[_Place, _Place] = {}
    waiting = [str(folder) for folder in _folders(root, names) if folder.is_dir()]
    visited: set[str] = set()
    for number, folder in enumerate(waiting):
        real = os.path.realpath(folder)
        if real in visited:  # links may lead back
            continue
        visited.add(real)
        below: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in SUFFIXES:
                    if entry.is_dir():
                        below.append(entry.path)
                    continue
                # ids may begin with a minus, so the PANNs authors put a Y before each; some ids begin with one
                prefix = stem[: len(stem) - _ID_LETTERS] if stem[:1] == "Y" and len(stem) == _ID_LETTERS + 1 else ""
                place = _Place(number, SUFFIXES.index(suffix.lower()), prefix, suffix, folder)
                place = shared.setdefault(place, place)
                name = stem[len(prefix) :]
                found[name] = min(place, found.get(name, place))
        waiting += sorted(below)  # which the loop then comes to
    return found
