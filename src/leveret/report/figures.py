"""Heat maps and embedding maps as figures for a paper or a slide: SVG and PNG, from the numbers that the page shows.

matplotlib draws them: it measures text and brings its font, so no label is cut, whichever fonts a machine has.
"""

import importlib
import warnings
from collections.abc import Iterator, Sequence
from colorsys import hls_to_rgb
from pathlib import Path
from typing import Any

import numpy as np

from leveret.comparison import run_names
from leveret.embedding_map import SIDE, EmbeddingMap
from leveret.predictions import Predictions
from leveret.report.map_details import label_numbers, map_of_task
from leveret.report.score_table import Line, ScoreTable
from leveret.runs import Run, task_keys
from leveret.text import percent, printable

SUFFIXES = (".svg", ".png")
DOTS_AN_INCH = 200
COLOURS = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#d4a72c", "#ff9da7", "#9c755f", "#8a94a0",
)  # fmt: skip
"""Of the first classes, as on the page; where there are more, hues all around."""
_HEAT = np.array([47, 155, 165]) / 255  # the page's hue
_CELL, _ROW = 0.85, 0.3  # inches
_LONGEST = 32  # letters of a name
_KEEP = {"svg.hashsalt": "leveret"}  # the same figure is the same file


class FiguresError(ValueError):
    """Figures that cannot be drawn or written; the message says why."""


def write_figures(folder: Path, runs: Sequence[Run], tables: Sequence[ScoreTable]) -> tuple[list[Path], str]:
    """Draw every table, and every embedding map of the runs.

    Returns:
        The files, and a note on letters that the font lacks, empty where it has all.

    Raises:
        FiguresError: matplotlib is missing, or the folder cannot be made.
        RunError: A run's predictions or maps are damaged.
    """
    try:
        matplotlib, figure = (importlib.import_module(name) for name in ("matplotlib", "matplotlib.figure"))
    except ImportError as error:
        raise FiguresError(f"figures need matplotlib ({error}); pip install 'leveret[figures]'") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FiguresError(f"no folder for figures at {folder} ({error}); name another") from error
    wanted = [*_score_figures(tables), *_map_figures(runs)]
    paths = []
    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context(_KEEP):
        warnings.simplefilter("always")
        for key, (_, draw, *what) in zip(task_keys([("", name) for name, *_ in wanted]), wanted, strict=True):
            drawn = draw(figure.Figure, *what)
            for suffix in SUFFIXES:
                paths.append(folder / f"{key}{suffix}")
                date: dict[str, Any] = {"metadata": {"Date": None}} if suffix == ".svg" else {}
                drawn.savefig(paths[-1], dpi=DOTS_AN_INCH, bbox_inches="tight", facecolor="white", **date)
    lacking = any("missing from" in str(one.message) for one in caught)
    return paths, "names hold letters that matplotlib's font lacks; they are drawn as boxes" if lacking else ""


def _score_figures(tables: Sequence[ScoreTable]) -> Iterator[tuple[Any, ...]]:
    for one in tables:
        yield f"scores-{one.protocol}-{one.suite}", _heat_map, one


def _map_figures(runs: Sequence[Run]) -> Iterator[tuple[Any, ...]]:
    for name, run in zip(run_names(runs), runs, strict=True):
        results = run.scorecard.tasks
        for result, key in zip(results, task_keys([(one.suite, one.task) for one in results]), strict=True):
            found = map_of_task(run, key)
            if found is not None:
                yield f"map-{key}-{name}", _map, found, run.predictions(key), f"{result.task}: {name}"


def _heat_map(figure: Any, one: ScoreTable) -> Any:
    lines: list[tuple[Line, bool]] = []
    for domain in one.domains:
        lines += [(line, False) for line in domain.tasks] + ([(domain.mean, True)] if domain.mean else [])
    lines.append((one.overall, True))
    width, height = len(one.columns), len(lines)
    drawn = figure(figsize=(_CELL * width, _ROW * height))
    axes = drawn.add_axes((0, 0, 1, 1))
    shades = np.ones((height, width, 3))
    for row, (line, mean) in enumerate(lines):
        for column, score in enumerate(line.scores):
            share = line.share(score)
            if not mean and share is not None and not score.other_clips:
                shades[row, column] = 1 - (0.04 + 0.61 * share) * (1 - _HEAT)
            axes.text(
                column, row, percent(score.value) or "-", ha="center", va="center", fontsize=8,
                weight="bold" if score.best else "normal", style="italic" if score.other_clips else "normal",
                color="0.45" if score.other_clips else "0.1",
            )  # fmt: skip
    axes.imshow(shades, aspect="auto")
    names = [f"{column.name}\n({column.row.objective})" if column.row else column.name for column in one.columns]
    axes.set_xticks(range(width), [_shown(name) for name in names], rotation=45, ha="left", parse_math=False)
    axes.set_yticks(range(height), [_shown(line.title) for line, _ in lines], parse_math=False)
    for label, (_, mean) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_style("italic" if mean else "normal")
    axes.tick_params(length=0, labelsize=8, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(0.5, width - 1), minor=True)
    axes.set_yticks(np.arange(0.5, height - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    other = "; italic: published scores of other clips" if one.greyed else ""
    said = f"Protocol {one.protocol}, suite {one.suite}: scores x 100; shade from chance to perfect{other}"
    axes.set_xlabel(printable(said), fontsize=7, color="0.35", loc="left", parse_math=False)
    return drawn


def _map(figure: Any, found: EmbeddingMap, predictions: Predictions, title: str) -> Any:
    labels = label_numbers(predictions)
    # of slots and tags the first one
    first = np.array([labels[clip][0] if labels.get(clip) else -1 for clip in found.clip])
    names = next(iter(predictions.vocabulary.values()))
    classes = sorted(set(first.tolist()) - {-1})
    # a wide or a high map has no empty strips
    low, high = found.position.min(axis=0) - SIDE / 50, found.position.max(axis=0) + SIDE / 50
    drawn = figure(figsize=5 * (high - low) / (1.04 * SIDE))
    axes = drawn.add_axes((0, 0, 1, 1))
    many = len(classes) > len(COLOURS)
    for number, one in enumerate(classes):
        colour = _hue(number) if many else COLOURS[number]
        mine = found.position[first == one]
        axes.scatter(*mine.T, s=14, color=colour, edgecolors="white", linewidths=0.3, label=_shown(names[one]))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color("0.8")
    if not many and classes:
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8, borderaxespad=0)
        for text in legend.get_texts():
            text.set_parse_math(False)
    axes.set_title(_shown(title, 80), fontsize=10, loc="left", parse_math=False)
    shown = f"{len(found.clip):,} of {found.num_clips:,} test clips" + (f", {len(classes)} classes" if many else "")
    axes.set_xlabel(f"{shown}; PCA, then t-SNE", fontsize=7, color="0.35", loc="left")
    return drawn


def _hue(number: int) -> tuple[float, float, float]:
    """Neighbouring numbers lie far apart on the circle of hues, and differ in lightness."""
    hue, lightness = number * 137.508 / 360 % 1, (0.42, 0.55, 0.66)[number % 3]
    return hls_to_rgb(hue, lightness, 0.6)


def _shown(name: str, longest: int = _LONGEST) -> str:
    text = printable(name, keep="\n")
    return text if len(text) <= longest else f"{text[: longest - 1]}\u2026"
