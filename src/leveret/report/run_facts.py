"""Where a run's scores come from: everything that its scorecard says of encoder, protocol, machine, splits and files.

Nothing is chosen: what a later version records shows as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from shlex import join
from typing import Any

from leveret.results import TaskResult
from leveret.runs import Run
from leveret.text import percent

LISTED = 200
"""Skipped or silent clips of one task that are named; the others are counted."""


@dataclass(frozen=True)
class TaskFacts:
    """Of one task: which clips, and what became of them.

    Attributes:
        clips: "train 1,200, valid 400, test 400".
        published: The same as published, empty where it is not known.
        coverage: In per cent.
        head: "probe" or "pretraining".
        skipped: (clip, why), up to LISTED.
        skipped_more: Number of others.
        silent: Clips, up to LISTED.
        silent_more: Number of others.
    """

    task: str
    suite: str
    variant: str
    split_hash: str
    clips: str
    published: str
    coverage: str
    contamination: str
    head: str
    seconds: str
    skipped: Sequence[tuple[str, str]]
    skipped_more: int
    silent: Sequence[str]
    silent_more: int


@dataclass(frozen=True)
class RunFacts:
    """Of one run: titles with pairs of name and value, and its tasks."""

    folder: str
    name: str
    parts: Mapping[str, Sequence[tuple[str, str]]]
    tasks: Sequence[TaskFacts]


def run_facts(run: Run) -> RunFacts:
    """Everything that the scorecard says of where its scores come from."""
    card = run.scorecard
    card_file = run.folder / "scorecard.json"
    about = dict(card.run)
    command = about.pop("command", None)
    whole = [("folder", run.folder.name), ("sha256 of scorecard.json", sha256(card_file.read_bytes()).hexdigest())]
    if isinstance(command, list):
        whole.insert(0, ("command", join(map(str, command))))
    parts = {
        "Run": [*whole, *pairs(about)],
        "Encoder": list(pairs(card.encoder)),
        "Protocol": list(pairs(card.protocol)),
    }
    return RunFacts(run.folder.name, str(card.encoder["name"]), parts, [_task_facts(result) for result in card.tasks])


def pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values as a page prints them."""
    for name, value in values.items():
        yield name.replace("_", " "), as_text(value)


def as_text(value: object) -> str:
    """A recorded value as a page prints it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case str():
            return value
        case dict() if all(isinstance(one, str | int | float) for one in value.values()):
            return ", ".join(f"{name} {one}" for name, one in value.items())
        case _:
            return json.dumps(value)


def _task_facts(result: TaskResult) -> TaskFacts:
    skipped = list(result.skipped.items())
    return TaskFacts(
        task=result.task,
        suite=result.suite,
        variant=result.variant,
        split_hash=result.split_hash,
        clips=_counts(result.clips),
        published=_counts(result.official_clips),
        coverage=percent(result.coverage),
        contamination=result.contamination,
        head=result.head,
        seconds=f"{result.seconds:,.1f}",
        skipped=skipped[:LISTED],
        skipped_more=max(0, len(skipped) - LISTED),
        silent=result.silent[:LISTED],
        silent_more=max(0, len(result.silent) - LISTED),
    )


def _counts(clips: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {number:,}" for split, number in clips.items() if number)
