"""What `leveret evaluate` says at its end: all runs' scores side by side, what to know of them, the folders."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from leveret.commands.console import out, safe
from leveret.commands.table import print_table
from leveret.paper import BEST, PREFIX, published
from leveret.results import HARES, in_order, task_titles
from leveret.text import number_of, percent

if TYPE_CHECKING:
    from leveret.results import TaskResult
    from leveret.runs import Run


def show_runs(runs: "Sequence[Run]", missing: Mapping[str, str] = MappingProxyType({})) -> None:
    """The scores of all runs side by side, what is missing of a suite, then the folders."""
    _print_scores(runs)
    for line in [*_of_pretraining(runs), *(f"! {line}" for line in warnings_of(runs))]:
        out.print(f"  {safe(line)}", soft_wrap=True)
    for summary in runs[0].scorecard.summaries().values():
        for note in summary.notes:
            out.print(f"  {safe(summary.title)}: {safe(note)}", soft_wrap=True)
    for task, why in missing.items():
        out.print(f"  missing {safe(task)}: {safe(why)}", soft_wrap=True)
    for run in runs:
        if probes := sorted((run.folder / "probes").glob("*.safetensors")):
            command = shlex.join(["leveret", "classify", "SOUNDS", "--probe", str(probes[0])])
            out.print(f"  {number_of(len(probes), 'probe')} kept, to be used as in: {safe(command)}", soft_wrap=True)
    for line in _what_to_open([run.folder for run in runs]):
        out.print(safe(line), soft_wrap=True)
    for run in runs:
        out.print(safe(run.folder), soft_wrap=True)


def warnings_of(runs: "Sequence[Run]") -> list[str]:
    """What a reader must know before believing the scores, run by run in the order of the table."""
    from leveret.comparison import run_names

    found = []
    titles = task_titles(runs[0].scorecard.tasks)
    for name, card in zip(run_names(runs), (run.scorecard for run in runs), strict=True):
        found += [card.encoder["warning"]] if card.encoder.get("warning") else []
        for number in in_order(card.tasks):
            found += [f"{name}, {titles[number]}: {warning}" for warning in card.tasks[number].warnings]
    return found


def _print_scores(runs: "Sequence[Run]") -> None:
    from leveret.comparison import layers_apart, published_cell

    first = runs[0].scorecard
    floors = [
        next((run.scorecard.tasks[k].floor for run in runs if run.scorecard.tasks[k].floor is not None), None)
        for k in range(len(first.tasks))
    ]
    with_floor = any(floor is not None for floor in floors)
    lines: list[tuple[list[object], Sequence[TaskResult]]] = []
    titles = task_titles(first.tasks)
    for number in in_order(first.tasks):
        result = first.tasks[number]
        cells: list[object] = [titles[number], result.metric]
        for run in runs:
            found = run.scorecard.tasks[number]
            low, high = found.interval
            flag = " !" if found.warnings else ""
            cells.append(f"{percent(found.score)} [{percent(low)}, {percent(high)}]{flag}")
        cells += [percent(result.chance), *([percent(floors[number])] if with_floor else [])]
        lines.append((cells, [result]))
    summaries = first.summaries()
    for suite, summary in summaries.items():
        if summary.num_tasks == 1:
            continue  # the mean is the task's own score
        means = [run.scorecard.summaries()[suite] for run in runs]
        domains = list(summary.domains) if len(summary.domains) > 1 else []
        of_suite = f" ({suite})" if len(summaries) > 1 else ""
        for domain in (*domains, None):
            among = [one for one in first.tasks if one.suite == suite and domain in (None, one.domain)]
            title = (summary.title if domain is None else f"mean {domain}") + of_suite
            scores = [percent(one.mean if domain is None else one.domains[domain]) for one in means]
            lines.append(([title, "", *scores, "", *([""] if with_floor else [])], among))
    encoder, names = layers_apart(runs)
    columns = ["task", "metric", *names, "chance", *(["floor"] if with_floor else [])]
    grey = []
    if HARES in summaries:
        columns.append(f"{PREFIX}{BEST}")
        for number, (cells, results) in enumerate(lines):
            beside = published_cell(published()[BEST], results)
            grey += [(number, len(cells))] if beside.other_clips else []
            cells.append(percent(beside.score))
    title = f"protocol {first.protocol['title']}, score x 100 [95 % interval]"
    title += f", layers of {encoder}" if encoder else ""
    rows, tail = [cells for cells, _ in lines], len(columns) - 2 - len(runs)
    print_table(title, columns, rows, numbers=range(2, len(columns)), grey=grey, keys=2, tail=tail)


def _of_pretraining(runs: "Sequence[Run]") -> Iterator[str]:
    """Which tasks were scored by what an encoder kept of its pretraining, and whether it had met their test clips."""
    from leveret.comparison import run_names

    whose: dict[str, list[str]] = {}
    titles = task_titles(runs[0].scorecard.tasks)
    for name, tasks in zip(run_names(runs), (run.scorecard.tasks for run in runs), strict=True):
        if kept := [title for title, result in zip(titles, tasks, strict=True) if result.head == "pretraining"]:
            yield f"{name}, head: pretraining (its own classifier, no new probe): {', '.join(kept)}"
        by_finding: dict[str, list[str]] = {}
        for title, result in zip(titles, tasks, strict=True):
            if not result.met_in_training:  # of which a warning tells
                by_finding.setdefault(result.contamination, []).append(title)
        found = [
            text if len(names) == len(tasks) else f"{text} ({', '.join(names)})" for text, names in by_finding.items()
        ]
        if set(by_finding) - {"unchecked"}:
            whose.setdefault("; ".join(found), []).append(name)
    for finding, names in whose.items():
        yield f"{', '.join(names)}, contamination: {finding}"


def _what_to_open(folders: Sequence[Path]) -> Iterator[str]:
    """Said before the folders, since those who come for the first time do not know what is in them."""
    from leveret.report.page import REPORT

    if not all((folder / REPORT).is_file() for folder in folders):
        return  # why there is none, has been said
    if len(folders) > 1:
        yield f"one page of all: leveret report {_in_short(folders)} -o {REPORT}"
    yield f"open {REPORT} in:"


def _in_short(folders: Sequence[Path]) -> str:
    """For a shell: runs of one call are told from all others by the end of their names, the time."""
    parent, time = folders[0].parent, re.search(r"-\d{8}-\d{6}$", folders[0].name)
    if time and sorted(parent.glob(f"*{time[0]}")) == sorted(folders):
        return f"{shlex.quote(str(parent))}/*{time[0]}"
    return shlex.join(map(str, folders))
