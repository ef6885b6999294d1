"""logistic: regularised logistic regression to its optimum, the read-out of the protocol `quick`.

Source: leveret's own (docs/protocol.md); the objective is scikit-learn's LogisticRegression with sample weights,
sum_i w_i loss_i + |W|^2 / (2 C), softmax for one label a clip and one sigmoid a class otherwise, bias not penalised.
Shapes: R rows, M clips, D embedding, K classes, P classes with a training clip.
Departures: another estimator than the paper's linear layer (standardised, regularised, at its optimum), so it claims
to rank encoders alike, not to give the paper's numbers.

A row weighs 1 / (rows of its clip), so the weights add up to the number of clips and C means the same whatever the
number of windows. C is chosen on `valid`, or on a fifth of train held out in whole groups, and the result is then
fitted on all of train and nothing else.
"""

from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leveret.contracts import Progress, Table
from leveret.probes import lbfgs
from leveret.probes.holdout import clip_means, hold_out, score, surely_better
from leveret.probes.linear import LinearReadout
from leveret.probes.scaling import standardisation, standardised

USUAL_C = 0.1
C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
PATIENCE = 2
"""The way from strong to weak regularisation ends after so many values in a row without a better score."""

_CHOICE_TOLERANCE = 1e-4  # share of the objective still to be gained: enough to rank values of C
_FINAL_TOLERANCE = 1e-7
_GRAM_ROUNDING = 1e-6
_ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, kw_only=True)
class LogisticProbe:
    """Logistic regression by L-BFGS over all rows at once.

    Facts: "C"; "grid", {C as text: score}, as far as the search went; "chosen_on", "valid", "groups" or "clips" (the
    last two: what the held-out fifth was cut by) or None where there was nothing to choose; "chosen_score";
    "objective", in scikit-learn's scale; "iterations", over the search and the final fit; "converged", of the final
    fit.

    Attributes:
        grid: Values of C, ascending; with a single one nothing is held out.
        usual: The C that stands unless another one is surely better on the held-out clips: a validation split of a
            dozen clips, or of one speaker, chooses by chance, and that costs ten points.
        max_iterations: Of L-BFGS, for each value of C.
    """

    logits: ClassVar[bool] = True

    grid: tuple[float, ...] = C_GRID
    usual: float = USUAL_C
    max_iterations: int = 300

    def fit(self, train: Table, valid: Table | None, progress: Progress | None = None) -> LinearReadout:
        """Fit on `train` with the C that scores best on `valid` or on a held-out fifth.

        Another C displaces `usual` only where the 95 % interval of its gain, over whole groups, lies above zero.

        Raises:
            ValueError: A vector is not finite.
        """
        notify = progress or (lambda share: None)
        facts: dict[str, Any] = {"C": self.grid[0], "grid": {}, "chosen_on": None, "chosen_score": None}
        start, iterations = None, 0
        if len(self.grid) > 1:
            if valid is None:
                division = hold_out(train)
                choice = self._choose(_Problem(train.take(division.kept)), train.take(division.held), notify)
                facts |= choice.facts | {"chosen_on": division.unit}
            else:
                choice = self._choose(_Problem(train), valid, notify)
                facts |= choice.facts | {"chosen_on": "valid"}
            start, iterations = choice.parameters, choice.iterations
        problem = _Problem(train)
        if start is not None and len(start) != len(problem.classes):
            start = None  # the held-out part had a class to itself
        best = problem.minimise(facts["C"], start, _FINAL_TOLERANCE, self.max_iterations)
        notify(1.0)
        facts |= {
            "objective": best.value * problem.total_weight,
            "iterations": iterations + best.iterations,
            "converged": best.converged,
        }
        return problem.readout(best.point, facts)

    def _choose(self, problem: "_Problem", held: Table, notify: Progress) -> "_Choice":
        """The best value of the grid, unless it is no surer than `usual`; each fit starts where the last one ended."""
        tried: dict[float, _Tried] = {}
        start, iterations = None, 0
        for number, value in enumerate(self.grid):
            optimum = problem.minimise(value, start, _CHOICE_TOLERANCE, self.max_iterations)
            start, iterations = optimum.point, iterations + optimum.iterations
            rows = problem.readout(start, {}).scores(held.vectors)[0]
            tried[value] = _Tried(start, clip_means(rows, held.rows, held.num_clips), score(rows, held))
            notify(0.9 * (number + 1) / len(self.grid))
            best = max(tried, key=lambda value: tried[value].score)  # the first of equals: the strongest
            if value >= self.usual and list(tried).index(best) + PATIENCE < len(tried):
                break
        if self.usual in tried and not surely_better(tried[best].clip_scores, tried[self.usual].clip_scores, held):
            best = self.usual
        facts = {
            "C": best,
            "grid": {f"{value:g}": one.score for value, one in tried.items()},
            "chosen_score": tried[best].score,
        }
        return _Choice(facts, tried[best].parameters, iterations)


class _Tried(NamedTuple):
    parameters: Float[Tensor, "P D1"]
    clip_scores: Float[Tensor, "m K"]
    score: float


class _Choice(NamedTuple):
    facts: dict[str, Any]
    parameters: Float[Tensor, "P D1"]
    iterations: int


