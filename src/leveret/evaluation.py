"""Encoders x tasks x protocol -> run folders: the plan, then embedding, probing and writing, task by task.

Source: paper, section 2.1 and appendix A.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from leveret.audio import MIN_SECONDS
from leveret.batches import BadFilePolicy
from leveret.clips import list_digest, scored_clips
from leveret.content import code_digest
from leveret.contracts import Encoder
from leveret.dataroots import DataRoots
from leveret.embedding import Job, Rows, embed_job, row_dtype, seconds_per_audio_second
from leveret.loading import LONGEST_CLIP_SECONDS, find_tasks, load_encoder
from leveret.overlap.report import UNCHECKED, OverlapError, OverlapReport
from leveret.probe_files import save_probes
from leveret.progress import Reporter, shares
from leveret.protocols import Protocol
from leveret.provenance import about_this_run
from leveret.results import Scorecard, TaskResult
from leveret.runner import Compute, Runner, runners_of
from leveret.runs import Run, RunWriter, task_keys
from leveret.scoring import score_task
from leveret.text import printable
from leveret.vector_rows import rows_of_file, vector_identity
from leveret.workload import Workload, dealt_out

FLOOR = "melstats"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is evaluated and how; the command line is made from it.

    Attributes:
        encoders: Encoder specs, or encoders.
        tasks: Task specs, such as `mini` or `manifest:PATH`.
        only: Names of tasks to keep; empty keeps all.
        data: Where published datasets lie.
        layers: Layers of the encoders, each read out with a result of its own; ("all",) is every layer, empty the
            default.
        protocol: How rows are probed.
        crop: None leaves each task's own crop; "clip" takes the whole clip; a number is seconds.
        vectors: Vector files to score in place of encoders.
        floor: Also score `melstats`, the floor that any useful encoder beats.
        policy: When unreadable files stop the work.
        compute: Where encoders run.
        seed: Draws the weights of an encoder that is given by its bare name.
        save_probes: Keep each task's fitted probes in the run folder, for `leveret classify`.
        contamination: Report of `leveret data overlap` about what all the encoders but the floor were trained on.
        output: Folder for the run folders.
    """

    encoders: tuple[str | Encoder, ...] = ()
    tasks: tuple[str, ...] = ("mini",)
    only: tuple[str, ...] = ()
    data: DataRoots = DataRoots()
    layers: tuple[str, ...] = ()
    protocol: Protocol = Protocol()
    crop: float | str | None = None
    vectors: tuple[Path, ...] = ()
    floor: bool = True
    policy: BadFilePolicy = BadFilePolicy()
    compute: Compute = Compute()
    seed: int = 0
    save_probes: bool = False
    contamination: Path | None = None
    output: Path = Path("runs")

    def __post_init__(self) -> None:
        if isinstance(self.crop, str) and self.crop != "clip":
            raise ValueError(f"crop={self.crop!r}; expected a number of seconds, or 'clip' for the whole clip")
        if isinstance(self.crop, float | int) and not MIN_SECONDS <= self.crop <= LONGEST_CLIP_SECONDS:
            raise ValueError(
                f"crop={self.crop} s; expected {MIN_SECONDS} (one analysis window) to {LONGEST_CLIP_SECONDS:.0f}"
            )


@dataclass(frozen=True)
class Plan:
    """What an evaluation is going to do, known before the work.

    Attributes:
        rows: A line a task and encoder: task, encoder, windows, of them cached, bytes, seconds of work left.
        seconds: Of embedding, estimated from 32 windows of this very run.
    """

    rows: Sequence[Mapping[str, Any]]
    seconds: float


@dataclass
class _Entrant:
    """An encoder or a vector file on its way through the tasks; the hidden floor has no writer."""

    about: Mapping[str, Any]
    runner: Runner | None = None
    vectors: Path | None = None
    writer: RunWriter | None = None
    results: list[TaskResult] = field(default_factory=list)

    @property
    def is_floor(self) -> bool:
        return bool(self.about["spec"] == FLOOR)


