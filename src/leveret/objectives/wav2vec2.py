"""wav2vec 2.0 with continuous targets: hidden frames are told from other hidden frames of the same clip.

Source: arXiv:2006.11477 and fairseq's wav2vec2.py with its base configuration; paper, appendix C: "both continuous
inputs and targets".
Shapes: B clips, T frames of 20 ms, S places where a span may begin, M masked frames of each clip, C channels of a
latent, n distractors.
Departures: no quantizer, so no diversity term. The source draws as many spans for every clip, then unmasks single
frames until all clips of a GPU's batch have as many masked ones as the least. Here the number M is what those spans
cover on average, and every clip draws spans until it has M, the last one cut: a clip's mask does not depend on its
batch, and no span has holes. A span may end with the clip, as in transformers; in fairseq the last frame is never
masked. Everything that is dropped is drawn by example, weights of the attention too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from leveret.contracts import Encoder
from leveret.draws import Draws
from leveret.encoders.wav2vec2 import ENCODERS, Wav2Vec2
from leveret.layers import Dropout, at_least_float32
from leveret.objectives.frames import FrameObjective, ahead, directions, info_nce, require_frames, required
from leveret.pretext import Representation, View, Views, require_settings


@dataclass(frozen=True, kw_only=True)
class MaskedFramesConfig:
    """Settings of masks and loss.

    Attributes:
        crop_seconds: One crop a clip.
        span: Frames that are masked together.
        masked_share: Of all frames, if spans did not overlap.
        num_negatives: Distractors of each masked frame, drawn with replacement.
        temperature: Divides the cosines.
        dim: Of the space in which predictions and targets meet.
        target_dropout: Of the latents that become targets.
        penalty: Weight of the mean square of the last convolution.
        conv_gradient: The convolutions' gradient is multiplied by it.
    """

    crop_seconds: float = 10.0
    span: int = 10
    masked_share: float = 0.65
    num_negatives: int = 100
    temperature: float = 0.1
    dim: int = 256
    target_dropout: float = 0.1
    penalty: float = 10.0
    conv_gradient: float = 0.1

    def __post_init__(self) -> None:
        require_settings(
            self,
            positive=("span", "num_negatives", "temperature", "dim"),
            not_negative=("penalty", "conv_gradient"),
            shares=("masked_share", "target_dropout"),
        )

    def build(self, encoder: Encoder, labels: Sequence[str]) -> "MaskedFrames":
        """The encoder with both projections, freshly drawn.

        Raises:
            ValueError: It is no wav2vec 2.0, or a crop is shorter than two spans.
        """
        return MaskedFrames(self, required("wav2vec2", encoder, Wav2Vec2, ENCODERS))


class MaskedFrames(FrameObjective):
    """A wav2vec 2.0 with the projections of its predictions and targets.

    A representation is (predictions of the masked frames (B, M, dim), their targets (B, M, dim), the mean square of the
    last convolution (B,)).
    """

    encoder: Wav2Vec2

    def __init__(self, config: MaskedFramesConfig, encoder: Wav2Vec2) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.crop_seconds = config.crop_seconds
        require_frames(
            "wav2vec2", config.crop_seconds, round(config.crop_seconds * encoder.sample_rate),
            encoder.min_samples + (2 * config.span - 1) * encoder.hop, f"it masks spans of {config.span} frames",
        )  # fmt: skip
        self.target_dropout = Dropout(config.target_dropout)
        self.target_projection = nn.Linear(encoder.channels, config.dim)
        self.projection = nn.Linear(encoder.embed_dim, config.dim)

    def represent(self, view: View) -> Representation:
        """Predictions and targets of the masked frames, and what the penalty is taken of."""
        view.draws.key(self)
        convolved = self.encoder.convolved(self.encoder.prepare(view.features))
        convolved = _ScaledGradient.apply(convolved, self.config.conv_gradient)
        penalty = at_least_float32(convolved).square().mean((1, 2))
        latents = self.encoder.latents(convolved)
        num_frames = latents.shape[1]
        count = num_masked(num_frames, self.config.span, self.config.masked_share)
        places = masked_places(view.draws, num_frames, self.config.span, count).to(latents.device)
        mask = torch.zeros(latents.shape[:2], dtype=torch.bool, device=latents.device).scatter_(1, places, True)
        hidden = self.encoder.transformed(latents, mask, self._kept_layers(view.draws).to(latents.device))
        targets = self.target_dropout(latents)
        rows = torch.arange(len(latents), device=latents.device)[:, None]
        return self.projection(hidden[rows, places]), self.target_projection(targets[rows, places]), penalty

    def _kept_layers(self, draws: Draws) -> Bool[Tensor, "L"]:
        """The same ones for the whole step."""
        num_layers = len(self.encoder.blocks)
        if not self.training:
            return torch.ones(num_layers, dtype=torch.bool)
        return torch.from_numpy(draws.shared("layers", num_layers) >= self.encoder.layer_drop)

    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean over all masked frames, which every clip has as many of, and the weighted penalty."""
        ((predictions, targets, squares),) = representations
        others = distractors(views.draws, targets.shape[1], self.config.num_negatives).to(targets.device)
        with torch.autocast(targets.device.type, enabled=False):
            cosines = directions(predictions) @ directions(targets).mT / self.config.temperature  # (B, M, M)
        positive = cosines.diagonal(dim1=1, dim2=2)
        negatives = cosines.gather(2, others).masked_fill(equal_targets(targets.detach(), others), -torch.inf)
        contrast, penalty = info_nce(positive, negatives).mean(), self.config.penalty * squares.mean()
        right = ahead(positive, negatives).to(contrast.dtype).mean()
        logs = {"contrast": contrast, "penalty": penalty, "accuracy": right}
        return contrast + penalty, {name: value.detach() for name, value in logs.items()}


