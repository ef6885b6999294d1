"""Clips become batches of waves (B, N) of one length: planned from file headers, decoded ahead in threads.

A row is one window of one clip. The plan is made before any audio is decoded, so its size, its cost and the batch
boundaries are known and the same in every run: rows are ordered by length, windows of one clip stay together, and a
batch holds rows of one length, without masks.
Shapes: R rows, B batch, N samples.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

import leveret.distributed as distributed
from leveret.audio import AudioError, read_info, read_span, span_frames, window_starts
from leveret.augment import pairing
from leveret.clips import Clip
from leveret.contracts import Progress
from leveret.resampling import fit, resample
from leveret.tars import reading_order

MIXING_SEED = 0
"""Of the mixed crops that are embedded once; part of no cache key, since it never changes."""

_CLIPS_AT_ONCE = 4096  # a thread pool remembers a kilobyte for each call that it was given

GRID_SECONDS = 0.01
"""Random crops start on a hop of the front end."""


@dataclass(frozen=True, kw_only=True)
class CropRule:
    """Which windows of a clip are embedded.

    Attributes:
        seconds: Length of a window.
        whole_clip: A clip up to `seconds` is one window of its own length; otherwise it is zero-padded to `seconds`.
        hop: Seconds from window to window; None is `seconds`, so that windows do not overlap.
        num_windows: In place of a hop, so many equally spaced windows from the clip's beginning to its end; one where
            the clip is no longer than a window.
        mixed_passes: In place of the windows, so many random crops of each clip, each to be mixed with a random crop of
            another clip; 0 mixes nothing.
    """

    seconds: float
    whole_clip: bool = False
    hop: float | None = None
    num_windows: int = 0
    mixed_passes: int = 0

    @property
    def every_start(self) -> bool:
        """Whether a clip has a window at each place where a random crop of it may begin."""
        return self.hop == GRID_SECONDS


@dataclass(frozen=True)
class RowPlan:
    """Rows in the order in which they are embedded.

    Attributes:
        clips: The clips that have rows, in the caller's order.
        clip: Index into `clips` of each row.
        start: Seconds into the clip of each row.
        seconds: Length of each row.
        lengths: Seconds of each clip.
        bad: Clip id -> why it has no rows.
        partner: Index of the clip that each row is mixed with; None where nothing is mixed.
        partner_start: Seconds into that clip.
        share: Of the row's own clip in the mixture.
    """

    clips: Sequence[Clip]
    clip: NDArray[np.int64]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    lengths: NDArray[np.float64]
    bad: Mapping[str, str]
    partner: NDArray[np.int64] | None = None
    partner_start: NDArray[np.float64] | None = None
    share: NDArray[np.float32] | None = None

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.clip)

    def batches(
        self, batch_size: int, skip: NDArray[np.bool_] | None = None, max_seconds: float = inf
    ) -> list[tuple[int, int]]:
        """First and past-the-last row of each batch: rows of one length, at most `batch_size`.

        Args:
            skip: Rows that need no batch; a batch never spans one.
            max_seconds: Of sound in a batch of more than one row.
        """
        key = np.stack([self.seconds, np.zeros(self.num_rows) if skip is None else skip.astype(float)], axis=1)
        edges = np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1
        spans = zip([0, *edges.tolist()], [*edges.tolist(), self.num_rows], strict=True)
        return [
            (first, min(first + at_once, stop))
            for begin, stop in spans
            if stop > begin and (skip is None or not skip[begin])
            for at_once in [max(1, int(min(batch_size, max_seconds / self.seconds[begin])))]
            for first in range(begin, stop, at_once)
        ]


def in_reading_order(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, those in tar archives in the order in which they lie."""
    with distributed.in_turn():  # the first to pass over an archive keeps its index for the others
        return [clips[k] for k in reading_order([clip.path for clip in clips])]


