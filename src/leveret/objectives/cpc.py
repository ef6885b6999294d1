"""Bidirectional CPC: each frame's past foretells the frames that follow, its future the frames before.

Source: paper, section 3.1 and appendix C, which cite Wang, Kawakami and van den Oord 2020 (arXiv:2009.07543), from
published notes on it; InfoNCE from arXiv:1807.03748, twelve linear predictions from wav2vec (arXiv:1904.05862 and
fairseq's wav2vec.py).
Shapes: B clips, W ranks, T frames of 20 ms, C channels of a latent, D of a context, P predicted frames, n negatives.
Departures: the paper's size, 38m, has other explanations (encoders/bidir_cpc.py); the notes' hidden layer before the
similarity is not here, which would add 0.5m, nor is the adversary, since the paper has no augmentation. Similarity and
number of negatives are not in the paper: the product over sqrt(C), and 100. The notes have a cosine; at a temperature
of 0.1 it punishes a beginner for latents that differ, so that within twenty steps all become one and stay so for
hundreds: `similarity="cosine"`. A clip's negatives serve all of its frames, steps and both directions, so that they
cost a product of matrices; drawn for each frame anew, a batch of 256 clips would move 26 GB of them at a step. Half lie
in other clips, half in its own, as wav2vec's do: from frames of other clips alone a true one is told by what never
changes within a clip, and a network that learns nothing else falls behind its random weights.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import leveret.distributed as distributed
from leveret.collectives import gathered
from leveret.contracts import Encoder
from leveret.draws import Draws
from leveret.encoders.bidir_cpc import ENCODERS, BidirCPC
from leveret.layers import at_least_float32
from leveret.objectives.frames import FrameObjective, ahead, directions, info_nce, require_frames, required
from leveret.pretext import Representation, View, Views, require_settings


@dataclass(frozen=True, kw_only=True)
class CPCConfig:
    """Settings of the loss.

    Attributes:
        crop_seconds: One crop a clip.
        steps: Frames that are foretold in each direction.
        first_step: Distance of the first of them. As in wav2vec's program the first that shares no sample with the
            frame at hand: 3, for latents that see 955 samples every 320.
        num_negatives: Frames of other clips that a true one is told from.
        num_own_negatives: Frames of the same clip that it is told from as well.
        similarity: Of a frame and its prediction: their product as in wav2vec, over sqrt(C), or their cosine.
        temperature: Divides the cosines.
    """

    crop_seconds: float = 10.0
    steps: int = 12
    first_step: int = 3
    num_negatives: int = 100
    num_own_negatives: int = 100
    similarity: Literal["product", "cosine"] = "product"
    temperature: float = 0.1

    def __post_init__(self) -> None:
        require_settings(
            self, positive=("steps", "first_step", "num_negatives", "temperature"), not_negative=("num_own_negatives",)
        )

    def build(self, encoder: Encoder, labels: Sequence[str]) -> "CPC":
        """The encoder with its predictions, freshly drawn.

        Raises:
            ValueError: It is no Bidir-CPC, or a crop has no frame so far ahead.
        """
        return CPC(self, required("cpc", encoder, BidirCPC, ENCODERS))


class CPC(FrameObjective):
    """A Bidir-CPC with a linear prediction for each step and direction.

    A representation is (latents (B, T, C), what the past gives (B, T, D), what the future gives (B, T, D)).
    """

    encoder: BidirCPC

    def __init__(self, config: CPCConfig, encoder: BidirCPC) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.crop_seconds = config.crop_seconds
        reach = config.first_step + config.steps - 1
        require_frames(
            "cpc", config.crop_seconds, round(config.crop_seconds * encoder.sample_rate),
            encoder.min_samples + reach * encoder.hop, f"it foretells frames up to {reach * encoder.hop} samples ahead",
        )  # fmt: skip
        self.past_heads, self.future_heads = (
            nn.ModuleList(nn.Linear(encoder.context_dim, encoder.channels) for _ in range(config.steps))
            for _ in range(2)
        )

    def represent(self, view: View) -> Representation:
        """Latents and the contexts of both directions."""
        latents = self.encoder.latents(self.encoder.prepare(view.features))
        *_, (past, future) = self.encoder.contexts(latents)
        return tuple(value.transpose(1, 2) for value in (latents, past, future))

    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The sum of both directions' means over all predictions of this rank's clips."""
        ((latents, past, future),) = representations
        targets = self._comparable(latents)
        others = self._others(targets, views.draws)
        own = self._own(targets, views.draws)
        forth, forth_ahead = self._direction(self.past_heads, past, targets, others, own)
        last = targets.shape[1] - 1
        back, back_ahead = self._direction(self.future_heads, future.flip(1), targets.flip(1), others, last - own)
        logs = {"forward": forth, "backward": back, "accuracy": (forth_ahead + back_ahead) / 2}
        return forth + back, {name: value.detach() for name, value in logs.items()}

    def _comparable(self, x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        """Vectors whose products are the logits, in float32 at least."""
        if self.config.similarity == "cosine":
            return directions(x) / math.sqrt(self.config.temperature)
        return at_least_float32(x) / math.sqrt(math.sqrt(x.shape[-1]))

    def _own(self, targets: Float[Tensor, "B T C"], draws: Draws) -> Int[Tensor, "B m"]:
        """Places of frames that a clip's other frames are told from."""
        places = draws.uniform("own", self.config.num_own_negatives) * targets.shape[1]
        return torch.from_numpy(places.astype(np.int64)).to(targets.device)

    def _others(self, targets: Float[Tensor, "B T C"], draws: Draws) -> Float[Tensor, "B n C"]:
        """Frames of other clips: every clip offers n of its own, and takes the m-th of some other one for each m."""
        clips, num = len(targets), self.config.num_negatives
        world = distributed.world()
        total = clips * world.size
        if total == 1:
            raise ValueError("cpc draws its negatives from other clips, and the batch has 1; use a batch of 2 or more")
        own = world.rank * clips + np.arange(clips)[:, None]
        offered = (draws.uniform("offered", num) * targets.shape[1]).astype(np.int64)
        other = (own + 1 + (draws.uniform("taken", num) * (total - 1)).astype(np.int64)) % total
        rows = torch.arange(clips, device=targets.device)[:, None]
        pool = gathered(targets[rows, torch.from_numpy(offered).to(targets.device)])  # (W B, n, C)
        return pool[torch.from_numpy(other).to(targets.device), torch.arange(num, device=targets.device)]

    def _direction(
        self,
        heads: nn.ModuleList,
        contexts: Float[Tensor, "B T D"],
        targets: Float[Tensor, "B T C"],
        others: Float[Tensor, "B n C"],
        own: Int[Tensor, "B m"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean loss of all predictions, and the share of them that is nearest to its frame; time runs forward."""
        loss, right, count = targets.new_zeros(()), targets.new_zeros(()), 0
        rows = torch.arange(len(targets), device=targets.device)[:, None]
        negatives = torch.cat([others, targets[rows, own]], 1)
        for step, head in enumerate(heads, self.config.first_step):
            # kept for the gradient, the predictions of a batch of 256 would be 6 GB; they are a fiftieth of the work
            summed, num_right = cast(
                tuple[Tensor, Tensor],
                checkpoint(
                    self._step, head, contexts[:, :-step], targets[:, step:], negatives, own - step,
                    use_reentrant=False, preserve_rng_state=False,
                ),
            )  # fmt: skip
            loss, right, count = loss + summed, right + num_right, count + len(targets) * (targets.shape[1] - step)
        return loss / count, right / count

    def _step(
        self,
        head: nn.Module,
        contexts: Float[Tensor, "B P D"],
        targets: Float[Tensor, "B P C"],
        negatives: Float[Tensor, "B k C"],
        own: Int[Tensor, "B m"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Summed loss of one prediction from all frames, and how many are right.

        Args:
            negatives: The last m are the targets at `own`, which are no negatives of themselves.
        """
        predictions = self._comparable(head(contexts))
        with torch.autocast(predictions.device.type, enabled=False):
            positive = (predictions * targets).sum(-1)
            others = predictions @ negatives.mT  # (B, P, k)
        itself = own[:, None] == torch.arange(positive.shape[1], device=own.device)[None, :, None]  # (B, P, m)
        itself = F.pad(itself, (others.shape[-1] - itself.shape[-1], 0))
        others = others.masked_fill(itself, -math.inf)
        return info_nce(positive, others).sum(), ahead(positive, others).sum().to(targets.dtype)


OBJECTIVES = {"cpc": CPCConfig()}
