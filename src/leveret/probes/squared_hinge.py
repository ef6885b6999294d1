"""Many squared-hinge machines at once: every class against the rest, by truncated Newton steps in the primal.

Source: the objective is LIBLINEAR's L2-regularised L2-loss machine (its solvers 1 and 2),
|w|^2 / 2 + C sum_i max(0, 1 - y_i w x_i)^2; truncated Newton with a line search is Keerthi and DeCoste, JMLR 6, 2005.
Shapes: R rows, P features with the column of ones, K classes.
Departures: none in the objective. All classes share each matrix product, and the features are turned into their
principal axes first, which changes neither a length nor a product: there the Hessian of any fair share of the rows is
nearly diagonal, and conjugate gradients preconditioned with its diagonal need a handful of steps.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_MAX_NEWTON_STEPS = 60
_MAX_CG_STEPS = 40
_CG_SHARE = 0.1  # of the slope that conjugate gradients may leave: more precision is lost when the active rows change
_LINE_STEPS = 12
_TINY = 1e-30


class Machines(NamedTuple):
    """One machine a class.

    Attributes:
        weight: In the features given, the factor of the ones in the last column.
        objective: Of each class.
        newton_steps: Of the class that took most.
        converged: Whether every class came to its end.
    """

    weight: Float[Tensor, "K P"]
    objective: Float[Tensor, "K"]
    newton_steps: int
    converged: bool


class SquaredHinge:
    """The problem of one table: rows, and for each class which of them are its own.

    Args:
        X: Centred features, float32.
        signs: +1 for the rows of a class, -1 for the others.
    """

    def __init__(self, X: Float[Tensor, "R D"], signs: Float[Tensor, "R K"]) -> None:
        self.axes = _principal_axes(X)
        turned = X @ self.axes
        self.X = torch.cat([turned, X.new_ones(len(X), 1)], 1)  # (R, P)
        self.squares = self.X.square()
        self.signs = signs

    def minimise(
        self,
        C: float,
        start: Machines | None = None,
        tolerance: float = 1e-5,
        notify: Callable[[float], None] | None = None,
    ) -> Machines:
        """The optimum of every class.

        Args:
            C: Weight of each row's loss.
            start: Machines of another C to begin from; None is zero.
            tolerance: A class is done when the next step promises less than this share of its objective.
            notify: Called with the share of the classes that are done.
        """
        K = self.signs.shape[1]
        weight = self.X.new_zeros(K, self.X.shape[1]) if start is None else self._turned(start.weight)
        steps = 0
        left = torch.arange(K, device=weight.device)
        scores = self.X @ weight.T  # (R, K), of the classes that are left
        while len(left) and steps < _MAX_NEWTON_STEPS:
            steps += 1
            signs, now = self.signs[:, left], weight[left]
            value, active = _objective(now, scores, signs, C)
            slope = now + 2 * C * (active * (scores - signs)).T @ self.X
            direction = self._newton_direction(slope, active, C)
            promised = -0.5 * (slope * direction).sum(1)
            along = self.X @ direction.T
            length = _line_minimum(now, direction, scores, along, signs, C)
            weight[left] = now + length[:, None] * direction
            scores += length * along
            unfinished = torch.nonzero(promised > tolerance * value).squeeze(1)
            if len(unfinished) < len(left):
                left, scores = left[unfinished], scores[:, unfinished]
            if notify:
                notify(1 - len(left) / K)
        objective = _objective(weight, self.X @ weight.T, self.signs, C)[0]
        unturned = torch.cat([weight[:, :-1] @ self.axes.T, weight[:, -1:]], 1)
        return Machines(unturned, objective, steps, not len(left))

    def _turned(self, weight: Float[Tensor, "K P1"]) -> Float[Tensor, "K P"]:
        return torch.cat([weight[:, :-1] @ self.axes, weight[:, -1:]], 1)

    def _newton_direction(
        self, slope: Float[Tensor, "k P"], active: Float[Tensor, "R k"], C: float
    ) -> Float[Tensor, "k P"]:
        """Minus the inverse Hessian times the slope, by preconditioned conjugate gradients, every class at its pace."""
        diagonal = 1 + 2 * C * active.T @ self.squares
        direction = torch.zeros_like(slope)
        residual = -slope
        conditioned = residual / diagonal
        search = conditioned.clone()
        energy = (residual * conditioned).sum(1)
        enough = _CG_SHARE**2 * energy
        for _ in range(_MAX_CG_STEPS):
            curved = search + 2 * C * ((self.X @ search.T).mul_(active)).T @ self.X
            # a class that has enough takes steps of length zero while the others go on
            going = energy > enough
            length = torch.where(going, energy / (search * curved).sum(1).clamp_min(_TINY), 0.0)
            direction += length[:, None] * search
            residual -= length[:, None] * curved
            conditioned = residual / diagonal
            new_energy = torch.where(going, (residual * conditioned).sum(1), energy)
            if not (new_energy > enough).any():
                break
            search = torch.where(
                going[:, None], conditioned + (new_energy / energy.clamp_min(_TINY))[:, None] * search, search
            )
            energy = new_energy
        return direction


def _objective(
    weight: Float[Tensor, "k P"], scores: Float[Tensor, "R k"], signs: Float[Tensor, "R k"], C: float
) -> tuple[Float[Tensor, "k"], Float[Tensor, "R k"]]:
    """Of each class, summed in float64; and which rows lie within the margin."""
    short = (1 - signs * scores).clamp_min_(0)
    active = (short > 0).float()
    return 0.5 * weight.double().square().sum(1) + C * short.square_().sum(0, dtype=torch.float64), active


def _line_minimum(
    weight: Float[Tensor, "k P"],
    direction: Float[Tensor, "k P"],
    scores: Float[Tensor, "R k"],
    along: Float[Tensor, "R k"],
    signs: Float[Tensor, "R k"],
    C: float,
) -> Float[Tensor, "k"]:
    """Where each class's objective is least on its line: Newton on the slope, held in a bracket.

    The slope along the line is piecewise linear and rises, so Newton ends after some pieces.
    """
    constant, linear = (weight * direction).sum(1), direction.square().sum(1)
    length = torch.ones_like(linear)
    low, high = torch.zeros_like(length), torch.full_like(length, float("inf"))
    for _ in range(_LINE_STEPS):
        error = scores + length * along - signs
        active = (error * signs < 0).float()
        slope = constant + length * linear + 2 * C * (error * active * along).sum(0)
        curvature = linear + 2 * C * (active * along.square()).sum(0)
        high = torch.where(slope > 0, torch.minimum(high, length), high)
        low = torch.where(slope < 0, torch.maximum(low, length), low)
        step = slope / curvature.clamp_min(_TINY)
        if (step.abs() <= 1e-3 * length).all():
            break
        wanted = length - step
        inside = (wanted > low) & (wanted < high)
        length = torch.where(inside, wanted, torch.where(high.isinf(), 2 * length, 0.5 * (low + high)))
    return length


def _principal_axes(X: Float[Tensor, "R D"]) -> Float[Tensor, "D P"]:
    """Orthonormal directions that hold all rows: eigenvectors of the Gram matrix, of rows where those are fewer."""
    R, D = X.shape
    if R >= D:
        axes: Tensor = torch.linalg.eigh(X.T @ X)[1]
        return axes
    values, vectors = torch.linalg.eigh((X @ X.T).double())
    kept = values > 1e-10 * values[-1].clamp_min(_TINY)
    orthonormal: Tensor = torch.linalg.qr(X.T.double() @ vectors[:, kept] / values[kept].sqrt())[0]
    return orthonormal.float()
