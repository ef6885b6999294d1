"""Encoders x tasks x protocol -> run folders: the plan, then embedding, probing and writing, task by task.

Source: paper, section 2.1 and appendix A.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import leveret.distributed as distributed
from leveret.bad_files import policy_of
from leveret.cache import digest_of
from leveret.clips import scored_clips
from leveret.content import code_digest
from leveret.contracts import Encoder
from leveret.dataroots import DataRoots
from leveret.embedding import Rows, embed_job
from leveret.embedding_map import MAPS, EmbeddingMap, embedding_map, write_map
from leveret.entrants import FLOOR, Entrant, check_contamination, choose_heads, entrants_of, reported
from leveret.evaluation_config import EvaluateConfig
from leveret.home import cache_root
from leveret.loading import find_tasks, load_encoder
from leveret.outcomes import Outcome
from leveret.probe_files import save_probes
from leveret.progress import Reporter, shares
from leveret.provenance import about_this_run
from leveret.report.page import write_run_page
from leveret.results import Scorecard, TaskResult
from leveret.runner import Runner, runners_of
from leveret.runs import Run, RunLog, RunWriter, check_place, task_keys
from leveret.scoring import score_readout, score_task
from leveret.vector_rows import rows_of_file
from leveret.workload import Known, Plan, Workload, plan_of


@dataclass(frozen=True)
class _Reading:
    """One entrant's read-out of one task, still to be probed."""

    work: Workload
    key: str
    entrant: Entrant
    rows: Sequence[Rows]


