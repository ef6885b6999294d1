"""A fifth of the training clips held out in whole groups, and the score of what was held out.

Source: leveret's protocols (docs/protocol.md): `logistic` chooses its L2 on it and `knn` its k, `linear` and `mlp`
check their rate on it.
Shapes: R rows, M clips, m clips held out, K classes.
Departures: the paper holds nothing out; no use touches the clips that the probe of the result trains on.
"""

from dataclasses import dataclass
from math import ceil, isnan
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from leveret.bootstrap import paired_comparison
from leveret.contracts import FittedProbe, Table
from leveret.metrics import accuracy, mean_average_precision

HELD_OUT_SHARE = 0.2
ENOUGH_CLIPS = 20_000
_ROWS_AT_ONCE = 16_384
_RESAMPLES = 200


@dataclass(frozen=True)
class Division:
    """Two parts of a table's clips, both ascending and neither empty.

    Attributes:
        kept: Clips to train on.
        held: Clips to score.
        unit: What was never cut in two. "clips" where there is one group, or where no held-out class had a clip
            left to learn it from (groups that lie inside classes, such as one speaker a class).
    """

    kept: Int[Tensor, "k"]
    held: Int[Tensor, "m"]
    unit: Literal["groups", "clips"]


def hold_out(table: Table, seed: int = 0) -> Division:
    """Close to a fifth of the clips, whole groups of them; the same for the same groups and seed on any device.

    Raises:
        ValueError: The table has fewer than two clips.
    """
    if table.num_clips < 2:
        raise ValueError(f"{table.num_clips} training clip(s) - a hold-out needs at least 2; add clips")
    groups = torch.unique(table.groups.cpu(), return_inverse=True)[1]
    if int(groups.max()) > 0:
        division = _divide(table, groups, "groups", seed)
        if table.multilabel or _some_class_known(table, division):
            return division
    return _divide(table, torch.arange(table.num_clips), "clips", seed)


def _divide(table: Table, units: Int[Tensor, "M"], name: Literal["groups", "clips"], seed: int) -> Division:
    sizes = torch.bincount(units)
    wanted = ceil(HELD_OUT_SHARE * len(units))
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    taken = torch.zeros(len(sizes), dtype=torch.bool)
    total = 0
    for unit, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        # A unit that would overshoot is passed over: one long recording must not become the whole held-out part.
        if total + size <= wanted:
            taken[unit] = True
            total += size
    if not total:
        taken[int(sizes.argmin())] = True
    held = taken[units]
    device = table.rows.device
    kept_clips, held_clips = torch.nonzero(~held).squeeze(1), torch.nonzero(held).squeeze(1)
    return Division(kept_clips.to(device), held_clips.to(device), name)


def _some_class_known(table: Table, division: Division) -> bool:
    return bool(torch.isin(table.targets[division.held], table.targets[division.kept]).any())


def clip_means(scores: Float[Tensor, "R K"], rows: Int[Tensor, "R"], num_clips: int) -> Float[Tensor, "{num_clips} K"]:
    """Mean decision value of each clip over its rows, in float64."""
    total = scores.new_zeros(num_clips, scores.shape[1], dtype=torch.float64)
    total.index_add_(0, rows, scores.double())
    return total / torch.bincount(rows, minlength=num_clips).unsqueeze(1)


def clip_means_of(readout: FittedProbe, table: Table) -> Float[Tensor, "S M K"]:
    """As `clip_means`, of every seed; vectors on disk are read and scored part by part."""
    X = table.X
    if isinstance(X, Tensor):
        return torch.stack([clip_means(one, table.rows, table.num_clips) for one in readout.scores(X)])
    total: Tensor | None = None
    for first in range(0, len(X), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        scores = readout.scores(X[part].read()).double()
        total = scores.new_zeros(len(scores), table.num_clips, scores.shape[2]) if total is None else total
        total.index_add_(1, table.rows[part], scores)
    assert total is not None, "a table has a row"
    return total / torch.bincount(table.rows, minlength=table.num_clips).unsqueeze(1)


def some_of(clips: Int[Tensor, "m"], table: Table) -> Int[Tensor, "n"]:
    """All of the clips, or of a table on disk enough to tell by, evenly spaced."""
    if isinstance(table.X, Tensor):
        return clips
    return clips[:: -(-len(clips) // ENOUGH_CLIPS)]


def score(scores: Float[Tensor, "R K"], table: Table) -> float:
    """Accuracy over clips, or mean average precision where clips have any number of labels.

    Zero where no clip of the table has a label, so that settings can still be ranked.
    """
    return clip_score(clip_means(scores, table.rows, table.num_clips), table)


def clip_score(means: Float[Tensor, "M K"], table: Table) -> float:
    """As `score`, of decision values that are one a clip already."""
    targets = table.targets.cpu().numpy()
    if not table.multilabel:
        return accuracy(means.cpu().numpy(), targets.astype(np.int64))
    value = mean_average_precision(means.cpu().numpy(), targets)
    return 0.0 if isnan(value) else value


def surely_better(means: Float[Tensor, "M K"], other_means: Float[Tensor, "M K"], table: Table) -> bool:
    """Whether clips score higher, and the 95 % interval of the difference over whole groups lies above zero."""
    if clip_score(means, table) <= clip_score(other_means, table):
        return False
    metric = "map" if table.multilabel else "accuracy"
    scores, other_scores, targets, groups = (
        part.cpu().numpy() for part in (means, other_means, table.targets, table.groups)
    )
    compared = paired_comparison(metric, scores, other_scores, targets, groups, seed=0, resamples=_RESAMPLES)
    return compared.interval.low > 0
