"""What the files of other suites do not say, and how it is filled: shared by `hear-tasks:` and `xares-tars:`.

Source: leveret's own. Files written by `leveret data export` carry these settings, so that a task comes back whole.
"""

import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from leveret.clips import Clip, Fold
from leveret.contracts import Kind, Task
from leveret.tasks.divided import DividedTask
from leveret.tasks.manifest import DOMAINS, METRICS_OF_KIND

SETTINGS = ("name", "domain", "metric", "crop_seconds", "whole_clip", "stands_for", "notes", "division")
DIVISIONS = ("given", "held-out", "rest", "next")
"""given: train, valid, test. held-out: their valid is a part of train. rest: each fold is scored by a probe of all
others. next: the same, but the fold after the scored one is its validation split, as heareval divides."""
WHOLE_CLIP_SECONDS = 60.0
"""Both suites embed a clip whole; here longer ones are cut into windows of this length."""
LONGEST_CROP_SECONDS = 3600.0


class SuiteError(ValueError):
    """Files of another suite that cannot be used; the message names the file, the value and what to do."""


@dataclass
class SuiteTask:
    """A task as it is being read.

    Attributes:
        where: Its folder or file, for messages.
        name: Unless the settings name it.
        parts: Split or fold -> clips, in the order of the files.
        files: Clip id -> its name in the suite's files; an export numbers them in the order of the task.
        settings: What is known of it; keys of SETTINGS.
        division: Where the settings say none; one of DIVISIONS.
        notes: What a reader of its score must know.
    """

    where: Path
    name: str
    suite: str
    kind: Kind
    labels: Sequence[str]
    parts: Mapping[str, Sequence[Clip]]
    files: Mapping[str, str]
    settings: Mapping[str, Any]
    division: str
    notes: list[str] = field(default_factory=list)

    def build(self) -> Task:
        """The task.

        Raises:
            SuiteError: A setting makes no sense, or there is too little to score.
        """
        where, settings = self.where, self.settings
        if len(self.labels) < 2:
            raise SuiteError(f"{where}: {len(self.labels)} class(es); a probe needs two classes or more")
        if "domain" not in settings:
            self.notes.append("guessed domain=other")
        metrics = METRICS_OF_KIND[self.kind]
        crop = settings.get("crop_seconds")
        if crop is None:
            self.notes.append(f"crop = whole clip up to {WHOLE_CLIP_SECONDS:g} s")
        crop = WHOLE_CLIP_SECONDS if crop is None else crop
        if type(crop) not in (int, float) or not 0.1 <= crop <= LONGEST_CROP_SECONDS or math.isnan(crop):
            raise SuiteError(f"{where}: crop_seconds={crop!r}; expected 0.1 to {LONGEST_CROP_SECONDS:g}, or null")
        if type(settings.get("whole_clip", True)) is not bool:
            raise SuiteError(f"{where}: whole_clip={settings['whole_clip']!r}; expected true or false")
        for key in ("name", "stands_for", "notes"):
            if not isinstance(settings.get(key, ""), str):
                raise SuiteError(f"{where}: {key}={settings[key]!r}; expected text in quotes")
        return DividedTask(
            name=settings.get("name") or self.name,
            domain=_one_of(where, "domain", settings.get("domain", "other"), DOMAINS),
            kind=self.kind,
            slots=(("", tuple(self.labels)),),
            metric=_one_of(where, "metric", settings.get("metric", metrics[0]), metrics),
            crop_seconds=float(crop),
            whole_clip=settings.get("whole_clip", True),
            suite=self.suite,
            stands_for=settings.get("stands_for", ""),
            notes="; ".join(filter(None, [settings.get("notes", ""), *self.notes])),
            parts=self._folds(),
        )

    def _folds(self) -> list[Fold]:
        division = _one_of(self.where, "division", self.settings.get("division", self.division), DIVISIONS)
        if division in ("rest", "next"):
            names = sorted(self.parts, key=lambda name: (len(name), name))
            if len(names) < (3 if division == "next" else 2):
                raise SuiteError(f"{self.where}: {len(names)} fold(s); cross-validation needs more")
            return [self._held(names, k, division) for k in range(len(names))]
        train, valid, test = (list(self.parts.get(name, ())) for name in ("train", "valid", "test"))
        for name, clips in (("train", train), ("test", test)):
            if not clips:
                raise SuiteError(f"{self.where} has no {name} clips; expected some in the split {name!r}")
        if division == "held-out":
            train, valid = self._in_order([*train, *valid]), []
        return [Fold(train, valid, test)]

    def _held(self, names: Sequence[str], k: int, division: str) -> Fold:
        valid = [names[(k + 1) % len(names)]] if division == "next" else []
        train = [clip for name in names if name not in (names[k], *valid) for clip in self.parts[name]]
        if "division" in self.settings:
            train = self._in_order(train)
        return Fold(train, [clip for name in valid for clip in self.parts[name]], list(self.parts[names[k]]))

    def _in_order(self, clips: Sequence[Clip]) -> list[Clip]:
        return sorted(clips, key=lambda clip: self.files[clip.id])


def read_object(path: Path, known: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        known: The keys that it may have; empty allows any.

    Raises:
        SuiteError: No such file, no JSON object, or an unknown key.
    """
    if not path.is_file():
        raise SuiteError(f"no file {str(path)!r}; the task needs it, so copy it there")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SuiteError(f"{str(path)!r} is not JSON ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise SuiteError(f"{str(path)!r} holds a {type(value).__name__}; expected a JSON object {{...}}")
    for key in value if known else ():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SuiteError(f"{str(path)!r} has the unknown setting {key!r}.{hint} Known: {', '.join(known)}")
    return value


def task_folders(spec: str, path: str, is_task: Callable[[Path], bool], expected: str) -> tuple[str, list[Path]]:
    """The name of a collection, and its folders of tasks: the folder named, or those directly below it.

    Raises:
        SuiteError: Nothing was named, or nothing is there.
    """
    if not path:
        raise SuiteError(f"{spec}: needs a folder, such as {spec}:data/tasks")
    folder = Path(os.path.expanduser(path))
    if not folder.is_dir():
        raise SuiteError(f"no folder {str(folder)!r}; {spec}: expects a folder with {expected}, or a folder of such")
    alone = is_task(folder)
    found = [folder] if alone else sorted(below for below in folder.iterdir() if below.is_dir() and is_task(below))
    if not found:
        raise SuiteError(f"no task at {str(folder)!r}: neither it nor a folder in it has {expected}")
    collection = folder.resolve().parent if alone else folder.resolve()
    if collection.name == "tasks":  # hear-2021.0.6/tasks/esc50-v2.0.0-full
        collection = collection.parent
    return collection.name, found


def unique_names(tasks: Iterable[SuiteTask]) -> list[Task]:
    """The tasks built; one whose name is taken is called by its folder."""
    built: dict[str, Task] = {}
    for one in tasks:
        if (one.settings.get("name") or one.name) in built:
            one.settings = {**one.settings, "name": one.where.name}
        task = one.build()
        built[task.name] = task
    return list(built.values())


def say(text: str) -> None:
    """A line on screen: a task is read where no reporter is at hand, and a program may silence a logger."""
    logging.getLogger("leveret").warning(text)


def _one_of(where: Path, name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise SuiteError(f"{where}: {name}={value!r}; expected {', '.join(known)}")
    return cast(str, value)
