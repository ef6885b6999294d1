"""svm: linear support vector machines, one a class against the rest, the read-out of ESC-50.

Source: paper, appendix A: "the SVM implementation in SciKit-Learn", C out of seven values. The objective is that of
scikit-learn's LinearSVC at its defaults (squared hinge, L2, one against the rest, intercept penalised like a weight),
on features standardised by their training mean and deviation, as in the same group's MMV and BraVe.
Shapes: R rows, D embedding, K classes.
Departures: the paper names neither the estimator nor the scaling. All classes and all C are solved together
(squared_hinge.py) to LinearSVC's optimum, in a small part of its time. Every row counts once, as a sample does there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch

from leveret.contracts import Progress, Table
from leveret.probes.holdout import hold_out, score
from leveret.probes.linear import LinearReadout
from leveret.probes.scaling import standardisation, standardised
from leveret.probes.squared_hinge import Machines, SquaredHinge

PAPER_CS = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
UNSEEN = -1e3
"""Decision value of a class without a training row: below any that a margin of 1 gives."""


@dataclass(frozen=True, kw_only=True)
class SvmProbe:
    """Squared-hinge machines; with several C the best one on `valid`, or on a fifth of train.

    Facts: "C"; "grid", {C as text: score} where there was a choice; "chosen_on", "valid", "groups" or "clips" (what a
    held-out fifth was cut by) or None; "objective", the sum over classes; "newton_steps"; "converged".

    Attributes:
        grid: Values of C, ascending; with a single one nothing is chosen.
        tolerance: Share of the objective that may be left.
    """

    logits: ClassVar[bool] = False

    grid: tuple[float, ...] = PAPER_CS
    tolerance: float = 1e-5

    def settled(self, facts: Mapping[str, Any]) -> Self:
        """The same probe with the C that a fit chose."""
        return replace(self, grid=(facts["C"],))

    def fit(self, train: Table, valid: Table | None, progress: Progress | None = None) -> LinearReadout:
        """Fit on `train`; of several C that with the best score, of equals the smallest.

        Raises:
            ValueError: A vector is not finite.
        """
        notify = progress or (lambda share: None)
        facts: dict[str, Any] = {"C": self.grid[0], "grid": {}, "chosen_on": None}
        if len(self.grid) == 1:
            readout = _Fitter(train, self.tolerance).fit(self.grid[0], notify)
        elif valid is not None:
            readout, choice = self._best(_Fitter(train, self.tolerance), valid, notify)
            facts |= choice | {"chosen_on": "valid"}
        else:
            division = hold_out(train)
            kept, held = train.take(division.kept), train.take(division.held)
            _, choice = self._best(_Fitter(kept, self.tolerance), held, lambda share: notify(0.8 * share))
            facts |= choice | {"chosen_on": division.unit}
            readout = _Fitter(train, self.tolerance).fit(facts["C"], lambda share: notify(0.8 + 0.2 * share))
        notify(1.0)
        return replace(readout, facts=facts | readout.facts)

    def _best(self, fitter: "_Fitter", held: Table, notify: Progress) -> tuple[LinearReadout, dict[str, Any]]:
        """Each C starts from the machines of the one before."""
        scores: dict[float, float] = {}
        readouts: dict[float, LinearReadout] = {}
        for number, C in enumerate(self.grid):
            readouts[C] = fitter.fit(C, lambda share, number=number: notify((number + share) / len(self.grid)))  # type: ignore[misc]
            scores[C] = score(readouts[C].scores(held.vectors)[0], held)
        best = max(scores, key=scores.__getitem__)
        return readouts[best], {"C": best, "grid": {f"{C:g}": value for C, value in scores.items()}}


class _Fitter:
    """Machines of one table for one C after another."""

    def __init__(self, table: Table, tolerance: float) -> None:
        self.tolerance = tolerance
        self.num_classes = table.num_classes
        X = table.vectors
        self.mean, self.scale = standardisation(X, torch.ones(len(X), device=X.device))
        if table.multilabel:
            seen = table.targets.any(0)
            own = table.targets[:, seen][table.rows] > 0
        else:
            seen = torch.bincount(table.targets, minlength=table.num_classes) > 0
            own = table.targets[table.rows, None] == torch.nonzero(seen).squeeze(1)
        self.seen = seen
        self.problem = SquaredHinge(standardised(X, self.mean, self.scale), own.float() * 2 - 1)
        self.last: Machines | None = None

    def fit(self, C: float, notify: Progress) -> LinearReadout:
        """The machines as a layer over raw vectors, with every class of the task."""
        self.last = self.problem.minimise(C, self.last, self.tolerance, notify)
        weight = self.mean.new_zeros(self.num_classes, len(self.mean))
        bias = self.mean.new_full((self.num_classes,), UNSEEN)
        weight[self.seen] = self.last.weight[:, :-1] * self.scale
        bias[self.seen] = self.last.weight[:, -1]
        facts = {
            "objective": float(self.last.objective.sum()),
            "newton_steps": self.last.newton_steps,
            "converged": self.last.converged,
        }
        return LinearReadout(weight.unsqueeze(0), bias.unsqueeze(0), facts, centre=self.mean)


PROBES = {"svm": SvmProbe()}
