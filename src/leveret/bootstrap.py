"""Intervals of scores over whole groups, and comparisons of two score sets on the same resamples.

Source: ours; the paper gives no intervals.
Shapes: M clips, G groups, R resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from leveret.metrics import Scores, mean_over_folds, weighted_metric

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
        p: Two-sided bootstrap p of no difference; never below 2 / (resamples + 1), nor below 2 ** (1 - G), the least
            that G groups can give to whoever turns each group's difference round at random: one group proves nothing.
    """

    difference: float
    interval: Interval
    p: float


def cluster_bootstrap(
    metric: str,
    scores: Scores,
    targets: ndarray,
    groups: Shaped[ndarray, "M"] | None,
    seed: int,
    resamples: int = 1000,
    folds: Int[ndarray, "M"] | None = None,
    observed: float | None = None,
) -> Interval:
    """The interval of a score when whole groups are drawn with replacement.

    In a resample, mAP leaves out the classes without a positive clip. `groups` are of any sortable type; None
    resamples clips. The same seed and groups give the same resamples, whatever the scores.

    Args:
        folds: Of each clip, where the score is the mean over folds.
        observed: The score that it is moved to; None is that of `scores`.
    """
    if observed is None:
        observed = mean_over_folds(metric, scores, targets, folds)
    group, num_groups = _group_indices(groups, len(targets))
    weighted = weighted_metric(metric, folds)
    blocks = _resampled_weights(num_groups, seed, resamples)
    values = np.concatenate([weighted(scores, targets, group, weights) for weights in blocks])
    found = _interval(values, observed, num_groups)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def paired_comparison(
    metric: str, scores: Scores, other_scores: Scores, targets: ndarray, groups: Shaped[ndarray, "M"] | None,
    seed: int, resamples: int = 1000,
) -> Comparison:  # fmt: skip
    """Whether `scores` beat `other_scores`, both on the same resamples; arguments as `cluster_bootstrap`."""
    return paired_comparisons(metric, [scores], other_scores, targets, groups, seed, resamples)[0]


def paired_comparisons(
    metric: str, many: Sequence[Scores], reference: Scores, targets: ndarray, groups: Shaped[ndarray, "M"] | None,
    seed: int, resamples: int = 1000, folds: Int[ndarray, "M"] | None = None,
) -> list[Comparison]:  # fmt: skip
    """Whether each of `many` beats the reference, which is resampled once for all of them."""
    group, num_groups = _group_indices(groups, len(targets))
    weighted = weighted_metric(metric, folds)
    observed = mean_over_folds(metric, reference, targets, folds)
    blocks: list[list[ndarray]] = []
    for weights in _resampled_weights(num_groups, seed, resamples):
        theirs = weighted(reference, targets, group, weights)
        blocks.append([weighted(ours, targets, group, weights) - theirs for ours in many])
    found = []
    for number, ours in enumerate(many):
        differences = np.concatenate([block[number] for block in blocks])
        difference = mean_over_folds(metric, ours, targets, folds) - observed
        defined = differences[~np.isnan(differences)]
        # the observed data count as one resample, so p is never zero
        tail = min((defined <= 0).sum(), (defined >= 0).sum())
        p = min(1.0, max(2 * (1 + float(tail)) / (1 + len(defined)), 2.0 ** (1 - num_groups)))
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
