"""A task taken apart for another suite: its splits or folds as named parts, its clips under safe and unique names.

Both suites need a validation split and name clips by file, so: clips without one give up the fifth of train that
`quick` would hold out, and a file's name is the clip's number in the order of the task and what is harmless of its id.
What the suite's files cannot say stands beside them, so that the task comes back as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Shaped
from numpy import ndarray

from leveret.clips import Clip, Fold
from leveret.contracts import Table, Task
from leveret.probes.holdout import hold_out

FORMAT_VERSION = 1
"""Bumped by hand whenever the same task gives other files; part of an export's identity."""


class ExportError(ValueError):
    """A task that the other suite has no shape for, or a place that cannot be written."""


@dataclass(frozen=True)
class Parts:
    """A task's clips, dealt out.

    Attributes:
        clips: train, valid and test, or fold00, fold01, ... -> clips.
        division: How folds follow from them; a key of `leveret.tasks.suite_settings.DIVISIONS`.
        order: Every clip once, in the order of the task.
    """

    clips: Mapping[str, Sequence[Clip]]
    division: str
    order: Sequence[Clip]

    @property
    def folded(self) -> bool:
        """True where the parts are folds."""
        return self.division in ("rest", "next")

    def part_of(self) -> dict[str, str]:
        """Clip id -> name of its part."""
        return {clip.id: name for name, clips in self.clips.items() for clip in clips}

    def settings(self, task: Task) -> dict[str, Any]:
        """What the suite's own files do not say of the task."""
        return {
            "name": task.name,
            "domain": task.domain,
            "metric": task.metric,
            "crop_seconds": task.crop_seconds,
            "whole_clip": task.whole_clip,
            "stands_for": task.stands_for,
            "notes": task.notes,
            "division": self.division,
        }


class SuiteWriter(Protocol):
    """Writes one task in a suite's layout, clip by clip, into an empty folder."""

    def add(self, part: str, clip: Clip, stem: str, samples: Mapping[int, Shaped[ndarray, "N"]]) -> None:
        """One clip at each of the sample rates, as 16-bit integers or as floats."""
        ...

    def finish(self) -> None:
        """What comes last: tables, settings."""
        ...

    def close(self) -> None:
        """Close what is open, finished or not."""
        ...


def parts_of(task: Task, folds: Sequence[Fold]) -> Parts:
    """The parts of a task.

    Raises:
        ExportError: It has slots, or folds that do not follow from parts.
    """
    if task.kind == "slots":
        raise ExportError(
            f"task {task.name!r} has {len(task.slots)} slots of labels; neither suite has such a task, so export a "
            "manifest with one of the slots as its label"
        )
    if len(folds) > 1:
        return _folded(task, folds)
    fold = folds[0]
    order = [*fold.train, *fold.valid, *fold.test]
    if fold.valid:
        return Parts({"train": fold.train, "valid": fold.valid, "test": fold.test}, "given", order)
    division = hold_out(_bare_table(task, fold.train))
    held = set(division.held.tolist())
    train, valid = ([clip for k, clip in enumerate(fold.train) if (k in held) is taken] for taken in (False, True))
    return Parts({"train": train, "valid": valid, "test": fold.test}, "held-out", order)


def file_stem(number: int, clip: Clip) -> str:
    """A name that any file system and any tar takes: 000017-dog_1; the number makes it unique."""
    letters = [letter if letter.isascii() and letter.isalnum() else "_" for letter in PurePosixPath(clip.id).stem]
    return f"{number:06d}-{''.join(letters)[:40].strip('_')}".rstrip("-")


def subtype_of(samples: Shaped[ndarray, "N"]) -> str:
    """How libsndfile keeps these samples as they are."""
    return "PCM_16" if samples.dtype == np.int16 else "FLOAT"


def _folded(task: Task, folds: Sequence[Fold]) -> Parts:
    names = [f"fold{k:02d}" for k in range(len(folds))]
    clips = dict(zip(names, (fold.test for fold in folds), strict=True))
    place = {clip.id: name for name, part in clips.items() for clip in part}
    for division in ("rest", "next"):
        if len(place) == sum(map(len, clips.values())) and all(
            _follows(fold, k, names, place, division) for k, fold in enumerate(folds)
        ):
            return Parts(clips, division, _order(folds))
    raise ExportError(
        f"task {task.name!r} has {len(folds)} folds that are no cross-validation over parts of its clips; both suites "
        "know only that, or train, valid and test"
    )


def _follows(fold: Fold, k: int, names: Sequence[str], place: Mapping[str, str], division: str) -> bool:
    """Whether a fold's train and validation are what the division makes of the parts."""
    valid = {names[(k + 1) % len(names)]} if division == "next" else set()
    wanted_valid = {clip for clip, name in place.items() if name in valid}
    wanted_train = {clip for clip, name in place.items() if name != names[k]} - wanted_valid
    return {clip.id for clip in fold.train} == wanted_train and {clip.id for clip in fold.valid} == wanted_valid


def _order(folds: Sequence[Fold]) -> list[Clip]:
    """The one order that the train splits of all folds agree with; fold after fold where they do not agree."""
    clips = {clip.id: clip for fold in folds for clip in fold.test}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for fold in folds:
        for before, after in pairwise(fold.train):
            sorter.add(after.id, before.id)
    try:
        ordered = [clips[clip] for clip in sorter.static_order()]
    except CycleError:
        return list(clips.values())
    return ordered if len(ordered) == len(clips) else list(clips.values())


def _bare_table(task: Task, clips: Sequence[Clip]) -> Table:
    """Labels and groups without vectors, for the hold-out."""
    index = {label: k for k, label in enumerate(task.labels)}
    targets = np.zeros((len(clips), len(index)), np.float32)
    for row, clip in enumerate(clips):
        targets[row, [index[label] for label in clip.labels]] = 1
    numbers = {group: k for k, group in enumerate(dict.fromkeys(clip.group for clip in clips))}
    several = torch.from_numpy(targets)
    return Table(
        X=torch.zeros(len(clips), 1),
        rows=torch.arange(len(clips)),
        targets=several if task.kind == "multi" else several.argmax(dim=1),
        groups=torch.tensor([numbers[clip.group] for clip in clips]),
        num_classes=len(index),
    )
