"""Embedding and a training step of slowfast_nfnet_f0 on a GPU, beside what its matrix units can do.

    python benchmarks/gpu.py [--encoder slowfast_nfnet_f0] [--batch 256] [--train-batch 128] [--rounds 7]

Embedding is from the wave on the GPU to the vector, front end included, 3 s clips. The step is SimCLR's, two views of
each of `train-batch` clips from the wave, network, projector, NT-Xent, backward and Adam, stochastic depth and mixing
on. Their peer is the largest of three products of square bfloat16 matrices, timed in the same rounds; multiply-adds of
the backward pass count as twice those of the forward pass. All are synchronised before the clock is read. "of two" is
the share of its time that the same takes with two clips: near 100 % the GPU waits for the host, which asks for one
small operation after the other, and not for its arithmetic.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from timing import in_turn, table

from leveret.description import macs
from leveret.draws import of_batch
from leveret.gradient_cache import add_gradients
from leveret.inference import for_inference
from leveret.loading import create_encoder
from leveret.optim import PEAK_RATE
from leveret.precision import exact_float32
from leveret.pretext import CropBatch
from leveret.training import build_learner
from leveret.training_config import named_config
from leveret.training_folder import TrainingData

CUDA = torch.device("cuda")
SECONDS, RATE = 3.0, 16_000
SIDES = (4096, 8192, 12288)
VARIANTS = {
    "float32": (torch.float32, False),
    "bfloat16": (torch.bfloat16, False),
    "bfloat16, compiled": (torch.bfloat16, True),
}


def waves(clips: int) -> torch.Tensor:
    """Noise of SECONDS, on the GPU."""
    generator = torch.Generator(CUDA).manual_seed(0)
    return 0.1 * torch.randn(clips, round(SECONDS * RATE), device=CUDA, generator=generator)


def synchronised(function: Callable[[], object]) -> Callable[[], None]:
    """It as leveret has it done, float32 without TF32, and waiting for what it began."""

    def run() -> None:
        with exact_float32():
            function()
        torch.cuda.synchronize()

    return run


def products() -> dict[str, Callable[[], None]]:
    """Products of square bfloat16 matrices."""
    found = {}
    for side in SIDES:
        one = torch.randn(side, side, device=CUDA, dtype=torch.bfloat16)
        found[f"product {side}"] = synchronised(lambda one=one: one @ one)
    return found


def embedding(name: str, dtype: torch.dtype, compiled: bool, batch: int) -> Callable[[], None]:
    """A batch from wave to vector."""
    network = for_inference(create_encoder(name, 0).to(CUDA), dtype=dtype, compile=compiled)
    clips = waves(batch)

    def run() -> None:
        with torch.inference_mode():
            network(clips)

    return synchronised(run)


def training(name: str, dtype: torch.dtype, compiled: bool, batch: int) -> Callable[[], None]:
    """A whole step but for reading, at the batch of the recipe's micro-batches."""
    config = replace(named_config(name, "simclr", compile=compiled), batch=batch)
    learner = build_learner(config, TrainingData(), CUDA)
    crops = torch.stack([waves(batch), waves(batch).roll(1, 0)], 1)
    names = [str(number) for number in range(batch)]

    def run() -> None:
        with torch.no_grad():
            views = learner.objective.views(CropBatch(crops, of_batch(0, 0, 0, batch), None, names))
        learner.optimizer.zero_grad()
        add_gradients(learner.objective, views, dtype=dtype)
        with torch.no_grad():
            learner.optimizer.step(PEAK_RATE)

    return synchronised(run)


def main() -> None:
    """Time both against matrix products and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="slowfast_nfnet_f0")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--train-batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    giga = macs(create_encoder(options.encoder, 0), SECONDS) / 1e9
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {options.encoder}: {giga:.2f} GMACs a 3 s clip")
    print("| what | clips a second | GMACs a second | matrix product | share | of two | GiB |")
    rows = []
    for what, make, clips, passes in (
        ("embed", embedding, options.batch, 1),
        ("train", training, options.train_batch, 6),
    ):
        for variant, (dtype, compiled) in VARIANTS.items():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            runs = {"it": make(options.encoder, dtype, compiled, clips)}
            runs["it"]()
            runs["it"]()
            memory = torch.cuda.max_memory_allocated() / 2**30
            if not compiled:  # it would be minutes more, and has few operations
                runs["two"] = make(options.encoder, dtype, compiled, 2)
            taken = in_turn(runs | products(), options.rounds)
            best = max(side**3 / 1e6 / taken[f"product {side}"] for side in SIDES)
            speed = 1e3 * clips / taken["it"]
            rows.append((f"{what}, {variant}", speed, speed * giga * passes, best,
                         f"{100 * speed * giga * passes / best:.1f} %",
                         f"{100 * taken['two'] / taken['it']:.0f} %" if "two" in taken else "", memory))  # fmt: skip
            del runs
    table(rows)


if __name__ == "__main__":
    main()
