"""What the gradient cache costs over plain steps, and what NT-Xent of 4096 x 2 views costs beside its encoder.

    python benchmarks/gradient_cache.py [--encoder slowfast_nfnet_small] [--seconds 1] [--batch 32] [--micro-batch 8]

SimCLR with float32, forward, loss and backward, without the optimizer, whose pass over the weights is the same for all.
A plain step at a micro-batch is the sum of that many small steps, each with the loss of its own clips: what a user
without the cache would do in the same memory. The cache pays at that micro-batch and at half of it. The share of
NT-Xent is its time by itself, forward and backward in 128 dimensions, over itself and the encoder's step of 4096
clips, which is not run but is 4096 / batch plain steps of `batch` clips. Crops of 1 s make the encoder cheap and the
share large; the paper's have 3 s.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from timing import ratios, table, taken_in_turn

from leveret.draws import of_batch
from leveret.gradient_cache import add_gradients
from leveret.machine import keep_freed_memory
from leveret.objectives.contrast import ntxent
from leveret.pretext import Objective, View, Views
from leveret.training import build_learner
from leveret.training_config import named_config
from leveret.training_folder import TrainingData

MOST_OVERHEAD, MOST_SHARE = 0.35, 0.05
CLIPS, OUT_DIM, TEMPERATURE = 4096, 128, 0.1


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", default="slowfast_nfnet_small")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def views_of(batch: int, num_frames: int, num_mels: int) -> Views:
    """Two views of noise."""
    draws = of_batch(0, 0, 0, batch)
    inputs = tuple(View(torch.randn(batch, 1, num_frames, num_mels), draws.at(n)) for n in range(2))
    return Views(inputs, draws)


def plain(objective: Objective, views: Views, micro_batch: int) -> Callable[[], None]:
    """Each micro-batch by itself, gradients summed."""

    def step() -> None:
        objective.zero_grad()
        for first in range(0, len(views.draws), micro_batch):
            some = slice(first, first + micro_batch)
            add_gradients(objective, Views(tuple(view[some] for view in views.inputs), views.draws[some]))

    return step


def cached(objective: Objective, views: Views, micro_batch: int) -> Callable[[], None]:
    """The whole batch's gradient by micro-batches."""

    def step() -> None:
        objective.zero_grad()
        add_gradients(objective, views, micro_batch=micro_batch)

    return step


def loss_alone() -> Callable[[], None]:
    """NT-Xent and its gradient."""
    one, two = (torch.randn(CLIPS, OUT_DIM, requires_grad=True) for _ in range(2))

    def run() -> None:
        ntxent(one, two, TEMPERATURE)[0].backward()
        one.grad = two.grad = None

    return run


def main() -> None:
    """Time all in turn, print two tables."""
    options = parse()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the command does
    torch.manual_seed(0)
    learner = build_learner(named_config(options.encoder, "simclr"), TrainingData(), torch.device("cpu"))
    batch, micro = options.batch, options.micro_batch
    views = views_of(batch, round(100 * options.seconds), 80)
    base, whole, same, half, alone = (
        f"plain steps of {micro}",
        f"one plain step of {batch}",
        f"cache, micro-batch {micro}",
        f"cache, micro-batch {micro // 2}",
        "NT-Xent",
    )
    candidates = {
        base: plain(learner.objective, views, micro),
        whole: plain(learner.objective, views, batch),
        same: cached(learner.objective, views, micro),
        half: cached(learner.objective, views, micro // 2),
        alone: loss_alone(),
    }
    clock, processor = taken_in_turn(candidates, options.rounds, time.perf_counter, time.process_time)
    over = [ratios(times, base, faster=False) for times in (clock, processor)]
    setting = f"{options.encoder}, {batch} clips x 2 x {options.seconds:g} s, {options.threads} threads"
    print(f"| {setting} | ms | over plain | of the least | CPU ms | over plain | of the least | at most |")
    rows: list[tuple[object, ...]] = []
    for name in (base, whole, same, half):
        (by_clock, by_processor), times = (pairs[name] for pairs in over), (clock[name], processor[name])
        shown = [f"{ratio - 1:+.1%}" for ratio in (*by_clock, *by_processor)]
        target = f"{MOST_OVERHEAD:+.0%}" if name in (same, half) else ""
        rows.append((name, f"{median(times[0]):.0f}", *shown[:2], f"{median(times[1]):.0f}", *shown[2:], target))
    table(rows)
    print(f"\n| NT-Xent of {CLIPS} x 2 | ms | encoder's step of {CLIPS}, s | share | at most |")
    found: list[tuple[object, ...]] = []
    for what, times_of in (("median", clock), ("least", clock), ("CPU, median", processor)):
        fold = min if what == "least" else median
        loss, step = fold(times_of[alone]), fold(times_of[whole]) * CLIPS / batch
        found.append((what, f"{loss:.0f}", step / 1000, f"{loss / (loss + step):.2%}", f"{MOST_SHARE:.0%}"))
    table(found)


if __name__ == "__main__":
    main()
