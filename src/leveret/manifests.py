"""Manifests: a table of labelled audio files becomes clips and folds, by rules that are printed.

A manifest is a CSV or Parquet file with one row for each file and task. Columns: `file` (relative to the manifest's
folder), `label` (tags of a multi-label task joined by "|", blanks around them dropped) or one `label:SLOT` column a
slot, `split` (train, valid, test) or `fold` (any names: cross-validation over them); optional `task`, `group`,
`source`, `seconds`, `start`, `end`.
Beside `NAME.csv` a `NAME.tasks.json` may say each task's domain, kind, metric and crop; what it leaves out is guessed.
Other columns are ignored.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from os.path import normpath
from pathlib import Path
from sys import intern
from typing import Any

from leveret.clips import Clip, Fold
from leveret.manifest_rows import ManifestError, read_rows

COLUMNS = ("task", "split", "label", "group", "source", "file", "seconds", "start", "end", "fold")
# what other programs' tables call them; nearness alone would not find these
ALIASES = {
    "filename": "file", "file_name": "file", "filepath": "file", "path": "file", "class": "label", "category": "label",
    "subset": "split",
}  # fmt: skip
SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
KINDS = ("single", "multi", "slots")
SETTINGS = ("domain", "kind", "metric", "crop_seconds", "stands_for", "notes")
WHOLE_CLIP_SECONDS = 10.0
"""The guessed crop: the whole clip, up to this length; longer clips are cut into windows of it."""


@dataclass(frozen=True)
class ManifestPart:
    """One task of a manifest.

    Attributes:
        name: Of the task; the manifest's own name where there is no `task` column.
        settings: What `NAME.tasks.json` says of it.
        kind: "single", "multi" or "slots", said or guessed.
        slots: Name -> vocabulary; one nameless slot where the kind is not "slots".
        folds: One for given splits, one a fold for cross-validation.
        guessed: What was not said: "kind", "domain" and "crop_seconds" of the settings, and "group".
    """

    name: str
    settings: Mapping[str, Any]
    kind: str
    slots: Mapping[str, tuple[str, ...]]
    folds: Sequence[Fold]
    guessed: tuple[str, ...]


def read_manifest(path: Path) -> list[ManifestPart]:
    """Every task of a manifest, in the order of first appearance.

    Raises:
        ManifestError: The file, a column, a split, a row or a setting is wrong; the message says which.
    """
    rows, columns = read_rows(path)
    slot_columns = [name for name in columns if name.startswith("label:")]
    _check_columns(path, columns, slot_columns)
    by_task: dict[str, list[tuple[int, Mapping[str, str]]]] = defaultdict(list)
    for number, row in rows:
        by_task[row.get("task", "") or path.stem].append((number, row))
    if not by_task:
        raise ManifestError(f"{path} has a header and no rows; a manifest needs one row a labelled file")
    settings = _read_settings(path.with_name(path.stem + ".tasks.json"), by_task)
    return [_part(path, name, task_rows, slot_columns, settings.get(name, {})) for name, task_rows in by_task.items()]


def read_files(path: Path) -> list[Clip]:
    """Every file, or span of one, that a manifest names, once and without labels, whatever its task and split.

    Raises:
        ManifestError: The file is no table, has no column `file`, or a cell of a row is wrong.
    """
    rows, columns = read_rows(path)
    return _files(path, rows, columns)


def read_training(path: Path) -> list[Clip]:
    """The files, or spans, that are train wherever a manifest names them, with what labels it has.

    A file that several rows name has the labels of all, after "TASK:" where there are several tasks and "SLOT:" where
    there are slots. Neither a split, nor a label, nor a second class is needed; a row without a split is train.

    Raises:
        ManifestError: As `read_files`; or a split that is none.
    """
    rows, columns = read_rows(path)
    slots = [name for name in columns if name.startswith("label:")]
    several = len({row.get("task", "") for _, row in rows}) > 1
    held: set[str] = set()
    labels: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
    for number, row in rows:
        split = row.get("split") or "train"
        if split not in SPLITS:
            raise ManifestError(f"{path}, row {number}: the unknown split {split!r}; use {', '.join(SPLITS)}")
        if SPLITS[split] != "train":
            held.add(_file(row))
        task = f"{row['task']}:" if several and row.get("task") else ""
        labels[_place(row)] += [f"{task}{label}" for label in _tags(row.get("label") or "")]
        labels[_place(row)] += [f"{task}{slot.removeprefix('label:')}:{row[slot]}" for slot in slots if row.get(slot)]
    free = [(number, row) for number, row in rows if _file(row) not in held]
    clips = _files(path, free, columns)
    merged = [
        tuple(map(intern, dict.fromkeys(labels[place]))) for place in dict.fromkeys(_place(row) for _, row in free)
    ]
    return [replace(clip, labels=found) for clip, found in zip(clips, merged, strict=True)]


def _files(path: Path, rows: Iterable[tuple[int, Mapping[str, str]]], columns: Sequence[str]) -> list[Clip]:
    if "file" not in columns:
        raise ManifestError(f"{path} has no column 'file'; its columns are {_shown(columns)}")
    distinct: dict[tuple[str | None, ...], tuple[int, Mapping[str, str]]] = {}
    for number, row in rows:
        distinct.setdefault(_place(row), (number, {**row, "label": ""}))
    return _clips(path, path.stem, distinct.values(), (), "multi")[0]


def _place(row: Mapping[str, str]) -> tuple[str | None, ...]:
    return _file(row), row.get("start"), row.get("end")


def _tags(label: str) -> list[str]:
    return [tag for part in label.split("|") if (tag := part.strip())]


def _file(row: Mapping[str, str]) -> str:
    """However it is spelt."""
    return normpath(row["file"]) if row.get("file") else ""


def _part(
    path: Path,
    name: str,
    rows: Sequence[tuple[int, Mapping[str, str]]],
    slot_columns: Sequence[str],
    settings: Mapping[str, Any],
) -> ManifestPart:
    guessed = []
    kind = settings.get("kind")
    if kind is not None and kind not in KINDS:
        raise ManifestError(f"{path}: task {name!r} has kind={kind!r}; expected {', '.join(KINDS)}")
    if kind is None:
        kind = "multi" if any("|" in row["label"] for _, row in rows if row.get("label")) else "single"
        kind = "slots" if slot_columns else kind
        guessed.append("kind")
    if not (slot_columns if kind == "slots" else "label" in rows[0][1]):
        raise ManifestError(
            f"{path}: task {name!r} has kind={kind!r}, which needs a column "
            f"{'label:SLOT for each slot' if kind == 'slots' else 'label'}; add it or correct the kind"
        )
    clips, places = _clips(path, name, rows, slot_columns, kind)
    if kind == "slots":
        columns = [column.removeprefix("label:") for column in slot_columns]
        slots = {slot: tuple(sorted({clip.labels[k] for clip in clips})) for k, slot in enumerate(columns)}
    else:
        slots = {"": tuple(sorted({label for clip in clips for label in clip.labels}))}
    for slot, labels in slots.items():
        if len(labels) < 2:
            raise ManifestError(
                f"{path}: task {name!r}{f', slot {slot!r}' if slot else ''} has "
                f"{f'the single class {labels[0]!r}' if labels else 'no label'}; a probe needs two classes or more"
            )
    guessed += [name for name in ("domain", "crop_seconds") if name not in settings]
    guessed += [] if any(row.get("group") for _, row in rows) else ["group"]
    return ManifestPart(name, settings, kind, slots, _folds(path, name, clips, places), tuple(guessed))


def _clips(
    path: Path,
    name: str,
    rows: Iterable[tuple[int, Mapping[str, str]]],
    slot_columns: Sequence[str],
    kind: str,
) -> tuple[list[Clip], list[tuple[str, str]]]:
    clips: list[Clip] = []
    places: list[tuple[str, str]] = []
    line_of: dict[tuple[str, str], int] = {}
    place_of: dict[str, Path] = {}  # many spans may lie in one file
    for number, row in rows:
        where = f"{path}, row {number}"
        file = row.get("file", "")
        if not file:
            raise ManifestError(f"{where}: the column 'file' is empty; give the path of the audio file")
        start, end = _seconds(where, row, "start") or 0.0, _seconds(where, row, "end")
        if end is not None and end <= start:
            raise ManifestError(f"{where}: start {start} is not before end {end}; correct the span")
        if kind == "slots":
            labels = tuple(intern(row.get(column, "")) for column in slot_columns)
        elif kind == "multi":
            labels = tuple(dict.fromkeys(map(intern, _tags(row["label"]))))
        else:
            labels = (intern(row["label"]),)
        if kind != "multi" and not all(labels):
            raise ManifestError(f"{where}: the label of {file!r} is empty; a {kind}-label task needs one")
        # 15 digits, since 6 would make one clip of two that begin in the same tenth of a second of the third hour
        clip_id = file if not start and end is None else f"{file}@{start:.15g}-{'' if end is None else f'{end:.15g}'}"
        place = place_of.setdefault(file, path.parent / file)
        same = (normpath(place), clip_id.removeprefix(file))  # however the path is spelt
        if same in line_of:
            raise ManifestError(
                f"{where}: {clip_id!r} stands in row {line_of[same]} of task {name!r} already; "
                "remove one, or give them different spans"
            )
        line_of[same] = number
        clips.append(
            Clip(
                clip_id,
                place,
                labels,
                intern(row.get("group") or file),
                intern(row.get("source", "")),
                start,
                end,
            )
        )
        places.append((row.get("fold", ""), row.get("split", "")))
    return clips, places


def _folds(path: Path, name: str, clips: Sequence[Clip], places: Sequence[tuple[str, str]]) -> list[Fold]:
    names = sorted({fold for fold, _ in places} - {""}, key=lambda fold: (len(fold), fold))
    if names:
        if any(not fold or split for fold, split in places):
            raise ManifestError(
                f"{path}: task {name!r} has rows with a fold and rows without, or both a fold and a split; "
                "a fold means cross-validation over the folds, so give every row a fold and no split"
            )
        if len(names) < 2:
            raise ManifestError(f"{path}: task {name!r} has the single fold {names[0]!r}; cross-validation needs two")
        pairs = [(clip, fold) for clip, (fold, _) in zip(clips, places, strict=True)]
        return [
            Fold(
                [clip for clip, fold in pairs if fold != held],
                [],
                [clip for clip, fold in pairs if fold == held],
            )
            for held in names
        ]
    parts: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for clip, (_, split) in zip(clips, places, strict=True):
        if split not in SPLITS:
            raise ManifestError(
                f"{path}: clip {clip.id!r} of task {name!r} has the unknown split {split!r}; "
                f"use {', '.join(SPLITS)}, or a column 'fold' for cross-validation"
            )
        parts[SPLITS[split]].append(clip)
    for part in ("train", "test"):
        if not parts[part]:
            raise ManifestError(f"{path}: task {name!r} has no {part} clips; give some rows the split {part!r}")
    return [Fold(parts["train"], parts["valid"], parts["test"])]


def _check_columns(path: Path, columns: Sequence[str], slot_columns: Sequence[str]) -> None:
    if len(set(columns)) < len(columns):
        raise ManifestError(f"{path}: a column stands twice in {_shown(columns)}; rename or remove one")
    for column in columns:
        alias = ALIASES.get(column.lower())
        near = [alias] if alias else get_close_matches(column.lower(), COLUMNS, n=1, cutoff=0.75)
        if column not in COLUMNS and column not in slot_columns and near and near[0] not in columns:
            raise ManifestError(f"{path}: unknown column {column!r}. Did you mean {near[0]!r}?")
    missing = [name for name in ("file",) if name not in columns]
    if "label" not in columns and not slot_columns:
        missing.append("label")
    missing = [repr(name) for name in missing]
    if "split" not in columns and "fold" not in columns:
        missing.append("'split' (or 'fold')")
    if missing:
        apart = len(columns) == 1 and next((mark for mark in (";", "\t", "|") if mark in columns[0]), "")
        hint = f"; its separator seems to be {apart!r}, expected commas" if apart else ""
        raise ManifestError(f"{path} has no column {' and no column '.join(missing)}; it has {_shown(columns)}{hint}")


def _shown(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) or "none"


def _read_settings(path: Path, tasks: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not JSON ({error}); correct or remove it") from error
    if not isinstance(settings, dict) or not all(isinstance(value, dict) for value in settings.values()):
        raise ManifestError(
            f"{path} must be one object with an object a task, such as {{'TASK': {{'domain': 'speech'}}}}"
        )
    for task, values in settings.items():
        for key in values:
            if key not in SETTINGS:
                near = get_close_matches(key, SETTINGS, n=1)
                raise ManifestError(
                    f"{path}: task {task!r} has the unknown setting {key!r}."
                    f"{f' Did you mean {near[0]!r}?' if near else ''} Known: {', '.join(SETTINGS)}"
                )
    surplus = sorted(set(settings) - set(tasks))
    if surplus:
        raise ManifestError(f"{path} speaks of {', '.join(map(repr, surplus))}, which the manifest does not have")
    return settings


def _seconds(where: str, row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ManifestError(f"{where}: {column}={text!r} is not a number of seconds; expected 0 or more")
    return value
