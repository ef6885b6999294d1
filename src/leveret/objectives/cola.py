"""COLA: a crop of a clip finds another crop of it among those of all clips, by a bilinear product.

Source: arXiv:2010.10915 and google-research/google-research, cola/{contrastive,network,data}.py.
Shapes: B clips of this rank, N samples, D embedding.
Departures: the source scales each wave to unit norm and adds noise of deviation 0.001 to the positive; here the noise
is scaled by the wave's norm instead, which is the same signal to noise, and the encoder hears the levels that it will
hear later. The embedding is the encoder's own, not a maximum over the map; the front end is the encoder's too.
Negatives come from the global batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leveret.contracts import Encoder
from leveret.draws import Keyed
from leveret.objectives.contrast import bilinear
from leveret.pretext import CropBatch, Objective, Representation, View, Views, require_settings
from leveret.replica_norm import across_ranks, has_batch_norm

_WEIGHT_STD = 0.05  # Keras's random_normal
_NORM_EPS = 1e-3  # Keras's layer norm


@dataclass(frozen=True, kw_only=True)
class COLAConfig:
    """Settings of COLA.

    Attributes:
        out_dim: Width in which crops are compared.
        noise: Deviation of the noise on the positive, for a wave of norm one.
        global_batch_norm: An encoder's batch norms look at all ranks' examples, not at their own rank's.
    """

    crop_seconds: float = 1.0
    out_dim: int = 512
    noise: float = 0.001
    global_batch_norm: bool = True

    def __post_init__(self) -> None:
        require_settings(self, positive=("out_dim",), not_negative=("noise",))

    def build(self, encoder: Encoder, labels: Sequence[str]) -> "COLA":
        """The encoder with a new head."""
        return COLA(self, encoder)


class COLA(Objective):
    """An anchor and a noisy positive of every clip."""

    crops = 2

    def __init__(self, config: COLAConfig, encoder: Encoder) -> None:
        super().__init__()
        self.crop_seconds = config.crop_seconds
        self.noise = Gaussian(config.noise)
        self.encoder = across_ranks(encoder) if config.global_batch_norm else encoder
        self.independent = not has_batch_norm(encoder)
        dense = nn.Linear(encoder.embed_dim, config.out_dim)
        nn.init.xavier_uniform_(dense.weight)
        nn.init.zeros_(dense.bias)
        self.head = nn.Sequential(dense, nn.LayerNorm(config.out_dim, _NORM_EPS), nn.Tanh())
        self.similarity = nn.Parameter(torch.randn(config.out_dim, config.out_dim) * _WEIGHT_STD)

    def views(self, batch: CropBatch) -> Views:
        """Both crops as raw features, the second with noise."""
        anchor, positive = batch.draws.at(0), batch.draws.at(1)
        positive.key(self.noise)
        noisy = self.noise(batch.waves[:, 1])
        return Views(
            (
                View(self.encoder.frontend(batch.waves[:, 0]), anchor),
                View(self.encoder.frontend(noisy), positive),
            ),
            batch.draws,
        )

    def represent(self, view: View) -> Representation:
        """What the head makes of the embedding (B, out_dim), each number in (-1, 1)."""
        view.draws.key(self)
        return (self.head(self.encoder.embed(view.features)),)

    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Cross-entropy of each anchor over all positives; `accuracy` is the share that find their own."""
        (anchors,), (positives,) = representations
        loss, accuracy = bilinear(anchors, positives, self.similarity)
        return loss, {"accuracy": accuracy}


class Gaussian(Keyed):
    """Adds normal noise in proportion to each wave's norm.

    Args:
        deviation: For a wave of norm one.
    """

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, wave: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """The wave with noise, by Box and Muller's rule."""
        half = -(-wave.shape[1] // 2)
        radius, angle = self.uniform(wave, 2 * half).to(wave.dtype).unflatten(1, (2, half)).unbind(1)
        radius = (-2 * torch.log1p(-radius)).sqrt()  # a draw of 0 is a radius of 0, and 1 is never drawn
        angle = 2 * math.pi * angle
        normal = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, : wave.shape[1]]
        noisy: Tensor = wave + self.deviation * wave.norm(dim=1, keepdim=True) * normal
        return noisy


OBJECTIVES = {"cola": COLAConfig()}
