"""A pretraining's run folder to one HTML page: curves, probes, speed, settings, corpus, skipped clips, machines.

The curves stand in the page as inline SVG; its script only tells the numbers under the pointer.
"""

from collections.abc import Mapping, Sequence
from shlex import join
from statistics import median
from typing import Any

from leveret.report.charts import Chart, chart, short
from leveret.report.rendering import rendered
from leveret.report.run_facts import LISTED, as_text, pairs
from leveret.report.training_run import TrainingRun
from leveret.text import number_of, percent

PROBE, FLOOR = "probe/", "melstats/"
TRAINING_REPORT = "pretraining.html"
OPTIMIZER = {"rate": "learning rate", "gradient_norm": "gradient norm"}
SPEED = {"crops_per_second": "crops a second", "share_of_peak": "share of the processor's peak"}
MEMORY = "memory_bytes"
CORPUS = {
    "trivial_pairs": "pairs of nearly the same crop", "padded": "crops with silence added",
    "skipped": "clips that cannot be read",
}  # fmt: skip
SHARES = ("share_of_peak", "trivial_pairs", "padded")
TOLD_STEPS = 12
"""Steps whose figures stand in a table."""


def training_page(run: TrainingRun) -> str:
    """The HTML of one run, which may still go on."""
    parts = {
        "Learning": _charts(run, {"loss": "loss"} | {name: name.replace("_", " ") for name in _own_figures(run)}),
        "Optimizer": _charts(run, OPTIMIZER),
    }
    probes = _probe_charts(run)
    speed = _charts(run, SPEED) + _memory(run)
    corpus = _charts(run, CORPUS)
    everything = [*(one for charts in parts.values() for one in charts), *probes, *speed, *corpus]
    numbers = {id(one): number for number, one in enumerate(everything)}

    def numbered(charts: Sequence[Chart]) -> list[dict[str, Any]]:
        return [{"number": numbers[id(one)], "chart": one} for one in charts]

    skipped = list(run.skipped.items())
    values = {
        "title": run.config["recipe"] or f"{run.config['encoder']} by {run.config['objective']}",
        "facts": _facts(run),
        "parts": {title: numbered(charts) for title, charts in parts.items() if charts},
        "probes": numbered(probes),
        "scores": _scores(run),
        "speed": numbered(speed),
        "corpus_charts": numbered(corpus),
        "table": _table(run),
        "settings": _settings(run.config),
        "corpus": [*pairs({name: value for name, value in run.data.items() if name != "labels"}), *_labels(run.data)],
        "skipped": skipped[:LISTED],
        "skipped_more": max(0, len(skipped) - LISTED),
        "starts": [_start(start) for start in run.starts],
        "folder": run.folder.resolve().name,
    }
    data = {"charts": [_told(one) for one in everything]}
    styles, scripts = ["page.css", "training.css"], ["base.js", "training.js"]
    return rendered("training.html", styles, scripts, data, values)


def _own_figures(run: TrainingRun) -> list[str]:
    """What the objective itself logs."""
    known = {"loss", "probe_seconds", MEMORY, *OPTIMIZER, *SPEED, *CORPUS}
    return [name for name in run.names() if name not in known and not name.startswith((PROBE, FLOOR))]


def _charts(run: TrainingRun, titles: Mapping[str, str]) -> list[Chart]:
    found = []
    for name, title in titles.items():
        points, unit = run.points(name), ""
        if name in SHARES:
            points, unit = [(step, 100 * value) for step, value in points], "%"
        if points and not (name == "skipped" and not run.skipped):
            found.append(chart(title, [("", points)], run.done, unit))
    return found


def _memory(run: TrainingRun) -> list[Chart]:
    points = [(step, value / 1e9) for step, value in run.points(MEMORY)]
    return [chart("memory, the most so far", [("", points)], run.done, "GB")] if points else []


def _probe_tasks(run: TrainingRun) -> list[str]:
    """Tasks that have a score somewhere, their mean last."""
    names = [name.removeprefix(PROBE) for name in run.names() if name.startswith(PROBE)]
    return sorted(names, key=lambda name: name == "mean")


