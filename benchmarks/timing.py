"""What the benchmarks share: rounds in turn, medians and least times, processor time beside them, a Markdown table."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median


def in_turn(
    candidates: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median milliseconds of each candidate; every round runs each once, so that drift meets all alike."""
    (taken,) = taken_in_turn(candidates, rounds, clock)
    return {name: median(times) for name, times in taken.items()}


def taken_in_turn(
    candidates: Mapping[str, Callable[[], object]], rounds: int, *clocks: Callable[[], float]
) -> list[dict[str, list[float]]]:
    """By each clock, milliseconds of each candidate in each round, after a round that is not counted."""
    taken: list[dict[str, list[float]]] = [{name: [] for name in candidates} for _ in clocks]
    for run in candidates.values():
        run()  # warm up
    for _ in range(rounds):
        for name, run in candidates.items():
            started = [clock() for clock in clocks]
            run()
            for of_clock, clock, before in zip(taken, clocks, started, strict=True):
                of_clock[name].append(1000 * (clock() - before))
    return taken


def ratios(taken: Mapping[str, Sequence[float]], base: str, faster: bool = True) -> dict[str, tuple[float, float]]:
    """Of each candidate's median and of its least time to those of `base`: times as fast, or as long."""
    power = -1 if faster else 1
    return {
        name: tuple((fold(times) / fold(taken[base])) ** power for fold in (median, min))  # type: ignore[misc]
        for name, times in taken.items()
    }


def table(rows: Sequence[Sequence[object]]) -> None:
    """Rows under a header that is printed already."""
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
