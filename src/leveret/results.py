"""What an evaluation found: a result a task, a scorecard an encoder, to JSON and back; domain means and HARES.

Source: paper, table 4: HARES is the mean of the twelve tasks. Scores are fractions; tables print them x 100.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from statistics import fmean
from types import UnionType
from typing import Any, Self, get_args, get_origin

from leveret.text import number_of

SCHEMA_VERSION = 1

HARES = "hares"
"""The suite of the twelve tasks."""

HARES_TASKS = (
    "audioset", "birdsong", "tut18", "esc50", "speech_commands_v1", "speech_commands_v2", "voxforge", "voxceleb",
    "fluent_speech_commands", "nsynth_pitch", "nsynth_instrument", "magnatagatune",
)  # fmt: skip
MIN_COVERAGE = {"audioset": 0.80}
"""The widest public copy of AudioSet's eval is 84 % of it."""
MIN_COVERAGE_ELSEWHERE = 0.95
_SHOWN_CLIPS = 3
DOMAINS = ("environment", "speech", "music", "other")


class ResultError(ValueError):
    """A file that is not a scorecard of a version this leveret reads."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One encoder on one task.

    Attributes:
        task: Name.
        suite: Scores of different suites are never averaged together.
        domain: "environment", "speech", "music" or "other".
        stands_for: The HARES task it resembles, if any.
        kind: "single", "multi" or "slots".
        metric: Name of `score`'s metric.
        score: Mean over seeds and folds.
        interval: 95 % cluster bootstrap of the first seed's score, moved to the mean over seeds: low, high.
        interval_groups: Groups resampled.
        interval_wide: Fewer than ten groups: read the interval with doubt.
        metrics: Other metrics of the first seed, by name.
        per_class: Recall (single, slots) or average precision (multi) by class name, null for one without a test clip.
        chance: What random scores get.
        majority: What always answering the commonest training class gets.
        floor: What `melstats` gets under the same protocol; null where it was not run.
        head: What gave the scores: "probe", trained on the task, or "pretraining", the classifier that the encoder's
            checkpoint kept.
        train_score: The same metric on the clips it was trained on; null where nothing was.
        seeds: Of the probe, with the score of each.
        folds: Score of each fold where there is more than one.
        probe: Its name, its settings, and what it found (chosen L2, under-fitted check, ...).
        clips: Number of scored clips by split.
        skipped: Clip id -> why it was not scored.
        silent: Ids of clips that are digital silence; they are scored.
        coverage: Share of the test clips that were scored: of the published ones, where their number is known.
        variant: Which of its dataset's variants; empty where there is one only.
        substitute: Its splits stand in for splits of the paper that were never published.
        official_clips: Split -> number of clips as published.
        contamination: Whether test clips were met in what the encoder was trained on: "unchecked", "none found", or
            "N clips"; in brackets follows how many clips could not be checked.
        contaminated: Ids of these clips.
        unscored_classes: Classes without a test clip, left out of a mean over classes.
        split_hash: Digest of clips, labels and groups by split.
        audio_hash: Digest of the bytes and spans of the clips, but for those that are embedded only as they are drawn;
            empty for vectors made elsewhere.
        notes: Of the task.
        seconds: Wall time of embedding and probing, of what was not cached.
    """

    task: str
    suite: str
    domain: str
    stands_for: str
    kind: str
    metric: str
    score: float
    interval: tuple[float, float]
    interval_groups: int
    interval_wide: bool
    metrics: Mapping[str, float]
    per_class: Mapping[str, float | None]
    chance: float
    majority: float
    floor: float | None
    train_score: float | None
    seeds: Mapping[str, float]
    folds: Sequence[float]
    probe: Mapping[str, Any]
    clips: Mapping[str, int]
    skipped: Mapping[str, str]
    silent: Sequence[str]
    coverage: float
    unscored_classes: Sequence[str]
    split_hash: str
    notes: str
    seconds: float
    variant: str = ""
    substitute: bool = False
    official_clips: Mapping[str, int] = field(default_factory=dict)
    contamination: str = "unchecked"
    contaminated: Sequence[str] = field(default_factory=list)
    head: str = "probe"
    audio_hash: str = ""

    @property
    def met_in_training(self) -> bool:
        """Whether test clips were found in what the encoder was trained on."""
        return self.contamination not in ("unchecked", "none found")

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the score."""
        found = []
        if under := self.probe.get("under_fitted"):
            found.append(f"under-fitted: {100 * under['gain']:+.1f} at {under['factor']:g}x the rate")
        if self.skipped:
            found.append(
                f"{number_of(len(self.skipped), 'clip')} skipped, {self.coverage:.1%} of the test clips scored"
            )
        for split in ("train", "test"):
            official = self.official_clips.get(split)
            if split == "train" and self.head != "probe":
                continue
            if official and self.clips[split] + len(self.skipped) < official:
                found.append(f"{number_of(self.clips[split], f'{split} clip')}, {official:,} were published")
        if self.silent:
            found.append(f"{number_of(len(self.silent), 'clip')} {'is' if len(self.silent) == 1 else 'are'} silent")
        if self.interval_wide:
            found.append(f"interval over {number_of(self.interval_groups, 'group')} only")
        if self.score <= self.chance:
            found.append(f"not above chance ({100 * self.chance:.1f})")
        elif self.floor is not None and self.score < self.floor:
            found.append(f"below the melstats floor of {100 * self.floor:.1f}")
        if self.met_in_training:
            found.append(f"test clips met in training: {self.contamination}{_first_names(self.contaminated)}")
        if apart := self.probe.get("not_comparable"):
            found.append(f"not comparable {apart}")
        return found


def _first_names(clips: Sequence[str]) -> str:
    """Some of them, for a line that a person reads; empty for none."""
    more = len(clips) - _SHOWN_CLIPS
    named = ", ".join(clips[:_SHOWN_CLIPS]) + (f" and {more:,} more" if more > 0 else "")
    return f": {named}" if named else ""


@dataclass(frozen=True)
class Summary:
    """Means of a suite's scores.

    Attributes:
        title: "HARES"; "HARES*" where a split stands in for one of the paper's; "mean of N of the 12 tasks, partial";
            of another suite "mean of N tasks".
        mean: Of all its tasks.
        domains: Domain -> mean of its tasks.
        num_tasks: N.
        notes: What of the tasks is not as in the paper, a line each.
    """

    title: str
    mean: float
    domains: Mapping[str, float]
    num_tasks: int
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """One encoder under one protocol.

    Attributes:
        encoder: Spec, name, digest, config, origin, parameters, sample rate, width; a warning where its vectors are
            doubtful.
        protocol: Its name and settings; scores of different protocols are never compared.
        tasks: In the order of evaluation.
        run: Device, dtype, threads, versions, code digest, wall seconds, peak memory, date.
    """

    encoder: Mapping[str, Any]
    protocol: Mapping[str, Any]
    tasks: Sequence[TaskResult]
    run: Mapping[str, Any]
    schema_version: int = field(default=SCHEMA_VERSION)

    def summaries(self) -> dict[str, Summary]:
        """Suite -> its means; suites are never mixed."""
        by_suite: dict[str, list[TaskResult]] = defaultdict(list)
        for result in self.tasks:
            by_suite[result.suite].append(result)
        return {suite: summarise(suite, results) for suite, results in by_suite.items()}

    def to_json(self) -> str:
        """Indented JSON with the schema version; the means are written too, for readers without leveret."""
        values = asdict(self)
        values["summaries"] = {suite: asdict(summary) for suite, summary in self.summaries().items()}
        return json.dumps(values, indent=1, ensure_ascii=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "scorecard") -> Self:
        """The scorecard that was written.

        Raises:
            ResultError: Not a scorecard, or of a later schema.
        """
        try:
            values = json.loads(text)
            version = values["schema_version"]
            if version > SCHEMA_VERSION:
                raise ResultError(
                    f"{where} has schema version {version}, this leveret reads up to {SCHEMA_VERSION}; upgrade"
                )
            tasks = [task_result_from_json({**task}) for task in values["tasks"]]
            if not (isinstance(values["encoder"]["name"], str) and isinstance(values["protocol"]["title"], str)):
                raise TypeError("the names of the encoder and the protocol are no text")
            if not isinstance(values["run"], dict):
                raise TypeError("what it says of the run is no object")
            return cls(encoder=values["encoder"], protocol=values["protocol"], tasks=tasks, run=values["run"])
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ResultError(f"{where} is not a leveret scorecard ({type(error).__name__}: {error})") from error


def task_result_from_json(values: Any) -> TaskResult:
    """The result that `asdict` and JSON made plain.

    Raises:
        TypeError: It is something else.
        KeyError: It lacks its interval.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"a result is {values!r}")
    known: dict[str, Any] = {one.name: one.type for one in fields(TaskResult)}
    plain = {key: value for key, value in values.items() if key in known}
    for key, value in plain.items():
        if not _is_of(known[key], value):
            raise TypeError(f"{key} is {value!r}")
    return TaskResult(**plain | {"interval": tuple(plain["interval"])})


