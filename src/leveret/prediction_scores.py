"""What follows from the predictions of a task alone: its metrics, classes, interval and chance. No torch.

The evaluation writes these into its result, and a verification makes them again.
"""

from typing import Any

import numpy as np

from leveret.metrics import METRICS, average_precisions, chance_score, cluster_bootstrap, macro_f1, recalls
from leveret.runs import Predictions

BOOTSTRAP_SEED = 0


def scores_of(predictions: Predictions) -> dict[str, Any]:
    """The fields of a TaskResult that say how right the predictions are."""
    targets, groups = predictions.targets(), np.array(predictions.group)
    interval = cluster_bootstrap(predictions.metric, predictions.for_metric(), targets, groups, BOOTSTRAP_SEED)
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
    targets, metric = predictions.targets(), predictions.metric
    if metric == "map":
        return {"map": METRICS["map"](predictions.scores[0], targets)}
    if metric != "exact_match":
        scores = predictions.scores[0]
        return {"accuracy": METRICS["accuracy"](scores, targets), "macro_f1": macro_f1(scores, targets)}
    slots = {
        f"accuracy:{slot}": METRICS["accuracy"](predictions.scores[k], targets[:, k])
        for k, slot in enumerate(predictions.vocabulary)
    }
    return {"exact_match": METRICS["exact_match"](list(predictions.scores), targets), **slots}


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