class Evaluation:
    """One call of `leveret evaluate`: made, planned, run.

    Attributes:
        missing: Task of a suite -> why it is not evaluated, and where to get its data.
    """

    def __init__(self, config: EvaluateConfig, reporter: Reporter | None = None) -> None:
        if not config.encoders and not config.vectors:
            raise ValueError("nothing to evaluate: give encoders, such as melstats, or vector files")
        self.config = config
        self.reporter = reporter or Reporter()
        specs = list(dict.fromkeys(config.encoders))
        self.hidden_floor = config.floor and bool(specs) and FLOOR not in specs
        # encoders first: a misspelt name must not wait until a suite has been made
        loaded = [load_encoder(spec, config.seed) for spec in ([FLOOR] if self.hidden_floor else []) + specs]
        found = find_tasks(config.tasks, config.only, config.crop, config.data)
        self.missing = found.missing
        for task in found.tasks:
            config.protocol.probe(task)  # a head that does not exist is told before hours of embedding
        self.works = [Workload.make(task, config.protocol) for task in found.tasks]
        self.contamination = self._contamination()
        self.runners = [
            runner
            for one in loaded
            for runner in runners_of([one], config.compute, () if one.spec == FLOOR else config.layers)
        ]
        if self.runners:
            self._read_headers()

    def plan(self) -> Plan:
        """Rows, bytes and time; 32 windows of the largest job are embedded to tell."""
        if not self.runners:
            return Plan([], 0.0)
        jobs = {id(job): job for work in self.works for job in work.jobs}.values()
        rate = seconds_per_audio_second(max(jobs, key=lambda job: job.plan.num_rows), self.runners)
        rows: list[dict[str, Any]] = []
        seconds = 0.0
        for work in self.works:
            for runner in self.runners:
                width = runner.width
                num_rows = sum(job.plan.num_rows for job in work.jobs)
                size = sum(
                    job.plan.num_rows * width * np.dtype(row_dtype(job.plan.num_rows, width)).itemsize
                    for job in work.jobs
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
            missing = any(row["cached"] < row["windows"] for row in rows[-len(self.runners) :])
            seconds += rate * audio if missing else 0.0
        return Plan(rows, seconds)

    def run(self) -> list[Run]:
        """Do it: a run folder an encoder and vector file, in the order given."""
        started = time.monotonic()
        log: list[str] = []
        reporter = _Logging(self.reporter, log)
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        entrants = [_Entrant(runner.described(), runner=runner) for runner in self.runners]
        entrants += [_Entrant(vector_identity(path), vectors=path) for path in self.config.vectors]
        shown = entrants[1:] if self.hidden_floor else entrants
        for entrant in shown:
            name = f"{_slug(entrant.about['name'])}-{_slug(self.config.protocol.title)}-{stamp}"
            entrant.writer = RunWriter(self.config.output / name, self._identity(entrant.about))
        keys = task_keys([(work.task.suite, work.task.name) for work in self.works])
        try:
            for work, key in zip(self.works, keys, strict=True):
                self._run_task(work, key, entrants, reporter)
            runs = []
            for entrant in shown:
                assert entrant.writer is not None, entrant.about
                card = Scorecard(
                    encoder=entrant.about,
                    protocol=self.config.protocol.described(),
                    tasks=entrant.results,
                    run=about_this_run(self.config.compute, started),
                )
                runs.append(Run(entrant.writer.finish(card, "\n".join(log) + "\n"), card))
            return runs
        except BaseException:
            for entrant in shown:
                if entrant.writer is not None:
                    entrant.writer.abandon()
            raise

    def _run_task(self, work: Workload, key: str, entrants: Sequence["_Entrant"], reporter: Reporter) -> None:
        """Embed for all who have no result yet, then probe one by one; the floor first, since the others quote it."""
        known = [entrant.writer.finished().get(key) if entrant.writer else None for entrant in entrants]
        if all(result for entrant, result in zip(entrants, known, strict=True) if entrant.writer):
            for entrant, result in zip(entrants, known, strict=True):
                entrant.results += [result] if result else []
            return
        needed = [e for e, result in zip(entrants, known, strict=True) if e.runner and result is None]
        runners = [entrant.runner for entrant in needed if entrant.runner]
        jobs = work.jobs if runners else []
        embedded = [embed_job(job, runners, policy=self.config.policy, reporter=reporter) for job in jobs]
        rows_of = {id(entrant): [rows[k] for rows in embedded] for k, entrant in enumerate(needed)}
        floor: float | None = None
        for entrant, result in sorted(zip(entrants, known, strict=True), key=lambda pair: not pair[0].is_floor):
            if result is None:
                if entrant.vectors is not None:
                    rows = [rows_of_file(entrant.vectors, work.clips())]
                    self.config.policy.check(rows[0].bad, len(work.clips()))
                else:
                    rows = rows_of[id(entrant)]
                result = self._score(work, key, entrant, rows, floor, reporter)
            entrant.results.append(result)
            floor = result.score if entrant.is_floor and self.config.floor else floor

    def _score(
        self,
        work: Workload,
        key: str,
        entrant: "_Entrant",
        rows: Sequence[Rows],
        floor: float | None,
        reporter: Reporter,
    ) -> TaskResult:
        task, started = work.task, time.monotonic()
        device = self.config.compute.torch_device()
        with reporter.stage(f"{task.name}: {entrant.about['name']} probe", 1, "") as advance:
            # nobody reads whether the hidden floor was under-fitted, and to find out takes three times its probe
            protocol = self.config.protocol if entrant.writer else replace(self.config.protocol, check_rates=False)
            outcome = score_task(task, work.folds, dealt_out(rows), protocol, device, shares(advance))
        bad = {clip: reason for part in rows for clip, reason in part.bad.items()}
        result = TaskResult(
            task=task.name,
            suite=task.suite,
            domain=task.domain,
            kind=task.kind,
            stands_for=task.stands_for,
            variant=task.variant,
            substitute=task.substitute,
            official_clips=task.official_clips,
            metric=task.metric,
            notes=task.notes,
            floor=floor,
            skipped=bad,
            silent=sorted({clip for part in rows for clip in part.silent}),
            clips=work.counts(bad),
            coverage=work.coverage(bad),
            split_hash=work.split_hash,
            contamination=UNCHECKED if entrant.is_floor else self.contamination.get(key, UNCHECKED),
            seconds=time.monotonic() - started,
            **outcome.values,
        )
        if entrant.writer is not None:
            if self.config.save_probes:
                about = {**entrant.about, "seed": self.config.seed}
                save_probes(entrant.writer.partial / "probes", key, task, protocol, about, outcome.probes, result)
            entrant.writer.add(key, result, outcome.predictions)
            for warning in result.warnings:
                reporter.say(f"{task.name}, {entrant.about['name']}: {warning}")
        return result

    def _contamination(self) -> dict[str, str]:
        """Key of a task -> what the report of overlaps says of its test clips."""
        if self.config.contamination is None:
            return {}
        report = OverlapReport.read(self.config.contamination)
        keys = task_keys([(work.task.suite, work.task.name) for work in self.works])
        found = {
            key: report.contamination(work.task.suite, work.task.name, list_digest(scored_clips(work.folds)))
            for work, key in zip(self.works, keys, strict=True)
        }
        if not {(work.task.suite, work.task.name) for work in self.works} & report.pairs():
            raise OverlapError(
                f"{self.config.contamination} is about none of these tasks, but about "
                f"{', '.join(sorted(task for _, task in report.pairs()))}; run `leveret data overlap` on these"
            )
        return found

    def _read_headers(self) -> None:
        threads = self.config.compute.num_threads()
        known: dict[object, Job] = {}
        total = sum(work.num_clips() for work in self.works)
        with self.reporter.stage("reading headers", total, "clips") as advance:
            for work in self.works:
                work.plan(self.config.protocol, known, threads, advance)
                self.config.policy.check(work.bad(), work.num_clips())

    def _identity(self, encoder: Mapping[str, Any]) -> dict[str, Any]:
        # the encoder stands beside; its objects are no JSON
        # where the data lies is no part of what is measured; the splits tell which data it is
        plain = replace(self.config, encoders=(), vectors=(), output=Path(), data=DataRoots())
        left_out = ("encoders", "vectors", "output", "data", "contamination")
        settings = {key: value for key, value in asdict(plain).items() if key not in left_out}
        return {
            "encoder": dict(encoder),
            "settings": {**settings, "contamination": self.contamination},
            "splits": {f"{work.task.suite}/{work.task.name}": work.split_hash for work in self.works},
            "code": code_digest(),
        }


def evaluate(
    encoders: str | Encoder | Sequence[str | Encoder],
    tasks: str | Sequence[str] = "mini",
    protocol: str = "cached",
    *,
    config: EvaluateConfig = EvaluateConfig(),
    reporter: Reporter | None = None,
) -> list[Run]:
    """Score encoders on tasks.

    Args:
        encoders: Specs such as "melstats" or "py:my_encoder.py:MyEncoder", or encoders.
        tasks: Specs such as "mini" or "manifest:labels.csv".
        protocol: "cached" or "quick".
        config: Everything else; its encoders, tasks and protocol's name are replaced by the arguments.

    Returns:
        A finished run for each encoder and vector file, in the order given.

    Raises:
        ValueError: A user's mistake, in one sentence; subclasses say which.
    """
    many = (encoders,) if isinstance(encoders, str | Encoder) else tuple(encoders)
    specs = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    named = replace(config.protocol, name=protocol)
    return Evaluation(replace(config, encoders=many, tasks=specs, protocol=named), reporter).run()


class _Logging(Reporter):
    """Passes on, and keeps what was said for log.txt."""

    def __init__(self, reporter: Reporter, lines: list[str]) -> None:
        self.stage = reporter.stage  # type: ignore[method-assign]
        self._reporter, self._lines = reporter, lines

    def say(self, text: str) -> None:
        self._lines.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(text)}")
        self._reporter.say(text)


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_@" else "_" for letter in text)[:60]
