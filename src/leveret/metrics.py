"""Scores of a task as fractions 0 to 1, their intervals over whole groups, comparisons of two score sets.

Source: paper, section 2.1 (mean average precision on AudioSet and MagnaTagATune, F1 on the other tasks) and
appendix A (a Fluent clip is right only if all three slots are).
Shapes: M clips, K classes, S slots, G groups, R resamples, Q distinct scores at which a positive clip lies.
Departures: the paper does not say which F1; micro-F1, which equals accuracy on single-label tasks, stands.

A resample is a column of integer weights over groups, so every metric is written once, over weights (G, R);
the plain score is the same code with one group of weight one. Sorting does not depend on the resample.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray
from scipy.sparse import csr_array

Scores = ndarray | Sequence[ndarray]
"""Decision values (M, K), higher is more likely; for slots one such array a slot."""

MIN_GROUPS = 10  # below it a percentile interval of a cluster bootstrap is too narrow to be believed
COVERAGE = 0.95
_WEIGHTS_AT_ONCE = 2**25  # elements of (G, R) held at a time, 128 MiB


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval of the bootstrap, moved by the bootstrap's bias.

    Attributes:
        low: 2.5th percentile over the resamples; `high` is the 97.5th.
        num_groups: G, what was resampled.
        wide: True where G < 10: the interval is to be read with doubt.
    """

    low: float
    high: float
    num_groups: int
    wide: bool


@dataclass(frozen=True)
class Comparison:
    """The difference of two score sets on the same clips.

    Attributes:
        difference: Score of the first less that of the second, on all clips.
        interval: Of the difference, both scored on the same resamples.
        p: Two-sided bootstrap p of no difference; never below 2 / (resamples + 1).
    """

    difference: float
    interval: Interval
    p: float


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


def cluster_bootstrap(
    metric: str,
    scores: Scores,
    targets: ndarray,
    groups: Shaped[ndarray, "M"] | None,
    seed: int,
    resamples: int = 1000,
) -> Interval:
    """The interval of a score when whole groups are drawn with replacement.

    In a resample, mAP leaves out the classes without a positive clip. `groups` are of any sortable type; None
    resamples clips. The same seed and groups give the same resamples, whatever the scores.
    """
    group, num_groups = _group_indices(groups, len(targets))
    blocks = _resampled_weights(num_groups, seed, resamples)
    values = np.concatenate([_WEIGHTED[metric](scores, targets, group, weights) for weights in blocks])
    found = _interval(values, METRICS[metric](scores, targets), num_groups)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def paired_comparison(
    metric: str, scores: Scores, other_scores: Scores, targets: ndarray, groups: Shaped[ndarray, "M"] | None,
    seed: int, resamples: int = 1000,
) -> Comparison:  # fmt: skip
    """Whether `scores` beat `other_scores`, both on the same resamples; arguments as `cluster_bootstrap`."""
    return paired_comparisons(metric, [scores], other_scores, targets, groups, seed, resamples)[0]


def paired_comparisons(
    metric: str, many: Sequence[Scores], reference: Scores, targets: ndarray, groups: Shaped[ndarray, "M"] | None,
    seed: int, resamples: int = 1000,
) -> list[Comparison]:  # fmt: skip
    """Whether each of `many` beats the reference, which is resampled once for all of them."""
    group, num_groups = _group_indices(groups, len(targets))
    weighted, observed = _WEIGHTED[metric], METRICS[metric](reference, targets)
    blocks: list[list[ndarray]] = []
    for weights in _resampled_weights(num_groups, seed, resamples):
        theirs = weighted(reference, targets, group, weights)
        blocks.append([weighted(ours, targets, group, weights) - theirs for ours in many])
    found = []
    for number, ours in enumerate(many):
        differences = np.concatenate([block[number] for block in blocks])
        difference = METRICS[metric](ours, targets) - observed
        defined = differences[~np.isnan(differences)]
        # the observed data count as one resample, so p is never zero
        tail = min((defined <= 0).sum(), (defined >= 0).sum())
        p = min(1.0, 2 * (1 + float(tail)) / (1 + len(defined)))
        found.append(Comparison(difference, _interval(differences, difference, num_groups), p))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the given order; an adjusted p holds for the whole family."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    stepped = np.maximum.accumulate(np.minimum(np.asarray(p_values, dtype=float)[order] * factors, 1.0))
    adjusted = np.empty(len(order))
    adjusted[order] = stepped
    return [float(p) for p in adjusted]


def _plain(weighted: "_Weighted", scores: Scores, targets: ndarray) -> float:
    one_group = np.zeros(len(targets), dtype=np.int64)
    return float(weighted(scores, targets, one_group, np.ones((1, 1), dtype=np.float32))[0])


def _group_indices(groups: ndarray | None, num_clips: int) -> tuple[ndarray, int]:
    if groups is None:
        return np.arange(num_clips), num_clips
    if len(groups) != num_clips:
        raise ValueError(f"{len(groups)} groups for {num_clips} clips - one group a clip is expected")
    names, group = np.unique(groups, return_inverse=True)
    return group, len(names)


def _resampled_weights(num_groups: int, seed: int, resamples: int) -> Iterator[ndarray]:
    """How often each group is drawn, in blocks (G, R) of float32: the counts are exact up to 2**24."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // num_groups)
    for first in range(0, resamples, at_once):
        weights = np.empty((num_groups, min(at_once, resamples - first)), dtype=np.float32)
        for column in range(weights.shape[1]):
            drawn = rng.integers(num_groups, size=num_groups)
            weights[:, column] = np.bincount(drawn, minlength=num_groups)
        yield weights


def _interval(values: ndarray, observed: float, num_groups: int) -> Interval:
    """Percentiles of the defined values, less their bias: a resample in which no class has a positive clip has no mAP.

    Drawing with replacement repeats positive clips, which lifts average precision by some points in every resample; an
    interval that is not moved back may not even hold the score.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise ValueError("no resample has a positive clip - at least one is expected; check the targets")
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]) - (defined.mean() - observed)
    return Interval(float(low), float(high), num_groups, num_groups < MIN_GROUPS)


_Weighted = Callable[[Any, ndarray, ndarray, ndarray], ndarray]
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
    return cast(ndarray, found / (np.bincount(group, minlength=len(weights)) @ exact))


def _weighted_macro_f1(scores: ndarray, targets: ndarray, group: ndarray, weights: ndarray) -> ndarray:
    predictions, num_classes = _predictions(scores, targets), scores.shape[1]
    hit = predictions == targets
    true_positives = _weighted_counts(targets[hit], group[hit], num_classes, weights)  # (K, R)
    targeted = _weighted_counts(targets, group, num_classes, weights)
    predicted = _weighted_counts(predictions, group, num_classes, weights)
    occurs = targeted + predicted > 0
    # F1 = 2 TP / ((TP + FN) + (TP + FP))
    f1 = 2 * true_positives / np.where(occurs, targeted + predicted, 1)
    return cast(ndarray, f1.sum(axis=0) / occurs.sum(axis=0))


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


_WEIGHTED: dict[str, _Weighted] = {
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
