"""What a task needs embedded: its clips in parts that share their splits, as plain windows, mixed crops or all crops.

Where the head draws a crop at each step (the protocol `paper`), all crops of the training clips are embedded once if
they are two million or fewer and nothing is mixed; otherwise they are embedded as they are drawn. Plain windows of
training clips then serve for the training score and the check of the rate alone, and ten thousand clips are enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Self

import numpy as np

import leveret.distributed as distributed
from leveret.bad_files import BadFilePolicy
from leveret.batches import GRID_SECONDS, CropRule, RowPlan
from leveret.clips import Clip, Fold, partitions, split_hash
from leveret.contracts import Progress, Task
from leveret.drawing import CropSource, EmbeddedCrops, StreamedCrops
from leveret.embedding import Job, Rows, row_dtype, seconds_per_audio_second
from leveret.kept_heads import Head
from leveret.mapped import MappedRows
from leveret.protocols import Protocol
from leveret.runner import Runner
from leveret.scoring import Vectors

CROPS_EMBEDDED_ONCE = 2_000_000
"""So many crops of a task's training clips are embedded once; of more the ones that are drawn."""

TRAIN_CLIPS_SCORED = 10_000
"""Of a part that is only trained on, where the head draws its crops."""


@dataclass
class Known:
    """What tasks share that have the same clips, whose headers are then read once.

    Attributes:
        jobs: By crop and clips.
        sources: By clips; their crop and mixing are those of one of the tasks.
    """

    jobs: dict[object, Job] = field(default_factory=dict)
    sources: dict[object, CropSource] = field(default_factory=dict)


