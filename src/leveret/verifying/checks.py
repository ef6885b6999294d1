"""What a run folder's own files say of each other: config, scorecard, predictions. No audio, no encoder, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose
from statistics import fmean
from typing import Any, Literal

import numpy as np

from leveret.journal import json_or_none
from leveret.prediction_scores import scores_of
from leveret.predictions import Predictions
from leveret.results import TaskResult
from leveret.runs import Run

ROUNDING = 1e-6
"""Of a score; what the same predictions give on another machine."""


class VerificationError(ValueError):
    """A run folder of which nothing can be verified."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: In a word or two.
        task: Its key; empty for the run as a whole.
        state: "noted" decides nothing.
        said: What was found, or why it could not be looked at.
    """

    what: str
    task: str
    state: Literal["passed", "failed", "not checked", "noted"]
    said: str


def faulty(checks: Sequence[Check]) -> list[Check]:
    """What failed, then what could not be checked."""
    order = {"failed": 0, "not checked": 1}
    return sorted((one for one in checks if one.state in order), key=lambda one: order[one.state])


def faults(checks: Sequence[Check]) -> list[str]:
    """Why a run is not verified, in words."""
    return [f"{one.task + ': ' if one.task else ''}{one.what}: {one.said}" for one in faulty(checks)]


def passed(what: str, task: str, wrong: Sequence[str], said: str) -> Check:
    """Passed if nothing is wrong."""
    return Check(what, task, "failed" if wrong else "passed", "; ".join(wrong[:3]) if wrong else said)


def read_config(run: Run) -> Mapping[str, Any]:
    """The run's `config.json`.

    Raises:
        VerificationError: It is missing, or nothing of its kind.
    """
    path = run.folder / "config.json"
    config = json_or_none(path.read_bytes()) if path.is_file() else None
    parts = ("encoder", "settings", "splits")
    if not (isinstance(config, dict) and all(isinstance(config.get(part), dict) for part in parts)):
        raise VerificationError(f"{path} is missing or damaged; a run without it cannot be made again")
    return config


def check_config(run: Run, config: Mapping[str, Any]) -> Check:
    """Whether config and scorecard are of one run."""
    card = run.scorecard
    wrong = [
        f"{name} is {str(config['encoder'].get(name))[:40]} in config.json, {str(card.encoder.get(name))[:40]} in the "
        "scorecard"
        for name in ("spec", "digest", "layer")
        if config["encoder"].get(name) != card.encoder.get(name)
    ]
    splits = {f"{result.suite}/{result.task}": result.split_hash for result in card.tasks}
    if splits != config["splits"]:
        wrong.append("tasks or splits of config.json are not those of the scorecard")
    return passed("config", "", wrong, "encoder and splits as in the scorecard")


def check_code(run: Run, here: str) -> Check:
    """Whether the code that made the run is the code here; another version may well give the same."""
    there = str(run.scorecard.run.get("code", ""))
    same = "the code here is that of the run" if there == here else f"the run's is {there[:12]}, here is {here[:12]}"
    return Check("code", "", "noted", same)


def check_scores(key: str, result: TaskResult, predictions: Predictions) -> Check:
    """Whether the scorecard follows from the predictions."""
    seeds = list(result.seeds.values())
    made = scores_of(predictions, fmean(seeds) if seeds else result.score)
    if not predictions.fold and not _alike(result.interval, made["interval"]):
        # runs of before there were folds in predictions have that of the pooled clips, or of the first seed
        made["interval"] = scores_of(predictions, predictions.score())["interval"]
    wrong = [
        f"{name} is {_short(getattr(result, name))}, the predictions give {_short(value)}"
        for name, value in made.items()
        if name != "metrics" and not _alike(getattr(result, name), value)
    ]
    wrong += [
        f"{name} is {result.metrics.get(name)}, the predictions give {value:.6f}"
        for name, value in made["metrics"].items()
        if not _alike(result.metrics.get(name), value)
    ]
    if predictions.metric != result.metric:
        wrong.append(f"the metric is {result.metric}, that of the predictions {predictions.metric}")
    if len(set(predictions.clip)) < len(predictions.clip) and not result.folds:
        wrong.append("a clip stands twice in the predictions")
    if result.clips.get("test") != len(predictions.clip):
        wrong.append(f"{result.clips.get('test')} test clips, {len(predictions.clip)} predictions")
    if not seeds or not _alike(result.score, fmean(seeds)):
        wrong.append("the score is not the mean over the seeds")
    said = "score, interval and classes follow from the predictions"
    if result.folds:
        if not _alike(result.score, fmean(result.folds)):
            wrong.append("the score is not the mean over the folds")
        said = f"{len(result.folds)} folds: metrics, interval and classes follow from the predictions"
    if seeds and (predictions.fold or not result.folds) and not _alike(seeds[0], predictions.score()):
        wrong.append(f"the score is {seeds[0]:.6f} of the first seed, the predictions give another")
    if len(seeds) > 1:
        said += f"; of {len(seeds)} seeds, only the first one's predictions are kept"
    return passed("scores", key, wrong, said)


def check_fold_scores(result: TaskResult, predictions: Predictions, tests: Sequence[Sequence[str]]) -> list[str]:
    """What is wrong with the scores of the folds.

    Args:
        tests: Ids of each fold's test clips, in the order of the folds.
    """
    wrong = []
    for number, ids in enumerate(tests) if predictions.fold else ():
        found = {clip for clip, fold in zip(predictions.clip, predictions.fold, strict=True) if fold == number}
        if others := sorted(found - set(ids)):
            wrong.append(f"{others[0]} is no test clip of fold {number + 1}, by which it was scored")
    if not result.folds or len(result.seeds) > 1:
        return wrong
    scored = {clip: k for k, clip in enumerate(predictions.clip)}
    for number, (ids, score) in enumerate(zip(tests, result.folds, strict=True), start=1):
        index = np.array([scored[one] for one in ids if one in scored], dtype=np.int64)
        part = predictions.take(index)
        if not len(index) or not _alike(score, replace(part, fold=()).score()):
            wrong.append(f"fold {number} has the score {score:.4f}, its predictions give another")
    return wrong


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return isclose(one, other, abs_tol=ROUNDING)
    return bool(one == other)


def _short(value: object) -> str:
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
