"""Scores of a task as fractions 0 to 1, also as means over folds and with weights of groups for `bootstrap`.

Source: paper, section 2.1 (mean average precision on AudioSet and MagnaTagATune, F1 on the other tasks) and
appendix A (a Fluent clip is right only if all three slots are).
Shapes: M clips, K classes, S slots, G groups, R resamples, Q distinct scores at which a positive clip lies.
Departures: the paper does not say which F1; micro-F1, which equals accuracy on single-label tasks, stands.

A resample is a column of integer weights over groups, so every metric is written once, over weights (G, R);
the plain score is the same code with one group of weight one. Sorting does not depend on the resample.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray
from scipy.sparse import csr_array

Scores = ndarray | Sequence[ndarray]
"""Decision values (M, K), higher is more likely; for slots one such array a slot."""


def accuracy(scores: Float[ndarray, "M K"], targets: Int[ndarray, "M"]) -> float:
    """Share of the clips whose highest score is their class; of equal scores the first counts."""
    return _plain(_weighted_accuracy, scores, targets)


def micro_f1(scores: Float[ndarray, "M K"], targets: Int[ndarray, "M"]) -> float:
    """F1 over all decisions together, which is the accuracy where a clip has one label."""
    return _plain(_weighted_accuracy, scores, targets)


def macro_f1(scores: Float[ndarray, "M K"], targets: Int[ndarray, "M"]) -> float:
    """Mean F1 of the classes that occur among targets or predictions, as scikit-learn counts them."""
    return _plain(_weighted_macro_f1, scores, targets)


def mean_average_precision(scores: Float[ndarray, "M K"], targets: Shaped[ndarray, "M K"]) -> float:
    """Mean average precision of the classes with a positive clip; NaN if there is none."""
    return _plain(_weighted_map, scores, targets)


def exact_match(scores: Sequence[ndarray], targets: Int[ndarray, "M S"]) -> float:
    """Share of the clips that are right in every slot."""
    return _plain(_weighted_exact_match, scores, targets)


METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy,
    "map": mean_average_precision,
    "micro_f1": micro_f1,
    "macro_f1": macro_f1,
    "exact_match": exact_match,
}


def average_precisions(scores: Float[ndarray, "M K"], targets: Shaped[ndarray, "M K"]) -> Float[ndarray, "K"]:
    """Average precision of each class, ties as in scikit-learn; NaN for a class without a positive clip."""
    _check_multilabel(scores, targets)
    columns = zip(scores.T, targets.T > 0, strict=True)
    return np.array([_plain(_weighted_ap, column, positive) for column, positive in columns])


def recalls(scores: Float[ndarray, "M K"], targets: Int[ndarray, "M"]) -> Float[ndarray, "K"]:
    """Share of each class's clips that were found; NaN for a class without a clip."""
    confusion = confusion_matrix(scores, targets)
    totals = confusion.sum(axis=1)
    return np.where(totals > 0, confusion.diagonal() / np.maximum(totals, 1), np.nan)


