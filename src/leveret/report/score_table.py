"""Runs to tables of tasks by encoders, one table a protocol and suite: scores of two of either never share a table.

Source: paper, table 4 for the layout: tasks by domain with the domain's mean below, HARES last, encoders as columns.
A mean stands only where an encoder has every task of its rows, so that two means of one line are about the same tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from leveret.comparison import by_suite_and_task, published_score, run_names
from leveret.paper import PublishedRow, table
from leveret.paper import tasks as published_tasks
from leveret.results import DOMAINS, HARES, HARES_TASKS, Summary, TaskResult, summarise
from leveret.runs import Run
from leveret.text import number_of, percent


@dataclass(frozen=True)
class Column:
    """A run, or a row of the paper.

    Attributes:
        name: Of the encoder; of the run's folder where two runs have one encoder.
        detail: Of a run its folder; of a published row its objective and data.
        run: None for a published row.
        row: None for a run.
    """

    name: str
    detail: str
    run: Run | None = None
    row: PublishedRow | None = None


@dataclass(frozen=True)
class Score:
    """One cell.

    Attributes:
        value: A fraction; None where there is none.
        result: Of a run's task.
        key: Of the task's files in the run folder.
        other_clips: Published, where the runs' split stands in for the paper's: it is about other clips.
        best: No run has a higher one in this line.
        note: What a mean is, or why there is none.
    """

    value: float | None
    result: TaskResult | None = None
    key: str = ""
    other_clips: bool = False
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A task, or a mean over tasks.

    Attributes:
        title: As the paper prints it, or the task's own name.
        task: Name; empty for a mean.
        metric: Of the scores; empty for a mean.
        stands_for: The HARES task that it resembles.
        scores: One a column.
    """

    title: str
    task: str
    metric: str
    stands_for: str
    scores: Sequence[Score]

    def share(self, score: Score) -> float | None:
        """Where one of the scores lies between the task's chance, 0, and all right, 1; None for a mean or no score."""
        chance = next((one.result.chance for one in self.scores if one.result is not None), None)
        if score.value is None or chance is None:
            return None
        return min(1.0, max(0.0, (score.value - chance) / (1 - chance))) if chance < 1 else 0.0


@dataclass(frozen=True)
class DomainLines:
    """The tasks of a domain, and their mean; None where the table has one domain only."""

    domain: str
    tasks: Sequence[Line]
    mean: Line | None


@dataclass(frozen=True)
class ScoreTable:
    """Everything of one protocol and one suite.

    Attributes:
        protocol: Its title.
        suite: Its name.
        columns: Runs in the order given, then published rows.
        domains: In the paper's order.
        overall: HARES, `HARES*`, a partial mean, or another suite's mean.
        notes: Why a mean is not HARES, or not quite; on whose clips.
    """

    protocol: str
    suite: str
    columns: Sequence[Column]
    domains: Sequence[DomainLines]
    overall: Line
    notes: Sequence[str]

    @property
    def lines(self) -> list[Line]:
        """Tasks in the order of the table."""
        return [line for domain in self.domains for line in domain.tasks]

    @property
    def greyed(self) -> bool:
        """Whether a published score stands beside scores of other clips."""
        return any(score.other_clips for line in self.lines for score in line.scores)


def default_rows() -> list[PublishedRow]:
    """The encoders of the paper's table 4 that have a score for every task, the highest HARES first."""
    return sorted((row for row in table(4) if row.complete), key=lambda row: -row.mean())


