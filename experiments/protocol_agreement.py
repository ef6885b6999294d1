"""How far two protocols agree: mean difference, and Kendall's tau of the encoders, with intervals over the test clips.

    python experiments/protocol_agreement.py RUNS [--resamples 300]

RUNS is a folder of run folders. Every pair of protocols is compared on the tasks and encoders that both have scored. A
resample draws the groups of each task's test clips anew, the same ones for all encoders and both protocols.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from leveret.metrics import METRICS
from leveret.predictions import Predictions
from leveret.runs import find_runs

Cells = Mapping[tuple[str, str, str], Predictions]
"""(protocol, task, encoder) -> what was predicted."""


@dataclass(frozen=True)
class Agreement:
    """Of two protocols, in points and as tau; each as the value on all clips and its interval."""

    difference: tuple[float, float, float]
    largest: float
    tau: tuple[float, float, float]


def main() -> None:
    """Print the scores of every task and protocol, then the agreement of every two protocols, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--resamples", type=int, default=300)
    arguments = parser.parse_args()
    cells, seconds = read(arguments.runs)
    protocols = sorted({protocol for protocol, _, _ in cells})
    encoders = sorted({encoder for _, _, encoder in cells})
    print("| task | protocol | " + " | ".join(encoders) + " |\n|" + "---|" * (len(encoders) + 2))
    for task in sorted({task for _, task, _ in cells}):
        for protocol in protocols:
            found = [cells.get((protocol, task, encoder)) for encoder in encoders]
            if any(found):
                shown = " | ".join(f"{100 * score(one):.1f}" if one else "" for one in found)
                print(f"| {task} | {protocol} | {shown} |")
    for protocol in protocols:
        print(f"{protocol}: {seconds[protocol] / 60:.0f} minutes of all runs together")
    print("\n| protocols | tasks | encoders | mean difference | largest | tau |\n|---|---|---|---|---|---|")
    for first, second in combinations(protocols, 2):
        both = {key[1:] for key in cells if key[0] == first} & {key[1:] for key in cells if key[0] == second}
        if both:
            found = agreement(cells, first, second, both, arguments.resamples)
            tasks, shared = ({pair[k] for pair in both} for k in (0, 1))
            print(
                f"| {first} less {second} | {len(tasks)} | {len(shared)} | {_shown(found.difference, '+.2f')} | "
                f"{found.largest:.1f} | {_shown(found.tau, '.2f')} |"
            )


def read(folder: Path) -> tuple[Cells, Mapping[str, float]]:
    """All predictions below a folder; the seconds of each protocol's runs. Of equal runs the last one counts."""
    cells, seconds = {}, dict[str, float]()
    for run in find_runs(folder):
        protocol, encoder = run.scorecard.protocol["title"], run.scorecard.encoder["name"]
        seconds[protocol] = seconds.get(protocol, 0.0) + run.scorecard.run["wall_seconds"]
        for key in run.keys():  # noqa: SIM118 - a run is no mapping
            cells[protocol, key, encoder] = run.predictions(key)
    return cells, seconds


def agreement(cells: Cells, first: str, second: str, both: set[tuple[str, str]], resamples: int) -> Agreement:
    """Of two protocols over (task, encoder) pairs that both scored."""
    generator = np.random.default_rng(0)
    tasks = sorted({task for task, _ in both})
    drawn = []
    for index in range(resamples + 1):
        differences, taus = list[float](), list[float]()
        for task in tasks:
            encoders = sorted(encoder for name, encoder in both if name == task)
            pairs = [(cells[first, task, encoder], cells[second, task, encoder]) for encoder in encoders]
            rows = resampled(pairs[0][0], generator) if index else np.arange(len(pairs[0][0].clip))
            assert all(one.clip == pairs[0][0].clip for pair in pairs for one in pair), task
            ours, theirs = (np.array([score(pair[k].take(rows)) for pair in pairs]) for k in (0, 1))
            differences.extend(100 * (ours - theirs))
            taus.append(float(kendalltau(ours, theirs).statistic))
        drawn.append((np.mean(differences), np.nanmean(taus), np.abs(differences).max()))
    whole, rest = drawn[0], np.array(drawn[1:])
    low, high = np.percentile(rest[:, :2], [2.5, 97.5], axis=0)
    return Agreement((whole[0], low[0], high[0]), whole[2], (whole[1], low[1], high[1]))


def resampled(predictions: Predictions, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of as many groups as there are, drawn with replacement."""
    _, group = np.unique(np.array(predictions.group), return_inverse=True)
    order, ends = np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))
    parts = np.split(order, ends[:-1])
    return np.concatenate([parts[k] for k in generator.integers(len(parts), size=len(parts))])


def score(predictions: Predictions) -> float:
    """By the task's own metric, 0 to 1."""
    return METRICS[predictions.metric](predictions.for_metric(), predictions.targets())


def _shown(value: tuple[float, float, float], form: str) -> str:
    return f"{value[0]:{form}} [{value[1]:{form}}, {value[2]:{form}}]"


if __name__ == "__main__":
    main()