def confusion_matrix(scores: Float[ndarray, "M K"], targets: Int[ndarray, "M"]) -> Int[ndarray, "K K"]:
    """Number of clips by true class (row) and highest score (column)."""
    predictions, num_classes = _predictions(scores, targets), scores.shape[1]
    pairs = np.bincount(targets * num_classes + predictions, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def chance_score(metric: str, test_targets: Shaped[ndarray, "M ..."], num_classes: int | Sequence[int]) -> float:
    """What scores drawn at random are expected to get.

    Accuracy: 1/K. mAP: mean positive rate of the classes with a positive. Macro-F1: the large-sample value.
    `num_classes` is K; for slots one number a slot.
    """
    if metric == "map":
        rates = (test_targets > 0).mean(axis=0)
        return float(rates[rates > 0].mean()) if rates.any() else float("nan")
    if metric == "exact_match":
        return float(1 / np.prod(np.asarray(num_classes, dtype=float)))
    assert isinstance(num_classes, int), (metric, num_classes)
    if metric == "macro_f1":
        # F1 of a class with rate q, guessed with rate 1/K: precision q, recall 1/K
        rates = np.bincount(test_targets, minlength=num_classes) / len(test_targets)
        return float(np.mean(2 * rates / (num_classes * rates + 1)))
    return 1 / num_classes


def majority_score(
    metric: str,
    train_targets: Shaped[ndarray, "Mtrain ..."],
    test_targets: Shaped[ndarray, "M ..."],
    num_classes: int | Sequence[int],
) -> float:
    """What "always the commonest training class" gets; for slots the commonest combination.

    For mAP every clip scores the training rates, so all clips tie and it equals the chance score.
    """
    if metric == "map":
        return chance_score(metric, test_targets, num_classes)
    classes, counts = np.unique(train_targets, axis=0, return_counts=True)
    commonest = classes[counts.argmax()]
    if metric == "exact_match":
        return float((test_targets == commonest).all(axis=1).mean())
    assert isinstance(num_classes, int), (metric, num_classes)
    scores = np.zeros((len(test_targets), num_classes))
    scores[:, commonest] = 1
    return METRICS[metric](scores, test_targets)


def mean_over_folds(metric: str, scores: Scores, targets: ndarray, folds: Int[ndarray, "M"] | None) -> float:
    """The score of clips that several probes scored, one a fold; None is one fold."""
    return _plain(weighted_metric(metric, folds), scores, targets)


def weighted_metric(metric: str, folds: Int[ndarray, "M"] | None = None) -> "Weighted":
    """A metric over weighted groups; of several folds the mean over those of which a resample has a clip."""
    weighted = _WEIGHTED[metric]
    if folds is None:
        return weighted
    parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]

    def mean(scores: Scores, targets: ndarray, group: ndarray, weights: ndarray) -> ndarray:
        found = [weighted(_taken(scores, part), targets[part], group[part], weights) for part in parts]
        defined = ~np.isnan(found)
        total, number = np.where(defined, found, 0).sum(axis=0), defined.sum(axis=0)
        return cast(ndarray, total / np.where(number > 0, number, np.nan))

    return mean


def _taken(scores: Scores, index: ndarray) -> Scores:
    return scores[index] if isinstance(scores, np.ndarray) else [slot[index] for slot in scores]


def _plain(weighted: "Weighted", scores: Scores, targets: ndarray) -> float:
    one_group = np.zeros(len(targets), dtype=np.int64)
    return float(weighted(scores, targets, one_group, np.ones((1, 1), dtype=np.float32))[0])


Weighted = Callable[[Any, ndarray, ndarray, ndarray], ndarray]
"""scores, targets, group (M,), weights (G, R) -> the metric in each resample (R,), in float64."""


def _weighted_accuracy(scores: ndarray, targets: ndarray, group: ndarray, weights: ndarray) -> ndarray:
    return _weighted_share(_predictions(scores, targets) == targets, group, weights)


def _weighted_exact_match(scores: Sequence[ndarray], targets: ndarray, group: ndarray, weights: ndarray) -> ndarray:
    if len(scores) != targets.shape[1]:
        raise ValueError(f"scores of {len(scores)} slots, targets of {targets.shape[1]} - one array a slot")
    hits = [_predictions(slot, targets[:, s]) == targets[:, s] for s, slot in enumerate(scores)]
    return _weighted_share(np.logical_and.reduce(hits), group, weights)


def _weighted_share(hits: Bool[ndarray, "M"], group: ndarray, weights: ndarray) -> ndarray:
    exact = weights.astype(np.float64)
    found = np.bincount(group, weights=hits, minlength=len(weights)) @ exact
    drawn = np.bincount(group, minlength=len(weights)) @ exact
    return cast(ndarray, found / np.where(drawn > 0, drawn, np.nan))


