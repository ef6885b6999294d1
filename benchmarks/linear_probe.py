"""The linear probe against a plain DataLoader loop: steps a second, one head and eight at once.

    python benchmarks/linear_probe.py                 # interleaved rounds, about five minutes
    python benchmarks/linear_probe.py --full          # and the whole 400,000 steps, a few minutes more

Every round runs each candidate once on the same vectors in memory (D = 1728, K = 50, batch 64, float32), one thread,
in one process; the table gives medians of CPU time over the rounds, so that other work on the machine shows less. What
eight heads cost is divided by eight.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from leveret.contracts import Table
from leveret.optim import learning_rate
from leveret.probes.linear import LinearNetwork, LinearProbe
from leveret.probes.trainer import train

PAPER_STEPS = 400_000
TARGETS = {"ours": 1.7, "ours, 8 seeds": 2.3, "ours, 8 rates": 2.3}


def make_table(num_clips: int, embed_dim: int, num_classes: int) -> Table:
    """Clouds of one row a clip."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(num_classes, (num_clips,), generator=generator)
    X = torch.randn(num_clips, embed_dim, generator=generator)
    X += 0.1 * torch.randn(num_classes, embed_dim, generator=generator)[targets]
    clips = torch.arange(num_clips)
    return Table(X, clips, targets, clips, num_classes)


def naive(table: Table, probe: LinearProbe) -> None:
    """What one would write first: DataLoader, nn.Linear, torch.optim.Adam, LambdaLR."""
    assert isinstance(table.targets, torch.Tensor)
    dataset = TensorDataset(table.X, table.targets)
    sampler = RandomSampler(dataset, replacement=True, num_samples=probe.batch * probe.steps)
    layer = nn.Linear(table.X.shape[1], table.num_classes)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, probe.steps, probe.peak_rate, probe.warmup_steps)
    )
    for X, targets in DataLoader(dataset, batch_size=probe.batch, sampler=sampler):
        loss = nn.functional.cross_entropy(layer(X), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def eight_rates(table: Table, probe: LinearProbe) -> None:
    """Eight heads that share their draws."""
    rates = [probe.peak_rate * 2.0**power for power in range(-4, 4)]
    train(LinearNetwork, table, seeds=(0,), peak_rates=rates, batch=probe.batch, steps=probe.steps)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4096, help="of each candidate in each round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--full", action="store_true", help="also run all 400,000 steps of one head")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = make_table(arguments.clips, embed_dim=1728, num_classes=50)
    probe = LinearProbe(steps=arguments.steps, check_rates=False)
    # Candidates of eight heads take fewer steps: a head-step is what is compared.
    short = replace(probe, steps=max(256, arguments.steps // 4))
    candidates: dict[str, tuple[Callable[[], object], int]] = {
        "DataLoader + nn.Linear + Adam": (partial(naive, table, probe), probe.steps),
        "ours": (partial(probe.fit, table, None), probe.steps),
        "ours, 8 seeds": (partial(replace(short, seeds=tuple(range(8))).fit, table, None), 8 * short.steps),
        "ours, 8 rates": (partial(eight_rates, table, short), 8 * short.steps),
    }
    microseconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(arguments.rounds):
        for name, (work, head_steps) in candidates.items():
            microseconds[name].append(1e6 * cpu_seconds(work) / head_steps)
    base = microseconds["DataLoader + nn.Linear + Adam"]
    print("| one head | CPU us a step | times as fast (median of rounds) | target | CPU s for 400k steps |")
    print("|---|---|---|---|---|")
    for name, values in microseconds.items():
        ratio = median(slow / fast for slow, fast in zip(base, values, strict=True))
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        seconds = median(values) * PAPER_STEPS / 1e6
        print(f"| {name} | {median(values):.0f} | {ratio:.2f} | {target} | {seconds:.0f} |")
    if arguments.full:
        paper, start = replace(probe, steps=PAPER_STEPS), time.perf_counter()
        seconds = cpu_seconds(lambda: paper.fit(table, None))
        print(f"\nall {PAPER_STEPS} steps of one head: {seconds:.0f} s CPU, {time.perf_counter() - start:.0f} s wall")


if __name__ == "__main__":
    main()