def _is_of(kind: Any, value: Any) -> bool:
    """Whether what JSON held can be a field of this type."""
    inner = get_args(kind)
    origin = get_origin(kind)
    if kind is float:
        return type(value) in (int, float) and isfinite(value)
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(inner) and all(map(_is_of, inner, value))
    if origin is Sequence:
        return isinstance(value, list) and all(_is_of(inner[0], item) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(_is_of(inner[1], item) for item in value.values())
    if origin is UnionType:
        return any(_is_of(one, value) for one in inner)
    return kind is Any or type(value) is kind


def in_order(results: Sequence[TaskResult]) -> list[int]:
    """Their indices as tables list them: suite by suite, each by domain in the order of its means."""
    suites = list(dict.fromkeys(result.suite for result in results))
    domains = [DOMAINS.index(result.domain) if result.domain in DOMAINS else len(DOMAINS) for result in results]
    return sorted(range(len(results)), key=lambda k: (suites.index(results[k].suite), domains[k]))


def task_titles(results: Sequence[TaskResult]) -> list[str]:
    """What tables call them: the task's name, with its suite's where two have one name.

    A table of one task has its file's name for both, so that its suite's, with the folder, says it all.
    """
    names = [result.task for result in results]
    return [
        result.task if names.count(result.task) == 1
        else result.suite if result.suite.endswith(f"/{result.task}")
        else f"{result.suite}/{result.task}"
        for result in results
    ]  # fmt: skip


def domain_means(results: Sequence[TaskResult]) -> dict[str, float]:
    """Mean score of each domain that has a task."""
    by_domain: dict[str, list[float]] = defaultdict(list)
    for result in results:
        by_domain[result.domain].append(result.score)
    return {domain: fmean(by_domain[domain]) for domain in DOMAINS if domain in by_domain}


def summarise(suite: str, results: Sequence[TaskResult]) -> Summary:
    """The means of one suite's results; HARES only where all twelve are there and covered."""
    names = {result.task for result in results}
    notes: list[str] = []
    if suite != HARES:
        title = f"mean of {number_of(len(results), 'task')}"
    elif short := [result for result in results if result.coverage < _needed(result)]:
        title = f"mean of {len(results)} of the 12 tasks, partial"
        notes += [f"{one.task}: {one.coverage:.1%} of its test clips, {_needed(one):.0%} are needed" for one in short]
    elif names != set(HARES_TASKS) or len(results) != len(HARES_TASKS):
        title = f"mean of {len(results)} of the 12 tasks, partial"
    else:
        substitutes = [result.task for result in results if result.substitute]
        title = "HARES*" if substitutes else "HARES"
        notes += [f"{one}: a split of ours, since the paper's was never published" for one in substitutes]
        notes += [
            f"{one.task}: {one.coverage:.1%} of its test clips, list {one.split_hash[:12]}"
            for one in results
            if one.coverage < 1
        ]
    return Summary(title, fmean(result.score for result in results), domain_means(results), len(results), notes)


def _needed(result: TaskResult) -> float:
    return MIN_COVERAGE.get(result.task, MIN_COVERAGE_ELSEWHERE)