@dataclass
class Workload:
    """One task with everything that is known of it before probing.

    Attributes:
        folds: Without validation clips where the protocol ignores them.
        split_hash: Digest of clips, labels and groups by split.
        jobs: What is embedded together; filled by `plan`.
        streamed: What is embedded as it is drawn; None where nothing is.
        heads: What scores it for each encoder; a new probe for one that is not there.
        trains: Whether a probe is trained for anybody; if not, only test clips are embedded.
        test_jobs: Those of `jobs` that have the plain windows of test clips.
    """

    task: Task
    folds: Sequence[Fold]
    split_hash: str
    jobs: list[Job] = field(default_factory=list)
    streamed: CropSource | None = None
    heads: dict[Runner, Head] = field(default_factory=dict)
    trains: bool = True
    test_jobs: list[Job] = field(default_factory=list)

    @classmethod
    def make(cls, task: Task, protocol: Protocol) -> Self:
        """The folds of a task as a protocol sees them."""
        folds = task.folds()
        _check_labels(task, folds)
        if not protocol.reads_valid:
            folds = [Fold(fold.train, (), fold.test) for fold in folds]
        return cls(task, folds, split_hash(folds))

    def clips(self) -> list[Clip]:
        """Every clip once."""
        return [clip for part in partitions(self.folds) for clip in part]

    def audio_hash(self) -> str:
        """Digest of the names, bytes and spans of all that is embedded once; empty where nothing is."""
        digests = sorted({job.audio for job in self.jobs})
        return sha256("\n".join(digests).encode()).hexdigest() if digests else ""

    def head(self, runner: Runner | None) -> Head:
        """What scores it for an encoder; None is a vector file."""
        return self.heads.get(runner, Head()) if runner is not None else Head()

    def jobs_of(self, runner: Runner) -> list[Job]:
        """What an encoder embeds: of one with a head of its own only the test clips are asked for."""
        return self.jobs if self.head(runner).readout is None else self.test_jobs

    def plan(self, protocol: Protocol, known: Known, threads: int, progress: Progress) -> None:
        """Read the headers. Tasks that share clips and splits share the job, and so the rows.

        Args:
            known: What was read for the tasks before; this one's is added.
            progress: Called with a number of clips whose headers were read.
        """
        train = {clip.id for fold in self.folds for clip in fold.train}
        scored = {clip.id for fold in self.folds for clip in (*fold.valid, *fold.test)}
        passes = protocol.mixed_passes(self.task)
        plain = CropRule(
            seconds=self.task.crop_seconds, whole_clip=self.task.whole_clip, num_windows=self.task.num_windows
        )
        # partners come from the same part, so no clip that is scored somewhere is mixed into what is trained on there
        mixed = CropRule(seconds=self.task.crop_seconds, mixed_passes=passes)
        tested = {clip.id for fold in self.folds for clip in fold.test}
        parts = self._parts()
        learned = [clip for part in parts if part[0].id in train for clip in part]
        drawn, seconds = None, dict[str, float | str]()
        if self.trains and protocol.draws_crops(self.task):
            source = self._source(learned, plain, known, threads)
            drawn, seconds = self._drawn(source), _seconds(source)
        for part in parts:
            wanted = [(plain, part)] if part[0].id in scored or not passes else []
            wanted += [(mixed, part)] if part[0].id in train and passes else []
            if drawn and part[0].id in train:
                some = part if part[0].id in scored else part[:: -(-len(part) // TRAIN_CLIPS_SCORED)]
                wanted = [(plain, some)] + ([] if self.streamed else [(drawn, part)])
            if not self.trains:
                wanted = [(plain, part)]
            for number, (crop, clips) in enumerate(wanted, 1):
                key = (crop, _key(clips))
                if key not in known.jobs:
                    known.jobs[key] = Job.make(f"{self.task.name}: embed", clips, crop, threads, seconds)
                self.jobs.append(known.jobs[key])
                self.test_jobs += [known.jobs[key]] if number == 1 and part[0].id in tested else []
                if number < len(wanted):
                    seconds |= _seconds(known.jobs[key].plan)
            progress(len(part))

    def _source(self, clips: Sequence[Clip], plain: CropRule, known: Known, threads: int) -> CropSource:
        """What crops are drawn from."""
        key, mixed = _key(clips), bool(self.task.mixed_passes)
        if key not in known.sources:
            known.sources[key] = CropSource.make(clips, plain, mixed, threads)
        return replace(known.sources[key], crop=plain, mixed=mixed)

    def _drawn(self, source: CropSource) -> CropRule | None:
        """The rule of all crops that may be drawn, which are streamed if need be; None if each is its whole clip."""
        if source.mixed or source.num_starts.sum() > CROPS_EMBEDDED_ONCE:
            self.streamed = source
        elif source.num_starts.max(initial=1) == 1:
            return None
        return replace(source.crop, hop=GRID_SECONDS, num_windows=0)

    def bad(self) -> dict[str, str]:
        """Clip id -> why its header is no good."""
        plans = [job.plan for job in self.jobs] + ([self.streamed] if self.streamed else [])
        return {clip: reason for plan in plans for clip, reason in plan.bad.items()}

    def vectors(self, parts: Sequence[Rows], runner: Runner | None, policy: BadFilePolicy) -> Vectors:
        """Rows of one encoder by clip, with the crops that it embeds as they are drawn."""
        vectors = dealt_out(parts)
        if self.streamed is None or runner is None or self.head(runner).readout is not None:
            return vectors
        return replace(vectors, crops=StreamedCrops(self.streamed, runner, policy))

    def num_clips(self) -> int:
        """Clips of all parts that are embedded, the bad ones included."""
        return sum(len(part) for part in self._parts())

    def _parts(self) -> list[list[Clip]]:
        return partitions(self.folds if self.trains else [Fold((), (), fold.test) for fold in self.folds])

    def counts(self, bad: Mapping[str, str], runner: Runner | None = None) -> dict[str, int]:
        """Clips with vectors by split; an encoder with a head of its own has only test clips."""
        splits = ("train", "valid", "test") if self.head(runner).readout is None else ("test",)
        return dict.fromkeys(("train", "valid", "test"), 0) | {
            split: sum(clip.id not in bad for fold in self.folds for clip in getattr(fold, split)) for split in splits
        }

    def coverage(self, bad: Mapping[str, str]) -> float:
        """Share of the test clips that have vectors: of the published ones, where their number is known."""
        test = [clip.id for fold in self.folds for clip in fold.test]
        return sum(clip not in bad for clip in test) / max(len(test), self.task.official_clips.get("test", 0))


def _check_labels(task: Task, folds: Sequence[Fold]) -> None:
    """Of one class alone nothing can be learnt, and without a tag nothing scored: told before hours of embedding."""
    for fold in folds:
        if task.kind == "multi":
            for split in ("train", "test"):
                clips = getattr(fold, split)
                if clips and not any(clip.labels for clip in clips):
                    raise ValueError(f"task {task.name!r}: no {split} clip has a tag; correct the labels or the split")
        elif fold.train and all(clip.labels == fold.train[0].labels for clip in fold.train):
            raise ValueError(
                f"task {task.name!r}: all its training clips are {'/'.join(fold.train[0].labels)!r}; a probe needs two "
                "classes or more, so correct the split"
            )


@dataclass(frozen=True)
class Plan:
    """What an evaluation, or an embedding, is going to do, known before the work.

    Attributes:
        rows: A line a task and encoder: task, encoder, windows, of them cached, of them at most embedded as they are
            drawn and not kept, bytes and type of the others.
        seconds: Of embedding, estimated from up to 32 windows of this very run; None where that would not pay.
    """

    rows: Sequence[Mapping[str, Any]]
    seconds: float | None


def plan_of(works: Sequence[Workload], runners: Sequence[Runner], protocol: Protocol) -> Plan:
    """The plan of every task and encoder; 32 windows of the largest job are embedded to tell."""
    if not runners:
        return Plan([], 0.0)
    jobs = {id(job): job for work in works for job in work.jobs}.values()
    rate = seconds_per_audio_second(max(jobs, key=lambda job: job.plan.num_rows), runners)
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    for work in works:
        for runner in runners:
            kept = work.head(runner).readout is not None
            drawn = protocol.num_draws(work.task) if work.streamed and not kept else 0
            rows.append(planned_row(work.task.name, runner, work.jobs_of(runner), drawn))
        drawn = max(row["drawn"] for row in rows[-len(runners) :])
        audio = sum(float(job.plan.seconds.sum()) for job in work.jobs) + drawn * work.task.crop_seconds
        missing = any(row["cached"] < row["windows"] for row in rows[-len(runners) :])
        seconds += rate * audio if missing else 0.0
    return Plan(rows, seconds / distributed.world().size)


def planned_row(task: str, runner: Runner, jobs: Sequence[Job], drawn: int = 0) -> dict[str, Any]:
    """A line of a plan: what an encoder embeds of a task."""
    sizes = [(job.plan.num_rows, row_dtype(job.plan.num_rows, runner.width)) for job in jobs]
    return {
        "task": task,
        "encoder": runner.name,
        "windows": sum(num_rows for num_rows, _ in sizes) + drawn,
        "cached": sum(job.num_cached(runner) for job in jobs),
        "drawn": drawn,
        "bytes": sum(num_rows * runner.width * np.dtype(dtype).itemsize for num_rows, dtype in sizes),
        "dtype": "float16" if any(dtype == "float16" for _, dtype in sizes) else "float32",
    }


def dealt_out(parts: Sequence[Rows]) -> Vectors:
    """Rows by clip: windows, mixed crops, and crops to draw from."""
    windows: dict[str, np.ndarray | MappedRows] = {}
    mixed: dict[str, np.ndarray | MappedRows] = {}
    crops: dict[str, np.ndarray | MappedRows] = {}
    for rows in parts:
        rows_of = mixed if rows.mixed else crops if rows.every_start else windows
        edges = np.searchsorted(rows.clip, np.arange(len(rows.clips) + 1))
        for index, clip in enumerate(rows.clips):
            rows_of[clip.id] = rows.X[edges[index] : edges[index + 1]]
    return Vectors(windows, parts[0].X.shape[1], mixed, EmbeddedCrops(crops) if crops else None)


def _key(clips: Sequence[Clip]) -> tuple[object, ...]:
    """Two manifests may call one file by different ids, and rows go by these."""
    return tuple((clip.id, clip.path, clip.start, clip.end) for clip in clips)


def _seconds(read: RowPlan | CropSource) -> dict[str, float | str]:
    """Clip id -> its length, or why its header is no good."""
    return dict(read.bad) | {clip.id: length for clip, length in zip(read.clips, read.lengths.tolist(), strict=True)}
