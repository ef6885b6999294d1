"""Run folders to one HTML file that needs nothing else: no request leaves it, and no name in it can run anything.

Figures are HTML and small inline SVGs made by the script from the numbers in the file: a plotting library alone would
be half of the size that the page may have.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leveret.comparison import Compared, ComparisonError, compare
from leveret.paper import PublishedRow
from leveret.progress import Reporter
from leveret.report.cell_details import metric_title, table_details
from leveret.report.map_details import Samples
from leveret.report.rendering import rendered, write_page
from leveret.report.run_facts import run_facts
from leveret.report.score_table import Line, Score, ScoreTable, by_protocol, default_rows, score_tables
from leveret.runs import Run
from leveret.text import number_of, percent

REPORT = "report.html"
"""Of a run folder: the page of this run alone."""
LARGEST_BYTES = 8_000_000
"""Mail and chat refuse larger files."""

PROTOCOLS = {
    "paper": "At each step a clip is drawn, then a random crop of it; the paper's probe, optimizer and schedule.",
    "cached": "The paper's probe, optimizer and schedule on vectors that were embedded once.",
    "quick": "Logistic regression: seconds a task, and another estimator than the paper's.",
}
SHADES = 20
RANGED_COLUMNS = 4
"""A table of more encoders has no room for the interval below each score; pointer and keyboard still tell it."""
NARROW_COLUMNS = 4
"""A table of more, published ones too, leaves no room for a task beside it."""


def page(
    runs: Sequence[Run],
    rows: Sequence[PublishedRow] | None = None,
    *,
    compared: bool = True,
    folder: Path | None = None,
    embed_audio: bool = False,
    reporter: Reporter | None = None,
) -> str:
    """The HTML of one or more runs.

    Args:
        rows: Published rows beside the suite `hares`; None takes those of the paper's table 4.
        compared: With paired comparisons of the runs of each protocol, which take seconds to minutes.
        folder: Where the page will lie: clips of the embedding maps whose files are there can be heard from it.
        embed_audio: The page holds the beginnings of as many of these clips as it has room for, in place of links.
        reporter: Told how many those are.

    Raises:
        RunError: A run's predictions are missing or damaged.
        ExcerptError: No sound can be written for the page.
    """
    assert runs, "a page of no run"
    tables = score_tables(runs, default_rows() if rows is None else rows)
    classes: dict[tuple[str, ...], int] = {}
    samples = Samples()
    details = [table_details(one, classes, samples) for one in tables]
    data = {"tables": details, "classes": [list(names) for names in classes]}
    values = {
        "title": _title(runs, tables),
        "finished": _finished(runs),
        "tables": [_table(number, one) for number, one in enumerate(tables)],
        "comparisons": _comparisons(runs) if compared else [],
        "facts": [run_facts(run) for run in runs],
    }

    def with_samples(heard: Mapping[str, Any], **more: Any) -> str:
        """The page with clips that can be heard."""
        sources = {"media-src": "'self' file: data:"}  # what is in the page, and files that lie beside it
        return rendered("page.html", ["page.css"], ["base.js", "page.js"], {**data, **heard, **more}, values, sources)

    if not embed_audio:
        return with_samples(samples.heard(samples.links(folder) if folder else {}))
    from leveret.report.excerpts import EXCERPT_SECONDS, excerpts

    without = len(with_samples(samples.heard({})).encode("utf-8", "replace"))
    numbers = 10 * sum(map(len, samples.sounds))  # of the sources, and commas
    embedded = excerpts(samples.sounds, LARGEST_BYTES - without - numbers, reporter or Reporter())
    return with_samples(samples.heard(embedded), excerptSeconds=EXCERPT_SECONDS)


def write_run_page(run: Run) -> str:
    """The page of a run alone, in its folder; says why where there is none: a run is whole without it."""
    try:
        write_page(run.folder / REPORT, page([run], folder=run.folder))
    except (OSError, ValueError) as error:
        return f"note: no {REPORT} in {run.folder} ({error}); `leveret report` makes one"
    return ""


def _title(runs: Sequence[Run], tables: Sequence[ScoreTable]) -> str:
    encoders = (run.scorecard.encoder for run in runs)
    names = [name for name, _ in dict.fromkeys((str(one["name"]), one.get("digest")) for one in encoders)]
    tasks = {(one.suite, line.task) for one in tables for line in one.lines}
    who = names[0] if len(names) == 1 else f"{len(names)} encoders"
    return f"{who} on {number_of(len(tasks), 'task')}"


def _finished(runs: Sequence[Run]) -> str:
    days = sorted({str(run.scorecard.run.get("finished", ""))[:10] for run in runs} - {""})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else ""


def _table(number: int, one: ScoreTable) -> dict[str, Any]:
    place = 0
    domains: list[dict[str, Any]] = []
    warned = False
    for domain in one.domains:
        lines = []
        for line in domain.tasks:
            lines.append(_line(line, f"{number}.{place}"))
            place += 1
            warned |= any(score.result is not None and score.result.warnings for score in line.scores)
        domains.append(
            {"name": domain.domain, "lines": lines, "mean": None if domain.mean is None else _line(domain.mean, "")}
        )
    name = one.protocol.split("@")[0].split("+")[0]
    measured = sum(column.row is None for column in one.columns)
    return {
        "number": number,
        "protocol": one.protocol,
        "suite": one.suite,
        "what": PROTOCOLS.get(name, ""),
        "columns": [
            {"name": column.name, "detail": column.detail, "published": column.row is not None}
            for column in one.columns
        ],
        "measured": measured,
        "ranges": measured <= RANGED_COLUMNS,
        "narrow": len(one.columns) <= NARROW_COLUMNS,
        "published": len(one.columns) - measured,
        "domains": domains,
        "overall": _line(one.overall, ""),
        "notes": one.notes,
        "greyed": one.greyed,
        "warned": warned,
    }


def _line(line: Line, place: str) -> dict[str, Any]:
    return {
        "title": line.title,
        "metric": metric_title(line.metric),
        "stands_for": line.stands_for,
        "levels": _levels(line),
        "place": place,
        "cells": [cell_facts(score, line.share(score)) for score in line.scores],
    }


def _levels(line: Line) -> list[str]:
    """What a task's scores are to be held against; none for a mean."""
    results = [score.result for score in line.scores if score.result is not None]
    floors = [result.floor for result in results if result.floor is not None]
    return [
        *(f"chance {percent(result.chance)}" for result in results[:1]),
        *(f"floor {percent(floor)}" for floor in floors[:1]),
    ]


