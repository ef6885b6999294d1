"""Crops a second of the loader against what a training step of the small encoder consumes, in turn, on two cores.

    python benchmarks/loader.py [CORPUS] [--rounds 5]

CORPUS is what `leveret shards pack` takes, by default the development audio beside the checkout. The step is forward,
loss and backward of `slowfast_nfnet_small` on 1 s crops without reading, on one thread and counted twice, as if two
cores trained twice as fast; the loader has two workers and nobody who waits for it. The target is 20 times the crops
that the step consumes.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import torch

from leveret.corpora.opening import open_corpus
from leveret.corpora.streaming import crop_batches
from leveret.loading import create_encoder

BATCH, BATCHES, STEP_CROPS, CORES, TARGET = 64, 10, 16, 2, 20
DEV = Path(__file__).parents[2] / "shared" / "data" / "dev" / "manifest.csv"


def main() -> None:
    """Time both and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", nargs="?", default=f"manifest:{DEV}")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = create_encoder("slowfast_nfnet_small").train()
    waves = 0.1 * torch.randn(STEP_CROPS, encoder.sample_rate)

    def step() -> float:
        started = perf_counter()
        encoder.zero_grad()
        encoder(waves).square().mean().backward()
        return CORES * STEP_CROPS / (perf_counter() - started)

    corpus = open_corpus(options.corpus)
    rate = encoder.sample_rate
    with crop_batches(corpus, batch=BATCH, crops=2, crop_samples=rate, sample_rate=rate, seed=0, workers=2) as stream:

        def read() -> float:
            for _ in range(stream.ahead + 1):  # what was read while the step was timed
                next(stream)
            started = perf_counter()
            for _ in range(BATCHES):
                next(stream)
            delivered = BATCHES * 2 * BATCH / (perf_counter() - started)
            sleep(1.0)  # until what is read ahead is there, and the loader rests
            return delivered

        step(), read()
        rounds = [(step(), read()) for _ in range(options.rounds)]
    consumed, delivered = (median(column) for column in zip(*rounds, strict=True))
    print("| step, crops/s | loader, crops/s | ratio | target |\n|---|---|---|---|")
    print(f"| {consumed:.1f} | {delivered:.0f} | {delivered / consumed:.1f} | {TARGET} |")


if __name__ == "__main__":
    main()
