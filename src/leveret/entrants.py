"""Who is evaluated: encoders and vector files on their way through the tasks, and what their pretraining left them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leveret.clips import list_digest, scored_clips
from leveret.kept_heads import Asked, HeadError, head_of
from leveret.overlap.report import Contamination, contamination_of
from leveret.overlap.trained_files import digests_of, met_in_training, trained_files
from leveret.protocols import Protocol
from leveret.results import TaskResult
from leveret.runner import Runner
from leveret.runs import RunWriter
from leveret.vector_rows import vector_identity
from leveret.workload import Workload

FLOOR = "melstats"


@dataclass
class Entrant:
    """An encoder or a vector file.

    Attributes:
        about: As scorecards describe it.
        hidden: Only the floor of the others, with no run folder.
        writer: At rank 0.
        results: By the key of the task.
        contamination: By suite and task; a task that is not there was not checked.
    """

    about: Mapping[str, Any]
    runner: Runner | None = None
    vectors: Path | None = None
    hidden: bool = False
    writer: RunWriter | None = None
    results: dict[str, TaskResult] = field(default_factory=dict)
    contamination: Mapping[tuple[str, str], Contamination] = field(default_factory=dict)

    @property
    def is_floor(self) -> bool:
        """Whether it is what others are measured against; it has no pretraining."""
        return bool(self.about["spec"] == FLOOR)

    def contamination_in(self, work: Workload) -> Contamination:
        """What is known of a task's test clips."""
        return self.contamination.get(_name(work), Contamination())

    def identity(self, works: Sequence[Workload]) -> dict[str, Any]:
        """What its results depend on beside settings and splits, as plain values."""
        heads = {"/".join(_name(work)): dict(work.head(self.runner).about) for work in works}
        met = {"/".join(name): [str(one), *one.clips] for name, one in self.contamination.items()}
        return {"encoder": dict(self.about), "heads": heads, "contamination": met}


def entrants_of(runners: Sequence[Runner], vectors: Sequence[Path], hidden_floor: bool) -> list[Entrant]:
    """Encoders, then vector files.

    Args:
        hidden_floor: The first encoder is only the floor of the others.
    """
    found = [Entrant(runner.described(), runner, hidden=hidden_floor and k == 0) for k, runner in enumerate(runners)]
    return found + [Entrant(vector_identity(path), vectors=path) for path in vectors]


def choose_heads(works: Sequence[Workload], entrants: Sequence[Entrant], asked: Asked, protocol: Protocol) -> None:
    """Tell each task by what it is scored for each encoder, and whether a probe is trained at all; the floor has one.

    Raises:
        HeadError: Kept classifiers are asked for, and an entrant has none, or one of other labels.
        CheckpointError: A classifier is damaged.
    """
    for one in entrants if asked == "pretraining" else ():
        if one.vectors is not None:
            raise HeadError(f"head='pretraining' for {one.vectors}: vectors have no classifier; leave one of them out")
    for work in works:
        for one in entrants:
            if one.runner is not None:
                wanted: Asked = "probe" if one.is_floor else asked
                work.heads[one.runner] = head_of(work.task, one.runner, wanted, protocol)
        work.trains = any(work.head(one.runner).readout is None for one in entrants)


def reported(report: str | Path | None, works: Sequence[Workload]) -> dict[tuple[str, str], Contamination]:
    """What a report of `leveret data overlap` says of the tasks; nothing without one.

    Raises:
        OverlapError: It cannot be read, or is about other data.
    """
    if report is None:
        return {}
    tests = [(*_name(work), list_digest(scored_clips(work.folds))) for work in works]
    return contamination_of(Path(report), tests)


def check_contamination(
    entrants: Sequence[Entrant],
    works: Sequence[Workload],
    report: Mapping[tuple[str, str], Contamination],
    threads: int,
) -> None:
    """Tell each entrant which test clips it was trained on, by a report and by the digests that its checkpoint keeps.

    Args:
        report: About all of them but the floor.

    Raises:
        CheckpointError: The digests that a checkpoint keeps are damaged.
    """
    others = [one for one in entrants if not one.is_floor]
    trained = {}
    for number, one in enumerate(others):
        one.contamination = dict(report)
        loaded = one.runner.loaded if one.runner else None
        if loaded is not None and (files := trained_files(loaded.checkpoint, loaded.spec)) is not None:
            trained[number] = files
    for work in works if trained else ():
        clips = scored_clips(work.folds)
        digests = digests_of(clips, threads)
        for number, files in trained.items():
            found = others[number].contamination_in(work).joined(met_in_training(clips, digests, files))
            others[number].contamination = {**others[number].contamination, _name(work): found}


def _name(work: Workload) -> tuple[str, str]:
    return work.task.suite, work.task.name