class Evaluation:
    """One call of `leveret evaluate`: made, planned, run.

    Attributes:
        missing: Task of a suite -> why it is not evaluated, and where to get its data.
    """

    def __init__(self, config: EvaluateConfig, reporter: Reporter | None = None) -> None:
        if not config.encoders and not config.vectors:
            raise ValueError("nothing to evaluate: give encoders, such as melstats, or vector files")
        if distributed.is_first():
            check_place(Path(config.output))
        self.policy = policy_of(config.policy)
        self.config = replace(config, policy=self.policy)
        vectors = config.vector_files()
        self.reporter = reporter or Reporter()
        specs = list(dict.fromkeys(config.encoders))
        self.hidden_floor = config.floor and bool(specs) and FLOOR not in specs
        with distributed.in_turn():
            # encoders first: a misspelt name must not wait until a suite has been made
            loaded = [load_encoder(spec, config.seed) for spec in ([FLOOR] if self.hidden_floor else []) + specs]
            found = find_tasks(config.tasks, config.only, config.crop, config.data)
        self.missing = found.missing
        for task in found.tasks:
            config.protocol.probe(task)  # a head that does not exist is told before hours of embedding
            if config.protocol.draws_crops(task) and vectors:
                raise ValueError(
                    f"protocol 'paper' draws new crops of the audio of {task.name!r}, and {vectors[0]} holds "
                    "vectors of windows; score vector files by `cached` or `quick`"
                )
        self.works = [Workload.make(task, config.protocol) for task in found.tasks]
        report = reported(config.contamination, self.works)
        self._map_seconds = 0.0
        self.runners = [
            runner
            for one in loaded
            for runner in runners_of(
                [one], config.compute, () if one.spec == FLOOR and len(loaded) > 1 else config.layers
            )
        ]
        self.entrants = entrants_of(self.runners, vectors, self.hidden_floor)
        choose_heads(self.works, self.entrants, config.head, config.protocol)
        if distributed.world().size > 1:
            distributed.require_shared(cache_root())
            whole = [self._identity(entrant) for entrant in self.entrants]
            distributed.require_same("what they evaluate", digest_of({"entrants": whole}))
        if self.runners:
            self._read_headers()
        check_contamination(self.entrants, self.works, report, config.compute.num_threads())

    def plan(self) -> Plan:
        """Rows, bytes and time."""
        return plan_of(self.works, self.runners, self.config.protocol)

    def run(self) -> list[Run]:
        """Do it: a run folder an encoder and vector file, in the order given.

        Under torchrun the ranks share out the embedding and then the probes; rank 0 alone writes, and returns the runs.
        """
        started = time.monotonic()
        reporter = RunLog(self.reporter)
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        shown = [entrant for entrant in self.entrants if not entrant.hidden and distributed.is_first()]
        for warning in dict.fromkeys(runner.warning for runner in self.runners if runner.warning):
            reporter.say(f"warning: {warning}")
        for entrant in shown:
            name = f"{_slug(entrant.about['name'])}-{_slug(self.config.protocol.title)}-{stamp}"
            entrant.writer = RunWriter(Path(self.config.output) / name, self._identity(entrant))
            if done := entrant.writer.finished():
                reporter.say(
                    f"going on with {entrant.writer.folder}: {len(done)} of {len(self.works)} tasks are scored"
                )
        keys = list(task_keys([(work.task.suite, work.task.name) for work in self.works]))
        pairs = list(zip(self.works, keys, strict=True))
        try:
            # alone, a task is finished before the next; several ranks have most to share out when all is embedded
            for group in [pairs] if distributed.world().size > 1 else [[pair] for pair in pairs]:
                self._probe([one for work, key in group for one in self._embed(work, key, reporter)], reporter)
            runs = []
            for entrant in shown:
                assert entrant.writer is not None, entrant.about
                card = Scorecard(
                    encoder=entrant.about,
                    protocol=self.config.protocol.described(),
                    tasks=[entrant.results[key] for key in keys],
                    run=about_this_run(self.config.compute, started, entrant.runner),
                )
                runs.append(Run(entrant.writer.finish(card, "\n".join(reporter.lines) + "\n"), card))
            if self._map_seconds:
                said = f"embedding maps took {self._map_seconds:.1f} s; --no-embedding-map leaves them out"
                self.reporter.say(said)
            for why in filter(None, map(write_run_page, runs)):
                self.reporter.say(why)
            return runs
        except BaseException as error:
            for writer in filter(None, [entrant.writer for entrant in shown]):
                if writer.abandon():
                    error.add_note(f"finished tasks are kept in {writer.partial}, and the same command goes on there")
            raise

    def _embed(self, work: Workload, key: str, reporter: Reporter) -> list[_Reading]:
        """Embed for all who have no result yet; the floor comes first, since the others quote it."""
        finished = [entrant.writer.finished().get(key) if entrant.writer else None for entrant in self.entrants]
        finished = distributed.from_first(finished)
        for entrant, result in zip(self.entrants, finished, strict=True):
            entrant.results |= {key: result} if result else {}
        missing = [entrant for entrant in self.entrants if key not in entrant.results]
        if all(entrant.hidden for entrant in missing):
            return []
        runners = [entrant.runner for entrant in missing if entrant.runner]
        rows_of: dict[Runner, list[Rows]] = {runner: [] for runner in runners}
        policy = replace(self.policy, whole=work.num_clips())
        for job in work.jobs:
            wanting = [runner for runner in runners if any(job is one for one in work.jobs_of(runner))]
            rows = embed_job(job, wanting, policy=policy, reporter=reporter, mapped=True) if wanting else []
            for runner, found_here in zip(wanting, rows, strict=True):
                rows_of[runner].append(found_here)
                policy.check(
                    {clip: why for part in rows_of[runner] for clip, why in part.bad.items()}, work.num_clips()
                )
        found = [_Reading(work, key, one, rows_of[one.runner] if one.runner else []) for one in missing]
        return sorted(found, key=lambda one: not one.entrant.is_floor)

    def _probe(self, readings: Sequence[_Reading], reporter: RunLog) -> None:
        """Score them, dealt out to the ranks; rank 0 records what all found, round by round."""
        world = distributed.world()
        for at in range(0, len(readings), world.size):
            turn = readings[at : at + world.size]
            mine = self._score(turn[world.rank], reporter) if world.rank < len(turn) else None
            for reading, scored in zip(turn, distributed.gather(mine), strict=False):
                assert scored is not None, reading
                self._record(reading, *scored, reporter)

    def _record(
        self, reading: _Reading, result: TaskResult, outcome: Outcome, plane: EmbeddingMap | None, reporter: RunLog
    ) -> None:
        entrant, key, task = reading.entrant, reading.key, reading.work.task
        floors = [one.results[key].score for one in self.entrants if one.is_floor and key in one.results]
        result = replace(result, floor=floors[-1] if floors and self.config.floor else None)
        entrant.results[key] = result
        if entrant.writer is not None:
            if self.config.save_probes:
                about = {**entrant.about, "seed": self.config.seed}
                folder = entrant.writer.partial / "probes"
                save_probes(folder, key, task, self.config.protocol, about, outcome.probes, result)
            if plane is not None:
                write_map(entrant.writer.partial / MAPS / f"{key}.parquet", plane, entrant.writer.folder)
                self._map_seconds += plane.seconds
            entrant.writer.add(key, result, outcome.predictions)
            for warning in result.warnings:
                reporter.note(f"{task.name}, {entrant.about['name']}: {warning}")

    def _score(self, reading: _Reading, reporter: Reporter) -> tuple[TaskResult, Outcome, EmbeddingMap | None]:
        work, entrant, rows = reading.work, reading.entrant, reading.rows
        task, started = work.task, time.monotonic()
        if entrant.vectors is not None:
            rows = [rows_of_file(entrant.vectors, work.clips())]
            self.policy.check(rows[0].bad, len(work.clips()))
        device = self.config.compute.torch_device()
        with reporter.stage(f"{task.name}: {entrant.about['name']} probe", 1, "") as advance:
            # nobody reads whether the hidden floor was under-fitted, and to find out takes three times its probe
            protocol = replace(self.config.protocol, check_rates=False) if entrant.hidden else self.config.protocol
            vectors, head = work.vectors(rows, entrant.runner, self.policy), work.head(entrant.runner)
            if head.readout is not None:
                outcome = score_readout(task, work.folds, vectors, head.on(device), protocol, device, head.about)
            else:
                outcome = score_task(task, work.folds, vectors, protocol, device, shares(advance))
        bad = {clip: reason for part in rows for clip, reason in part.bad.items()}
        bad |= {} if work.streamed is None or head.readout is not None else work.streamed.bad
        bad |= {} if vectors.crops is None else vectors.crops.bad
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
            floor=None,
            skipped=bad,
            silent=sorted({clip for part in rows for clip in part.silent}),
            clips=work.counts(bad, entrant.runner),
            coverage=work.coverage(bad),
            split_hash=work.split_hash,
            audio_hash=work.audio_hash() if entrant.runner else "",
            contamination=str(entrant.contamination_in(work)),
            contaminated=list(entrant.contamination_in(work).clips),
            head=head.name,
            seconds=time.monotonic() - started,
            **{**outcome.values, "probe": {**outcome.values["probe"], **head.about}},
        )
        wanted = self.config.embedding_map and not entrant.hidden
        plane = embedding_map(scored_clips(work.folds), vectors.of("test")) if wanted else None
        # a probe may hold all its training vectors: other ranks get it only to write it
        return result, outcome if self.config.save_probes else replace(outcome, probes=[]), plane

    def _read_headers(self) -> None:
        threads = self.config.compute.num_threads()
        known = Known()
        total = sum(work.num_clips() for work in self.works)
        with self.reporter.stage("reading headers", total, "clips") as advance:
            for work in self.works:
                work.plan(self.config.protocol, known, threads, advance)
                self.policy.check(work.bad(), work.num_clips())

    def _identity(self, entrant: Entrant) -> dict[str, Any]:
        # the encoder stands beside; its objects are no JSON
        # where the data lies is no part of what is measured; the splits tell which data it is
        plain = replace(self.config, encoders=(), vectors=(), output=Path(), data=DataRoots())
        left_out = ("encoders", "vectors", "output", "data", "contamination")
        settings = {key: value for key, value in asdict(plain).items() if key not in left_out}
        return {
            **entrant.identity(self.works),
            "settings": settings,
            "splits": {f"{work.task.suite}/{work.task.name}": work.split_hash for work in self.works},
            # names do not tell a file that was replaced
            "audio": [work.audio_hash() for work in self.works] if entrant.runner else [],
            "code": code_digest(),
        }


def evaluate(
    encoders: str | Path | Encoder | Sequence[str | Path | Encoder],
    tasks: str | Path | Sequence[str] = "mini",
    protocol: str = "cached",
    *,
    config: EvaluateConfig = EvaluateConfig(),
    reporter: Reporter | None = None,
) -> list[Run]:
    """Score encoders on tasks.

    Args:
        encoders: Specs such as "melstats" or "py:my_encoder.py:MyEncoder", or encoders.
        tasks: Specs such as "mini" or "manifest:labels.csv".
        protocol: "paper", "cached" or "quick".
        config: Everything else; its encoders, tasks and protocol's name are replaced by the arguments.

    Returns:
        A finished run for each encoder and vector file, in the order given.

    Raises:
        ValueError: A user's mistake, in one sentence; subclasses say which.
    """
    many = (encoders,) if isinstance(encoders, str | Path | Encoder) else encoders
    entrants = tuple(str(one) if isinstance(one, Path) else one for one in many)
    specs = (str(tasks),) if isinstance(tasks, str | Path) else tuple(tasks)
    named = replace(config.protocol, name=protocol)
    return Evaluation(replace(config, encoders=entrants, tasks=specs, protocol=named), reporter).run()


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_@" else "_" for letter in text)[:60]
