"""What the page shows of one run on one task, as plain values for its script: rounded as it is printed, and small.

Scores and intervals are per cent with one decimal. Lists of class names are kept once, whichever cells share them.
"""

from collections.abc import Sequence
from typing import Any

from leveret.report.map_details import Samples, shortened
from leveret.report.probe_words import probe_words
from leveret.report.score_table import ScoreTable
from leveret.report.task_details import TaskDetails, task_details
from leveret.results import TaskResult
from leveret.runs import Run
from leveret.text import percent

METRIC_TITLES = {"map": "mAP", "exact_match": "exact match", "micro_f1": "micro-F1", "macro_f1": "macro-F1"}


def metric_title(metric: str) -> str:
    """As people write it; "accuracy:action" is that of a slot."""
    name, _, slot = metric.partition(":")
    return METRIC_TITLES.get(name, name) + (f" of {slot}" if slot else "")


def rounded(score: float | None) -> float | None:
    """Per cent with one decimal, by the rounding of `percent`."""
    return None if score is None else float(percent(score))


def table_details(one: ScoreTable, classes: dict[tuple[str, ...], int], samples: Samples) -> dict[str, Any]:
    """A score table with the details of all its cells.

    Args:
        classes: Lists of class names with their numbers; new ones are added.
        samples: Clips of the embedding maps; new ones are added.
    """
    return {
        "protocol": one.protocol,
        "suite": one.suite,
        "columns": [{"name": column.name, "detail": column.detail} for column in one.columns],
        "tasks": [
            {
                "title": line.title,
                "domain": domain.domain,
                "metric": metric_title(line.metric),
                "cells": [
                    _cell(column.run, score.key, score.result, classes, samples)
                    if column.run is not None and score.result is not None
                    else {"score": rounded(score.value), "other": score.other_clips}
                    for column, score in zip(one.columns, line.scores, strict=True)
                ],
            }
            for domain in one.domains
            for line in domain.tasks
        ],
    }


def _cell(
    run: Run, key: str, result: TaskResult, classes: dict[tuple[str, ...], int], samples: Samples
) -> dict[str, Any]:
    low, high = result.interval
    predictions = run.predictions(key)
    lists = [_number(names, classes) for names in predictions.vocabulary.values()]
    return {
        "run": True,
        "score": rounded(result.score),
        "low": rounded(low),
        "high": rounded(high),
        "chance": rounded(result.chance),
        "majority": rounded(result.majority),
        "floor": rounded(result.floor),
        "facts": _facts(result),
        "warnings": result.warnings,
        "perClass": {
            "of": "average precision" if result.kind == "multi" else "recall",
            "classes": _number(list(result.per_class), classes),
            "values": [rounded(value) for value in result.per_class.values()],
        },
        **_confused(task_details(predictions), classes),
        "names": list(predictions.vocabulary),
        "map": samples.map_of(run, key, predictions, lists),
    }


def _facts(result: TaskResult) -> list[tuple[str, str]]:
    low, high = result.interval
    others = {name: value for name, value in result.metrics.items() if name != result.metric}
    splits = ", ".join(f"{split} {number:,}" for split, number in result.clips.items() if number)
    found = [
        (metric_title(result.metric), percent(result.score)),
        ("95 % interval", f"{percent(low)} to {percent(high)}, over {_resampled(result)}"),
        *((metric_title(name), percent(value)) for name, value in others.items()),
        ("chance", percent(result.chance)),
        ("majority class", percent(result.majority)),
        ("floor (melstats)", percent(result.floor) or "not run"),
        ("on its training clips", percent(result.train_score)),
        ("clips", splits),
        ("test clips scored", f"{result.coverage:.1%}"),
        ("test clips met in training", result.contamination),
        ("scored by", "a new probe" if result.head == "probe" else "the classifier of its pretraining, no new probe"),
    ]
    if len(result.seeds) > 1:
        found.append(("seeds", ", ".join(f"{seed}: {percent(value)}" for seed, value in result.seeds.items())))
    if result.folds:
        found.append(("folds", ", ".join(map(percent, result.folds))))
    if result.stands_for:
        found.append(("stands for", result.stands_for))
    if result.variant:
        found.append(("variant", result.variant))
    if result.unscored_classes:
        found.append(("classes without a test clip", f"{len(result.unscored_classes):,}"))
    if result.notes:
        found.append(("notes", result.notes))
    found.append(("probe", probe_words(result.probe)))
    return found


def _resampled(result: TaskResult) -> str:
    """What the interval is over: groups of clips, or clips where nothing joins them."""
    groups = f"{result.interval_groups:,}"
    return (
        f"{groups} clips, each its own group" if result.interval_groups == result.clips["test"] else f"{groups} groups"
    )


def _confused(details: TaskDetails, classes: dict[tuple[str, ...], int]) -> dict[str, Any]:
    return {
        "confused": details.num_confused,
        "of": details.num_clips,
        "slots": [
            {
                "name": slot.slot,
                "classes": _number(slot.classes, classes),
                "counts": None if slot.counts is None else [number for entry in slot.counts for number in entry],
                "pairs": slot.pairs,
            }
            for slot in details.confusions
        ],
        "clips": [
            [shortened(clip.clip), ", ".join(clip.true), ", ".join(clip.predicted), f"{clip.margin:.2f}"]
            for clip in details.clips
        ],
    }


def _number(names: Sequence[str], classes: dict[tuple[str, ...], int]) -> int:
    return classes.setdefault(tuple(map(str, names)), len(classes))
