"""The engine on hand-made rows: windows are averaged, clips without vectors are left out."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from leveret import protocols
from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.protocols import Protocol
from leveret.registry import UnknownNameError
from leveret.scoring import Vectors, score_task


@dataclass(frozen=True, kw_only=True)
class HandMade(Task):
    parts: tuple[Fold, ...]

    def folds(self):
        return self.parts


class FirstNumbers:
    """Its decision values are the first K numbers of a row."""

    facts: dict = {}  # noqa: RUF012 - nothing is found

    def __init__(self, num_classes):
        self.num_classes = num_classes

    def scores(self, X):
        return X[None, :, : self.num_classes]


@dataclass(frozen=True)
class Untrained:
    logits: ClassVar[bool] = True

    def fit(self, train, valid, progress=None):
        return FirstNumbers(train.num_classes)


@pytest.fixture
def task():
    clips = [Clip(f"{k}", Path(f"{k}"), ("ab"[k % 2],), f"g{k}") for k in range(6)]
    return HandMade(
        name="hand", domain="other", kind="single", slots=(("", ("a", "b")),), metric="accuracy", crop_seconds=1.0,
        suite="hand", parts=(Fold(clips[:2], [], clips[2:]),),
    )  # fmt: skip


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(protocols, "look_up", lambda room, name: Untrained())


def vectors(rows):
    return Vectors({name: np.array(block, np.float32) for name, block in rows.items()}, 2)


ROWS = {
    "0": [[1, 0]], "1": [[0, 1]],
    "2": [[3, 0], [0, 1], [0, 1]],  # by logits 1 to 2/3: a
    "3": [[0, 1]],
    "4": [[0, 5]],
    "5": [[0, 2], [1, 0]],
}  # fmt: skip


def test_decision_values_are_averaged_over_the_windows_of_a_clip(task, untrained):
    outcome = score_task(task, task.folds(), vectors(ROWS), Protocol(name="quick"), torch.device("cpu"))
    np.testing.assert_allclose(outcome.predictions.scores[0][0], [1, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(outcome.predictions.scores[0][3], [0.5, 1], rtol=1e-6)
    assert outcome.values["score"] == 0.75
    assert outcome.values["per_class"] == {"a": 0.5, "b": 1.0}
    assert outcome.values["train_score"] == 1.0


def test_probabilities_on_request_can_turn_a_verdict(task, untrained):
    protocol = Protocol(name="quick", average="probabilities")
    outcome = score_task(task, task.folds(), vectors(ROWS), protocol, torch.device("cpu"))
    # one sure window against two that lean the other way
    by_hand = (1 / (1 + np.exp(-3)) + 2 / (1 + np.exp(1))) / 3
    assert outcome.predictions.scores[0][0, 0] == pytest.approx(by_hand, rel=1e-6)
    assert outcome.predictions.scores[0][0].argmax() == int(by_hand < 0.5)


def test_clips_without_vectors_are_left_out_and_an_empty_split_is_refused(task, untrained):
    some = {name: rows for name, rows in ROWS.items() if name != "4"}
    outcome = score_task(task, task.folds(), vectors(some), Protocol(name="quick"), torch.device("cpu"))
    assert list(outcome.predictions.clip) == ["2", "3", "5"]
    none = {name: rows for name, rows in ROWS.items() if name in "01"}
    with pytest.raises(ValueError, match="no test clip"):
        score_task(task, task.folds(), vectors(none), Protocol(name="quick"), torch.device("cpu"))


def test_a_class_without_a_test_clip_is_named(task, untrained):
    some = {name: rows for name, rows in ROWS.items() if name in "01357"}
    outcome = score_task(task, task.folds(), vectors(some), Protocol(name="quick"), torch.device("cpu"))
    assert outcome.values["unscored_classes"] == ["a"]


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ({}, "cached"),
        ({"steps": 500}, "cached@500"),
        ({"name": "quick"}, "quick"),
        ({"name": "quick", "average": "probabilities"}, "quick+probabilities"),
    ],
)
def test_the_title_names_all_that_makes_scores_incomparable(settings, title):
    assert Protocol(**settings).title == title


def test_an_unknown_protocol_lists_the_known():
    with pytest.raises(UnknownNameError, match="cached, quick"):
        Protocol(name="fast")
