"""Encoders x clips x crop rule -> rows, through the cache: decoded once, whatever the number of encoders.

Source: paper, section 2.1: a frozen encoder, global average pooling, one vector a window.
Shapes: B batch, N samples, R rows, D embedding.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

import leveret.distributed as distributed
from leveret.audio import MIN_SECONDS, find_audio
from leveret.bad_files import BadFilePolicy
from leveret.batches import GRID_SECONDS, Batch, CropRule, RowPlan, in_reading_order, plan_rows, read_batches
from leveret.cache import Store, rows_recorded
from leveret.clips import Clip
from leveret.content import content_digests
from leveret.gathering import gather_rows, opened
from leveret.home import cache_root
from leveret.loading import LONGEST_CLIP_SECONDS
from leveret.mapped import MappedRows
from leveret.progress import Reporter
from leveret.runner import DEFAULT_BATCH_SECONDS, Runner, vectors_of_batch
from leveret.tars import left_out

HALF_PRECISION_ABOVE = 10e9  # bytes of float32 rows; above it rows are stored as float16


@dataclass(frozen=True)
class Rows:
    """Vectors of some clips.

    Attributes:
        clips: The clips that have vectors.
        X: float32 or float16 (R, D), in memory or on disk.
        clip: Index into `clips` of each row, ascending.
        start: Seconds into the clip of each row.
        seconds: Length of each row.
        bad: Clip id -> why it has no vector.
        silent: Ids of the clips that are digital silence.
        mixed: Whether the rows are crops mixed with other clips.
        every_start: Whether they are all the crops of a clip that may be drawn.
    """

    clips: Sequence[Clip]
    X: NDArray[Any] | MappedRows
    clip: NDArray[np.int64]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    bad: Mapping[str, str]
    silent: Sequence[str]
    mixed: bool = False
    every_start: bool = False

    def vectors(self) -> NDArray[Any]:
        """X in memory."""
        return self.X.read() if isinstance(self.X, MappedRows) else self.X


@dataclass(frozen=True)
class Job:
    """Clips that are embedded and cached together.

    Attributes:
        label: What the progress bar calls it.
        plan: Its rows.
        crop: How they were cut.
        clips: Digest of the contents and spans of the clips, in order.
        audio: Digest of the same with the clips' names, in whatever order.
        num_clips: Clips asked for, the bad ones included.
    """

    label: str
    plan: RowPlan
    crop: CropRule
    clips: str
    audio: str
    num_clips: int

    @classmethod
    def make(
        cls,
        label: str,
        clips: Sequence[Clip],
        crop: CropRule,
        threads: int,
        known: Mapping[str, float | str] = MappingProxyType({}),
    ) -> Self:
        """Read headers and contents; a file whose header is no good stands in `plan.bad`.

        Clips in tar archives are put in the order in which they lie, but where clips are mixed: that draws by place.

        Args:
            known: Headers that were read already, as for `plan_rows`.
        """
        if not crop.mixed_passes:
            clips = in_reading_order(clips)
        names = sha256(
            "".join(f"{clip.id}\0{clip.start} {clip.end}\n" for clip in clips).encode(errors="surrogateescape")
        )
        distributed.require_same(f"the clips of {label!r}", names.hexdigest())
        plan = plan_rows(clips, crop, threads, known=known)
        contents = content_digests([clip.path for clip in plan.clips], threads)
        lines = [f"{content} {clip.start} {clip.end}\n" for clip, content in zip(plan.clips, contents, strict=True)]
        named = sorted(f"{clip.id}\0{line}" for clip, line in zip(plan.clips, lines, strict=True))
        in_order, of_all = (
            sha256("".join(some).encode(errors="surrogateescape")).hexdigest() for some in (lines, named)
        )
        return cls(label, plan, crop, in_order, of_all, len(clips))

    def num_cached(self, runner: Runner) -> int:
        """Rows of this encoder that the cache seems to hold already."""
        dtype = row_dtype(self.plan.num_rows, runner.width)
        identity = runner.identity(self.crop, self.clips)
        return rows_recorded(cache_root(), identity, self.plan.num_rows, runner.width, dtype)


def embed_job(
    job: Job,
    runners: Sequence[Runner],
    *,
    policy: BadFilePolicy = BadFilePolicy(),
    reporter: Reporter | None = None,
    mapped: bool = False,
    root: Path | None = None,
) -> list[Rows]:
    """Rows of each encoder, in the order of `runners`; what is cached is not computed again.

    Under torchrun every rank embeds its share of the batches of one process, and has all rows in the end.

    Args:
        mapped: Leave the vectors on disk and give `MappedRows` of them.
        root: The cache folder; None is the user's.

    Raises:
        TooManyBadFilesError: By the policy; what was embedded until then stays cached.
        CacheError: The cache has no room.
    """
    reporter = reporter or Reporter()
    plan = job.plan
    policy.check(plan.bad, job.num_clips)
    with ExitStack() as locks:
        stores: dict[int, Store] = {}
        # locks are taken in one order by everybody, so that two processes cannot wait for each other
        for k in sorted(range(len(runners)), key=lambda k: (runners[k].loaded.digest, runners[k].layer or "")):
            width, identity = runners[k].width, runners[k].identity(job.crop, job.clips)
            dtype = row_dtype(plan.num_rows, width)
            store = opened(root or cache_root(), identity, plan.num_rows, width, dtype, runners[k].fingerprint)
            stores[k] = locks.enter_context(store)
            for first, stop in stores[k].damaged:
                reporter.say(
                    f"cache: rows {first} to {stop - 1} of {stores[k].folder} are damaged; they are computed again"
                )
            for name in stores[k].spoilt:
                reporter.say(
                    f"cache: {name} of {stores[k].folder} is damaged, or of another behaviour of the encoder; "
                    "what it vouched for is computed again"
                )
        _fill(job, runners, [stores[k] for k in range(len(runners))], policy, reporter)
        for k in range(len(runners)):
            gather_rows(stores[k])
        found = [_rows(job, stores[k], mapped) for k in range(len(runners))]
    for rows in found:
        policy.check(rows.bad, job.num_clips)
    return found


def seconds_per_audio_second(job: Job, runners: Sequence[Runner], num_rows: int = 32) -> float:
    """Measured on some rows of the job: decoding and embedding by all encoders, in seconds a second of audio."""
    num_rows = max(1, int(min(num_rows, DEFAULT_BATCH_SECONDS / job.plan.seconds.max())))
    first = max(0, (job.plan.num_rows - num_rows) // 2)
    spans = job.plan.batches(num_rows, skip=~np.isin(np.arange(job.plan.num_rows), range(first, first + num_rows)))
    rates = sorted({runner.loaded.encoder.sample_rate for runner in runners})
    threads = runners[0].compute.num_threads()
    taken = audio = 0.0
    for number, span in enumerate([spans[0], *spans]):
        started = perf_counter()
        for batch in read_batches(job.plan, [span], rates, threads):
            vectors_of_batch(runners, batch)
        if number:  # the first pass warms up
            taken += perf_counter() - started
            audio += float(job.plan.seconds[slice(*span)].sum())
    return taken / audio


def clip_means(rows: Rows) -> NDArray[np.float32]:
    """One vector a clip (M, D), the mean over its rows."""
    X = rows.vectors().astype(np.float32, copy=False)
    first = np.searchsorted(rows.clip, np.arange(len(rows.clips)))
    counts = np.diff([*first, len(X)])
    if (counts > 1).any():
        X = np.add.reduceat(X, first)
        X /= counts[:, None].astype(np.float32)
    return X


def crop_rule(window: float | None, hop: float | None, otherwise: CropRule) -> CropRule:
    """The rule of a window and a hop in seconds; `otherwise` where there is no window.

    Raises:
        ValueError: A window or a hop out of range, or a hop without a window.
    """
    # a window is padded to its length, and a hop below the front end's gives the same vectors again and again
    for name, value, least, why in (
        ("window", window, MIN_SECONDS, "one analysis window"),
        ("hop", hop, GRID_SECONDS, "the hop of the front end"),
    ):
        if value is not None and not least <= value <= LONGEST_CLIP_SECONDS:
            raise ValueError(f"{name}={value} s; expected {least} ({why}) to {LONGEST_CLIP_SECONDS:.0f}")
    if hop is not None and window is None:
        raise ValueError(f"hop={hop} s goes with a window, and none is given; give its seconds as window")
    return otherwise if window is None else CropRule(seconds=window, hop=hop)


def job_of_files(
    inputs: str | Path | Sequence[str | Path], runner: Runner, crop: CropRule, reporter: Reporter | None = None
) -> Job:
    """Files that no manifest names, with their headers read; arguments as `embed`."""
    reporter = reporter or Reporter()
    if runner.warning:
        reporter.say(f"warning: {runner.warning}")
    with distributed.in_turn():
        clips = [Clip(str(path), path, (), str(path)) for path in find_audio(inputs, missing_too=True)]
        for archive, count in left_out([clip.path for clip in clips]).items():
            reporter.say(
                f"{archive}: {count} members are left out, which are no plain files or have names that lead elsewhere"
            )
    return Job.make("embed", clips, crop, runner.compute.num_threads())


def embed_files(
    inputs: str | Path | Sequence[str | Path],
    runner: Runner,
    crop: CropRule,
    *,
    policy: BadFilePolicy,
    reporter: Reporter | None = None,
) -> tuple[Job, Rows]:
    """Rows of `job_of_files`, through the cache as all rows."""
    job = job_of_files(inputs, runner, crop, reporter)
    (rows,) = embed_job(job, [runner], policy=policy, reporter=reporter)
    return job, rows


def row_dtype(num_rows: int, width: int) -> Literal["float32", "float16"]:
    """float16 where float32 rows would take more than 10 GB."""
    return "float16" if num_rows * width * 4 > HALF_PRECISION_ABOVE else "float32"


def _fill(
    job: Job, runners: Sequence[Runner], stores: Sequence[Store], policy: BadFilePolicy, reporter: Reporter
) -> None:
    plan = job.plan
    complete = np.logical_and.reduce([store.done for store in stores])
    if complete.all():
        return
    # one rank may have halved its batches already, and all of them have to cut at the same places
    batch_size = min(distributed.gather(max(runner.network.batch_size for runner in runners)))
    spans = plan.batches(batch_size, complete, runners[0].network.batch_seconds)
    rates = sorted({runner.loaded.encoder.sample_rate for runner in runners})
    bad = dict(plan.bad)
    # cut between batches, so that the same rows meet in one product as in one process
    spans = spans[distributed.share([float(plan.seconds[slice(*span)].sum()) for span in spans])]
    mine = sum(stop - first for first, stop in spans)
    with reporter.stage(job.label, int(complete.sum()) + mine, "windows") as advance:
        advance(int(complete.sum()))
        for batch in read_batches(plan, spans, rates, runners[0].compute.num_threads()):
            for row, reason in batch.bad.items():
                bad[plan.clips[plan.clip[row]].id] = reason
            policy.check(bad, job.num_clips)
            span = slice(batch.first, batch.first + batch.num_rows)
            wanting = [k for k, store in enumerate(stores) if not store.done[span].all()]
            vectors = vectors_of_batch([runners[k] for k in wanting], batch)
            for k, found in zip(wanting, vectors, strict=True):
                _write(runners[k], stores[k], plan, batch, found)
            advance(batch.num_rows)


def _write(runner: Runner, store: Store, plan: RowPlan, batch: Batch, vectors: NDArray[np.float32]) -> None:
    bad = dict(batch.bad)
    with np.errstate(over="ignore"):
        stored = vectors.astype(store.rows.dtype)  # float16 may overflow
    for k in np.flatnonzero(~np.isfinite(stored).all(axis=1)).tolist():
        clip = plan.clips[plan.clip[batch.first + k]]
        bad.setdefault(batch.first + k, f"{runner.name} gives a vector that is not finite for {str(clip.path)!r}")
    for row in bad:
        stored[row - batch.first] = np.nan
    store.write(batch.first, stored, bad, batch.silent)


def _rows(job: Job, store: Store, mapped: bool) -> Rows:
    plan = job.plan
    bad_clips = sorted({int(plan.clip[row]) for row in store.bad})
    bad = dict(plan.bad) | {plan.clips[plan.clip[row]].id: reason for row, reason in store.bad.items()}
    order = np.lexsort((plan.start, plan.clip))
    order = order[~np.isin(plan.clip[order], bad_clips)]
    kept = np.setdiff1d(np.arange(len(plan.clips)), bad_clips)
    return Rows(
        clips=[plan.clips[index] for index in kept],
        X=MappedRows((store.rows,), order) if mapped else np.asarray(store.rows[order]),
        clip=np.searchsorted(kept, plan.clip[order]),
        start=plan.start[order],
        seconds=plan.seconds[order],
        bad=bad,
        silent=_silent_clips(plan, store.silent),
        mixed=plan.partner is not None,
        every_start=job.crop.every_start,
    )


def _silent_clips(plan: RowPlan, silent_rows: Collection[int]) -> list[str]:
    """Ids of the clips all of whose windows are silent: silence at an end of a clip is nothing to speak of."""
    num_rows = np.bincount(plan.clip, minlength=len(plan.clips))
    num_silent = np.bincount(plan.clip[sorted(silent_rows)], minlength=len(plan.clips))
    return [plan.clips[k].id for k in np.flatnonzero((num_rows > 0) & (num_rows == num_silent)).tolist()]
