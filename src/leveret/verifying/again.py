"""Test clips embedded again, past the cache, and scored again: by the probes of the run, or by probes trained anew.

A run folder holds scores and no vectors, so vectors are compared through the probe: the saved one must give the saved
scores. It proves that encoder, audio and predictions belong together, and not how the probe was trained; training it
anew proves that as well, and costs what the evaluation cost.
Shapes: R rows, D embedding, M clips, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray

from leveret.bad_files import BadFilePolicy
from leveret.batches import CropRule
from leveret.checkpoint import CheckpointError
from leveret.clip_scoring import clip_scores
from leveret.embedding import embed_job
from leveret.fresh_rows import fresh_rows
from leveret.kept_heads import HeadError, head_of
from leveret.predictions import Predictions
from leveret.probe_files import SUFFIX, ProbeFileError, TrainedProbe, load_probe
from leveret.progress import Reporter
from leveret.protocols import Protocol
from leveret.results import TaskResult
from leveret.runner import Runner
from leveret.scoring import score_readout, score_task
from leveret.verifying.checks import Check, passed
from leveret.workload import Known, Workload

TOLERANCE = 0.02
"""Of the size of a clip's vectors or scores: devices and batches move them by 1e-6, bfloat16 by 6e-3."""
SCORE_TOLERANCE = 0.005
"""Of the score of a probe that was trained again, which another machine may round otherwise."""


@dataclass(frozen=True)
class Again:
    """What is needed to do a part of a run again.

    Attributes:
        runner: The run's encoder.
        protocol: The run's.
        sample: Test clips a task.
        seed: Draws them.
        train: Train the probes anew even where the run kept its own.
    """

    runner: Runner
    protocol: Protocol
    sample: int
    seed: int
    train: bool
    reporter: Reporter


def embedded_again(
    key: str, work: Workload, result: TaskResult, predictions: Predictions, probes: Path, again: Again
) -> Check:
    """Whether sampled test clips get their scores again.

    Args:
        probes: Folder with the probes that the run kept; it may not exist.
    """
    what = "embedded again"
    saved = _saved(probes, key, len(work.folds))
    kept = result.head == "pretraining"
    if not (saved or again.train or kept or again.protocol.name == "quick"):
        return Check(
            what, key, "not checked",
            f"the run kept no probes, and to train those of `{again.protocol.title}` again costs what the evaluation "
            "did: --again does it, `leveret evaluate --save-probes` keeps them",
        )  # fmt: skip
    known = set(predictions.clip)
    clips = list({clip.id: clip for fold in work.folds for clip in fold.test if clip.id in known}.values())
    sampled = Random(again.seed).sample(clips, min(again.sample, len(clips)))
    task = work.task
    crop = CropRule(seconds=task.crop_seconds, whole_clip=task.whole_clip, num_windows=task.num_windows)
    fresh, bad = fresh_rows(sampled, crop, again.runner)
    wrong = [f"{why} (it has a score in the run)" for why in bad.values()]
    if saved and not again.train:
        wrong += _by_saved_probes(saved, work, result, predictions, fresh, again)
        said = f"{len(fresh)} of {len(clips)} test clips, scored by the run's own probe, which was not trained again"
    else:
        more, score = _by_new_probes(work, result, predictions, fresh, again)
        wrong += more
        how = "scored by the encoder's own classifier" if kept else "and the probe trained again on all"
        said = f"{len(fresh)} of {len(clips)} test clips, {how}: {100 * score:.1f}"
    return passed(what, key, wrong, said)


def _saved(folder: Path, key: str, num_folds: int) -> list[Path]:
    """The files of a task's probes, one a fold, if the run kept all of them."""
    names = [key] if num_folds == 1 else [f"{key}.fold-{number}" for number in range(1, num_folds + 1)]
    paths = [folder / f"{name}{SUFFIX}" for name in names]
    return paths if all(path.is_file() for path in paths) else []


