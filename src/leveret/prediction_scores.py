"""What follows from the predictions of a task alone: its metrics, classes, interval and chance. No torch.

The evaluation writes these into its result, and a verification makes them again.
"""

from typing import Any

import numpy as np

from leveret.bootstrap import cluster_bootstrap
from leveret.metrics import average_precisions, chance_score, mean_over_folds, recalls
from leveret.predictions import Predictions

BOOTSTRAP_SEED = 0


def scores_of(predictions: Predictions, score: float) -> dict[str, Any]:
    """The fields of a TaskResult that say how right the predictions are.

    Args:
        score: Mean over all seeds, which the interval of the predictions' one seed is moved to.
    """
    targets, groups = predictions.targets(), np.array(predictions.group)
    interval = cluster_bootstrap(
        predictions.metric, predictions.for_metric(), targets, groups, BOOTSTRAP_SEED,
        folds=predictions.folds(), observed=score,
    )  # fmt: skip
    per_class = _per_class(predictions)
    return {
        "interval": (interval.low, interval.high),
        "interval_groups": interval.num_groups,
        "interval_wide": interval.wide,
        "metrics": _metrics(predictions),
        "per_class": per_class,
        "chance": chance_score(predictions.metric, targets, num_classes(predictions)),
        "unscored_classes": [name for name, value in per_class.items() if value is None],
    }


def num_classes(predictions: Predictions) -> int | list[int]:
    """K, or that of each slot."""
    sizes = [len(labels) for labels in predictions.vocabulary.values()]
    return sizes if predictions.metric == "exact_match" else sizes[0]


def _metrics(predictions: Predictions) -> dict[str, float]:
    targets, metric, folds = predictions.targets(), predictions.metric, predictions.folds()
    if metric == "map":
        return {"map": predictions.score()}
    if metric != "exact_match":
        names = ("accuracy", "macro_f1")
        return {name: mean_over_folds(name, predictions.scores[0], targets, folds) for name in names}
    slots = {
        f"accuracy:{slot}": mean_over_folds("accuracy", predictions.scores[k], targets[:, k], folds)
        for k, slot in enumerate(predictions.vocabulary)
    }
    return {"exact_match": predictions.score(), **slots}


def _per_class(predictions: Predictions) -> dict[str, float | None]:
    targets = predictions.targets()
    found: dict[str, float | None] = {}
    for k, (slot, labels) in enumerate(predictions.vocabulary.items()):
        if predictions.metric == "map":
            values = average_precisions(predictions.scores[k], targets)
        else:
            values = recalls(predictions.scores[k], targets[:, k] if targets.ndim > 1 else targets)
        for label, value in zip(labels, values.tolist(), strict=True):
            found[f"{slot}:{label}" if slot else label] = None if np.isnan(value) else value
    return found
