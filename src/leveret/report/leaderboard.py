"""All runs below a folder as rankings, one a protocol and suite: scores of two of either are never ranked together.

A ranking is the score table of its runs, turned: encoders are rows. A place in it takes every task of its suite (of
`hares` all twelve, covered, under the name of HARES or `HARES*`); partial means stand below, without a place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leveret.paper import PublishedRow, models, published
from leveret.report.cell_details import metric_title, rounded
from leveret.report.page import PROTOCOLS, cell_facts
from leveret.report.rendering import rendered
from leveret.report.score_table import Column, ScoreTable, score_tables
from leveret.results import HARES, HARES_TASKS, summarise
from leveret.runs import Run
from leveret.text import number_of, percent

LEADERBOARD = "leaderboard.html"
SIZES = {"under 10 M": 10e6, "10 to 50 M": 50e6, "50 to 100 M": 100e6, "over 100 M": float("inf")}
"""Parameters up to which an encoder belongs to a class."""
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Place:
    """One encoder in a ranking.

    Attributes:
        name: Of the encoder.
        detail: The run's folder; of a published row its objective and data.
        published: It is a row of the paper.
        title: What its mean is: "HARES", "HARES*", "mean of 5 of the 12 tasks, partial".
        mean: A fraction.
        whole: It has every task of the ranking, so that its mean has a place.
        coverage: What of the tasks is not as in the paper.
        cells: Of the mean, each domain's mean and each task, as `cell_facts`.
        parameters: None where they are not known.
        speed: Seconds of audio embedded in a second; None where it was not recorded.
        machine: On which.
        data: Pretraining data.
        mark: "verified", or nothing.
        shown: Mean, parameters and speed as they are printed, and in two words what the mean is.
    """

    name: str
    detail: str
    published: bool
    title: str
    mean: float
    whole: bool
    coverage: Sequence[str]
    cells: Sequence[Mapping[str, Any]]
    parameters: float | None
    speed: float | None
    machine: str
    data: str
    mark: str
    shown: Mapping[str, str]


@dataclass(frozen=True)
class Ranking:
    """Everything of one protocol and one suite, the best first.

    Attributes:
        what: The protocol in a sentence.
        columns: Of the cells: title, domain ("" for the mean of all), and metric (empty for a mean).
    """

    protocol: str
    suite: str
    what: str
    columns: Sequence[tuple[str, str, str]]
    places: Sequence[Place]


def rankings(
    runs: Sequence[Run],
    rows: Sequence[PublishedRow],
    marks: Mapping[Path, str],
    trained_on: Mapping[str, str],
) -> list[Ranking]:
    """A ranking for each protocol and suite among the runs; HARES comes first.

    Args:
        rows: Published rows, beside the suite `hares`.
        marks: Run folder -> "verified".
        trained_on: Name of an encoder -> its pretraining data, where its run does not tell.
    """
    found = [_ranking(one, marks, trained_on) for one in score_tables(runs, rows)]
    return sorted(found, key=lambda one: one.suite != HARES)


def published_rows() -> list[PublishedRow]:
    """Every row of the paper with a score for each of the twelve tasks."""
    return [row for row in published().values() if row.complete]


def leaderboard(
    runs: Sequence[Run],
    rows: Sequence[PublishedRow],
    *,
    left_out: Mapping[str, str],
    marks: Mapping[Path, str],
    trained_on: Mapping[str, str],
    verified: bool,
) -> str:
    """The page.

    Args:
        left_out: Name of a run folder -> why it is not on the page.
        verified: Only runs that passed their verification are on it.
    """
    found = rankings(runs, rows, marks, trained_on)
    encoders = {str(run.scorecard.encoder["name"]) for run in runs}
    measured = [place for one in found for place in one.places if not place.published]
    return rendered(
        "leaderboard.html",
        ["page.css", "leaderboard.css"],
        ["base.js", "leaderboard.js"],
        {"rankings": [_plotted(one) for one in found]},
        {
            "title": f"Leaderboard of {number_of(len(encoders), 'encoder')}",
            "num_runs": number_of(len(runs), "run"),
            "rankings": found,
            "domains": list(dict.fromkeys(domain for one in found for _, domain, _ in one.columns if domain)),
            "sizes": list(SIZES),
            "data_names": sorted({place.data for place in measured}),
            "published": any(place.published for one in found for place in one.places),
            "left_out": dict(left_out),
            "verified": verified,
        },
    )


def _ranking(one: ScoreTable, marks: Mapping[Path, str], trained_on: Mapping[str, str]) -> Ranking:
    columns = [("Mean of all", "", "")]
    columns += [("Mean", domain.domain, "") for domain in one.domains if domain.mean]
    columns += [
        (line.title, domain.domain, metric_title(line.metric)) for domain in one.domains for line in domain.tasks
    ]
    places = [_place(one, number, column, marks, trained_on) for number, column in enumerate(one.columns)]
    places.sort(key=lambda place: (not place.whole, -place.mean, place.name))
    return Ranking(
        one.protocol, one.suite, PROTOCOLS.get(one.protocol.split("@")[0].split("+")[0], ""), columns, places
    )


def _place(
    one: ScoreTable, number: int, column: Column, marks: Mapping[Path, str], trained_on: Mapping[str, str]
) -> Place:
    scores = [domain.mean.scores[number] for domain in one.domains if domain.mean]
    cells = [cell_facts(score, None) for score in scores]
    cells += [cell_facts(line.scores[number], line.share(line.scores[number])) for line in one.lines]
    overall = one.overall.scores[number]
    if column.row is not None:
        model = models().get(column.row.model)
        parameters = 1e6 * model.params_millions if model and model.params_millions else None
        mean = column.row.mean() / 100 if overall.value is None else overall.value
        return Place(
            column.name, column.detail, published=True, title="HARES", mean=mean, whole=overall.value is not None,
            coverage=[], cells=[cell_facts(overall, None), *cells], parameters=parameters, speed=None, machine="",
            data=column.row.pretrain_data, mark="", shown=_shown(mean, parameters, None, ""),
        )  # fmt: skip
    assert column.run is not None, column
    results = [result for line in one.lines if (result := line.scores[number].result) is not None]
    summary = summarise(one.suite, results)
    whole = overall.value is not None and "partial" not in summary.title
    num_tasks = len(HARES_TASKS) if one.suite == HARES else len(one.lines)
    kind = f"{len(results)} of {num_tasks}" if not whole else summary.title if one.suite == HARES else ""
    encoder, run = column.run.scorecard.encoder, column.run.scorecard.run
    text = percent(summary.mean) if whole else f"({percent(summary.mean)})"
    first = cell_facts(overall, None) | {"text": text, "value": f"{summary.mean:.6f}" if whole else "", "note": ""}
    parameters, speed = _parameters(encoder), _speed(run)
    return Place(
        str(encoder["name"]), column.run.folder.name, published=False, title=summary.title, mean=summary.mean,
        whole=whole, coverage=summary.notes, cells=[first, *cells], parameters=parameters, speed=speed,
        machine=_machine(run), mark=marks.get(column.run.folder, ""),
        data=trained_on.get(str(encoder["name"])) or _pretraining_data(encoder),
        shown=_shown(summary.mean, parameters, speed, kind),
    )  # fmt: skip


def _shown(mean: float, parameters: float | None, speed: float | None, kind: str) -> dict[str, str]:
    size = f"{parameters / 1e6:,.1f} M" if parameters and parameters >= 5e4 else f"{parameters or 0:,.0f}"
    return {
        "mean": percent(mean),
        "kind": kind,
        "parameters": "" if parameters is None else size,
        "speed": "" if speed is None else f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}",
    }


def _parameters(encoder: Mapping[str, Any]) -> float | None:
    """What an adapter runs outside torch has parameters that nobody counted."""
    found = _number(encoder.get("parameters"))
    return found if found or encoder.get("origin") == "no weights" else None


def _pretraining_data(encoder: Mapping[str, Any]) -> str:
    pretraining, origin = encoder.get("pretraining"), str(encoder.get("origin", ""))
    if isinstance(pretraining, dict) and pretraining.get("data"):
        return str(pretraining["data"])
    return "none" if origin.startswith(("random weights", "no weights")) else UNKNOWN


def _speed(run: Mapping[str, Any]) -> float | None:
    measured = run.get("embedding")
    if not isinstance(measured, dict):
        return None
    audio, seconds = _number(measured.get("audio_seconds")), _number(measured.get("seconds"))
    return audio / seconds if audio and seconds else None


def _machine(run: Mapping[str, Any]) -> str:
    device = str(run.get("gpu") or run.get("device", ""))
    threads = f", {_threads(run['torch_threads'])}" if device == "cpu" and "torch_threads" in run else ""
    return device + threads + ("" if run.get("dtype", "float32") == "float32" else f", {run['dtype']}")


def _threads(number: object) -> str:
    return number_of(number, "thread") if isinstance(number, int) else f"{number} threads"


def _number(value: object) -> float | None:
    """A number out of a scorecard, which may come from a stranger."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e15 else None


def size_class(parameters: float | None) -> str:
    """The name in SIZES; empty where the parameters are not known."""
    return "" if parameters is None else next(name for name, most in SIZES.items() if parameters <= most)


def _plotted(one: Ranking) -> list[dict[str, Any]]:
    """What the script draws of each place: means of all and of each domain, where it has every task of them."""
    averages = [(number, domain) for number, (_, domain, metric) in enumerate(one.columns) if not metric]
    return [
        {
            "name": place.name,
            "published": place.published,
            "means": {
                domain: rounded(float(place.cells[number]["value"]))
                for number, domain in averages
                if place.cells[number]["value"]
            },
            "parameters": place.parameters,
            "speed": place.speed,
            "machine": place.machine,
            "size": size_class(place.parameters),
        }
        for place in one.places
    ]
