"""MagnaTagATune: 25,860 excerpts of 29 s from 446 albums, the 50 most frequent tags.

Source: paper, table 1 and appendix A: crops of 3 s, the scores of consecutive ones averaged, batch 128, 20k steps, "the
same splits as previous works". Data: Law et al., ISMIR 2009.
Split: that of github.com/jordipons/musicnn-training (the paper's footnote 14): folders 0 to b train, c validates, d to
f test; three clips that nobody can read are left out; clips without any of the 50 tags stay (their row is all zeros).
Layout: folders 0 to f with ARTIST-ALBUM-NN-TITLE-START-END.mp3, also inside `mp3`, and annotations_final.csv; or, in
place of that table, index_mtt.tsv with {train,val,test}_gt_mtt.tsv of jordipons. Either may lie elsewhere
(`--labels magnatagatune=FILE_OR_FOLDER`).
Groups: an album, which is what the split keeps together (none of the 446 is in two splits; of the 230 artists 56 are):
the first two of the six parts that hyphens cut each of the 25,863 names into.
Departures: none. The paper's 26k clips include the validation split, which it does not train on.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError, MissingDatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import first_folder, in_any_format, iter_table, read_table, require_some

SOURCE = (
    "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset (mp3.zip.001 to .003 and annotations_final.csv, "
    "3 GB, CC BY-NC-SA 3.0)"
)
LISTS_SOURCE = "https://github.com/jordipons/musicnn-training/tree/master/data/index/mtt"
TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
"""In the order of output_labels_mtt.txt: by count, where ties have no natural order."""
BROKEN = frozenset({35644, 55753, 57881})
"""Ids of clips whose mp3 is empty or cannot be decoded."""
OFFICIAL_CLIPS = {"train": 18_706, "valid": 1_825, "test": 5_329}
ANNOTATIONS, INDEX = "annotations_final.csv", "index_mtt.tsv"
LISTS = {"train": "train_gt_mtt.tsv", "valid": "val_gt_mtt.tsv", "test": "test_gt_mtt.tsv"}
_NAME = re.compile(r"([0-9a-f])/([^-/]+-[^-/]+)-[^-/]+-[^-/]+-\d+-\d+\.mp3")
_BASE = "magnatagatune"


class Row(NamedTuple):
    """A clip as the published tables have it."""

    clip_id: int
    path: str
    tags: tuple[str, ...]

    @property
    def split(self) -> str:
        """By the first letter of its path, the rule of the published partition."""
        folder = int(self.path[0], 16)
        return "train" if folder < 12 else "valid" if folder == 12 else "test"

    @property
    def album(self) -> str:
        """Artist and album as its name has them."""
        return self.path[2:].rsplit("-", 4)[0]


def magnatagatune_tasks(folder: DataFolder) -> list[Task]:
    """The one task of MagnaTagATune.

    Raises:
        DatasetError: A table or the audio is missing, or is not that of MagnaTagATune.
    """
    root = first_folder(folder, ("mp3", "MagnaTagATune", _BASE), ("0", "c", "f"))
    rows = read_rows(folder.labels or folder.root)
    paths = [in_any_format(root / row.path) for row in rows]
    require_some(paths, "MagnaTagATune", SOURCE)
    parts: dict[str, list[Clip]] = {split: [] for split in OFFICIAL_CLIPS}
    for row, path in zip(rows, paths, strict=True):
        parts[row.split].append(Clip(row.path, path, row.tags, row.album))
    for split in ("train", "test"):
        if not parts[split]:
            raise DatasetError(
                f"the tables of {folder.labels or folder.root} name no {split} clips among their {len(rows)}; expected "
                f"the whole list of {SOURCE}"
            )
    return [
        DividedTask(
            name="magnatagatune", domain="music", kind="multi", slots=(("", TAGS),), metric="map", crop_seconds=3.0,
            batch=128, steps=20_000, suite="hares", stands_for="magnatagatune", official_clips=OFFICIAL_CLIPS,
            parts=[Fold(parts["train"], parts["valid"], parts["test"])],
        )
    ]  # fmt: skip


def read_rows(where: Path) -> list[Row]:
    """The clips of the published split in the order of their ids.

    Args:
        where: A folder with annotations_final.csv or jordipons' lists, or one of those files; of a folder with both,
            the first is read.

    Raises:
        DatasetError: Neither is there, or they are not those of MagnaTagATune.
    """
    folder = where if where.is_dir() else where.parent
    table = folder / ANNOTATIONS if where.is_dir() else where
    if where.suffix == ".tsv" or (not table.is_file() and (folder / INDEX).is_file()):
        rows = list(_listed(folder))
        told = folder / INDEX
    elif table.is_file():
        rows = list(_annotated(table))
        told = table
    else:
        raise MissingDatasetError(
            f"{table} is missing, and so is {folder / INDEX}; either is needed. {ANNOTATIONS} is to be had from "
            f"{SOURCE}, {INDEX} with {', '.join(LISTS.values())} from {LISTS_SOURCE}"
        )
    for what, counts in (("ids", Counter(row.clip_id for row in rows)), ("names", Counter(row.path for row in rows))):
        twice = [value for value, count in counts.items() if count > 1]
        if twice:
            raise DatasetError(f"{told}: {len(twice)} {what} stand twice, such as {twice[0]!r}; expected each once")
    return sorted((row for row in rows if row.clip_id not in BROKEN), key=lambda row: row.clip_id)


def _annotated(path: Path) -> Iterator[Row]:
    """All rows of annotations_final.csv; of its 188 tags, which hold 5 million cells, only the 50 are kept."""
    for row in iter_table(path, ("clip_id", *TAGS, "mp3_path"), SOURCE, delimiter="\t"):
        wrong = next((tag for tag in TAGS if row[tag] not in ("0", "1")), None)
        if wrong:
            raise DatasetError(
                f"{path}: clip {row['clip_id']} has {row[wrong]!r} for {wrong!r}; expected 0 or 1, as in the file of "
                f"{SOURCE}"
            )
        yield Row(
            _clip_id(path, row["clip_id"]),
            _checked(path, row["mp3_path"]),
            tuple(tag for tag in TAGS if row[tag] == "1"),
        )


def _listed(folder: Path) -> Iterator[Row]:
    """The clips of the three lists, with their paths from the index."""
    index = folder / INDEX
    paths = {
        _clip_id(index, row["id"]): _checked(index, row["path"])
        for row in read_table(index, ("id", "path"), SOURCE, delimiter="\t", header=False)
    }
    for split, name in LISTS.items():
        for row in read_table(folder / name, ("id", "tags"), SOURCE, delimiter="\t", header=False):
            clip_id = _clip_id(folder / name, row["id"])
            if clip_id not in paths:
                raise DatasetError(
                    f"{folder / name} names clip {clip_id}, which {index} lacks; take all of {LISTS_SOURCE}"
                )
            found = Row(clip_id, paths[clip_id], _tags(folder / name, row))
            if found.split != split:
                raise DatasetError(
                    f"{folder / name} has clip {clip_id} ({found.path}), which is {found.split} by its folder; "
                    f"expected the lists of {LISTS_SOURCE} (0 to b train, c validates, d to f test)"
                )
            yield found


def _tags(path: Path, row: Mapping[str, str]) -> tuple[str, ...]:
    try:
        marks = json.loads(row["tags"])
    except (ValueError, RecursionError):
        marks = None
    if not isinstance(marks, list) or len(marks) != len(TAGS) or any(mark not in (0, 1) for mark in marks):
        raise DatasetError(
            f"{path}: clip {row['id']} has the tags {row['tags'][:60]!r}; expected a list of {len(TAGS)} times 0.0 or "
            f"1.0, as in the file of {LISTS_SOURCE}"
        )
    return tuple(tag for tag, mark in zip(TAGS, marks, strict=True) if mark)


def _clip_id(path: Path, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise DatasetError(f"{path} has the clip id {text!r}; expected a number, as in the file of {SOURCE}")
    return int(text)


def _checked(path: Path, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise DatasetError(
            f"{path} has the path {name!r}; expected X/ARTIST-ALBUM-NN-TITLE-START-END.mp3 with X one of 0 to f, as in "
            f"the file of {SOURCE}"
        )
    return name


_HOSTS = ("https://mirg.city.ac.uk/datasets/magnatagatune", "http://mi.soi.city.ac.uk/datasets/magnatagatune")
_MIRROR = "https://huggingface.co/datasets/confit/magnatagatune/resolve/main"

TASKS = {
    "magnatagatune": Dataset(
        name="magnatagatune", title="MagnaTagATune", source=SOURCE, licence="CC BY-NC-SA 3.0", hours=208,
        num_bytes=2_990_000_000, tasks=("magnatagatune",), make=magnatagatune_tasks,
        # nobody publishes checksums or sizes: the names of the 25,863 clips are checked instead
        archives=(
            *(
                Archive(part, tuple(f"{host}/{part}" for host in _HOSTS), part_of="mp3.zip")
                for part in ("mp3.zip.001", "mp3.zip.002", "mp3.zip.003")
            ),
            Archive(ANNOTATIONS, (*(f"{host}/{ANNOTATIONS}" for host in _HOSTS), f"{_MIRROR}/{ANNOTATIONS}")),
        ),
        how=f"the three pieces are one archive (cat mp3.zip.00? > mp3.zip), which {_MIRROR}/mp3.zip is as a whole",
    )
}  # fmt: skip
