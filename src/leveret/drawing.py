"""Random crops of training clips: embedded once, or as a run draws them, where there are too many or they are mixed.

Crops begin on a grid of 10 ms, so a crop is a clip and a number. The draws of a chunk of steps are known before it
begins: its different crops are embedded together, used, and let go. Memory is bounded by a chunk of 256 steps and
nothing is stored; a crop that another chunk, seed or slot draws again is computed again.

Source: paper, appendix A: a random crop at each step, and example mixing on AudioSet.
Shapes: m clips, R rows, D embedding, n steps, S seeds, B batch.
Departures: an example whose clip turns out to be unreadable is replaced by the one before it in its batch. Where crops
are embedded once such a clip is never drawn at all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from leveret.augment import pairing
from leveret.bad_files import BadFilePolicy
from leveret.batches import (
    GRID_SECONDS,
    CropRule,
    RowPlan,
    in_reading_order,
    num_crop_starts,
    plan_rows,
    read_batches,
    window_seconds,
)
from leveret.clips import Clip
from leveret.contracts import Crops
from leveret.mapped import MappedRows
from leveret.runner import Runner, vectors_of_batch


@dataclass(frozen=True)
class EmbeddedCrops:
    """Every crop of some clips, embedded.

    Attributes:
        rows_of: Clip id -> its rows (n, D), in the order of their starts.
        bad: Clip id -> why it cannot be drawn: nothing, those clips have no rows.
    """

    rows_of: Mapping[str, NDArray[Any] | MappedRows]
    bad: Mapping[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> Collection[str]:
        """Of the clips that can be drawn."""
        return self.rows_of.keys()

    def of(self, clips: Sequence[Clip], device: torch.device) -> Crops:
        """The crops of these clips."""
        blocks = [self.rows_of[clip.id] for clip in clips]
        count = torch.tensor([len(block) for block in blocks])
        on_disk = [block for block in blocks if isinstance(block, MappedRows)]
        in_memory = [block for block in blocks if not isinstance(block, MappedRows)]
        X = MappedRows.joined(on_disk).read() if on_disk else np.concatenate(in_memory)
        return _Held(torch.from_numpy(X).to(device), count)


@dataclass(frozen=True)
class _Held:
    held: Tensor
    count: Tensor

    def drawn(
        self, clips: Tensor, rows: Tensor, seeds: Sequence[int], first_step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What was drawn is there."""
        return self.held, clips, rows


@dataclass(frozen=True)
class CropSource:
    """The training clips of a task, before any encoder.

    Attributes:
        clips: Those with a good header.
        lengths: Seconds of each.
        bad: Clip id -> why its header is no good.
        crop: Length of a crop, and whether a shorter clip is one of its own length.
        mixed: Whether each example is mixed with another one of its batch.
    """

    clips: Sequence[Clip]
    lengths: NDArray[np.float64]
    bad: Mapping[str, str]
    crop: CropRule
    mixed: bool

    @classmethod
    def make(cls, clips: Sequence[Clip], crop: CropRule, mixed: bool, threads: int) -> Self:
        """Read the headers."""
        plan = plan_rows(in_reading_order(clips), CropRule(seconds=np.inf, whole_clip=True), threads)
        return cls(plan.clips, plan.lengths, plan.bad, crop, mixed)

    @property
    def num_starts(self) -> NDArray[np.int64]:
        """Crops of each clip."""
        return num_crop_starts(self.lengths, self.crop.seconds)

    @property
    def num_clips(self) -> int:
        """Those with a bad header included."""
        return len(self.clips) + len(self.bad)


