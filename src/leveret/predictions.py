"""Scores of every test clip of a task, and the Parquet file of a run folder that keeps them. Needs no torch.

Shapes: M clips, K classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from leveret.metrics import mean_over_folds
from leveret.parquet_files import whole_table


class RunError(ValueError):
    """A folder that is not a finished run."""


@dataclass(frozen=True)
class Predictions:
    """Scores of every test clip of one task.

    Attributes:
        clip: Ids.
        group: Group of each clip.
        labels: True labels of each clip.
        vocabulary: Class names of each slot's score columns; one nameless slot unless the kind is "slots".
        scores: Decision values (M, K) of each slot.
        metric: What the task's score is.
        fold: Number of the fold that each clip was scored in; empty where there is one.
    """

    clip: Sequence[str]
    group: Sequence[str]
    labels: Sequence[Sequence[str]]
    vocabulary: Mapping[str, Sequence[str]]
    scores: Sequence[NDArray[np.float32]]
    metric: str
    fold: Sequence[int] = ()

    def take(self, index: NDArray[np.int64]) -> "Predictions":
        """These clips alone, in this order."""
        pick = index.tolist()
        return Predictions(
            [self.clip[k] for k in pick], [self.group[k] for k in pick], [self.labels[k] for k in pick],
            self.vocabulary, [scores[index] for scores in self.scores], self.metric,
            [self.fold[k] for k in pick] if self.fold else (),
        )  # fmt: skip

    def targets(self) -> NDArray[Any]:
        """As the metrics take them: (M,) class indices, (M, K) 0/1, or (M, S) indices for slots."""
        columns = [{name: k for k, name in enumerate(names)} for names in self.vocabulary.values()]
        if self.metric == "map":
            targets = np.zeros((len(self.clip), len(columns[0])), dtype=np.float32)
            for row, labels in enumerate(self.labels):
                targets[row, [columns[0][label] for label in labels]] = 1
            return targets
        indices = np.array(
            [[column[label] for column, label in zip(columns, labels, strict=True)] for labels in self.labels]
        )
        return indices if self.metric == "exact_match" else indices[:, 0]

    def for_metric(self) -> Any:
        """Scores as the metrics take them: one array, or one a slot."""
        return list(self.scores) if self.metric == "exact_match" else self.scores[0]

    def folds(self) -> NDArray[np.int64] | None:
        """As the metrics take them."""
        return np.array(self.fold) if self.fold else None

    def score(self) -> float:
        """The metric, as the mean over the folds."""
        return mean_over_folds(self.metric, self.for_metric(), self.targets(), self.folds())


def num_predicted(path: Path) -> int:
    """Clips in a file of predictions, by its footer alone."""
    try:
        return int(parquet.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} is missing or damaged ({type(error).__name__}: {error})") from error


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the scores of a task as Parquet, atomically."""
    columns: dict[str, Any] = {
        "clip": pa.array(predictions.clip, pa.string()),
        "group": pa.array(predictions.group, pa.string()),
        "labels": pa.array([list(labels) for labels in predictions.labels], pa.list_(pa.string())),
    }
    if predictions.fold:
        columns["fold"] = pa.array(predictions.fold, pa.int64())
    for slot, scores in zip(predictions.vocabulary, predictions.scores, strict=True):
        flat = pa.array(np.ascontiguousarray(scores, dtype=np.float32).reshape(-1))
        columns[f"scores:{slot}" if slot else "scores"] = pa.FixedSizeListArray.from_arrays(flat, scores.shape[1])
    described = {"vocabulary": predictions.vocabulary, "metric": predictions.metric}
    table = pa.table(columns).replace_schema_metadata({"leveret": json.dumps(described)})
    partial = path.with_suffix(".writing")
    parquet.write_table(table, partial, compression="zstd")
    partial.replace(path)


def read_predictions(path: Path) -> Predictions:
    """What `write_predictions` wrote.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        table = whole_table(path)
        described = json.loads(table.schema.metadata[b"leveret"])
        vocabulary: dict[str, list[str]] = described["vocabulary"]
        scores = []
        for slot, names in vocabulary.items():
            column = table[f"scores:{slot}" if slot else "scores"].combine_chunks()
            scores.append(column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), len(names)))
        return Predictions(
            table["clip"].to_pylist(), table["group"].to_pylist(), table["labels"].to_pylist(),
            vocabulary, scores, described["metric"], table["fold"].to_pylist() if "fold" in table.column_names else (),
        )  # fmt: skip
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} is missing or damaged ({type(error).__name__}: {error}); evaluate again, into another folder"
        ) from error
