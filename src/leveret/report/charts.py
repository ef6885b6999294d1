"""Numbers of a training over its steps to charts: a line of means, a band from lowest to highest, round marks.

Shapes: a chart is WIDTH x HEIGHT; its coordinates stand in the page, so that it can be seen without a script.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 380, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26
MOST_POINTS = 240
"""Points of a line; more steps than these are taken together."""


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        name: What it shows, where a chart has several.
        path: Of the means, as SVG writes it.
        band: Around what the means are of; empty where each point is one step.
        steps: Last step of each point.
        values: Mean of each point.
        drawn: Place (x, y) of each point.
    """

    name: str
    path: str
    band: str
    steps: Sequence[int]
    values: Sequence[float]
    drawn: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Curves over the same steps.

    Attributes:
        title: Above it.
        unit: Of the values; empty for plain numbers.
        across: (x, step as text) of the marks along the steps.
        up: (y, value as text) of the others.
        lines: The first is the one that matters.
        summary: In words, for those who cannot see it.
    """

    title: str
    unit: str
    across: Sequence[tuple[float, str]]
    up: Sequence[tuple[float, str]]
    lines: Sequence[Line]
    summary: str = field(default="")


Points = Sequence[tuple[int, float]]
"""Steps with a value each, ascending."""


def chart(title: str, curves: Sequence[tuple[str, Points]], last_step: int, unit: str = "") -> Chart:
    """A chart of one or more curves, none of them empty.

    Args:
        last_step: Right end.
    """
    assert curves, title
    assert all(points for _, points in curves), title
    merged = [(name, _merged(points)) for name, points in curves]
    means = [mean for _, buckets in merged for _, mean, _, _ in buckets]
    marks = round_marks(min(means), max(means))
    low, high = min(marks[0], *means), max(marks[-1], *means)

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, last_step), 1)

    def y(value: float) -> float:
        share = (min(high, max(low, value)) - low) / (high - low)
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 1)

    lines = []
    for name, buckets in merged:
        drawn = [(x(step), y(mean)) for step, mean, _, _ in buckets]
        spread = any(least < most for _, _, least, most in buckets)
        above = [(x(step), y(most)) for step, _, _, most in buckets]
        below = [(x(step), y(least)) for step, _, least, _ in reversed(buckets)]
        band = f"{_path([*above, *below])}Z" if spread else ""
        steps, values = [step for step, _, _, _ in buckets], [mean for _, mean, _, _ in buckets]
        lines.append(Line(name, _path(drawn), band, steps, values, drawn))
    across = [(x(step), f"{step:,.0f}") for step in round_marks(0, last_step, 4) if step <= last_step]
    up = [(y(value), short(value, marks)) for value in marks]
    return Chart(title, unit, across, up, lines, _summary(title, curves, unit))


def round_marks(low: float, high: float, most: int = 5) -> list[float]:
    """Two to about `most` round numbers, evenly spaced, from at most `low` to at least `high`."""
    if not high > low:
        low, high = min(0.0, low), max(0.0, high) or float(low == 0)  # nothing but one value, seen from zero
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12 - math.floor(math.log10(step))) for k in range(first, last + 1)]


def short(value: float, marks: Sequence[float] = ()) -> str:
    """A number as an axis has room for: 0.25, 12 k, 2e-5.

    Args:
        marks: Those beside it, which must differ.
    """
    size = max(map(abs, marks), default=abs(value))
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scale = 1000 if letter == "k" else limit
            return "0" if value == 0 else f"{value / scale:.4g} {letter}"
    return f"{value:.4g}".replace("e-0", "e-")


def _merged(points: Points) -> list[tuple[int, float, float, float]]:
    """Some neighbours taken together: last step, mean, lowest, highest."""
    size = -(-len(points) // MOST_POINTS)
    found = []
    for at in range(0, len(points), size):
        some = [value for _, value in points[at : at + size]]
        found.append((points[min(at + size, len(points)) - 1][0], sum(some) / len(some), min(some), max(some)))
    return found


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _summary(title: str, curves: Sequence[tuple[str, Points]], unit: str) -> str:
    parts = []
    for name, points in curves:
        (first, start), (last, end) = points[0], points[-1]
        said = f"{name}: " if name else ""
        parts.append(f"{said}{short(start)} after step {first:,}, {short(end)} after step {last:,}")
    return f"{title}{f' ({unit})' if unit else ''}. {'; '.join(parts)}"