def by_protocol(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Title of a protocol -> its runs, in the order given."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(str(run.scorecard.protocol["title"]), []).append(run)
    return found


def score_tables(runs: Sequence[Run], rows: Sequence[PublishedRow]) -> list[ScoreTable]:
    """A table for each protocol and suite among the runs.

    Args:
        rows: Published rows, beside the suite `hares` only: other tasks have no published score.
    """
    tables = []
    for protocol, group in by_protocol(runs).items():
        suites = dict.fromkeys(result.suite for run in group for result in run.scorecard.tasks)
        for suite in sorted(suites, key=lambda name: name != HARES):
            tables.append(_table(protocol, suite, group, rows if suite == HARES else ()))
    return tables


def _table(protocol: str, suite: str, group: Sequence[Run], rows: Sequence[PublishedRow]) -> ScoreTable:
    results: list[Mapping[str, tuple[str, TaskResult]]] = []
    columns = []
    for name, run in zip(run_names(group), group, strict=True):
        of_suite = {task: one for (of, task), one in by_suite_and_task(run).items() if of == suite}
        if of_suite:
            columns.append(Column(name, run.folder.name, run=run))
            results.append(of_suite)
    columns += [Column(row.model, f"{row.objective}, {row.pretrain_data}", row=row) for row in rows]
    # the first run that has a task tells what it is
    firsts: dict[str, TaskResult] = {}
    for found in results:
        firsts |= {task: one for task, (_, one) in found.items() if task not in firsts}
    order = HARES_TASKS if suite == HARES else tuple(firsts)
    names = sorted(firsts, key=lambda task: order.index(task) if task in order else len(order))
    domains = []
    for domain in DOMAINS:
        lines = [_task_line(firsts[task], task, results, rows) for task in names if firsts[task].domain == domain]
        if lines:
            domains.append(DomainLines(domain, lines, None))
    every = [line for one in domains for line in one.tasks]
    if len(domains) > 1:
        domains = [
            replace(one, mean=_mean_line("Avg.", one.tasks, rows, one.domain, full=_is_full(one))) for one in domains
        ]
    summaries = [summarise(suite, [one for _, one in found.values()]) for found in results]
    whole = [summary for summary, found in zip(summaries, results, strict=True) if len(found) == len(every)]
    title = " / ".join(dict.fromkeys(summary.title for summary in whole)) or f"mean of {number_of(len(every), 'task')}"
    overall = _mean_line(title, every, rows, "hares", full=len(every) == len(published_tasks()))
    scores = [
        replace(score, note=f"{summary.title}: {percent(summary.mean)}")
        for score, summary in zip(overall.scores, summaries, strict=False)
    ]
    overall = replace(overall, scores=[*scores, *overall.scores[len(scores) :]])
    return ScoreTable(protocol, suite, columns, domains, overall, _notes(columns, summaries))


def _notes(columns: Sequence[Column], summaries: Sequence[Summary]) -> list[str]:
    """What is not as in the paper; with the runs of which it is true, where it is not of all."""
    whose: dict[str, list[str]] = {}
    for column, summary in zip(columns, summaries, strict=False):
        for note in summary.notes:
            whose.setdefault(note, []).append(column.name)
    return [note if len(of) == len(summaries) else f"{note} ({', '.join(of)})" for note, of in whose.items()]


def _task_line(
    first: TaskResult, task: str, results: Sequence[Mapping[str, tuple[str, TaskResult]]], rows: Sequence[PublishedRow]
) -> Line:
    scores = []
    for found in results:
        key, result = found.get(task, ("", None))
        scores.append(Score(None if result is None else result.score, result, key))
    substitute = any(score.result is not None and score.result.substitute for score in scores)
    published = [Score(published_score(row, first), other_clips=substitute) for row in rows]
    known = published_tasks().get(task) if first.suite == HARES else None
    title = known.title if known else task
    return Line(title, task, first.metric, first.stands_for, [*_best_marked(scores), *published])


def _mean_line(title: str, lines: Sequence[Line], rows: Sequence[PublishedRow], average: str, full: bool) -> Line:
    """The means of the columns.

    Args:
        average: Name of the paper's own average over these tasks.
        full: The lines are all of its tasks, so it is quoted as printed.
    """
    means = []
    measured = len(lines[0].scores) - len(rows)
    for number, scores in enumerate(zip(*(line.scores for line in lines), strict=True)):
        values = [score.value for score in scores if score.value is not None]
        mean = fmean(values) if len(values) == len(lines) else None
        if number >= measured and full and (printed := rows[number - measured].averages[average]) is not None:
            mean = printed / 100
        means.append(Score(mean, other_clips=any(score.other_clips for score in scores)))
    return Line(title, "", "", "", [*_best_marked(means[:measured]), *means[measured:]])


def _is_full(one: DomainLines) -> bool:
    return {line.task for line in one.tasks} == {
        name for name, task in published_tasks().items() if task.domain == one.domain
    }


def _best_marked(scores: Sequence[Score]) -> list[Score]:
    """The same, the highest of two or more marked."""
    values = [score.value for score in scores if score.value is not None]
    best = max(values) if len(values) > 1 else None
    return [replace(score, best=best is not None and score.value == best) for score in scores]