def num_masked(num_frames: int, span: int, share: float) -> int:
    """Frames that num_frames x share / span spans cover on average, beginning at different places.

    The number of spans is rounded up as often as its fraction says; there are two at least.
    """
    starts = num_frames - span + 1
    wanted = max(2.0, share * num_frames / span)
    frames = np.arange(num_frames)
    covering = np.minimum(frames, starts - 1) - np.maximum(frames - span + 1, 0) + 1  # starts of spans over a frame
    bare = []
    for num_spans in (int(wanted), int(wanted) + 1):
        draw = np.arange(span)[:, None]  # the chance that none of the starts over a frame is among those drawn
        chances = np.clip((starts - num_spans - draw) / np.maximum(starts - draw, 1), 0, 1)
        bare.append(np.where(draw < covering, chances, 1.0).prod(0).sum())
    fraction = wanted - int(wanted)
    return round(float(num_frames - (1 - fraction) * bare[0] - fraction * bare[1]))


def masked_places(draws: Draws, num_frames: int, span: int, count: int) -> Int[Tensor, "B M"]:
    """The masked frames of each clip in order: spans at random starts, until `count` frames are covered."""
    starts = num_frames - span + 1
    order = draws.uniform("spans", starts).argsort(1).argsort(1)  # when each start has its turn (B, S)
    beyond = np.full((len(draws), span - 1), starts)
    turns = np.concatenate([beyond, order, beyond], 1)
    covered = np.lib.stride_tricks.sliding_window_view(turns, span, axis=1).min(2)  # by the turn of a frame (B, T)
    first = (covered * num_frames + np.arange(num_frames)).argsort(1)[:, :count]
    return torch.from_numpy(np.sort(first, 1))


def distractors(draws: Draws, count: int, num: int) -> Int[Tensor, "B M n"]:
    """For each of `count` masked frames the numbers of `num` others, each as likely."""
    others: NDArray[np.int64] = (draws.uniform("negatives", count, num) * (count - 1)).astype(np.int64)
    return torch.from_numpy(others + (others >= np.arange(count)[:, None]))


def equal_targets(targets: Float[Tensor, "B M C"], others: Int[Tensor, "B M n"]) -> Bool[Tensor, "B M n"]:
    """Where a distractor is the same vector as the frame's own, as in digital silence."""
    rows = torch.arange(len(targets), device=targets.device)[:, None, None]
    equal = targets[:, :, :1] == targets[rows, others, 0]
    # few agree in the first number; comparing all of them would take as much memory as the distractors themselves
    clips, frames, which = equal.nonzero(as_tuple=True)
    equal[clips, frames, which] = (targets[clips, frames] == targets[clips, others[clips, frames, which]]).all(1)
    return equal


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


OBJECTIVES = {"wav2vec2": MaskedFramesConfig()}
