"""Runs and published rows side by side: on the clips that all runs share, paired, corrected for many comparisons.

Source: paper, tables 2 to 9 for published rows; intervals and p from the same resamples of whole groups (cluster
bootstrap), corrected over all comparisons of the call with Holm's method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from leveret.bootstrap import holm, paired_comparisons
from leveret.paper import PREFIX, PublishedRow, published
from leveret.predictions import Predictions
from leveret.registry import unknown_name
from leveret.results import HARES, TaskResult, in_order, summarise
from leveret.runs import Run, task_keys
from leveret.text import number_of

COMPARISON_SEED = 0
MIN_RESAMPLES = 1000
RESAMPLES_A_COMPARISON = 100
"""Of n comparisons, Holm's correction takes the smallest p, 2 in resamples + 1, n times: with too few resamples nothing
could ever differ. With these it becomes 0.02, whatever n, but over so few groups that they cannot show it."""


class ComparisonError(ValueError):
    """Runs that cannot be put side by side; the message says why."""


@dataclass(frozen=True)
class Cell:
    """One run, or one published row, on one task.

    Attributes:
        score: On the shared clips; of a published row as printed, over 100.
        difference: To the first run; None for the first run itself and for published rows.
        low: Of the difference's 95 % interval.
        high: Of the difference's 95 % interval.
        p: Of no difference, after Holm's correction over the whole comparison.
        other_clips: Of a published row: the runs' splits stand in for the paper's, so it is about other clips.
    """

    score: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    other_clips: bool = False


@dataclass(frozen=True)
class ComparedTask:
    """A line of the comparison.

    Attributes:
        task: Name.
        metric: Of its score.
        num_clips: Shared by all runs; the scores are over these.
        num_left_out: Clips that some run has and another lacks.
        cells: One a column.
    """

    task: str
    metric: str
    num_clips: int
    num_left_out: int
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Compared:
    """The whole comparison.

    Attributes:
        protocol: Of all runs.
        columns: Names of the runs, then of the published rows.
        tasks: Lines.
        means: Of the HARES tasks among them, if they are several: of each domain, then of all; a published row has one
            where it has a score for each of the tasks.
        notes: What could not be compared, and why.
    """

    protocol: str
    columns: Sequence[str]
    tasks: Sequence[ComparedTask]
    means: Sequence[ComparedTask] = ()
    notes: Sequence[str] = field(default_factory=list)


def compare(runs: Sequence[Run], rows: Sequence[PublishedRow] = (), *, resamples: int | None = None) -> Compared:
    """Put runs beside each other and beside the paper.

    Args:
        runs: One or more, of one protocol; the first is what the others are compared with.
        rows: Published rows; they have no clips, so they get no difference and no p.
        resamples: Of the groups; None takes as many as the number of comparisons asks for.

    Raises:
        ComparisonError: Different protocols, or no common task.
    """
    protocols = sorted({run.scorecard.protocol["title"] for run in runs})
    if len(protocols) > 1:
        raise ComparisonError(
            f"the runs follow different protocols ({', '.join(protocols)}), whose scores are not comparable; "
            "evaluate them under one"
        )
    by_task = [by_suite_and_task(run) for run in runs]
    ordered = [list(by_task[0])[k] for k in in_order([result for _, result in by_task[0].values()])]
    shared = [name for name in ordered if all(name in results for results in by_task)]
    if not shared:
        raise ComparisonError("the runs have no task in common: " + "; ".join(_listed(results) for results in by_task))
    if resamples is None:
        resamples = max(MIN_RESAMPLES, RESAMPLES_A_COMPARISON * len(shared) * (len(runs) - 1))
    notes = [
        f"{task} of {suite} is not in every run"
        for suite, task in dict.fromkeys(name for results in by_task for name in results)
        if (suite, task) not in shared
    ]
    lines: list[ComparedTask] = []
    hares: list[tuple[TaskResult, int]] = []  # the first run's result, and its line
    p_values: list[tuple[int, int, float]] = []
    for name in shared:
        key = by_task[0][name][0]
        results = [found[name][1] for found in by_task]
        if len({result.split_hash for result in results}) > 1:
            notes.append(f"{key}: the runs have different splits, so only the test clips that they share are scored")
        elif len({result.audio_hash for result in results if result.head == "probe"} - {""}) > 1:
            notes.append(f"{key}: the runs read audio files of different bytes under the same names, or other spans")
        if len({result.head for result in results}) > 1:
            notes.append(
                f"{key}: {_by_own_head(runs, results)}: its own classifier; the others: a probe trained on the task"
            )
        predictions, left_out = _aligned(
            [run.predictions(found[name][0]) for run, found in zip(runs, by_task, strict=True)]
        )
        if not predictions[0].clip:
            notes.append(f"{key}: the runs share no test clip")
            continue
        if len({_what_is_asked(found) for found in predictions}) > 1:
            notes.append(f"{key}: not compared, since the runs have different classes, labels or metrics for one clip")
            continue
        first, *others = predictions
        pairs = paired_comparisons(
            results[0].metric, [other.for_metric() for other in others], first.for_metric(), first.targets(),
            np.array(first.group), COMPARISON_SEED, resamples if others else 0, first.folds(),
        )  # fmt: skip
        if pairs and pairs[0].interval.wide:
            notes.append(f"{key}: differences over {number_of(pairs[0].interval.num_groups, 'group')} only")
        if seeded := [name for name, result in zip(run_names(runs), results, strict=True) if len(result.seeds) > 1]:
            notes.append(f"{key}: of {', '.join(seeded)} the first seed alone, whose predictions are kept")
        cells = [Cell(first.score())]
        for number, (other, pair) in enumerate(zip(others, pairs, strict=True), 1):
            low, high = pair.interval.low, pair.interval.high
            cells.append(Cell(other.score(), pair.difference, low, high, pair.p))
            p_values.append((len(lines), number, pair.p))
        cells += [published_cell(row, results[:1]) for row in rows]
        if name[0] == HARES:
            hares.append((results[0], len(lines)))
        lines.append(ComparedTask(key, results[0].metric, len(predictions[0].clip), left_out, cells))
    corrected = holm([p for _, _, p in p_values]) if p_values else []
    for (line, number, _), p in zip(p_values, corrected, strict=True):
        cell = lines[line].cells[number]
        cells = list(lines[line].cells)
        cells[number] = Cell(cell.score, cell.difference, cell.low, cell.high, p)
        lines[line] = ComparedTask(
            lines[line].task, lines[line].metric, lines[line].num_clips, lines[line].num_left_out, cells
        )
    if rows and all(cell.score is None for line in lines for cell in line.cells[len(runs) :]):
        notes.append("none of these tasks is one of HARES's own, so the published rows have no score for them")
    columns = [*run_names(runs), *(row.name for row in rows)]
    return Compared(protocols[0], columns, lines, _means([(one, lines[number]) for one, number in hares], rows), notes)


def _means(hares: Sequence[tuple[TaskResult, ComparedTask]], rows: Sequence[PublishedRow]) -> list[ComparedTask]:
    if len(hares) < 2:
        return []
    summary = summarise(HARES, [result for result, _ in hares])
    groups = {f"mean {domain}": domain for domain in summary.domains} if len(summary.domains) > 1 else {}
    means = []
    for title, domain in {**groups, summary.title: None}.items():
        among = [(result, line) for result, line in hares if domain in (None, result.domain)]
        results, lines = [result for result, _ in among], [line for _, line in among]
        of_runs = list(zip(*(line.cells for line in lines), strict=True))[: len(lines[0].cells) - len(rows)]
        cells = [Cell(fmean(cell.score for cell in column if cell.score is not None)) for column in of_runs]
        cells += [published_cell(row, results) for row in rows]
        means.append(ComparedTask(title, "", sum(line.num_clips for line in lines), 0, cells))
    return means


def run_names(runs: Sequence[Run]) -> list[str]:
    """The encoders' names; one that stands twice has its file's name before it, or gives way to the folder's."""
    names = [run.scorecard.encoder["name"] for run in runs]
    for other in (_name_with_file, lambda run: run.folder.name):
        names = [name if names.count(name) == 1 else other(run) for name, run in zip(names, runs, strict=True)]
    return names


