"""What objectives over the frames of a wave share: one unaugmented crop of a clip, and a frame told from others.

Source: paper, appendix C: 10 s crops and no augmentation for both; arXiv:1807.03748 for the loss, InfoNCE.
Shapes: B clips, C channels of a frame, n distractors.
Departures: none.
"""

from collections.abc import Iterable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from leveret.contracts import Encoder
from leveret.layers import at_least_float32
from leveret.pretext import CropBatch, Objective, View, Views

E = TypeVar("E", bound=Encoder)


class FrameObjective(Objective):
    """An objective whose one view of a clip is the wave as it is."""

    @torch.no_grad()
    def views(self, batch: CropBatch) -> Views:
        """The one crop of each clip."""
        wave = self.encoder.frontend(batch.waves[:, 0])
        return Views((View(wave, batch.draws.at("view")),), batch.draws.at("loss"))


def required(objective: str, encoder: Encoder, kind: type[E], fitting: Iterable[str]) -> E:
    """The encoder, if it is of the kind that an objective is made for.

    Args:
        objective: Its name.
        fitting: Names of encoders of that kind.

    Raises:
        ValueError: It is of another kind.
    """
    if not isinstance(encoder, kind):
        raise ValueError(
            f"{objective} cannot train a {type(encoder).__name__}: it needs the frames within a network of its own "
            f"kind; choose one of {', '.join(sorted(fitting))}, or another objective for this encoder"
        )
    return encoder


def require_frames(objective: str, crop_seconds: float, samples: int, least: int, why: str) -> None:
    """Refuse crops that are too short.

    Args:
        objective: Its name.
        samples: Of a crop.
        least: Samples that a crop needs.
        why: What for.

    Raises:
        ValueError: A crop has fewer samples.
    """
    if samples < least:
        raise ValueError(
            f"{objective} cannot learn from crops of {crop_seconds:g} s ({samples} samples): {why}; set crop_seconds "
            f"so that a crop has {least} samples or more"
        )


def directions(x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
    """Vectors of length one, in float32 at least; their products are cosines."""
    return F.normalize(at_least_float32(x), dim=-1, eps=1e-8)


def info_nce(positive: Float[Tensor, "*rows"], negatives: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """Minus the log of the share that exp(positive) has in the sum of it and the exp of the negatives.

    Args:
        negatives: Minus infinity where there is none.
    """
    return torch.cat([positive[..., None], negatives], -1).logsumexp(-1) - positive


def ahead(positive: Float[Tensor, "*rows"], negatives: Float[Tensor, "*rows n"]) -> Bool[Tensor, "*rows"]:
    """Where the positive is larger than every negative."""
    return positive > negatives.amax(-1)
