"""A task in the layout of HEAR 2021, as heareval's stages `embeddings` and `predictions` read it.

Files: task_metadata.json, labelvocabulary.csv, SPLIT.json, RATE/SPLIT/*.wav, and leveret.json, which heareval
does not look at: ids, groups and settings, so that `hear-tasks:` reads the very same task.
Source: hearpreprocess 2021.1.1 (util/task_config.py, pipeline.py) and heareval 2021.1.3.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
from jaxtyping import Shaped
from numpy import ndarray

from leveret.clips import Clip
from leveret.contracts import Task
from leveret.suites.parts import FORMAT_VERSION, ExportError, Parts, subtype_of
from leveret.tasks.hear_tasks import METADATA, SIDECAR, VOCABULARY

LEAST_FOLDS = 3
"""heareval scores a fold with a probe that is chosen on another and trained on the rest."""
# what pandas, by which heareval reads the vocabulary, takes for a missing value
_PANDAS_MISSING = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null"]
)  # fmt: skip


class HearWriter:
    """One task folder of HEAR."""

    def __init__(self, folder: Path, task: Task, parts: Parts, sample_rates: Sequence[int], version: str) -> None:
        if parts.folded and len(parts.clips) < LEAST_FOLDS:
            raise ExportError(
                f"task {task.name!r} has {len(parts.clips)} folds; HEAR needs {LEAST_FOLDS}, so give it more, or splits"
            )
        self.folder, self.task, self.parts = folder, task, parts
        self.sample_rates, self.version = sample_rates, version
        self.labels: dict[str, dict[str, list[str]]] = {part: {} for part in parts.clips}
        self.about: dict[str, dict[str, str]] = {}
        self.lengths: dict[int, set[int]] = defaultdict(set)
        for rate in sample_rates:
            for part in parts.clips:
                (folder / str(rate) / part).mkdir(parents=True)

    def add(self, part: str, clip: Clip, stem: str, samples: Mapping[int, Shaped[ndarray, "N"]]) -> None:
        """The clip's wav at each rate."""
        name = f"{stem}.wav"
        for rate, wave in samples.items():
            soundfile.write(self.folder / str(rate) / part / name, wave, rate, subtype=subtype_of(wave))
            self.lengths[rate].add(len(wave))
        self.labels[part][name] = list(clip.labels)
        self.about[name] = {"id": clip.id, "group": clip.group, "source": clip.source}

    def finish(self) -> None:
        """Labels a split, the vocabulary, the metadata and what only leveret reads."""
        for part, labels in self.labels.items():
            _write_json(self.folder / f"{part}.json", labels)
        with (self.folder / VOCABULARY).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("idx", "label"), *enumerate(self.task.labels)])
        settings = self.parts.settings(self.task)
        _write_json(self.folder / SIDECAR, {"format": FORMAT_VERSION, "task": settings, "clips": self.about})
        _write_json(self.folder / METADATA, self._metadata())

    def close(self) -> None:
        """Nothing is open."""

    def _metadata(self) -> dict[str, Any]:
        # with a duration heareval stacks clips into batches, so all must have one length; without, it takes them singly
        alike = all(len(lengths) == 1 for lengths in self.lengths.values())
        rate = self.sample_rates[0]
        single = self.task.kind == "single"
        names = list(self.parts.clips)
        most: dict[str, Any] = (
            {"split_mode": "presplit_kfold", "nfolds": len(names), "max_task_duration_by_fold": None}
            if self.parts.folded
            else {"split_mode": "trainvaltest", "max_task_duration_by_split": dict.fromkeys(names)}
        )
        return {
            "task_name": self.task.name,
            "version": self.version,
            "embedding_type": "scene",
            "prediction_type": "multiclass" if single else "multilabel",
            "sample_duration": next(iter(self.lengths[rate])) / rate if alike else None,
            "evaluation": ["top1_acc", "mAP"] if single else ["mAP"],
            "download_urls": [],
            "default_mode": "full",
            "mode": "full",
            "splits": names,
            **most,
        }


def misread_labels(labels: Sequence[str]) -> list[str]:
    """Those that heareval would not know again: pandas reads some as missing, and a column of numbers as numbers."""
    missing = [label for label in labels if label in _PANDAS_MISSING]
    rest = [label for label in labels if label not in _PANDAS_MISSING]
    try:
        numbers = [float(label) for label in rest]
    except ValueError:
        return missing  # a column with one word in it is read as text
    if all(re.fullmatch(r"[+-]?\d+", label) for label in rest) and not missing:
        return [label for label in rest if str(int(label)) != label]
    return missing + [label for label, number in zip(rest, numbers, strict=True) if str(number) != label]


def formulas(labels: Sequence[str]) -> list[str]:
    """Those that a spreadsheet would take for formulas, and run, when somebody opens the vocabulary in one."""
    return [label for label in labels if re.match(r"[=@\t\r]|[+-](?!\d+(\.\d*)?$)", label)]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
