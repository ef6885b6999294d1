"""A run folder verified: what its files say of each other, its encoder, its data, and test clips embedded again.

The sample is drawn anew each time, so that nobody can know which clips it holds. Nothing in the folder is believed to
be anything but plain values: an encoder that is somebody's code is made only if the user names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import randbits
from typing import Any

from leveret.content import code_digest, file_sha256
from leveret.contracts import Task
from leveret.dataroots import DataRoots
from leveret.loading import datasets, find_tasks, is_own, load_encoder
from leveret.predictions import Predictions, RunError
from leveret.progress import Reporter
from leveret.protocols import Protocol
from leveret.results import TaskResult
from leveret.runner import Compute, Runner, runners_of
from leveret.runs import Run
from leveret.verifying.again import Again, embedded_again
from leveret.verifying.checks import (
    Check,
    VerificationError,
    check_code,
    check_config,
    check_fold_scores,
    check_scores,
    faults,
    passed,
    read_config,
)
from leveret.verifying.records import keep_record, run_digests
from leveret.workload import Workload


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """How a run is verified.

    Attributes:
        encoder: Spec in place of the run's own; it must be the very same encoder.
        tasks: Specs in place of the run's own, where its data lies elsewhere.
        data: Where published datasets lie.
        sample: Test clips of each task that are embedded again.
        again: Train probes again even where the run kept its own, or where it costs hours.
        seed: Draws the sample; None draws another one each time.
        compute: Where the encoder runs; None is as in the run, on any device.
    """

    encoder: str | None = None
    tasks: tuple[str, ...] = ()
    data: DataRoots = field(default_factory=DataRoots)
    sample: int = 16
    again: bool = False
    seed: int | None = None
    compute: Compute | None = None

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise ValueError(f"sample={self.sample}; expected 1 or more test clips")


def verify(run: Run, config: VerifyConfig = VerifyConfig(), reporter: Reporter | None = None) -> list[Check]:
    """Everything that was looked at; the run is verified if `faults` finds nothing in it. The verdict is kept.

    Raises:
        VerificationError: The folder has no config of a run.
    """
    reporter = reporter or Reporter()
    files = run_digests(run.folder)
    written = read_config(run)
    checks = [check_config(run, written), check_code(run, code_digest())]
    runner, check = _encoder(run, written, config)
    checks.append(check)
    works, missing = _works(run, written, config)
    protocol = _protocol(run, written)
    for key, result in zip(run.keys(), run.scorecard.tasks, strict=True):
        try:
            predictions = run.predictions(key)
            checks.append(check_scores(key, result, predictions))
        except (RunError, ValueError, KeyError, IndexError) as error:
            checks.append(Check("scores", key, "failed", f"the predictions cannot be scored ({error})"))
            continue
        work = works.get(f"{result.suite}/{result.task}")
        if work is None:
            why = missing or "the data gives no such task"
            checks.append(Check("data", key, "not checked", f"{why}; name it with --tasks or --data"))
            checks.append(Check("embedded again", key, "not checked", "there is no data"))
            continue
        checks.append(_check_data(key, work, result, predictions))
        if runner is None or checks[-1].state != "passed":
            checks.append(Check("embedded again", key, "not checked", "encoder and data must be the run's own"))
            continue
        seed = randbits(32) if config.seed is None else config.seed
        again = Again(runner, protocol, config.sample, seed, config.again, reporter)
        checks.append(embedded_again(key, work, result, predictions, run.folder / "probes", again))
    if run_digests(run.folder) != files:
        checks.append(Check("files", "", "failed", "the run folder changed while it was verified"))
    keep_record(run.folder, files, faults(checks))
    return checks


def _encoder(run: Run, written: Mapping[str, Any], config: VerifyConfig) -> tuple[Runner | None, Check]:
    """The run's encoder, if it is here and the very same."""
    about, what = run.scorecard.encoder, "encoder"
    spec = config.encoder or str(about.get("spec", ""))
    if about.get("origin") == "vectors made elsewhere":
        there = Path(spec)
        if there.is_file() and file_sha256(there) != about.get("digest"):
            return None, Check(what, "", "failed", f"{spec} is not the file of vectors that was scored")
        return None, Check(what, "", "not checked", "the vectors were made elsewhere; nothing here can embed again")
    if config.encoder is None and not is_own(spec):
        return None, Check(
            what, "", "not checked",
            f"{spec!r} would run somebody's code because a file asks for it; if you trust it, name it with --encoder",
        )  # fmt: skip
    settings, layer = written["settings"], about.get("layer")
    try:
        seed = settings.get("seed", 0)
        loaded = load_encoder(spec, seed if isinstance(seed, int) else 0)
        compute = config.compute or _compute(settings)
        (runner,) = runners_of([loaded], compute, () if layer is None else (str(layer),))
    except (ValueError, OSError) as error:
        return None, Check(what, "", "not checked", f"it cannot be made ({error}); name it with --encoder")
    found = runner.described()
    wrong = [
        f"{name} is {str(about.get(name))[:40]} in the run, {str(found[name])[:40]} here"
        for name in ("digest", "config", "parameters", "sample_rate", "embed_dim")
        if about.get(name) != found[name]
    ]
    check = passed(what, "", wrong, f"{spec}: digest {loaded.digest[:12]}, settings and sizes as in the run")
    return (runner if not wrong else None), check


