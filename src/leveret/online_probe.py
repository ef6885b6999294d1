"""How good an encoder is while it is still trained: `quick` on a few labelled tasks, the mel statistics beside it.

One process does it alone, on a copy of the encoder, so that the training goes on as if nothing had been. The rows lie
in a folder that is removed after each probe: an encoder in the middle of its training is embedded once, never again.
Source: ours.
Departures: the probes are those of `leveret evaluate --protocol quick`, and its scores; no intervals are shown.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree

import torch

import leveret.distributed as distributed
from leveret.bad_files import BadFilePolicy
from leveret.checkpoint import config_as_json
from leveret.content import weights_digest
from leveret.contracts import Encoder
from leveret.dataroots import DataRoots
from leveret.embedding import embed_job
from leveret.loading import LoadedEncoder, find_tasks, load_encoder
from leveret.progress import Reporter
from leveret.protocols import Protocol
from leveret.runner import Compute, runners_of
from leveret.runs import task_keys
from leveret.scoring import score_task
from leveret.text import percent
from leveret.training_config import PretrainConfig
from leveret.workload import Known, Workload

FLOOR = "melstats"
QUICK = Protocol(name="quick")
SECONDS = "probe_seconds"
"""The key of a probe's own time among its scores."""
_FAILURES = (ValueError, OSError, MemoryError, RuntimeError)  # the last is torch's, of a device without memory too


class OnlineProbe:
    """Scores of one run's encoder, called by the training as it goes on.

    A task whose files cannot be read, or whose probe cannot be trained, has no score that time, says why once, and is
    tried again the next time: nobody's training should end for it.

    Attributes:
        works: Key of a task -> the task.
        floors: Key of a task -> score of `melstats`, found at the first probe.
    """

    def __init__(
        self, config: PretrainConfig, data: DataRoots, folder: Path, compute: Compute, reporter: Reporter | None = None
    ) -> None:
        """Find the tasks.

        Args:
            config: Of the run; `probe_tasks` names the tasks.
            data: Where published datasets lie.
            folder: For rows while a probe goes on; it is removed with all that is in it.

        Raises:
            ValueError: No such task, or its data is not there.
        """
        self.config, self.folder, self.compute, self.reporter = config, folder, compute, reporter or Reporter()
        with distributed.alone():
            found = find_tasks(config.probe_tasks, data=data)
            keys = task_keys([(task.suite, task.name) for task in found.tasks])
            self.works = {key: Workload.make(task, QUICK) for key, task in zip(keys, found.tasks, strict=True)}
        for name, why in found.missing.items():
            self.reporter.say(f"probe: {name} is left out: {why}")
        self.floors: dict[str, float] = {}
        self._known = Known()
        self._told: set[str] = set()

    def __call__(self, encoder: Encoder, step: int) -> Mapping[str, float | None]:
        """`probe/TASK` and `melstats/TASK` of each task, None where it failed, their means, and the seconds it took.

        Args:
            step: Steps that are done.
        """
        started = time.monotonic()
        scores: dict[str, float | None] = {}
        loaded = self._loaded(encoder, step)
        with distributed.alone():
            try:
                for key in self.works:
                    scores[key] = self._score_or_none(key, loaded)
            finally:
                rmtree(self.folder, ignore_errors=True)
        if self.compute.torch_device().type == "cuda":
            torch.cuda.empty_cache()  # or a training that just fits would not any more
        numbers = _named("probe", scores) | _named(FLOOR, {key: self.floors.get(key) for key in scores})
        taken = time.monotonic() - started
        self._tell(step, numbers, taken)
        return numbers | {SECONDS: taken}

    def _loaded(self, encoder: Encoder, step: int) -> LoadedEncoder:
        config = {"encoder": self.config.encoder, **config_as_json(self.config.encoder_config)}
        digest, origin = weights_digest(encoder), f"after {step} steps"
        return LoadedEncoder(self.config.encoder, "probe", encoder, digest, config, origin, foreign=False)

    def _score_or_none(self, key: str, loaded: LoadedEncoder) -> float | None:
        try:
            return self._score(key, loaded)
        except _FAILURES as error:
            # what was read of its files until then may be what is wrong
            self.works[key].jobs, self._known = [], Known()
            if key not in self._told:
                self._told.add(key)
                reason = " ".join(line.strip() for line in str(error).splitlines()[:2]) or type(error).__name__
                self.reporter.say(
                    f"probe: {key} has no score ({reason}); the training goes on, and later probes try it again "
                    "without a word"
                )
            return None

    def _score(self, key: str, loaded: LoadedEncoder) -> float:
        work = self.works[key]
        policy = BadFilePolicy(whole=work.num_clips())
        runners = runners_of([loaded] if key in self.floors else [loaded, load_encoder(FLOOR)], self.compute)
        if not work.jobs:
            work.plan(QUICK, self._known, self.compute.num_threads(), lambda clips: None)
            policy.check(work.bad(), work.num_clips())
        parts = [embed_job(job, runners, policy=policy, mapped=True, root=self.folder) for job in work.jobs]
        scores = []
        for runner, rows in zip(runners, zip(*parts, strict=True), strict=True):
            vectors = work.vectors(rows, runner, policy)
            outcome = score_task(work.task, work.folds, vectors, QUICK, runner.network.device)
            scores.append(float(outcome.values["score"]))
        if len(scores) > 1:
            self.floors[key] = scores[1]
        return scores[0]

    def _tell(self, step: int, numbers: Mapping[str, float | None], taken: float) -> None:
        parts = []
        for key in [*self.works, "mean"]:
            score, floor = numbers.get(f"probe/{key}"), numbers.get(f"{FLOOR}/{key}")
            if score is not None:
                parts.append(f"{key} {percent(score)} ({percent(floor)})")
        told = ", ".join(parts) or "no task has a score"
        self.reporter.say(f"probe after step {step:,}: {told}; {FLOOR} in brackets; {taken:.0f} s")


def _named(prefix: str, scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Scores by the name of their curve, and the mean of several where all are there."""
    known = [score for score in scores.values() if score is not None]
    named = {f"{prefix}/{key}": score for key, score in scores.items()}
    if len(scores) > 1:
        named[f"{prefix}/mean"] = sum(known) / len(known) if len(known) == len(scores) else None
    return named