def _probe_charts(run: TrainingRun) -> list[Chart]:
    found = []
    for task in _probe_tasks(run):
        curves = [("encoder", run.points(PROBE + task)), ("melstats", run.points(FLOOR + task))]
        in_percent = [(name, [(step, 100 * value) for step, value in points]) for name, points in curves if points]
        found.append(chart(task if task != "mean" else "mean of the tasks", in_percent, run.done, "%"))
    return found


def _scores(run: TrainingRun) -> list[dict[str, str]]:
    """Of each task: the floor, before the first step, the best and the last."""
    found = []
    for task in _probe_tasks(run):
        points, floors = run.points(PROBE + task), run.points(FLOOR + task)
        (first_step, first), (last_step, last) = points[0], points[-1]
        best_step, best = max(points, key=lambda point: point[1])
        floor = floors[-1][1] if floors else None
        found.append(
            {
                "task": task,
                "floor": percent(floor),
                "untrained": percent(first) if first_step == 0 else "",
                "best": percent(best),
                "best_step": f"{best_step:,}",
                "last": percent(last),
                "last_step": f"{last_step:,}",
                "above": "" if floor is None else f"{100 * (last - floor):+.1f}",
            }
        )
    return found


def _facts(run: TrainingRun) -> list[tuple[str, str]]:
    steps = f"{run.done:,} of {run.config['steps']:,}"
    found = [("steps", steps), ("batch", f"{run.config['batch']:,}")]
    crops_a_step, speeds = run.crops_a_step, run.points("crops_per_second")
    if crops_a_step and speeds:
        found.append(("crops seen", f"{crops_a_step * run.done:,}"))
        found.append(("time in training", _in_time(run.seconds or 0.0)))
    if speeds:
        found.append(("crops a second, median", f"{median(value for _, value in speeds):,.0f}"))
    if probed := run.points("probe_seconds"):
        found.append(("time in probes, beside", _in_time(sum(value for _, value in probed))))
    if losses := run.points("loss"):
        found.append(("loss, the last", f"{losses[-1][1]:.4f}"))
    return [*found, ("starts", f"{len(run.starts)}"), ("clips skipped", f"{len(run.skipped):,}")]


def _in_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _table(run: TrainingRun) -> dict[str, Any]:
    """Figures of some steps, evenly spread, first and last among them."""
    lines, names = run.trained, ["loss", *_own_figures(run), *OPTIMIZER, "crops_per_second"]
    names = [name for name in names if run.points(name)]
    count = min(TOLD_STEPS, len(lines))
    chosen = [lines[round(k * (len(lines) - 1) / max(1, count - 1))] for k in range(count)]
    return {
        "columns": [name.replace("_", " ") for name in names],
        "rows": [
            {"step": f"{line['step']:,}", "cells": ["" if line.get(n) is None else short(line[n]) for n in names]}
            for line in chosen
        ],
    }


def _settings(config: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    values = dict(config)
    names = [name for name in ("recipe", "scale", "changed") if name in values]
    recipe: dict[str, Any] = {name: values.pop(name) for name in names}
    encoder = {"encoder": values.pop("encoder"), **values.pop("encoder_config")}
    objective = {"objective": values.pop("objective"), **values.pop("objective_config")}
    parts = {"Recipe": recipe} if recipe.get("recipe") else {}
    parts |= {"Training": values, "Encoder": encoder, "Objective": objective}
    return {title: list(pairs(part)) for title, part in parts.items()}


def _labels(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    labels = data.get("labels") or []
    more = ", ..." if len(labels) > LISTED else ""
    return [(number_of(len(labels), "label"), ", ".join(map(str, labels[:LISTED])) + more)] if labels else []


def _start(start: Mapping[str, Any]) -> dict[str, Any]:
    facts = dict(start)
    step, command, when = facts.pop("step"), facts.pop("command", None), facts.pop("started", "")
    shown = [("command", join(map(str, command)))] if isinstance(command, list) else []
    said = "begun" if step == 0 else f"went on after step {step:,}"
    return {"said": said, "when": as_text(when), "pairs": [*shown, *pairs(facts)]}


def _told(one: Chart) -> dict[str, Any]:
    """What the script says under the pointer."""
    return {
        "unit": one.unit,
        "lines": [
            {
                "name": line.name,
                "steps": list(line.steps),
                "values": [short(value) for value in line.values],
                "x": [x for x, _ in line.drawn],
                "y": [y for _, y in line.drawn],
            }
            for line in one.lines
        ],
    }