def _name_with_file(run: Run) -> str:
    """Of a class of somebody's file, which versions of one encoder share."""
    name, config = run.scorecard.encoder["name"], run.scorecard.encoder.get("config", {})
    return f"{Path(config['file']).stem}:{name}" if isinstance(config.get("file"), str) else name


def layers_apart(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """The encoder of which two runs or more read a layer each, and the runs' names without it; "" for none or several.

    Their names all begin alike, and side by side only their ends tell.
    """
    names = run_names(runs)
    ends = [f"/{run.scorecard.encoder['layer']}" if "layer" in run.scorecard.encoder else "" for run in runs]
    of = {name.removesuffix(end) for name, end in zip(names, ends, strict=True) if end}
    if len(of) != 1 or sum(map(bool, ends)) < 2:
        return "", names
    return of.pop(), [end[1:] or name for name, end in zip(names, ends, strict=True)]


def published_row(name: str) -> PublishedRow:
    """The row of a name such as `paper:sf_nfnet_f0_simclr`.

    Raises:
        UnknownNameError: There is none.
    """
    known = published()
    bare = name.removeprefix(PREFIX)
    if bare not in known:
        raise unknown_name("published row", name, [f"{PREFIX}{row}" for row in known])
    return known[bare]


def published_cell(row: PublishedRow, results: Sequence[TaskResult]) -> Cell:
    """The mean of a published row over the tasks of these results; no score where it lacks one of them."""
    scores = [published_score(row, result) for result in results]
    printed = [score for score in scores if score is not None]
    mean = fmean(printed) if printed and len(printed) == len(results) else None
    return Cell(mean, other_clips=any(result.substitute for result in results))


def by_suite_and_task(run: Run) -> dict[tuple[str, str], tuple[str, TaskResult]]:
    """(suite, task) -> the key of its files and its result; the key alone may mean another suite in another run."""
    results = run.scorecard.tasks
    names = [(result.suite, result.task) for result in results]
    return dict(zip(names, zip(task_keys(names), results, strict=True), strict=True))


def _by_own_head(runs: Sequence[Run], results: Sequence[TaskResult]) -> str:
    """Names of the runs that were scored by what their encoders kept of their pretraining."""
    kept = [name for name, result in zip(run_names(runs), results, strict=True) if result.head != "probe"]
    return ", ".join(kept)


def _listed(results: Mapping[tuple[str, str], object]) -> str:
    return ", ".join(f"{task} of {suite}" for suite, task in results)


def _what_is_asked(found: Predictions) -> tuple[object, ...]:
    """Scores mean the same only where this is equal: the metric, the order of the classes, the truth of each clip."""
    classes = tuple((slot, tuple(names)) for slot, names in found.vocabulary.items())
    return found.metric, classes, found.targets().tobytes()


def _aligned(predictions: Sequence[Predictions]) -> tuple[list[Predictions], int]:
    """The same clips in the same order for all, and how many were left out."""
    indices = [{clip: k for k, clip in enumerate(found.clip)} for found in predictions]
    shared = [clip for clip in predictions[0].clip if all(clip in index for index in indices)]
    every = {clip for index in indices for clip in index}
    taken = [
        found.take(np.array([index[clip] for clip in shared], dtype=np.int64))
        for found, index in zip(predictions, indices, strict=True)
    ]
    if len({tuple(found.fold) for found in taken}) > 1:  # of other splits: then all clips are one fold
        taken = [replace(found, fold=()) for found in taken]
    return taken, len(every) - len(shared)


def published_score(row: PublishedRow, result: TaskResult) -> float | None:
    """Only a task of HARES itself has a published score; a stand-in of another dataset has none."""
    score = row.scores.get(result.task) if result.suite == HARES else None
    return None if score is None else score / 100
