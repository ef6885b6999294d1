"""How far does each architecture get untrained? Freshly drawn weights scored by `quick`, with the time of a clip.

    python experiments/random_encoders.py run MANIFEST RUNS [--only resnet50 vit_base] [--dtype bfloat16] [--minutes 70]
    python experiments/random_encoders.py table RUNS

`run` scores one encoder after the other on one thread, the cheapest first, each task with the manifest's own crop. What
is there is not done again, an evaluation that was stopped goes on (its time then counts from there), and vectors are
removed once they are scored. Times are processor time, which other work on the machine changes less than it changes the
time on the clock. `table` prints what is done, as Markdown.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree
from statistics import fmean, median

import torch

from leveret.batches import Batch
from leveret.loading import load_encoder
from leveret.results import domain_means
from leveret.runner import Compute, Network
from leveret.runs import Run, find_runs
from leveret.stimuli import noise

ENCODERS = (
    "melstats", "byola_cnn_64mels", "byola_cnn", "efficientnet_b0", "resnet50", "nf_resnet50",
    "slowfast_resnet50_no_norm", "slowfast_resnet50", "slowfast_nf_resnet50", "slowfast_resnet50_ln",
    "slowfast_resnet50_in", "vit_base", "cnn14", "slowfast_nfnet_f0", "slowfast_nfnet_f0_table5", "nfnet_f0",
    "bidir_cpc", "wav2vec2_base", "slowfast_nfnet_f0_slow_only", "slowfast_nfnet_f0_no_fusion",
    "slowfast_nfnet_f0_plain",
)  # fmt: skip
SECONDS = (1, 5)
"""Lengths of the clips that are timed."""

BATCH = 32
COSTS = "costs.json"


def main() -> None:
    """Score, or print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("manifest", type=Path)
    run.add_argument("runs", type=Path)
    run.add_argument("--only", nargs="+", default=ENCODERS, choices=ENCODERS)
    run.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    run.add_argument("--minutes", type=float, default=float("inf"), help="after so many of a core none is begun")
    table = verbs.add_parser("table")
    table.add_argument("runs", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "table":
        print(told(arguments.runs))
        return
    torch.set_num_threads(1)
    spent = 0.0
    for name in arguments.only:
        if spent > 60 * arguments.minutes:
            print(f"{name}: left out, {spent / 60:.0f} minutes of a core are spent", flush=True)
            continue
        folder = arguments.runs / name
        if not (folder / COSTS).exists():
            score(name, arguments.manifest, folder, arguments.dtype)
        costs = json.loads((folder / COSTS).read_text())
        spent += costs["cpu_seconds"]
        print(f"{name}: {costs}", flush=True)


def score(name: str, manifest: Path, folder: Path, dtype: str) -> None:
    """One encoder: its times first, since a stopped command starts here again."""
    folder.mkdir(parents=True, exist_ok=True)
    costs = {str(seconds): milliseconds(name, dtype, seconds) for seconds in SECONDS}
    home = folder / "home"
    command = ["evaluate", "--encoder", name, "--tasks", f"manifest:{manifest}", "--protocol", "quick", "--no-floor"]
    command += ["--dtype", dtype, "--threads", "1", "-o", str(folder)]
    before = cpu_seconds()
    subprocess.run(
        [sys.executable, "-m", "leveret", *command], check=True, env=os.environ | {"LEVERET_HOME": str(home)}
    )
    costs["cpu_seconds"] = cpu_seconds() - before
    rmtree(home)
    (folder / COSTS).write_text(json.dumps(costs))


def cpu_seconds() -> float:
    """Of all commands so far that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def milliseconds(name: str, dtype: str, seconds: int) -> float:
    """A clip from its wave to its vector, in a batch: the median of three, after one that does not count."""
    network = Network(load_encoder(name), Compute(device="cpu", dtype=dtype, threads=1))
    rate = network.loaded.encoder.sample_rate
    samples = seconds * rate
    batch = Batch(0, {rate: torch.from_numpy(noise(5, BATCH * samples).reshape(BATCH, samples))})
    return median([_seconds(lambda: network.vectors(batch, [None])) for _ in range(4)][1:]) * 1e3 / BATCH


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def told(runs: Path) -> str:
    """The table of all that is done."""
    heads = ["encoder", "mean of 13", "environment", "speech", "music", "width"]
    heads += [f"ms a clip of {seconds} s" for seconds in SECONDS] + ["ms a clip of the run", "minutes of the run"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name in ENCODERS:
        path = runs / name / COSTS
        if path.exists():
            lines.append(_row(name, find_runs(runs / name)[-1], json.loads(path.read_text())))
    return "\n".join(lines)


def _row(name: str, run: Run, costs: Mapping[str, float]) -> str:
    tasks = run.scorecard.tasks
    scores = [fmean(task.score for task in tasks), *domain_means(tasks).values()]
    clips = sum(sum(task.clips.values()) for task in tasks)
    cells = [f"`{name}`", *(f"{100 * value:.1f}" for value in scores), str(run.scorecard.encoder["embed_dim"])]
    cells += [f"{costs[str(seconds)]:.1f}" for seconds in SECONDS]
    cells += [f"{1000 * costs['cpu_seconds'] / clips:.1f}", f"{costs['cpu_seconds'] / 60:.1f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
