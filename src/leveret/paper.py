"""Every number of the paper's tables 1 to 9, by name, for reports, recipes and tests.

Source: Towards Learning Universal Audio Representations, arXiv:2111.12124v3, as typed into `published/*.csv`.
HARES is the mean of the twelve tasks, not of the three domains; all are percentages, as printed.
Departures: the loss that the paper calls "classification" is `supervised` here, as in the objectives room.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from leveret.registry import unknown_name

DOMAINS = ("environment", "speech", "music")
BEST = "sf_nfnet_f0_simclr"
"""The published row with the highest HARES, 74.6."""
PREFIX = "paper:"
"""A row's name on the command line is this and its name: `paper:sf_nfnet_f0_simclr`."""


@dataclass(frozen=True)
class PublishedTask:
    """A line of table 1.

    Attributes:
        name: Of the task in leveret.
        title: As printed.
        domain: One of DOMAINS.
        what: What is to be told, as printed.
        samples: As printed, "1.9m" or "36k".
        classes: K; for Fluent Speech Commands the number of combinations of its three slots.
    """

    name: str
    title: str
    domain: str
    what: str
    samples: str
    classes: int


@dataclass(frozen=True)
class PublishedModel:
    """What tables 2 and 3 say of an architecture; None is not printed.

    Attributes:
        name: As printed.
        params_millions: Parameters, rounded as printed.
        input: "spectrogram" or "waveform".
        step_ms: Milliseconds of a training step on TPU v3 (table 3).
    """

    name: str
    params_millions: float | None
    input: str
    step_ms: float | None


@dataclass(frozen=True)
class PublishedRow:
    """One pretrained encoder and its scores in per cent.

    Attributes:
        name: Unique, made of the model and the objective.
        model: The name of a PublishedModel, or for a cited row another system's.
        objective: A name of the objectives room.
        pretrain_data: AudioSet, LibriSpeech or, for CLMR, two corpora.
        cited: True where the paper quotes others' results.
        tables: The tables in which the row stands.
        scores: Task -> score; None is not printed.
        averages: Domain or "hares" -> the average as printed; None is not printed.
    """

    name: str
    model: str
    objective: str
    pretrain_data: str
    cited: bool
    tables: tuple[int, ...]
    scores: Mapping[str, float | None]
    averages: Mapping[str, float | None]

    @property
    def complete(self) -> bool:
        """True where all twelve scores are printed."""
        return None not in self.scores.values()

    def mean(self, domain: str | None = None) -> float:
        """The average of a domain, or HARES, made anew from the printed scores.

        Args:
            domain: One of DOMAINS; None is all twelve tasks.
        """
        names = [name for name, task in tasks().items() if domain in (None, task.domain)]
        scores = [score for name in names if (score := self.scores[name]) is not None]
        assert len(scores) == len(names), f"{self.name} has no score for all of {', '.join(names)}"
        return sum(scores) / len(scores)


@dataclass(frozen=True)
class PublishedStage:
    """A line of table 5, Slowfast NFNet-F0: kernels are time x frequency, then channels; blocks repeat.

    Attributes:
        name: As printed.
        repeats: Number of equal blocks.
        slow: Layers of the slow pathway, "-" for none.
        fast: Layers of the fast pathway.
        slow_output: (T, F) after the stage, for an input of 400 frames by 128 mels.
        fast_output: (T, F) after the stage.
    """

    name: str
    repeats: int
    slow: tuple[str, ...]
    fast: tuple[str, ...]
    slow_output: tuple[int, int]
    fast_output: tuple[int, int]


@cache
def tasks() -> Mapping[str, PublishedTask]:
    """Table 1: the twelve tasks, in its order."""
    rows = _read("tasks")
    return MappingProxyType(
        {
            row["task"]: PublishedTask(
                row["task"], row["title"], row["domain"], row["what"], row["samples"], int(row["classes"])
            )
            for row in rows
        }
    )


@cache
def models() -> Mapping[str, PublishedModel]:
    """Tables 2 and 3: the architectures by their printed names."""
    rows = _read("models")
    return MappingProxyType(
        {
            row["model"]: PublishedModel(
                row["model"], _number(row["params_millions"]), row["input"], _number(row["step_ms"])
            )
            for row in rows
        }
    )


@cache
def published() -> Mapping[str, PublishedRow]:
    """Tables 2, 3, 4 and 6 to 9: every row by name, each once."""
    averages = (*DOMAINS, "hares")
    rows = {
        row["name"]: PublishedRow(
            name=row["name"],
            model=row["model"],
            objective=row["objective"],
            pretrain_data=row["pretrain_data"],
            cited=row["source"] == "cited",
            tables=tuple(int(number) for number in row["tables"].split()),
            scores=MappingProxyType({task: _number(row[task]) for task in tasks()}),
            averages=MappingProxyType({name: _number(row[name]) for name in averages}),
        )
        for row in _read("results")
    }
    return MappingProxyType(rows)


@cache
def slowfast_stages() -> tuple[PublishedStage, ...]:
    """Table 5: Slowfast NFNet-F0 from the spectrogram to the last block; then it pools to 1728 features."""
    return tuple(
        PublishedStage(
            row["stage"],
            int(row["repeats"]),
            tuple(row["slow"].split("; ")),
            tuple(row["fast"].split("; ")),
            _shape(row["slow_output"]),
            _shape(row["fast_output"]),
        )
        for row in _read("slowfast")
    )


def published_row(name: str) -> PublishedRow:
    """The row of that name, with or without the prefix `paper:`.

    Raises:
        UnknownNameError: There is none.
    """
    rows = published()
    bare = name.removeprefix(PREFIX)
    if bare not in rows:
        raise unknown_name("row of the paper", bare, rows)
    return rows[bare]


def find_row(model: str, objective: str, pretrain_data: str = "AudioSet") -> PublishedRow | None:
    """The paper's own row of a model, as printed, and an objective; None where the paper has none."""
    for row in published().values():
        if not row.cited and (row.model, row.objective, row.pretrain_data) == (
            model,
            objective,
            pretrain_data,
        ):
            return row
    return None


def table(number: int) -> list[PublishedRow]:
    """The rows that stand in one of the tables 2, 3, 4, 6, 7, 8 and 9."""
    return [row for row in published().values() if number in row.tables]


def _read(name: str) -> list[dict[str, str]]:
    text = files("leveret").joinpath("published", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _number(text: str) -> float | None:
    return float(text) if text else None


def _shape(text: str) -> tuple[int, int]:
    frames, mels = text.split(" x ")
    return int(frames), int(mels)
