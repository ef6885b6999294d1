"""What a training step of the six networks of the paper's table 3 costs, each against SlowFast ResNet50.

    python benchmarks/networks.py [--rounds 5] [--batch 8] [--frames 300] [--mels 80] [--threads 2]

The step is forward and backward of the encoder in training mode, stochastic depth on. The optimizer's pass over the
weights is left out, which at the paper's batch of 4096 is nothing and at 8 is much, and so is the projector, the same
for all. The paper's column is table 3's time of "a full training step on TPU" v3. All in one process, in turn; under
load the ratios of processor time say more, and OMP_WAIT_POLICY=passive has waiting threads sleep instead of spinning.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from timing import ratios, table, taken_in_turn

from leveret.loading import create_encoder
from leveret.machine import keep_freed_memory

PAPER_MS = {
    "slowfast_resnet50_no_norm": 131.1,
    "slowfast_resnet50": 188.0,
    "slowfast_resnet50_ln": 203.7,
    "slowfast_resnet50_in": 207.9,
    "slowfast_nf_resnet50": 158.0,
    "slowfast_nfnet_f0": 280.9,
}
BASE = "slowfast_resnet50"


def step_of(name: str, features: torch.Tensor) -> Callable[[], None]:
    """Forward and backward of a new encoder."""
    encoder = create_encoder(name).to(memory_format=torch.channels_last).train()

    def step() -> None:
        encoder.zero_grad()
        encoder.embed(features).square().mean().backward()

    return step


def main() -> None:
    """Time all in turn, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--mels", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the command does
    torch.manual_seed(0)
    features = torch.randn(options.batch, 1, options.frames, options.mels)
    steps = {name: step_of(name, features) for name in PAPER_MS}
    clock, processor = taken_in_turn(steps, options.rounds, time.perf_counter, time.process_time)
    by_clock, by_processor = ratios(clock, BASE, faster=False), ratios(processor, BASE, faster=False)
    setting = f"{options.batch} x {options.frames} x {options.mels}, {options.threads} threads"
    print(f"| {setting} | ms | x BN | of the least | CPU ms | x BN | of the least | paper, x BN |")
    rows = []
    for name, paper_ms in PAPER_MS.items():
        wall, cpu = (f"{median(times[name]):.0f}" for times in (clock, processor))
        rows.append((name, wall, *by_clock[name], cpu, *by_processor[name], paper_ms / PAPER_MS[BASE]))
    table(rows)


if __name__ == "__main__":
    main()