def plan_rows(
    clips: Sequence[Clip],
    crop: CropRule,
    threads: int,
    progress: Progress | None = None,
    known: Mapping[str, float | str] = MappingProxyType({}),
) -> RowPlan:
    """Read the headers and lay out the windows; a clip whose header is no good goes to `bad`.

    Args:
        known: What was read already: id -> seconds, or why the header is no good.
    """
    good, lengths, bad = [], [], {}
    unread = iter(_all_seconds([clip for clip in clips if clip.id not in known], threads, progress))
    for clip in clips:
        length = known[clip.id] if clip.id in known else next(unread)
        if isinstance(length, str):
            bad[clip.id] = length
        else:
            good.append(clip)
            lengths.append(length)
    if crop.mixed_passes:
        return _mixed_plan(good, np.array(lengths), bad, crop)
    width_of = window_seconds(np.array(lengths), crop)
    starts = [
        np.array(window_starts(length, width, crop.hop, crop.num_windows))
        for length, width in zip(lengths, width_of.tolist(), strict=True)
    ]
    clip_of = np.repeat(np.arange(len(good)), np.array([len(one) for one in starts], dtype=np.int64))
    order = np.argsort(width_of[clip_of], kind="stable")
    start = np.concatenate([np.empty(0), *starts])
    return RowPlan(good, clip_of[order], start[order], width_of[clip_of[order]], np.array(lengths), bad)


def window_seconds(lengths: NDArray[np.float64], crop: CropRule) -> NDArray[np.float64]:
    """Seconds of the windows of clips that are so long."""
    return np.minimum(lengths, crop.seconds) if crop.whole_clip else np.full(len(lengths), crop.seconds)


def num_crop_starts(lengths: NDArray[np.float64], seconds: float) -> NDArray[np.int64]:
    """At how many places of the 10 ms grid a random crop of a clip may begin: as many as `window_starts` gives."""
    spare = np.maximum(0.0, lengths - seconds) + 1e-5
    return np.floor_divide(spare, GRID_SECONDS).astype(np.int64) + 1


def _all_seconds(clips: Sequence[Clip], threads: int, progress: Progress | None) -> list[float | str]:
    """Seconds of every clip, or why its header is no good; the ranks share the headers out."""
    mine = clips[distributed.even_share(len(clips))]
    found: list[float | str] = []
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(mine), _CLIPS_AT_ONCE):
            for length in pool.map(_clip_seconds, mine[first : first + _CLIPS_AT_ONCE]):
                found.append(length)
                if progress and (len(found) % 256 == 0 or len(found) == len(mine)):
                    progress(len(found) / len(mine))
    return [length for part in distributed.gather(found) for length in part]


