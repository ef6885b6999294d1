"""The run folder of a pretraining as it lies there, finished or not; no torch.

Source: `leveret.training_log` and `leveret.training_folder` write it: config.json, log.jsonl, starts.jsonl,
skipped-RANK.jsonl.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from leveret.journal import json_or_none
from leveret.report.charts import Points
from leveret.training_log import CONFIG, read_log, read_skipped, read_starts


class TrainingRunError(ValueError):
    """A folder that holds no pretraining run, or one that has not begun to train."""


@dataclass(frozen=True)
class TrainingRun:
    """One pretraining.

    Attributes:
        config: Settings, as `PretrainConfig.as_json` gives them.
        data: What is known of the corpus.
        leveret: Version that wrote it last.
        lines: Of the log.
        starts: Facts of each start.
        skipped: Clip -> why it could not be read.
    """

    folder: Path
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    leveret: str
    lines: Sequence[Mapping[str, Any]]
    starts: Sequence[Mapping[str, Any]]
    skipped: Mapping[str, str]

    @property
    def trained(self) -> list[Mapping[str, Any]]:
        """Lines of training steps; the others are probes."""
        return [line for line in self.lines if "loss" in line]

    @property
    def done(self) -> int:
        """Steps that are done, as far as the log tells."""
        return int(self.lines[-1]["step"])

    @property
    def crops_a_step(self) -> int | None:
        """Over all processes; None where no start tells."""
        return self.starts[-1].get("crops_a_step") if self.starts else None

    @property
    def seconds(self) -> float | None:
        """Time in training, probes and writing left out, by the speeds of the log; None where they are not known."""
        speeds = self.points("crops_per_second")
        if not speeds or not self.crops_a_step:
            return None
        before = [0, *(step for step, _ in speeds)]
        return sum(
            (step - first) * self.crops_a_step / speed
            for (first, step), (_, speed) in zip(pairwise(before), speeds, strict=True)
            if speed > 0
        )

    def points(self, name: str) -> Points:
        """A figure by step, without the steps at which it is not known."""
        return [(line["step"], float(line[name])) for line in self.lines if _is_number(line.get(name))]

    def names(self) -> list[str]:
        """All figures that have a number somewhere, in the order in which they came."""
        found = dict.fromkeys(name for line in self.lines for name, value in line.items() if _is_number(value))
        return [name for name in found if name != "step"]


def is_training_run(folder: Path) -> bool:
    """Whether a folder is a pretraining's, and not an evaluation's."""
    return _about(folder) is not None


def read_training_run(folder: Path) -> TrainingRun:
    """Read it.

    Raises:
        TrainingRunError: It is none, or has no step yet.
    """
    about = _about(folder)
    if about is None:
        raise TrainingRunError(f"{folder} holds no pretraining run; expected a folder that `leveret pretrain -o` made")
    run = TrainingRun(
        folder, about["config"], about["data"], str(about.get("leveret", "")), read_log(folder), read_starts(folder),
        read_skipped(folder),
    )  # fmt: skip
    if not run.lines:
        raise TrainingRunError(f"{folder} has no line in its log yet; wait for the first of the training's steps")
    return run


def _about(folder: Path) -> dict[str, Any] | None:
    path = folder / CONFIG
    about = json_or_none(path.read_bytes()) if path.is_file() else None
    whole = isinstance(about, dict) and all(isinstance(about.get(name), dict) for name in ("config", "data", "machine"))
    return about if whole else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
