"""From scores of test clips to the fields of a result: means over seeds and folds, the interval, what stands beside.

Source: paper, section 2.1: mAP on tagging tasks, F1 on the others.
Shapes: S seeds, M clips, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leveret.clips import Clip
from leveret.contracts import FittedProbe, Task
from leveret.metrics import METRICS, majority_score
from leveret.prediction_scores import num_classes, scores_of
from leveret.predictions import Predictions


@dataclass(frozen=True)
class Outcome:
    """What scoring one task found; the caller adds where the vectors came from.

    Attributes:
        values: The fields of a TaskResult that follow from vectors and labels.
        predictions: Scores of every test clip of all folds, first seed.
        probes: The fitted probe of each fold and slot.
    """

    values: Mapping[str, Any]
    predictions: Predictions
    probes: Sequence[Sequence[FittedProbe]]


@dataclass(frozen=True)
class ScoredFold:
    """One fold.

    Attributes:
        test: Its test clips with the scores of the first seed.
        by_seed: Seed -> score.
        majority: What always answering the commonest training class gets.
        train_score: Of the first seed on training clips; None where nothing was trained on them.
        nested: Score with the setting chosen anew on training folds; None where that was not asked.
        facts: What the probe found.
        probes: One a slot.
    """

    test: Predictions
    by_seed: Mapping[int, float]
    majority: float
    train_score: float | None
    nested: float | None
    facts: Mapping[str, Any]
    probes: Sequence[FittedProbe]


def scored_fold(
    task: Task,
    test: Sequence[Clip],
    scores: Sequence[NDArray[np.float32]],
    seeds: Sequence[int],
    train_targets: NDArray[Any],
    facts: Mapping[str, Any],
    probes: Sequence[FittedProbe],
    *,
    train_score: float | None = None,
    nested: Sequence[NDArray[np.float32]] | None = None,
) -> ScoredFold:
    """What the scores of a fold's test clips come to.

    Args:
        scores: (S, M, K) of each slot.
        train_targets: Of training clips, as the metrics take them.
        nested: As `scores`, with the setting chosen anew.
    """
    predictions = predictions_of(task, test, [slot[0] for slot in scores])
    targets, metric = predictions.targets(), METRICS[task.metric]
    return ScoredFold(
        predictions,
        {seed: metric(_for_metric(task, [slot[s] for slot in scores]), targets) for s, seed in enumerate(seeds)},
        majority_score(task.metric, train_targets, targets, num_classes(predictions)),
        train_score,
        None if nested is None else metric(_for_metric(task, [slot[0] for slot in nested]), targets),
        facts,
        probes,
    )


def outcome_of(folds: Sequence[ScoredFold], settings: Mapping[str, Any]) -> Outcome:
    """The folds together.

    Args:
        settings: Of the probe.
    """
    predictions = _concatenated([fold.test for fold in folds])
    by_seed = {seed: float(np.mean([fold.by_seed[seed] for fold in folds])) for seed in folds[0].by_seed}
    score = float(np.mean(list(by_seed.values())))
    found = scores_of(predictions, score)
    train_scores = [fold.train_score for fold in folds if fold.train_score is not None]
    nested = [fold.nested for fold in folds if fold.nested is not None]
    facts = [fold.facts for fold in folds]
    values = {
        "score": score,
        **found,
        "metrics": found["metrics"] | ({"nested_choice": float(np.mean(nested))} if nested else {}),
        "majority": float(np.mean([fold.majority for fold in folds])),
        "train_score": float(np.mean(train_scores)) if train_scores else None,
        "seeds": {str(seed): score for seed, score in by_seed.items()},
        "folds": [float(np.mean(list(fold.by_seed.values()))) for fold in folds] if len(folds) > 1 else [],
        "probe": {**settings, **(facts[0] if len(facts) == 1 else {"folds": facts})},
    }
    return Outcome(values, predictions, [fold.probes for fold in folds])


def predictions_of(task: Task, clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> Predictions:
    """Clips with their scores (M, K) of each slot."""
    return Predictions(
        [clip.id for clip in clips], [clip.group for clip in clips], [clip.labels for clip in clips],
        dict(task.slots), scores, task.metric,
    )  # fmt: skip


def _concatenated(parts: Sequence[Predictions]) -> Predictions:
    first = parts[0]
    return Predictions(
        [clip for part in parts for clip in part.clip],
        [group for part in parts for group in part.group],
        [labels for part in parts for labels in part.labels],
        first.vocabulary,
        [np.concatenate([part.scores[slot] for part in parts]) for slot in range(len(first.scores))],
        first.metric,
        [number for number, part in enumerate(parts) for _ in part.clip] if len(parts) > 1 else (),
    )


def _for_metric(task: Task, scores: Sequence[NDArray[np.float32]]) -> Any:
    return list(scores) if task.kind == "slots" else scores[0]