def _mixed_plan(clips: Sequence[Clip], lengths: NDArray[np.float64], bad: Mapping[str, str], crop: CropRule) -> RowPlan:
    """Random crops on the 10 ms grid, all of one length, the passes of one clip side by side."""
    pairs = pairing(len(clips), crop.mixed_passes, MIXING_SEED)
    own = np.tile(np.arange(len(clips)), (crop.mixed_passes, 1))
    num_starts = num_crop_starts(lengths, crop.seconds)

    def starts(clip: NDArray[np.int64], place: NDArray[np.float64]) -> NDArray[np.float64]:
        chosen: NDArray[np.float64] = np.floor(place * num_starts[clip]) * GRID_SECONDS
        return chosen.T.ravel()

    return RowPlan(
        clips, own.T.ravel(), starts(own, pairs.place[..., 0]), np.full(own.size, crop.seconds), lengths, bad,
        pairs.partner.T.ravel(), starts(pairs.partner, pairs.place[..., 1]), pairs.share.T.ravel(),
    )  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a plan with their waves.

    Attributes:
        first: Number of the first row.
        waves: Sample rate -> waves; a bad row is silence.
        bad: Number of the row -> why its clip could not be decoded.
        silent: Numbers of the rows whose samples are all zero.
        partners: Sample rate -> what each row is mixed with; empty where nothing is mixed.
        share: Of the row itself in the mixture; 1 where the partner could not be decoded, which its own rows tell.
    """

    first: int
    waves: Mapping[int, Float[Tensor, "B N"]]
    bad: Mapping[int, str] = field(default_factory=dict)
    silent: Sequence[int] = ()
    partners: Mapping[int, Float[Tensor, "B N"]] = field(default_factory=dict)
    share: Float[Tensor, "B"] | None = None

    @property
    def num_rows(self) -> int:
        """B."""
        return len(next(iter(self.waves.values())))


def read_batches(
    plan: RowPlan, spans: Sequence[tuple[int, int]], sample_rates: Sequence[int], threads: int
) -> Iterator[Batch]:
    """Waves of each span of rows, in order, at every wanted rate; each clip is decoded once.

    Args:
        spans: First and past-the-last row of each batch, ascending.
        sample_rates: Hz; distinct.
        threads: Decoding threads; decoding releases the interpreter lock.
    """
    ahead = max(2 * max((stop - first for first, stop in spans), default=1), 4 * threads)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    own = _Ahead(plan.clips, plan.clip, spans, sample_rates, pool, ahead)
    other = None if plan.partner is None else _Ahead(plan.clips, plan.partner, spans, sample_rates, pool, ahead)
    try:
        for first, stop in spans:
            bad: dict[int, str] = {}
            waves = own.windows(first, stop, plan.start, plan.seconds, bad)
            silent = [
                first + k for k, wave in enumerate(waves[sample_rates[0]]) if first + k not in bad and not wave.any()
            ]
            if other is None:
                yield Batch(first, waves, bad, silent)
                continue
            assert plan.partner_start is not None, plan
            assert plan.share is not None, plan
            unmixed: dict[int, str] = {}
            partners = other.windows(first, stop, plan.partner_start, plan.seconds, unmixed)
            share = torch.from_numpy(plan.share[first:stop].copy())
            share[[row - first for row in unmixed]] = 1.0
            yield Batch(first, waves, bad, silent, partners, share)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Ahead:
    """Clips decoded some rows ahead, in the order of the rows; a run of rows of one clip is one job."""

    def __init__(
        self,
        clips: Sequence[Clip],
        clip_of: NDArray[np.int64],
        spans: Sequence[tuple[int, int]],
        sample_rates: Sequence[int],
        pool: ThreadPoolExecutor,
        ahead: int,
    ) -> None:
        self.clips, self.sample_rates, self.pool, self.ahead = clips, sample_rates, pool, ahead
        wanted = (row for span in spans for row in range(*span))
        # windows of one clip lie together, so a run of rows with one clip is one job, even across batches
        self.runs = ((k, list(rows)) for k, rows in groupby(wanted, key=lambda row: int(clip_of[row])))
        self.jobs: deque[tuple[list[int], Future[_Decoded]]] = deque()
        self.pending = 0  # rows that jobs stand for: an hour of audio is one job and hundreds of rows

    def windows(
        self,
        first: int,
        stop: int,
        start: NDArray[np.float64],
        seconds: NDArray[np.float64],
        bad: dict[int, str],
    ) -> dict[int, Tensor]:
        """Windows of rows `first` to `stop` at each rate; a row that cannot be decoded is silence and goes to `bad`."""
        windows: dict[int, list[NDArray[np.float32]]] = {rate: [] for rate in self.sample_rates}
        for row in range(first, stop):
            self._refill()
            rows, job = self.jobs[0]
            decoded = job.result()
            if isinstance(decoded, str):
                bad[row] = decoded
            for rate in self.sample_rates:
                wave = np.zeros(0, np.float32) if isinstance(decoded, str) else decoded[rate]
                windows[rate].append(_window(wave, rate, start[row], seconds[row]))
            self.pending -= 1
            if row == rows[-1]:
                self.jobs.popleft()
        return {rate: torch.from_numpy(np.stack(found)) for rate, found in windows.items()}

    def _refill(self) -> None:
        # the next clip is always under way, however long this one is
        while (self.pending < self.ahead or len(self.jobs) < 2) and (run := next(self.runs, None)) is not None:
            self.jobs.append((run[1], self.pool.submit(_decode, self.clips[run[0]], self.sample_rates)))
            self.pending += len(run[1])


_Decoded = Mapping[int, NDArray[np.float32]] | str


def _decode(clip: Clip, sample_rates: Sequence[int]) -> _Decoded:
    try:
        wave, rate = read_span(clip.path, clip.start, clip.end)
    except AudioError as error:
        return str(error)
    return {new_rate: resample(wave, rate, new_rate) for new_rate in sample_rates}


def _window(wave: NDArray[np.float32], rate: int, start: float, seconds: float) -> NDArray[np.float32]:
    begin = round(start * rate)
    return fit(wave[begin : begin + round(seconds * rate)], round(seconds * rate))


def _clip_seconds(clip: Clip) -> float | str:
    try:
        info = read_info(clip.path)
        begin, stop = span_frames(info, clip.start, clip.end, clip.path)
    except AudioError as error:
        return str(error)
    return (stop - begin) / info.sample_rate
