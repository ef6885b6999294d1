"""A small contrastive objective and endless made-up clips; run as a program, a whole run in a process of its own."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import leveret.distributed as distributed
from leveret.augment import mix
from leveret.collectives import gathered
from leveret.draws import beta_5_2, of_batch
from leveret.pretext import CropBatch, Objective, View, Views
from leveret.registry import look_up
from leveret.replica_norm import across_ranks, has_batch_norm
from leveret.training import Outcome, pretrain
from leveret.training_config import PretrainConfig

BLOCK = 4
SAMPLES = 1600
TEMPERATURE = 0.1


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    crop_seconds: float = 0.1
    width: int = 16

    def build(self, encoder: Any, labels: Any) -> "Toy":
        return Toy(encoder, self.width)


class Toy(Objective):
    """NT-Xent of two mixed crops, negatives from the global batch; keeps a count, as a memory would."""

    crops = 2

    def __init__(self, encoder: Any, width: int) -> None:
        super().__init__()
        self.encoder = across_ranks(encoder)
        self.independent = not has_batch_norm(encoder)
        self.projector = nn.Sequential(nn.Linear(encoder.embed_dim, width), nn.ReLU(), nn.Linear(width, width))
        self.register_buffer("seen", torch.zeros(()))

    def views(self, batch: CropBatch) -> Views:
        inputs = []
        for number in range(self.crops):
            features = self.encoder.frontend(batch.waves[:, number])
            draws = batch.draws.at(number)
            partners = features.unflatten(0, (-1, BLOCK)).roll(1, 1).flatten(0, 1)
            share = torch.from_numpy(beta_5_2(draws, "share")).float().to(features.device)
            inputs.append(View(mix(features, partners, share), draws))
        return Views(tuple(inputs), batch.draws)

    def represent(self, view: View) -> tuple[Tensor]:
        view.draws.key(self.encoder)
        features = self.encoder.prepare(view.features)
        return (self.projector(self.encoder.network(features)),)

    def loss(self, representations: Any, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        one, two = (F.normalize(z, dim=1) for (z,) in representations)
        everything = torch.cat([gathered(one), gathered(two)])
        world, size = distributed.world(), len(one)
        own = torch.arange(size, device=one.device) + world.rank * size
        total, loss = world.size * size, torch.zeros((), dtype=one.dtype, device=one.device)
        for z, here, other in ((one, own, own + total), (two, own + total, own)):
            logits = z @ everything.T / TEMPERATURE
            logits = logits.scatter(1, here[:, None], -torch.inf)
            loss = loss + F.cross_entropy(logits, other) / 2
        return loss, {"alignment": (one * two).sum(1).mean().detach()}

    def after_step(self, step: int) -> None:
        self.seen += 1

    def kept(self) -> dict[str, Tensor]:
        return {"head": self.projector[0].weight}


def toy_batches(batch: int, seed: int = 0, bad_step: int = -1, samples: int = SAMPLES) -> Any:
    """A source of a tone and some noise in each clip."""

    def start(objective: Objective, first_step: int) -> Iterator[CropBatch]:
        world = distributed.world()
        share = batch // world.size
        for step in count(first_step):
            draws = of_batch(seed, step, share * world.rank, share)
            noise = draws.uniform("wave", objective.crops, samples) - 0.5
            pitch = (0.1 + draws.uniform("pitch", 1, 1)) * np.arange(samples)
            waves = torch.from_numpy((0.02 * noise + 0.1 * np.sin(pitch)).astype(np.float32))
            if step == bad_step:
                waves[1, 0, 7] = torch.nan
            yield CropBatch(waves, draws, None, [f"clip{number}.wav" for number in draws.examples])

    return start


def toy_config(**settings: Any) -> PretrainConfig:
    """Eight steps of eight clips unless told otherwise."""
    encoder = settings.pop("encoder", "nfnet_tiny")
    defaults = {"batch": 8, "steps": 8, "rate": 3e-3, "warmup_steps": 2, "log_every": 1, "checkpoint_every": 3}
    return PretrainConfig(
        encoder=encoder, encoder_config=look_up("encoders", encoder), objective="toy", objective_config=ToyConfig(),
        **(defaults | settings),
    )  # fmt: skip


def toy_run(folder: Path, config: PretrainConfig | None = None, bad_step: int = -1, **options: Any) -> Outcome:
    config = config or toy_config()
    return pretrain(config, folder, toy_batches(config.batch, config.seed, bad_step), **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.start()
    done = toy_run(Path(sys.argv[1]), toy_config(**json.loads(sys.argv[2])))
    distributed.leave()
    sys.stdout.write(json.dumps({"step": done.step, "stopped_by": done.stopped_by, "pid": os.getpid()}) + "\n")