class _Problem:
    """The objective of one table in standardised features, a float32 copy of which it holds.

    Parameters are one matrix (P, D + 1), the bias in the last column. Classes without a training clip take no part.
    """

    def __init__(self, table: Table) -> None:
        count = torch.bincount(table.rows, minlength=table.num_clips)
        self.row_weights = 1 / count[table.rows].float()
        self.total_weight = float(table.num_clips)
        self.num_classes, self.multilabel = table.num_classes, table.multilabel
        self.mean, self.scale = standardisation(table.vectors, self.row_weights)
        self.X = standardised(table.vectors, self.mean, self.scale)
        self.gram = self.X.new_zeros(self.X.shape[1], self.X.shape[1])
        for block, weights in zip(self.X.split(_ROWS_AT_ONCE), self.row_weights.split(_ROWS_AT_ONCE), strict=True):
            self.gram.addmm_(block.T * (weights / self.total_weight), block)
        if table.multilabel:
            self.classes = torch.nonzero(table.targets.any(0)).squeeze(1)
            self.targets = table.targets[:, self.classes].float()[table.rows]  # (R, P)
        else:
            self.classes, place = torch.unique(table.targets, return_inverse=True)
            self.targets = place[table.rows]  # (R,)

    def minimise(
        self, C: float, start: Float[Tensor, "P D1"] | None, tolerance: float, max_iterations: int
    ) -> lbfgs.Minimum:
        """The optimum for one C; its value is that of `value_and_slope`.

        The search runs in coordinates in which the curvature is near 1 everywhere: W = V L^-1 with L L^T a model of
        the Hessian that all classes share, h X^T X / M + 1 / (C M), h the mean of p (1 - p) at the start. It takes a
        fifth of the iterations that it would take in W.

        Args:
            start: Parameters to begin from; None is zero.
        """
        if start is None:
            start = self.X.new_zeros(len(self.classes), self.X.shape[1] + 1)
        h = self._mean_variance(start)
        # The Gram matrix is rounded to float32; the second term keeps its factor real.
        ridge = 1 / (C * self.total_weight) + _GRAM_ROUNDING * h * len(self.gram)
        factor = torch.linalg.cholesky(self.gram.double() * h + ridge * torch.eye(len(self.gram)).to(self.gram.device))
        L, bias_scale = factor.float(), h**0.5

        def in_w(point: Tensor) -> Tensor:
            weight = torch.linalg.solve_triangular(L, point[:, :-1], upper=False, left=False)
            return torch.cat([weight, point[:, -1:] / bias_scale], 1)

        def function(point: Tensor) -> tuple[float, Tensor]:
            value, slope = self.value_and_slope(in_w(point), C)
            weight_slope = torch.linalg.solve_triangular(L.T, slope[:, :-1], upper=True, left=False)
            return value, torch.cat([weight_slope, slope[:, -1:] / bias_scale], 1)

        begin = torch.cat([start[:, :-1] @ L, start[:, -1:] * bias_scale], 1)
        found = lbfgs.minimise(function, begin, tolerance, max_iterations)
        return found._replace(point=in_w(found.point))

    def _mean_variance(self, parameters: Float[Tensor, "P D1"]) -> float:
        """Mean of p (1 - p) over rows and classes, never below what rounding would make of it."""
        total = 0.0
        for first in range(0, len(self.X), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            logits = torch.addmm(parameters[:, -1], self.X[part], parameters[:, :-1].T)
            likely = logits.sigmoid() if self.multilabel else logits.softmax(1)
            total += float((likely * (1 - likely)).mean(1) @ self.row_weights[part])
        return max(total / self.total_weight, 1e-6)

    def value_and_slope(self, parameters: Float[Tensor, "P D1"], C: float) -> tuple[float, Float[Tensor, "P D1"]]:
        """The objective over the total weight, summed in float64, and its gradient."""
        weight, bias = parameters[:, :-1], parameters[:, -1]
        penalty = 1 / (C * self.total_weight)
        slope = torch.zeros_like(parameters)
        torch.mul(weight, penalty, out=slope[:, :-1])
        total = weight.new_zeros((), dtype=torch.float64)
        for first in range(0, len(self.X), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            X, targets, weights = self.X[part], self.targets[part], self.row_weights[part]
            logits = torch.addmm(bias, X, weight.T)  # (r, P)
            if self.multilabel:
                losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
                error = logits.sigmoid_().sub_(targets)
            else:
                log_likely = logits.log_softmax(1)
                losses = -log_likely.gather(1, targets.unsqueeze(1)).squeeze(1)
                error = log_likely.exp_()
                error.scatter_add_(1, targets.unsqueeze(1), error.new_full((len(X), 1), -1.0))
            total += (losses * weights).double().sum()
            error *= (weights / self.total_weight).unsqueeze(1)
            slope[:, :-1].addmm_(error.T, X)
            slope[:, -1] += error.sum(0)
        value = total / self.total_weight + 0.5 * penalty * weight.double().square().sum()
        return float(value), slope

    def readout(self, parameters: Float[Tensor, "P D1"], facts: dict[str, Any]) -> LinearReadout:
        """The layer on raw vectors, with every class of the task."""
        weight = self.X.new_zeros(self.num_classes, self.X.shape[1])
        # Weights of softmax classes add up to zero, so the largest logit never lies below the smallest bias: a class
        # that was never seen is never the answer. A sigmoid gets the log-odds of half a clip.
        unseen = -log(2 * self.total_weight)
        if not self.multilabel:
            unseen += float(parameters[:, -1].min())
        bias = weight.new_full((self.num_classes,), unseen)
        weight[self.classes] = parameters[:, :-1] * self.scale
        bias[self.classes] = parameters[:, -1]
        return LinearReadout(weight.unsqueeze(0), bias.unsqueeze(0), facts, centre=self.mean)


PROBES = {"logistic": LogisticProbe()}
