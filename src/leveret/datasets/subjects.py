"""What can be examined: a published dataset or corpus over a folder, or tasks of the user's own, as clips in parts.

A part is the clips that stand in the same splits of all folds; two clips of different parts of one task are on
different sides of some split.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leveret.clips import Clip, Fold, partitions
from leveret.contracts import Task
from leveret.dataroots import DataRoots
from leveret.datasets.names import named, published
from leveret.loading import folder_of, load_tasks
from leveret.published_audio import Corpus, DataFolder, Dataset, Published
from leveret.results import HARES

SPLITS = ("train", "valid", "test")
OWN_SPLITS = "user"
"""The variant of every dataset whose splits are the user's own list."""


@dataclass(frozen=True)
class Parts:
    """The clips of one task.

    Attributes:
        name: Of the task, or of the corpus.
        clips: Part -> clips; the part is "train", "test", ... or with several folds "fold 3" and the like.
        folds: Empty for a corpus.
        official: Split -> number of clips as published, summed over the folds.
    """

    name: str
    clips: Mapping[str, Sequence[Clip]]
    folds: Sequence[Fold] = ()
    official: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Subject:
    """What one word of the command line names.

    Attributes:
        spec: That word.
        title: As its authors call it.
        root: The folder that should hold nothing else; None where it is not there.
        own_splits: Whether the user made the splits, and could make them otherwise.
        source: Where it is to be had; empty for the user's own.
    """

    spec: str
    title: str
    root: Path | None
    parts: Sequence[Parts]
    own_splits: bool = True
    source: str = ""
    variant: str = ""
    variants: tuple[str, ...] = ()


def subject(spec: str, data: DataRoots) -> Subject:
    """What a word names: a dataset, a corpus, a task spec.

    Raises:
        DatasetError: It is not there, or not as published.
        ValueError: There is no such thing, or it cannot be read.
    """
    name, _, rest = spec.partition(":")
    if not rest or name in published():
        (one,) = named([name])
        return of_published(one, folder_of(one, data, rest), spec)
    parts = [_of_task(task) for task in load_tasks([spec], data=data)]
    folders = {clip.path.absolute().parent for part in parts for clips in part.clips.values() for clip in clips}
    return Subject(spec, spec, Path(os.path.commonpath(folders)), parts)


def of_published(one: Published, folder: DataFolder, spec: str = "") -> Subject:
    """A dataset's tasks, or a corpus, over a folder.

    Raises:
        DatasetError: It is not there, or not as published.
    """
    variants: tuple[str, ...] = ()
    if isinstance(one, Dataset):
        parts = [_of_task(task) for task in one.make(folder)]
        variants = one.variants
    else:
        assert isinstance(one, Corpus), one
        parts = [Parts(one.name, {"clips": one.clips(folder)})]
    return Subject(
        spec or one.name, one.title, folder.root, parts, folder.variant == OWN_SPLITS, one.source, folder.variant,
        variants,
    )  # fmt: skip


def words(specs: Sequence[str]) -> list[str]:
    """The specs with `hares` written out."""
    found = [spec for one in specs for spec in ([each.name for each in named([HARES])] if one == HARES else [one])]
    return list(dict.fromkeys(found))


def _of_task(task: Task) -> Parts:
    folds = task.folds()
    parts = partitions(folds)
    places: list[list[tuple[int, str]]] = [[] for _ in parts]
    for number, fold in enumerate(folds, 1):
        for split in SPLITS:
            ids = {clip.id for clip in getattr(fold, split)}
            for part, where in zip(parts, places, strict=True):
                if part[0].id in ids:
                    where.append((number, split))
    names = [_part_name(where, len(folds)) for where in places]
    return Parts(task.name, dict(zip(names, parts, strict=True)), folds, task.official_clips or None)


def _part_name(where: Sequence[tuple[int, str]], num_folds: int) -> str:
    if num_folds == 1:
        return " and ".join(split for _, split in where)
    tests = [number for number, split in where if split == "test"]
    if len(where) == num_folds and len(tests) == 1:
        return f"fold {tests[0]}"
    return ", ".join(f"{split} of fold {number}" for number, split in where)