class StreamedCrops:
    """Crops that one encoder embeds as they are drawn.

    Attributes:
        bad: Clip id -> why it could not be embedded; grows while crops are drawn.
    """

    def __init__(self, source: CropSource, runner: Runner, policy: BadFilePolicy) -> None:
        self.source, self.runner, self.policy = source, runner, policy
        self.bad: dict[str, str] = {}
        self._index = {clip.id: k for k, clip in enumerate(source.clips)}

    @property
    def ids(self) -> Collection[str]:
        """Of the clips that can be drawn."""
        return self._index.keys()

    def of(self, clips: Sequence[Clip], device: torch.device) -> Crops:
        """The crops of these clips."""
        return _Streamed(self, np.array([self._index[clip.id] for clip in clips]), device)

    def embed(self, plan: RowPlan) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors of the rows of a plan, and which of them are good.

        Raises:
            TooManyBadFilesError: By the policy.
        """
        runner = self.runner
        X = np.zeros((plan.num_rows, runner.width), np.float32)
        rates, threads = [runner.loaded.encoder.sample_rate], runner.compute.num_threads()
        good = np.ones(plan.num_rows, dtype=bool)
        for batch in read_batches(plan, runner.network.batches(plan), rates, threads):
            span = slice(batch.first, batch.first + batch.num_rows)
            (X[span],) = vectors_of_batch([runner], batch)
            reasons = dict(batch.bad)
            for row in (batch.first + np.flatnonzero(~np.isfinite(X[span]).all(axis=1))).tolist():
                path = plan.clips[plan.clip[row]].path
                reasons.setdefault(row, f"{runner.name} gives a vector that is not finite for {str(path)!r}")
            if reasons:
                good[list(reasons)] = False
                self.bad |= {plan.clips[plan.clip[row]].id: reason for row, reason in reasons.items()}
                self.policy.check({**self.source.bad, **self.bad}, self.source.num_clips)
        return X, good


class _Streamed:
    """Crops of some of the clips; see StreamedCrops."""

    def __init__(self, stream: StreamedCrops, chosen: NDArray[np.int64], device: torch.device) -> None:
        self.stream, self.chosen, self.device = stream, chosen, device
        self.held = torch.empty(0, stream.runner.width, device=device)
        self.count = torch.from_numpy(stream.source.num_starts[chosen])

    def drawn(
        self, clips: Int[Tensor, "n S B"], rows: Int[Tensor, "n S B"], seeds: Sequence[int], first_step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed what was drawn: each different crop once, or each example with its partner."""
        source = self.stream.source
        first = (self.count.cumsum(0) - self.count).numpy()
        if source.mixed:
            crop, place = rows.numpy().ravel(), np.arange(rows.numel())
        else:
            crop, place = np.unique(rows.numpy(), return_inverse=True)
        owner = np.searchsorted(first, crop, side="right") - 1
        clip, start = self.chosen[owner], (crop - first[owner]) * GRID_SECONDS
        seconds = np.full(len(crop), source.crop.seconds)
        if not source.mixed:
            seconds = window_seconds(source.lengths[clip], source.crop)
        order = np.lexsort((start, clip, seconds))  # of one length, then of one clip, which is decoded once
        mixture: tuple[NDArray[Any], ...] = ()
        if source.mixed:
            partner, share = _partners(rows.shape, seeds, first_step)
            mixture = clip[partner][order], start[partner][order], share[order]
        plan = RowPlan(source.clips, clip[order], start[order], seconds[order], source.lengths, {}, *mixture)
        found, found_good = self.stream.embed(plan)
        X, good = np.empty_like(found), np.empty_like(found_good)
        X[order], good[order] = found, found_good
        place = place.reshape(rows.shape)
        instead = _instead_of_bad(good[place])
        return (
            torch.from_numpy(X).to(self.device),
            clips.gather(2, instead),
            torch.from_numpy(place).gather(2, instead),
        )


def _partners(
    shape: Sequence[int], seeds: Sequence[int], first_step: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The example that each one is mixed with, and its own share, by (seed, step, example); both flat."""
    steps, _, batch = shape
    pairs = [pairing(batch, steps, seed, first_step) for seed in seeds]
    partner = np.stack([pair.partner for pair in pairs], 1)  # (n, S, B), within its batch
    offsets = np.arange(steps * len(seeds)).reshape(steps, len(seeds), 1) * batch
    return (partner + offsets).ravel(), np.stack([pair.share for pair in pairs], 1).ravel()


def _instead_of_bad(good: NDArray[np.bool_]) -> Int[Tensor, "n S B"]:
    """The place in its batch of the example that each one is, or is replaced by: the last good one before it."""
    place = np.where(good, np.arange(good.shape[-1]), -1)
    before, last = np.maximum.accumulate(place, axis=-1), place.max(axis=-1, keepdims=True)
    if (last < 0).any():
        raise ValueError(
            f"not one of the {good.shape[-1]} crops of a training step can be embedded; expected readable clips - see "
            "`leveret embed` on some of them for the reasons"
        )
    return torch.from_numpy(np.where(before < 0, last, before))
