"""Contrastive losses over the global batch: each rank owns its rows, and no rank ever holds the whole matrix.

Source: NT-Xent from arXiv:2002.05709, equation 1: L = 1/2N sum_i [-s(i, p(i))/t + log sum_{k != i} exp(s(i, k)/t)].
Shapes: B clips of this rank, W ranks, R rows of this rank, G rows of all, D dimensions.
Departures: none. Rows are taken some at a time, and their gradient with them, so that 4096 x 2 views need 16 MB of
products and not 270; nothing is computed twice.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

import leveret.distributed as distributed
from leveret.collectives import gathered
from leveret.layers import at_least_float32

_CELLS_AT_ONCE = 1 << 22
"""Products that lie in memory together."""


def ntxent(
    one: Float[Tensor, "B D"], two: Float[Tensor, "B D"], temperature: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean loss over this rank's 2B views, and the share of them that is nearest to its other view.

    Args:
        one: A view of each clip, of any length; cosines are taken.
        two: The other views, in the same order.
    """
    with torch.autocast(one.device.type, enabled=False):
        unit = [F.normalize(at_least_float32(z), dim=1) for z in (one, two)]
        pairs = torch.stack(unit, 1)  # (B, 2, D): both views of a clip lie side by side
        columns = gathered(pairs).flatten(0, 1)  # (G, D)
        rows = pairs.flatten(0, 1) / temperature  # (R, D)
        own = _first(len(rows)) + torch.arange(len(rows), device=rows.device)
        return row_losses(rows, columns, own ^ 1, own)


def bilinear(
    anchors: Float[Tensor, "B D"], positives: Float[Tensor, "B D"], weight: Float[Tensor, "D D"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean cross-entropy of a W p over all ranks' positives, and the share of anchors that find their own."""
    with torch.autocast(anchors.device.type, enabled=False):
        rows = at_least_float32(anchors) @ at_least_float32(weight)
        columns = gathered(at_least_float32(positives))
        return row_losses(rows, columns, _first(len(rows)) + torch.arange(len(rows), device=rows.device), None)


def row_losses(
    rows: Float[Tensor, "R D"],
    columns: Float[Tensor, "G D"],
    positive: Int[Tensor, "R"],
    left_out: Int[Tensor, "R"] | None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean cross-entropy of the rows of `rows @ columns.T`, and the share of rows whose largest is the positive.

    Args:
        positive: Index of each row's true column; no two rows have the same.
        left_out: Index of a column that a row does not see.
    """
    found: tuple[Tensor, Tensor] = _RowLosses.apply(rows, columns, positive, left_out)
    return found


def _first(num_rows: int) -> int:
    """Number of this rank's first row."""
    return distributed.world().rank * num_rows


class _RowLosses(torch.autograd.Function):
    """The gradient is made on the way: it needs the same products, which are not kept."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, positive: Tensor, left_out: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        by_rows, by_columns = torch.empty_like(rows), torch.zeros_like(columns)
        loss, right = rows.new_zeros(()), rows.new_zeros(())
        at_once = max(1, _CELLS_AT_ONCE // len(columns))
        for first in range(0, len(rows), at_once):
            some = slice(first, first + at_once)
            logits = rows[some] @ columns.T  # (r, G)
            if left_out is not None:
                logits.scatter_(1, left_out[some, None], -torch.inf)
            true = logits.gather(1, positive[some, None])  # (r, 1)
            highest = logits.amax(1, keepdim=True)
            right += (true == highest).sum()
            weights = logits.sub_(highest).exp_()
            total = weights.sum(1, keepdim=True)
            loss += (total.log() + highest - true).sum()
            by_rows[some] = (weights @ columns) / total
            by_columns.addmm_(weights.T, rows[some] / total)
        by_rows -= columns[positive]
        by_columns.index_add_(0, positive, rows, alpha=-1)
        ctx.save_for_backward(by_rows, by_columns)
        share = right / len(rows)
        ctx.mark_non_differentiable(share)
        return loss / len(rows), share

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_rows, by_columns = ctx.saved_tensors
        share = gradient / len(by_rows)
        return by_rows * share, by_columns * share, None, None
