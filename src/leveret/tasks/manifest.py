"""Bring your own data: `manifest:PATH` makes a task of each task in a CSV or Parquet file.

Source: leveret's own; the columns and the rules for what is missing are in `leveret.manifests`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from leveret.contracts import Kind, Task
from leveret.manifest_rows import ManifestError
from leveret.manifests import WHOLE_CLIP_SECONDS, ManifestPart, read_manifest
from leveret.tasks.divided import DividedTask
from leveret.text import number_of

DOMAINS = ("environment", "speech", "music", "other")
# the metrics that make sense of each kind; the first is what HARES reports
METRICS_OF_KIND = {
    "single": ("accuracy", "micro_f1", "macro_f1"),
    "multi": ("map",),
    "slots": ("exact_match",),
}
# what is taken where nobody said it, in a reader's words
KINDS = {
    "single": "one label a clip (no label holds a |)",
    "multi": "any number of tags a clip (a label holds a |)",
    "slots": "one label in each slot (there are columns label:SLOT)",
}
GUESSES = {
    "domain": "domain other",
    "crop_seconds": f"whole clips, those over {WHOLE_CLIP_SECONDS:.0f} s in windows of {WHOLE_CLIP_SECONDS:.0f} s",
    "group": "each file its own group (no column group)",
}


def manifest_tasks(path: str, suite: str | None = None) -> list[Task]:
    """The tasks of a manifest.

    Args:
        path: What follows `manifest:`, a CSV or Parquet file.
        suite: Name that their scores are grouped under; None is the manifest's folder and name.

    Raises:
        ManifestError: The manifest is wrong.
    """
    if not path:
        raise ManifestError("manifest: needs a file, such as manifest:data/labels.csv")
    file = Path(os.path.expanduser(path))
    suite = suite or f"{file.resolve().parent.name}/{file.stem}"
    return [_task(file, part, suite) for part in read_manifest(file)]


def _task(path: Path, part: ManifestPart, suite: str) -> Task:
    settings: dict[str, Any] = dict(part.settings)
    crop = settings.get("crop_seconds")
    guessed = ", ".join(GUESSES.get(name) or KINDS[part.kind] for name in part.guessed)
    remarks = (*_shared_groups(part), *([f"taken as {guessed}"] if guessed else []))
    domain = _check(path, part.name, "domain", settings.get("domain", "other"), DOMAINS)
    metric = settings.get("metric", METRICS_OF_KIND[part.kind][0])
    _check(path, part.name, "metric", metric, METRICS_OF_KIND[part.kind])
    if crop is not None and not (type(crop) in (int, float) and 0.1 <= crop <= 60):
        raise ManifestError(f"{path}: task {part.name!r} has crop_seconds={crop!r}; expected 0.1 to 60, or null")
    for key in ("stands_for", "notes"):
        if not isinstance(settings.get(key, ""), str):
            raise ManifestError(f"{path}: task {part.name!r} has {key}={settings[key]!r}; expected text in quotes")
    return DividedTask(
        name=part.name,
        domain=domain,
        kind=cast(Kind, part.kind),
        slots=tuple(part.slots.items()),
        metric=metric,
        crop_seconds=WHOLE_CLIP_SECONDS if crop is None else float(crop),
        whole_clip=crop is None,
        suite=suite,
        stands_for=settings.get("stands_for", ""),
        notes="; ".join(filter(None, [settings.get("notes", ""), *remarks])),
        remarks=remarks,
        parts=part.folds,
    )


def _shared_groups(part: ManifestPart) -> list[str]:
    """A warning where a speaker, a recording, ... is trained on and scored."""
    shared = {
        group
        for fold in part.folds
        for group in {clip.group for clip in fold.train} & {clip.group for clip in fold.test}
    }
    stand = "stands" if len(shared) == 1 else "stand"
    return [f"{number_of(len(shared), 'group')} {stand} in both train and test"] if shared else []


def _check(path: Path, task: str, name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise ManifestError(f"{path}: task {task!r} has {name}={value!r}; expected {', '.join(known)}")
    return cast(str, value)


TASKS = {"manifest": manifest_tasks}