def _compute(settings: Mapping[str, Any]) -> Compute:
    written = settings.get("compute")
    dtype = written.get("dtype") if isinstance(written, dict) else None
    return Compute(dtype="bfloat16" if dtype == "bfloat16" else "float32")


def _protocol(run: Run, written: Mapping[str, Any]) -> Protocol:
    """The protocol of the run.

    Raises:
        VerificationError: Its settings are none, or not those of the title.
    """
    settings = written["settings"].get("protocol")
    try:
        protocol = Protocol(**{**settings, "seeds": tuple(settings["seeds"])})
    except (TypeError, KeyError, ValueError) as error:
        raise VerificationError(f"the protocol of {run.folder / 'config.json'} is none ({error})") from error
    if protocol.title != run.scorecard.protocol["title"]:
        raise VerificationError(
            f"{run.folder}: the scorecard says protocol {run.scorecard.protocol['title']!r}, config.json "
            f"{protocol.title!r}"
        )
    return protocol


def _works(run: Run, written: Mapping[str, Any], config: VerifyConfig) -> tuple[dict[str, Workload], str]:
    """The tasks that are here, by suite and name; and why others are not."""
    settings, protocol = written["settings"], _protocol(run, written)
    specs = config.tasks or settings.get("tasks") or ()
    crop = settings.get("crop")
    found: dict[str, Task] = {}
    missing: list[str] = []
    for spec in specs:
        try:
            of_spec = find_tasks([str(spec)], (), crop, _roots(run, config.data))
        except (ValueError, OSError, TypeError) as error:
            missing.append(str(error).splitlines()[0])
            continue
        found |= {f"{task.suite}/{task.name}": task for task in of_spec.tasks}
        missing += [str(why).splitlines()[0] for why in of_spec.missing.values()]
    # a manifest's suite is called by its folder, so one that lies elsewhere has another
    by_name = {task.name: task for task in found.values()} if config.tasks else {}
    works = {}
    for result in run.scorecard.tasks:
        name = f"{result.suite}/{result.task}"
        if (task := found.get(name) or by_name.get(result.task)) is not None:
            try:
                works[name] = Workload.make(task, protocol)
            except ValueError as error:  # labels of which nothing can be learnt
                missing.append(str(error))
    return works, "; ".join(dict.fromkeys(missing))


def _roots(run: Run, data: DataRoots) -> DataRoots:
    """Where data lies, with the variants that the run says it took."""
    variants = {
        name: result.variant
        for name, dataset in datasets().items()
        for result in run.scorecard.tasks
        if result.variant and result.task in dataset.tasks and result.variant in dataset.variants
    }
    return DataRoots(root=data.root, folders=data.folders, labels=data.labels, variants=variants | dict(data.variants))


def _check_data(key: str, work: Workload, result: TaskResult, predictions: Predictions) -> Check:
    """Whether clips, labels, groups and splits of the data here are those of the run."""
    wrong = []
    if work.split_hash != result.split_hash:
        wrong.append(
            f"the splits here have the digest {work.split_hash[:12]}, those of the run {result.split_hash[:12]}"
        )
    test = {clip.id: clip for fold in work.folds for clip in fold.test}
    for clip, labels, group in zip(predictions.clip, predictions.labels, predictions.group, strict=True):
        known = test.get(clip)
        if known is None or tuple(labels) != tuple(known.labels) or group != known.group:
            wrong.append(f"{clip} has other labels or another group, or is no test clip")
    if unscored := set(test) - set(predictions.clip) - set(result.skipped):
        wrong.append(f"{len(unscored)} test clips have neither a score nor a reason, such as {sorted(unscored)[0]}")
    if {slot: list(labels) for slot, labels in work.task.slots} != {
        slot: list(labels) for slot, labels in predictions.vocabulary.items()
    }:
        wrong.append("the classes are others")
    wrong += check_fold_scores(result, predictions, [[clip.id for clip in fold.test] for fold in work.folds])
    said = f"clips, labels, groups and splits: list {work.split_hash[:12]}; of the audio, the sample"
    return passed("data", key, wrong, said)
