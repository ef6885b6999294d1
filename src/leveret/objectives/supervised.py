"""Supervised pretraining: a linear layer on the embedding of a mixed crop tells the labels, each by a sigmoid.

Source: paper, section 3 and tables 2 and 6 (classification loss); mixed targets as in arXiv:1912.10211.
Shapes: B clips of this rank, N samples, D embedding, K labels.
Departures: the paper does not say how the sigmoid loss is reduced; here it is the mean over examples and labels, and
Adam divides the factor out again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.augment import mixed
from leveret.contracts import Encoder
from leveret.layers import as_haiku_draws, at_least_float32
from leveret.pretext import CropBatch, Objective, Representation, View, Views
from leveret.replica_norm import across_ranks, has_batch_norm

WEIGHT, BIAS = "classifier.weight", "classifier.bias"
"""Names of what is kept: (K, D) and (K,), in the order of the corpus's labels."""


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """Settings of supervised pretraining.

    Attributes:
        global_batch_norm: An encoder's batch norms look at all ranks' examples, not at their own rank's.
    """

    crop_seconds: float = 3.0
    global_batch_norm: bool = True

    def build(self, encoder: Encoder, labels: Sequence[str]) -> "Supervised":
        """The encoder with a new classifier.

        Raises:
            ValueError: The corpus has no labels.
        """
        if not labels:
            raise ValueError(
                "supervised pretraining learns labels, and this corpus has none; train on a manifest or a task with "
                "labels, or take an objective without (simclr)"
            )
        return Supervised(self, encoder, len(labels))


class Supervised(Objective):
    """One mixed crop of every clip and a linear classifier, which a checkpoint keeps."""

    needs_labels: ClassVar[bool] = True

    def __init__(self, config: SupervisedConfig, encoder: Encoder, num_labels: int) -> None:
        super().__init__()
        self.crop_seconds = config.crop_seconds
        self.encoder = across_ranks(encoder) if config.global_batch_norm else encoder
        self.independent = not has_batch_norm(encoder)
        self.classifier = as_haiku_draws(nn.Linear(encoder.embed_dim, num_labels))

    def views(self, batch: CropBatch) -> Views:
        """The crop as raw features, mixed, and its targets by the same share."""
        assert batch.targets is not None, batch.names
        draws = batch.draws.at(0)
        features, targets = mixed(self.encoder.frontend(batch.waves[:, 0]), draws, batch.targets)
        return Views((View(features, draws),), batch.draws, targets)

    def represent(self, view: View) -> Representation:
        """The logits (B, K)."""
        view.draws.key(self)
        return (self.classifier(self.encoder.embed(view.features)),)

    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sigmoid cross-entropy; `top_label` is the mean target of the label that scores highest."""
        ((logits,),) = representations
        assert views.targets is not None, logits.shape
        logits = at_least_float32(logits)
        targets = views.targets.to(logits.dtype)
        with torch.autocast(logits.device.type, enabled=False):
            loss = F.binary_cross_entropy_with_logits(logits, targets)
        return loss, {"top_label": targets.gather(1, logits.detach().argmax(1, keepdim=True)).mean()}

    def kept(self) -> Mapping[str, Tensor]:
        """The classifier: with it the checkpoint is scored on AudioSet without a second stage (appendix A)."""
        return {WEIGHT: self.classifier.weight, BIAS: self.classifier.bias}


OBJECTIVES = {"supervised": SupervisedConfig()}
