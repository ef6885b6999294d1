"""The MLP probe against a plain DataLoader loop: processor time of a step.

    python benchmarks/mlp_probe.py

As linear_probe.py: every round runs each candidate once on the same vectors in memory (D = 1728, 512 hidden units,
K = 527 sigmoids, batch 128, float32), one thread, in one process; medians of CPU time over the rounds.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from timing import in_turn, table
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from leveret.contracts import Table
from leveret.optim import learning_rate
from leveret.probes.mlp import MlpProbe

STEPS = 256
ROUNDS = 5


def make_table(num_clips: int = 10_000, embed_dim: int = 1728, num_classes: int = 527) -> Table:
    """Noise with about two labels a clip, one row each."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(num_clips, embed_dim, generator=generator)
    targets = (torch.rand(num_clips, num_classes, generator=generator) < 2 / num_classes).float()
    clips = torch.arange(num_clips)
    return Table(X, clips, targets, clips, num_classes)


def naive(data: Table, probe: MlpProbe) -> None:
    """What one would write first: DataLoader, nn.Sequential, torch.optim.Adam, LambdaLR."""
    dataset = TensorDataset(data.X, data.targets)
    sampler = RandomSampler(dataset, replacement=True, num_samples=probe.batch * probe.steps)
    network = nn.Sequential(
        nn.Linear(data.X.shape[1], probe.hidden), nn.ReLU(), nn.Linear(probe.hidden, data.num_classes)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, probe.steps, probe.peak_rate, probe.warmup_steps)
    )
    for X, targets in DataLoader(dataset, batch_size=probe.batch, sampler=sampler):
        loss = nn.functional.binary_cross_entropy_with_logits(network(X), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    data = make_table()
    probe = MlpProbe(steps=STEPS, check_rates=False)
    base = "DataLoader + nn.Sequential + Adam"
    candidates: dict[str, Callable[[], object]] = {
        base: partial(naive, data, probe),
        "leveret": partial(probe.fit, data, None),
    }
    found = in_turn(candidates, ROUNDS, time.process_time)
    print("| one MLP | CPU ms a step | times as fast | CPU min for 200k steps |")
    table(
        [[name, taken / STEPS, found[base] / taken, taken / STEPS * 200_000 / 60_000] for name, taken in found.items()]
    )


if __name__ == "__main__":
    main()