def cell_facts(score: Score, share: float | None) -> dict[str, Any]:
    """What a cell of a table of scores shows.

    Args:
        share: Where it lies between chance and all right, which is its shade; None leaves it without one.
    """
    result = score.result
    tip, span = [], ""
    if result is not None:
        low, high = result.interval
        span = f"{percent(low)} to {percent(high)}"
        tip = [
            f"{percent(score.value)}, 95 % interval {span}",
            f"chance {percent(result.chance)}, majority {percent(result.majority)}"
            + (f", floor {percent(result.floor)}" if result.floor is not None else ""),
            *result.warnings,
        ]
    return {
        "text": percent(score.value),
        "value": "" if score.value is None else f"{score.value:.6f}",
        "shade": None if share is None else round(SHADES * share),
        "run": result is not None,
        "range": span,
        "tip": "\n".join(tip),
        "warnings": [] if result is None else result.warnings,
        "best": score.best,
        "grey": score.other_clips,
        "note": score.note,
    }


def _comparisons(runs: Sequence[Run]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for protocol, group in by_protocol(runs).items():
        if len(group) < 2:
            continue
        try:
            found.append(_comparison(compare(group)))
        except ComparisonError as error:
            found.append({"protocol": protocol, "columns": [], "lines": [], "notes": [str(error)]})
    return found


def _comparison(compared: Compared) -> dict[str, Any]:
    return {
        "protocol": compared.protocol,
        "columns": compared.columns,
        "notes": compared.notes,
        "lines": [
            {
                "task": task.task,
                "clips": f"{task.num_clips:,}",
                "first": percent(task.cells[0].score),
                "others": [
                    {
                        "difference": f"{100 * cell.difference:+.1f}",
                        "interval": f"{100 * cell.low:+.1f} to {100 * cell.high:+.1f}",
                        "p": f"{cell.p:.3f}",
                        "differs": cell.p < 0.05,
                        "better": cell.difference > 0,
                    }
                    for cell in task.cells[1:]
                    if cell.difference is not None and cell.low is not None and cell.high is not None
                    if cell.p is not None
                ],
            }
            for task in compared.tasks
        ],
    }
