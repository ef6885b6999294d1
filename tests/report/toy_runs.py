"""Run folders with known scores, as an evaluation leaves them."""

from pathlib import Path

import numpy as np

from leveret.metrics import METRICS
from leveret.paper import tasks
from leveret.predictions import Predictions
from leveret.results import HARES, HARES_TASKS, Scorecard, TaskResult
from leveret.runs import Run, RunWriter, find_runs, task_keys

NUM_CLIPS = 40
CLASSES = ("cat", "dog", "hen", "pig")


def single(share_right, classes=CLASSES, clip="clips/{}.wav"):
    """Clip k is of class k modulo K; of the first share it is found, the others are taken for the next class."""
    num = len(classes)
    scores = np.zeros((NUM_CLIPS, num), np.float32)
    for row in range(NUM_CLIPS):
        scores[row, (row + (row >= share_right * NUM_CLIPS)) % num] = 1 + row / 64
    labels = [(classes[row % num],) for row in range(NUM_CLIPS)]
    return Predictions(*_ids(clip), labels, {"": classes}, [scores], "accuracy")


def tags(seed, names=("x", "y", "z")):
    """Clip k has the tags k modulo 3 and, of every other clip, the next one as well."""
    labels = [tuple(sorted({names[k % 3], names[(k + k % 2) % 3]})) for k in range(NUM_CLIPS)]
    scores = np.random.default_rng(seed).standard_normal((NUM_CLIPS, 3)).astype(np.float32)
    return Predictions(*_ids("tags/{}.wav"), labels, {"": names}, [scores], "map")


def slots(seed):
    """Two slots, random scores."""
    generator, vocabulary = np.random.default_rng(seed), {"action": ("on", "off"), "object": ("lamp", "tv", "fan")}
    labels = [(("on", "off")[k % 2], ("lamp", "tv", "fan")[k % 3]) for k in range(NUM_CLIPS)]
    scores = [generator.standard_normal((NUM_CLIPS, len(names))).astype(np.float32) for names in vocabulary.values()]
    return Predictions(*_ids("slots/{}.wav"), labels, vocabulary, scores, "exact_match")


def _ids(clip):
    return [clip.format(k) for k in range(NUM_CLIPS)], [f"group {k // 2}" for k in range(NUM_CLIPS)]


def scored(predictions, task="farm", **changes):
    """The result that these predictions have."""
    score = METRICS[predictions.metric](predictions.for_metric(), predictions.targets())
    kind = {"accuracy": "single", "map": "multi", "exact_match": "slots"}[predictions.metric]
    names = [f"{slot}:{name}" if slot else name for slot, of in predictions.vocabulary.items() for name in of]
    values = {
        "task": task, "suite": "mine", "domain": "environment", "stands_for": "", "kind": kind,
        "metric": predictions.metric, "score": score, "interval": (score - 0.0625, score + 0.0625),
        "interval_groups": 20, "interval_wide": False, "metrics": {predictions.metric: score},
        "per_class": dict.fromkeys(names, score), "chance": 0.25, "majority": 0.28, "floor": 0.31,
        "train_score": 0.9, "seeds": {"0": score}, "folds": [], "probe": {"class": "Toy", "C": 0.1},
        "clips": {"train": 80, "valid": 0, "test": NUM_CLIPS}, "skipped": {}, "silent": [], "coverage": 1.0,
        "unscored_classes": [], "split_hash": "5" * 64, "notes": "", "seconds": 1.5,
    }  # fmt: skip
    return TaskResult(**values | changes), predictions


def write_run(folder: Path, found, encoder="melstats", protocol="quick") -> Run:
    """A run folder of (result, predictions), read back."""
    writer = RunWriter(folder, {"name": folder.name})
    for key, (result, predictions) in zip(task_keys([(one.suite, one.task) for one, _ in found]), found, strict=True):
        writer.add(key, result, predictions)
    card = Scorecard(
        encoder={"spec": encoder, "name": encoder, "digest": "e" * 64, "parameters": 1_423_616},
        protocol={"title": protocol, "name": protocol.split("@")[0], "seeds": [0]},
        tasks=[result for result, _ in found],
        run={"command": ["leveret", "evaluate", "--encoder", encoder], "finished": "2026-01-02T03:04:05+00:00",
             "device": "cpu", "versions": {"torch": "2.13.0"}, "code": "c" * 64},
    )  # fmt: skip
    return find_runs(writer.finish(card, "log\n"))[0]


def hares(share_right, leave_out=(), **changes):
    """All twelve tasks with equal predictions."""
    return [
        scored(single(share_right), name, suite=HARES, domain=tasks()[name].domain, **changes)
        for name in HARES_TASKS
        if name not in leave_out
    ]
