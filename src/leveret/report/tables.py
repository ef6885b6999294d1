r"""Score tables as text, in the layout of the paper's table 4: tasks by domain with Avg. rows, encoders as columns.

Source: paper, table 4; scores are percentages with one decimal, "-" where there is none.
Two marks: a dagger for published scores of other clips than the runs' (the paper's split was never published), "!" for
scores with a warning. LaTeX needs the package booktabs, and escapes whatever it would take for a command.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO

from leveret.records import csv_cell
from leveret.report.score_table import DomainLines, Line, Score, ScoreTable
from leveret.text import percent, printable

NONE = "-"
DAGGER = "\u2020"
_DAGGER_SAYS = "published scores of other clips: the paper's split was never published"
_WARNING_SAYS = "scores with a warning, which report.html in the folder of each run tells in full"
DAGGER_IN_LATEX = r"$^{\dagger}$"
_LATEX = {
    DAGGER: DAGGER_IN_LATEX,
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": "{`}",
}  # fmt: skip


class TableError(ValueError):
    """Tables that one file of this format cannot hold."""


def markdown(tables: Sequence[ScoreTable]) -> str:
    """A heading, a table and its notes for each."""
    return "\n".join("\n".join(_markdown(one)) + "\n" for one in tables)


def latex(tables: Sequence[ScoreTable]) -> str:
    """A `table` environment for each."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join("\n".join(_latex(one)) + "\n" for one in tables)


def as_csv(tables: Sequence[ScoreTable]) -> str:
    """One table: a row a task and suite, a column an encoder; means are rows with an empty task.

    Raises:
        TableError: More than one protocol.
    """
    protocols = list(dict.fromkeys(one.protocol for one in tables))
    if len(protocols) > 1:
        raise TableError(
            f"the runs follow {len(protocols)} protocols ({', '.join(protocols)}), whose scores never share a table, "
            "and a CSV file holds one; choose with --protocol"
        )
    names = list(dict.fromkeys(name for one in tables for name in _unique_names(one)))
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, ["protocol", "suite", "domain", "task", "metric", *names]))
    for one in tables:
        for domain, line in _csv_lines(one):
            cells = dict(zip(_unique_names(one), (_number(score) for score in line.scores), strict=True))
            kind = line.metric or line.title
            row = [one.protocol, one.suite, domain, line.task, kind, *(cells.get(name, "") for name in names)]
            writer.writerow(map(csv_cell, row))
    return text.getvalue()


FORMATS: Mapping[str, Callable[[Sequence[ScoreTable]], str]] = {"markdown": markdown, "csv": as_csv, "latex": latex}


def _csv_lines(one: ScoreTable) -> Iterator[tuple[str, Line]]:
    for domain in one.domains:
        for line in [*domain.tasks, *([domain.mean] if domain.mean else [])]:
            yield domain.domain, line
    yield "", one.overall


def _number(score: Score) -> float | str:
    return "" if score.value is None else float(percent(score.value))


def _unique_names(one: ScoreTable) -> list[str]:
    """A published encoder stands with its objective, since a run may have its name, and the paper has it twice."""
    return [f"{column.name} ({column.detail}, published)" if column.row else column.name for column in one.columns]


def _shown(score: Score, mark: str) -> str:
    if score.value is None:
        return NONE
    warned = score.result is not None and score.result.warnings
    return percent(score.value) + (mark if score.other_clips else "!" if warned else "")


def _legend(one: ScoreTable) -> list[str]:
    warned = any(score.result is not None and score.result.warnings for line in one.lines for score in line.scores)
    return [
        *([f"{DAGGER} {_DAGGER_SAYS}."] if one.greyed else []),
        *([f"! {_WARNING_SAYS}."] if warned else []),
        *(f"{note}." for note in one.notes),
    ]


def _caption(one: ScoreTable) -> str:
    return f"Scores x 100 of the suite {one.suite} under the protocol {one.protocol}."


def _markdown(one: ScoreTable) -> Iterator[str]:
    yield _in_markdown(_caption(one))
    yield ""
    yield "| Tasks | " + " | ".join(_in_markdown(name) for name in _unique_names(one)) + " |"
    yield "|---" + "|---:" * len(one.columns) + "|"
    for domain in one.domains:
        yield f"| **{domain.domain.capitalize()}** |" + " |" * len(one.columns)
        for line in [*domain.tasks, *([domain.mean] if domain.mean else [])]:
            yield _markdown_line(line, line.title)
    yield _markdown_line(one.overall, one.overall.title)
    for note in _legend(one):
        yield ""
        yield _in_markdown(note)


def _markdown_line(line: Line, title: str) -> str:
    cells = [f"**{_shown(score, DAGGER)}**" if score.best else _shown(score, DAGGER) for score in line.scores]
    return f"| {_in_markdown(title)} | " + " | ".join(cells) + " |"


def _in_markdown(text: str) -> str:
    """Text that Markdown takes for nothing else: no cell's end, no tag, no link, no emphasis."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in printable(text))


def _latex(one: ScoreTable) -> Iterator[str]:
    measured = sum(column.row is None for column in one.columns)
    published = len(one.columns) - measured
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{' '.join(_in_latex(text) for text in [_caption(one), *_legend(one)])}}}"
    yield rf"\begin{{tabular}}{{ll{'r' * len(one.columns)}}}"
    yield r"\toprule"
    if published:
        yield rf" & & \multicolumn{{{measured}}}{{c}}{{measured}} & \multicolumn{{{published}}}{{c}}{{published}} \\"
        yield rf"\cmidrule(lr){{3-{2 + measured}}} \cmidrule(lr){{{3 + measured}-{2 + len(one.columns)}}}"
    yield " & Tasks & " + " & ".join(_in_latex(column.name) for column in one.columns) + r" \\"
    if published:
        details = ("" if column.row is None else f"({_in_latex(column.row.objective)})" for column in one.columns)
        yield " & & " + " & ".join(details) + r" \\"
    for domain in one.domains:
        yield r"\midrule"
        yield from _latex_domain(domain)
    yield r"\midrule"
    yield _latex_line("", rf"\textbf{{{_in_latex(one.overall.title)}}}", one.overall)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _latex_domain(domain: DomainLines) -> Iterator[str]:
    for number, line in enumerate(domain.tasks):
        yield _latex_line("" if number else domain.domain.capitalize(), _in_latex(line.title), line)
    if domain.mean:
        yield _latex_line("", r"\textit{Avg.}", domain.mean)


def _latex_line(domain: str, title: str, line: Line) -> str:
    shown = [_shown(score, DAGGER_IN_LATEX) for score in line.scores]
    cells = [rf"\textbf{{{text}}}" if score.best else text for score, text in zip(line.scores, shown, strict=True)]
    return " & ".join([domain, title, *cells]) + r" \\"


def _in_latex(text: str) -> str:
    """Text that prints as it is; letters that plain pdflatex may lack stand as their code points."""
    return "".join(
        _LATEX.get(letter, letter if letter.isascii() else rf"\texttt{{U+{ord(letter):04X}}}")
        for letter in printable(text)
    )
