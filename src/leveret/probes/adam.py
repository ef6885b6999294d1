"""Probes that Adam trains by the paper's schedule: what `linear` and `mlp` share, the check of the rate included.

Source: paper, appendix A (batch and steps) and appendix C (Adam, warm-up over 5k steps to 2e-4, cosine to 0).
Shapes: S seeds, L peak rates.
Departures: at each step a clip is drawn and then one of its rows: its random crops under the protocol `paper`, its
windows under `cached` (docs/protocol.md). Beside the paper's rate the probe is tried at a tenth, ten and a hundred
times of it on four fifths of train, always on windows; that changes no score, it only says where the fixed rate
under-fits. Reduction of the loss and first weights: see trainer.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Int
from torch import Tensor

from leveret.contracts import FittedProbe, Progress, Table
from leveret.optim import PEAK_RATE, WARMUP_STEPS
from leveret.probes.holdout import clip_means_of, clip_score, hold_out, some_of
from leveret.probes.trainer import Build, Trained, train

RATE_FACTORS = (0.1, 1.0, 10.0, 100.0)
UNDER_FITTED_GAIN = 0.01
"""A point: another rate must gain more than this for the flag."""


@dataclass(frozen=True, kw_only=True)
class AdamProbe(ABC):
    """A network trained for a fixed number of steps; facts as JSON carries them.

    Facts: "steps", "batch", "peak_rate", "warmup_steps", "seeds"; "train_loss", a mean over the last hundred steps for
    each seed; "rate_check", {factor of the rate as text: score on the held-out fifth}, or None where it was not asked
    for; "rate_check_unit", what the fifth was cut by; "under_fitted", {"factor", "gain"} of the best higher rate where
    it gains more than a point, else None; "crops", of crops that were drawn how many there are to draw from, and
    whether they were embedded "once" or "as drawn", else None.

    Attributes:
        batch: Clips a step.
        steps: Optimizer steps.
        peak_rate: Reached after `warmup_steps`; a run shorter than those never reaches it.
        seeds: One head each: first weights and draws.
        check_rates: Also train at 0.1, 1, 10 and 100 times the rate on four fifths of train: about three times
            the work of one seed on top.
    """

    logits: ClassVar[bool] = True
    from_disk: ClassVar[bool] = True

    batch: int = 64
    steps: int = 400_000
    peak_rate: float = PEAK_RATE
    warmup_steps: int = WARMUP_STEPS
    seeds: tuple[int, ...] = (0,)
    check_rates: bool = True

    @abstractmethod
    def network(self) -> Build:
        """What makes the network that is trained."""

    @abstractmethod
    def readout(self, layers: Sequence[Tensor], facts: Mapping[str, Any]) -> FittedProbe:
        """The network's parameters (S, ...) as a read-out."""

    def fit(self, train: Table, valid: Table | None, progress: Progress | None = None) -> FittedProbe:
        """Train on `train`; `valid` is never looked at, as in the paper."""
        share = len(self.seeds) / (len(self.seeds) + (len(RATE_FACTORS) if self.check_rates else 0))
        trained = self._train(train, None, self.seeds, [self.peak_rate], _part(progress, 0.0, share))
        facts: dict[str, Any] = {
            "steps": self.steps,
            "batch": self.batch,
            "peak_rate": self.peak_rate,
            "warmup_steps": self.warmup_steps,
            "seeds": list(self.seeds),
            "train_loss": trained.train_loss[:, 0].tolist(),
            "rate_check": None,
            "rate_check_unit": None,
            "under_fitted": None,
            "crops": None,
        }
        if train.crops is not None:
            held = len(train.crops.held) > 0
            facts["crops"] = {"from": int(train.crops.count.sum()), "embedded": "once" if held else "as drawn"}
        if self.check_rates:
            # whether a rate suits the vectors shows as well on the windows that are embedded anyway
            windows = replace(train, crops=None, crop_targets=None)
            facts |= self._check_rates(windows, _part(progress, share, 1.0))
        return self.readout([layer[:, 0] for layer in trained.layers], facts)

    def _check_rates(self, train: Table, progress: Progress | None) -> dict[str, Any]:
        division = hold_out(train)
        rates = [factor * self.peak_rate for factor in RATE_FACTORS]
        trained = self._train(train, division.kept, self.seeds[:1], rates, progress)
        held = train.take(some_of(division.held, train))
        readout = self.readout([layer[0] for layer in trained.layers], {})  # a rate in a seed's place
        means = clip_means_of(readout, held)
        by_factor = {factor: clip_score(of_rate, held) for factor, of_rate in zip(RATE_FACTORS, means, strict=True)}
        # a lower rate that is better on the held-out part says over-fitted, which is no fault of the rate
        best = max((factor for factor in RATE_FACTORS if factor >= 1), key=by_factor.__getitem__)
        gain = by_factor[best] - by_factor[1.0]
        return {
            "rate_check": {f"{factor:g}": value for factor, value in by_factor.items()},
            "rate_check_unit": division.unit,
            "under_fitted": {"factor": best, "gain": gain} if gain > UNDER_FITTED_GAIN else None,
        }

    def _train(
        self,
        table: Table,
        clips: Int[Tensor, "m"] | None,
        seeds: Sequence[int],
        peak_rates: Sequence[float],
        progress: Progress | None,
    ) -> Trained:
        return train(
            self.network(),
            table,
            clips,
            seeds=seeds,
            peak_rates=peak_rates,
            batch=self.batch,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            progress=progress,
        )


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    """Reports of a part of the work as reports of the whole."""
    if progress is None:
        return None
    return lambda share: progress(start + share * (end - start))
