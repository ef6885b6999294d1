"""Two steps of every objective with tiny networks; run as a program, one rank of several does its share of them."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import leveret.distributed as distributed
from leveret.draws import of_batch
from leveret.frontend import LogMel
from leveret.pretext import CropBatch, Objective
from leveret.registry import entries

LABELS = ("low", "high", "noisy")
CLIPS = 32

ENCODERS = {"cpc": "bidir_cpc_tiny", "wav2vec2": "wav2vec2_tiny"}
"""Objectives that want a certain encoder; all others get one with stochastic depth."""

SETTINGS: dict[str, dict[str, Any]] = {
    "byola": {"hidden": 32, "out_dim": 16, "memory": 48},
    "cola": {"out_dim": 32},
    "cpc": {"crop_seconds": 0.6},
    "simclr": {"hidden": (32, 32), "out_dim": 16},
    "wav2vec2": {"crop_seconds": 0.6},
}
"""Sizes for a test, beside a crop of 0.3 s."""

WITH_BATCH_NORM = ("cola", "simclr", "supervised")
"""Objectives that also run on an encoder with batch norm, as BYOL-A always does."""

CASES = {name: (name, ENCODERS.get(name, "nfnet_tiny")) for name in entries("objectives")}
CASES |= {"byola": ("byola", "byola_cnn_dataset_tiny")}
CASES |= {f"{name} with batch norm": (name, "byola_cnn_tiny") for name in WITH_BATCH_NORM}


def built(case: str) -> Objective:
    """In training mode, with no parameter of the encoder zero, so that what starts switched off takes part."""
    name, encoder_name = CASES[case]
    torch.manual_seed(0)
    encoder = entries("encoders")[encoder_name].build()
    with torch.no_grad():
        for parameter in encoder.parameters():
            if not parameter.any():
                parameter.copy_(0.5 + 0.1 * torch.randn(parameter.shape))
    config = dataclasses.replace(entries("objectives")[name], **({"crop_seconds": 0.3} | SETTINGS.get(name, {})))
    objective = config.build(encoder, LABELS)
    assert isinstance(objective, Objective)
    return objective.train()


def clips(objective: Objective, step: int = 0, count: int = CLIPS, first: int = 0, seed: int = 0) -> CropBatch:
    """Crops of clips that each have a pitch of their own."""
    draws = of_batch(seed, step, first, count)
    time = torch.arange(round(objective.crop_seconds * objective.encoder.sample_rate)) / objective.encoder.sample_rate
    noise = torch.from_numpy(draws.uniform("noise", objective.crops, len(time)) - 0.5)
    pitch = torch.from_numpy(200 + 3000 * draws.uniform("pitch", 1, 1))
    waves = (0.1 * torch.sin(2 * torch.pi * pitch * time) + 0.05 * noise).float()
    targets = torch.from_numpy(draws.uniform("targets", len(LABELS)) < 0.4).float() if objective.needs_labels else None
    return CropBatch(waves, draws, targets, [f"{number}.wav" for number in draws.examples])


def two_steps(case: str) -> dict[str, Tensor]:
    """In float64, where no rounding is taken for a mistake: two steps without an optimizer, over all ranks.

    Returns:
        Losses, the gradient of the second step, and the buffers.
    """
    objective = built(case).double()
    for module in objective.modules():
        if isinstance(module, LogMel):
            module.float()
    world = distributed.world()
    share = CLIPS // world.size
    found = {}
    for step in range(2):
        objective.zero_grad()
        loss, _ = objective(clips(objective, step, share, world.rank * share))
        loss.backward()
        found[f"loss {step}"] = over_ranks(loss.detach())
        objective.after_step(step)
    for name, parameter in objective.named_parameters():
        if parameter.grad is not None:
            found[f"gradient {name}"] = over_ranks(parameter.grad)
    return found | {f"buffer {name}": buffer for name, buffer in objective.named_buffers()}


def over_ranks(tensor: Tensor) -> Tensor:
    """The mean."""
    size = distributed.world().size
    if size > 1:
        torch.distributed.all_reduce(tensor)
    return tensor / size


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.start()
    results = {case: two_steps(case) for case in CASES}
    torch.save(results, Path(sys.argv[1]) / f"rank{os.environ['RANK']}.pt")
    distributed.leave()