def _by_saved_probes(
    paths: Sequence[Path],
    work: Workload,
    result: TaskResult,
    predictions: Predictions,
    fresh: Mapping[str, NDArray[np.float32]],
    again: Again,
) -> list[str]:
    wrong: list[str] = []
    rows_of = {clip: k for k, clip in enumerate(predictions.clip)}
    for path, fold in zip(paths, work.folds, strict=True):
        ids = [clip.id for clip in fold.test if clip.id in fresh]
        try:
            probe = load_probe(path)
        except ProbeFileError as error:
            return [str(error)]
        if why := _other_probe(probe, predictions, again.runner):
            return [f"{path.name} {why}"]
        if not ids:
            continue
        X, counts = torch.from_numpy(np.concatenate([fresh[one] for one in ids])), [len(fresh[one]) for one in ids]
        index = np.array([rows_of[one] for one in ids])
        for readout, scores in zip(probe.readouts, predictions.scores, strict=True):
            found = clip_scores(readout, X, np.array(counts), probe.kind, probe.average)[0]
            wrong += _moved(ids, scores[index], found, "scores")
    return wrong


def _other_probe(probe: TrainedProbe, predictions: Predictions, runner: Runner) -> str:
    """Why a probe cannot be the one that made the predictions."""
    if probe.encoder["digest"] != runner.loaded.digest or probe.encoder.get("layer") != runner.layer:
        return "was trained on another encoder"
    if {slot: list(labels) for slot, labels in probe.slots} != {
        slot: list(labels) for slot, labels in predictions.vocabulary.items()
    }:
        return "has other classes than the predictions"
    return ""


def _by_new_probes(
    work: Workload,
    result: TaskResult,
    predictions: Predictions,
    fresh: Mapping[str, NDArray[np.float32]],
    again: Again,
) -> tuple[list[str], float]:
    """What is wrong, and the score that was found."""
    policy = BadFilePolicy("skip")  # how many may be bad is the run's own affair
    try:
        head = head_of(
            work.task, again.runner, "pretraining" if result.head == "pretraining" else "probe", again.protocol
        )
    except (HeadError, CheckpointError) as error:
        return [str(error)], float("nan")
    work.heads[again.runner], work.trains = head, head.readout is None
    with again.reporter.stage(f"{work.task.name}: headers", work.num_clips(), "clips") as advance:
        work.plan(again.protocol, Known(), again.runner.compute.num_threads(), advance)
    parts = [embed_job(job, [again.runner], policy=policy, reporter=again.reporter)[0] for job in work.jobs]
    vectors, device = work.vectors(parts, again.runner, policy), again.runner.compute.torch_device()
    outcome = (
        score_task(work.task, work.folds, vectors, again.protocol, device)
        if head.readout is None
        else score_readout(work.task, work.folds, vectors, head.on(device), again.protocol, device, head.about)
    )
    wrong = []
    for clip, rows in fresh.items():
        if clip not in vectors.rows_of:
            wrong.append(f"{clip} has no vector")
        else:
            wrong += _moved([clip], np.asarray(vectors.rows_of[clip], np.float32)[None], rows[None], "cached vectors")
    score = float(outcome.values["score"])
    # one clip more or less, where there are few
    allowed = max(SCORE_TOLERANCE, 1.5 / len(predictions.clip))
    if abs(score - result.score) > allowed:
        how = "trained" if head.readout is None else "scored"
        wrong.append(f"{how} again it has {100 * score:.1f}, the scorecard says {100 * result.score:.1f}")
    if set(outcome.predictions.clip) != set(predictions.clip):
        wrong.append("other test clips have vectors now")
    return wrong, score


def _moved(ids: Sequence[str], saved: NDArray[np.float32], found: NDArray[np.float32], what: str) -> list[str]:
    """Clips whose numbers are not the same within the tolerance."""
    if saved.shape != found.shape:
        return [f"{ids[0]}: {found.shape[1:]} {what} in place of {saved.shape[1:]}"]
    axes = tuple(range(1, saved.ndim))
    size = np.sqrt(np.square(saved.astype(np.float64)).sum(axes))
    far = np.sqrt(np.square(saved.astype(np.float64) - found).sum(axes))
    return [
        f"the {what} of {ids[k]} are off by {far[k] / max(size[k], 1e-12):.1%}"
        for k in np.flatnonzero(~(far <= TOLERANCE * size + 1e-6)).tolist()
    ]