def _weighted_macro_f1(scores: ndarray, targets: ndarray, group: ndarray, weights: ndarray) -> ndarray:
    predictions, num_classes = _predictions(scores, targets), scores.shape[1]
    hit = predictions == targets
    true_positives = _weighted_counts(targets[hit], group[hit], num_classes, weights)  # (K, R)
    targeted = _weighted_counts(targets, group, num_classes, weights)
    predicted = _weighted_counts(predictions, group, num_classes, weights)
    occurs = targeted + predicted > 0
    # F1 = 2 TP / ((TP + FN) + (TP + FP))
    f1 = 2 * true_positives / np.where(occurs, targeted + predicted, 1)
    return cast(ndarray, f1.sum(axis=0) / np.where(occurs.any(axis=0), occurs.sum(axis=0), np.nan))


def _weighted_map(scores: ndarray, targets: ndarray, group: ndarray, weights: ndarray) -> ndarray:
    _check_multilabel(scores, targets)
    total, num_defined = np.zeros((2, weights.shape[1]))
    for column, positive in zip(scores.T, targets.T > 0, strict=True):
        values = _weighted_ap(column, positive, group, weights)
        total += np.nan_to_num(values)
        num_defined += ~np.isnan(values)
    return np.where(num_defined > 0, total / np.maximum(num_defined, 1), np.nan)


def _weighted_ap(scores: ndarray, positive: ndarray, group: ndarray, weights: ndarray) -> ndarray:
    """Sum over distinct scores of recall gained x precision there, (R,); NaN without a positive.

    Recall grows only where a positive clip lies, so precision is needed only at those Q scores: clips are
    counted by the first of them that they come before or tie with, and the counts are summed downwards.
    """
    distinct, rank = np.unique(scores, return_inverse=True)
    rank = len(distinct) - 1 - rank  # 0 is the highest score
    steps = np.unique(rank[positive])
    if not len(steps):
        return np.full(weights.shape[1], np.nan)
    step = np.searchsorted(steps, rank)
    before = step < len(steps)  # clips under the last positive one do not count
    gained = _weighted_counts(step[positive], group[positive], len(steps), weights)  # (Q, R)
    passed = _weighted_counts(step[before], group[before], len(steps), weights).cumsum(axis=0)
    found = gained.cumsum(axis=0)
    area = (gained * found / np.maximum(passed, 1)).sum(axis=0)
    return np.where(found[-1] > 0, area / np.maximum(found[-1], 1), np.nan)


def _weighted_counts(rows: ndarray, group: ndarray, num_rows: int, weights: ndarray) -> ndarray:
    """Weighted number of clips in each row, float64 (num_rows, R)."""
    ones = np.ones(len(rows), dtype=np.float32)
    counts = csr_array((ones, (rows, group)), shape=(num_rows, len(weights)))
    return cast(ndarray, (counts @ weights).astype(np.float64))


_WEIGHTED: dict[str, Weighted] = {
    "accuracy": _weighted_accuracy,
    "map": _weighted_map,
    "micro_f1": _weighted_accuracy,
    "macro_f1": _weighted_macro_f1,
    "exact_match": _weighted_exact_match,
}


def _predictions(scores: ndarray, targets: ndarray) -> ndarray:
    if targets.ndim != 1 or scores.ndim != 2 or len(scores) != len(targets) or not len(targets):
        raise ValueError(
            f"scores {scores.shape} with targets {targets.shape} - (M, K) and (M,) are expected, M at least 1"
        )
    _check_finite(scores)
    return cast(ndarray, scores.argmax(axis=1))


def _check_multilabel(scores: ndarray, targets: ndarray) -> None:
    if scores.shape != targets.shape or targets.ndim != 2 or not len(targets):
        raise ValueError(
            f"scores {scores.shape} with targets {targets.shape} - both (M, K), M at least 1, are expected; "
            "targets are 0 or 1 for each clip and class"
        )
    _check_finite(scores)


def _check_finite(scores: ndarray) -> None:
    if not np.isfinite(scores).all():
        bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        raise ValueError(f"scores of {len(bad)} clips are not finite, the first is clip {bad[0]} - check the encoder")
