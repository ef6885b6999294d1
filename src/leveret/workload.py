"""What a task needs embedded: its clips in parts that share their splits, plain windows and mixed crops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

import leveret.distributed as distributed
from leveret.batches import CropRule
from leveret.clips import Clip, Fold, partitions, split_hash
from leveret.contracts import Progress, Task
from leveret.embedding import Job, Rows, row_dtype, seconds_per_audio_second
from leveret.mapped import MappedRows
from leveret.protocols import Protocol
from leveret.runner import Runner
from leveret.scoring import Vectors


@dataclass
class Workload:
    """One task with everything that is known of it before probing.

    Attributes:
        folds: Without validation clips where the protocol ignores them.
        split_hash: Digest of clips, labels and groups by split.
        jobs: What is embedded together; filled by `plan`.
    """

    task: Task
    folds: Sequence[Fold]
    split_hash: str
    jobs: list[Job] = field(default_factory=list)

    @classmethod
    def make(cls, task: Task, protocol: Protocol) -> Self:
        """The folds of a task as a protocol sees them."""
        folds = task.folds()
        if not protocol.reads_valid:
            folds = [Fold(fold.train, (), fold.test) for fold in folds]
        return cls(task, folds, split_hash(folds))

    def clips(self) -> list[Clip]:
        """Every clip once."""
        return [clip for part in partitions(self.folds) for clip in part]

    def plan(self, protocol: Protocol, known: dict[object, Job], threads: int, progress: Progress) -> None:
        """Read the headers. Tasks that share clips and splits share the job, and so the rows.

        Args:
            known: Jobs of the tasks before; this one's are added.
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
        for part in partitions(self.folds):
            crops = [plain] if part[0].id in scored or not passes else []
            crops += [mixed] if part[0].id in train and passes else []
            for crop in crops:
                key = (crop, tuple((clip.path, clip.start, clip.end) for clip in part))
                if key not in known:
                    known[key] = Job.make(f"{self.task.name}: embed", part, crop, threads)
                self.jobs.append(known[key])
            progress(len(part))

    def bad(self) -> dict[str, str]:
        """Clip id -> why its header is no good."""
        return {clip: reason for job in self.jobs for clip, reason in job.plan.bad.items()}

    def num_clips(self) -> int:
        """Clips of all parts, the bad ones included."""
        return sum(len(part) for part in partitions(self.folds))

    def counts(self, bad: Mapping[str, str]) -> dict[str, int]:
        """Clips with vectors by split."""
        return {
            split: sum(clip.id not in bad for fold in self.folds for clip in getattr(fold, split))
            for split in ("train", "valid", "test")
        }

    def coverage(self, bad: Mapping[str, str]) -> float:
        """Share of the test clips that have vectors: of the published ones, where their number is known."""
        test = [clip.id for fold in self.folds for clip in fold.test]
        return sum(clip not in bad for clip in test) / max(len(test), self.task.official_clips.get("test", 0))


@dataclass(frozen=True)
class Plan:
    """What an evaluation is going to do, known before the work.

    Attributes:
        rows: A line a task and encoder: task, encoder, windows, of them cached, bytes, seconds of work left.
        seconds: Of embedding, estimated from 32 windows of this very run.
    """

    rows: Sequence[Mapping[str, Any]]
    seconds: float


def plan_of(works: Sequence[Workload], runners: Sequence[Runner]) -> Plan:
    """The plan of every task and encoder; 32 windows of the largest job are embedded to tell."""
    if not runners:
        return Plan([], 0.0)
    jobs = {id(job): job for work in works for job in work.jobs}.values()
    rate = seconds_per_audio_second(max(jobs, key=lambda job: job.plan.num_rows), runners)
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    for work in works:
        for runner in runners:
            width = runner.width
            num_rows = sum(job.plan.num_rows for job in work.jobs)
            size = sum(
                job.plan.num_rows * width * np.dtype(row_dtype(job.plan.num_rows, width)).itemsize for job in work.jobs
            )
            half = any(row_dtype(job.plan.num_rows, width) == "float16" for job in work.jobs)
            cached = sum(job.num_cached(runner) for job in work.jobs)
            rows.append(
                {
                    "task": work.task.name, "encoder": runner.name, "windows": num_rows, "cached": cached,
                    "bytes": size, "dtype": "float16" if half else "float32",
                }
            )  # fmt: skip
        audio = sum(float(job.plan.seconds.sum()) for job in work.jobs)
        missing = any(row["cached"] < row["windows"] for row in rows[-len(runners) :])
        seconds += rate * audio if missing else 0.0
    return Plan(rows, seconds / distributed.world().size)


def dealt_out(parts: Sequence[Rows]) -> Vectors:
    """Rows by clip, mixed crops apart."""
    rows_of: dict[bool, dict[str, np.ndarray | MappedRows]] = {False: {}, True: {}}
    for rows in parts:
        edges = np.searchsorted(rows.clip, np.arange(len(rows.clips) + 1))
        for index, clip in enumerate(rows.clips):
            rows_of[rows.mixed][clip.id] = rows.X[edges[index] : edges[index + 1]]
    return Vectors(rows_of[False], parts[0].X.shape[1], rows_of[True])
