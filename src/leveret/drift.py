"""By how much vectors that should be the same differ, and how much of it rounding explains.

Shapes: B batch, D embedding.
"""

from torch import Tensor

ROUNDING = 1e-4
"""Batches of another size are summed in another order; single precision errs by far less than this."""

PRECISION = 1e-2
"""Half precision errs by less than this; a mean over the batch by far more."""


def moved(first: Tensor, second: Tensor) -> float:
    """By what share of their length the vectors differ, the worst pair; infinite where they have none in common."""
    if first.shape != second.shape or not (first.isfinite().all() and second.isfinite().all()):
        return float("inf")
    length = first.norm(dim=1).maximum(second.norm(dim=1)).clamp_min(1e-12)
    return float(((first - second).norm(dim=1) / length).max())


def share(value: float) -> str:
    """A share for people: 34 %, 0.02 %, 3e-07."""
    if value == float("inf"):
        return "not finite"
    return "0 %" if value == 0 else f"{100 * value:.3g} %" if value >= 1e-4 else f"{value:.0e}"
