"""What an encoder confuses on one task, from the scores of every test clip.

Source: the predictions of a run folder; first seed, test clips of all folds. A clip is confused where a false label has
a higher decision value than the true one; by how much is its margin, in the probe's own units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leveret.metrics import confusion_matrix
from leveret.predictions import Predictions

MATRIX_CLASSES = 50
"""A larger confusion matrix can neither be read nor sent; its most confused pairs can."""
NUM_PAIRS = 15
NUM_CLIPS = 20


@dataclass(frozen=True)
class Confusion:
    """Which classes are taken for which.

    Attributes:
        slot: Its name; empty where there is one only.
        classes: In the order of the scores.
        counts: (true, predicted, number of clips) of all that is not zero; None above MATRIX_CLASSES.
        pairs: (true, predicted, number of clips, clips of the true class), the most confused first.
    """

    slot: str
    classes: Sequence[str]
    counts: Sequence[tuple[int, int, int]] | None
    pairs: Sequence[tuple[int, int, int, int]]


@dataclass(frozen=True)
class ConfusedClip:
    """A test clip whose highest score is a false label's.

    Attributes:
        clip: Id.
        true: Labels.
        predicted: The label of each slot; of tags the highest false one.
        margin: Decision value of what was predicted less that of the (highest) true label.
    """

    clip: str
    true: Sequence[str]
    predicted: Sequence[str]
    margin: float


@dataclass(frozen=True)
class TaskDetails:
    """What is confused.

    Attributes:
        confusions: One a slot; none for tags, of which a clip may have many.
        num_confused: Clips.
        num_clips: Of which that many were looked at: all but those without any true label, or with every one.
        clips: The most confused ones.
    """

    confusions: Sequence[Confusion]
    num_confused: int
    num_clips: int
    clips: Sequence[ConfusedClip]


def task_details(predictions: Predictions) -> TaskDetails:
    """What is confused in these predictions."""
    tagged = predictions.metric == "map"
    targets = predictions.targets()
    columns = targets.reshape(len(targets), -1)
    confusions = [] if tagged else list(_confusions(predictions, columns))
    rivals, margins = _tag_margins(predictions.scores[0], targets) if tagged else _margins(predictions.scores, columns)
    counted = np.isfinite(margins)
    # of two equal scores the first one counts, so a clip may be confused by nothing
    confused = counted & ((margins > 0) if tagged else (rivals != columns).any(axis=1))
    worst = np.argsort(-np.where(confused, margins, -np.inf), kind="stable")[: min(NUM_CLIPS, int(confused.sum()))]
    names = list(predictions.vocabulary.values())
    clips = [
        ConfusedClip(
            predictions.clip[row],
            predictions.labels[row],
            [names[slot][rival] for slot, rival in enumerate(rivals[row].tolist())],
            float(margins[row]),
        )
        for row in worst.tolist()
    ]
    return TaskDetails(confusions, int(confused.sum()), int(counted.sum()), clips)


def _confusions(predictions: Predictions, targets: NDArray[Any]) -> Iterator[Confusion]:
    for number, (slot, classes) in enumerate(predictions.vocabulary.items()):
        matrix = confusion_matrix(predictions.scores[number], targets[:, number])
        totals = matrix.sum(axis=1)
        true, predicted = np.nonzero(matrix)
        entries = list(zip(true.tolist(), predicted.tolist(), matrix[true, predicted].tolist(), strict=True))
        wrong = [(t, p, n, int(totals[t])) for t, p, n in entries if t != p]
        wrong.sort(key=lambda pair: (-pair[2], -pair[2] / pair[3]))
        yield Confusion(slot, classes, entries if len(classes) <= MATRIX_CLASSES else None, wrong[:NUM_PAIRS])


def _margins(scores: Sequence[NDArray[np.float32]], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predicted class of each slot (M, S), and how far it is above the true one, summed over slots (M,)."""
    predicted = np.stack([slot.argmax(axis=1) for slot in scores], axis=1)
    rows = np.arange(len(predicted))
    margins = np.zeros(len(predicted))
    for number, slot in enumerate(scores):
        margins += slot[rows, predicted[:, number]] - slot[rows, targets[:, number]]
    return predicted, margins


def _tag_margins(scores: NDArray[np.float32], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The highest false label (M, 1), and how far it is above the highest true one; infinite where either lacks."""
    false = np.where(targets > 0, -np.inf, scores)
    true = np.where(targets > 0, scores, -np.inf)
    with np.errstate(invalid="ignore"):
        margins = false.max(axis=1) - true.max(axis=1)
    return false.argmax(axis=1)[:, None], margins
