"""BYOL-A: a network foretells what its own moving average makes of another augmentation of the same crop.

Source: arXiv:2103.06695 and the settings of nttcslab/byol-a; projector, predictor and loss from arXiv:2006.07733.
Shapes: B clips of this rank, W ranks, N samples, T frames, F mel bins, D embedding, M inputs in the memory.
Departures: the front end is the encoder's own (the source: FFT 1024, log(x + eps)). Mean and deviation of the training
set are those of all steps so far, of the whole run and not of its first ten epochs. The memory of unmixed inputs, a
queue for each loading process in the source, is one for all ranks, and takes up a step's inputs after that step; both
views draw from it. What is normalised after augmentation is given to the encoder on the scale of raw features, since it
normalises for itself: one that takes each example's own mean and deviation undoes what is done here, so the source's
training wants an encoder that is standardised by dataset (`byola_cnn_64mels_dataset`).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from leveret.augment import mix_energies, random_resize_crop
from leveret.collectives import gathered
from leveret.contracts import Encoder
from leveret.draws import Draws
from leveret.frontend import STD_FLOOR, DatasetNorm
from leveret.layers import at_least_float32
from leveret.pretext import CropBatch, Objective, Representation, View, Views, require_settings
from leveret.replica_norm import across_ranks


@dataclass(frozen=True, kw_only=True)
class BYOLAConfig:
    """Settings of BYOL-A.

    Attributes:
        hidden: Width of the hidden layers of projector and predictor.
        out_dim: Width in which views are compared.
        decay: Share of the old weights that the target keeps at each step.
        memory: Inputs that wait to be mixed into others.
        mix_limit: Largest share of what is mixed in.
        global_batch_norm: Batch norms look at all ranks' examples, not at their own rank's.
    """

    crop_seconds: float = 0.95
    hidden: int = 4096
    out_dim: int = 256
    decay: float = 0.99
    memory: int = 2048
    mix_limit: float = 0.4
    global_batch_norm: bool = True

    def __post_init__(self) -> None:
        require_settings(self, positive=("hidden", "out_dim", "memory"), shares=("decay", "mix_limit"))

    def build(self, encoder: Encoder, labels: Sequence[str]) -> "BYOLA":
        """The encoder with a new projector and predictor, and a copy of it as the target.

        Raises:
            ValueError: The encoder takes waves.
        """
        return BYOLA(self, encoder)


class BYOLA(Objective):
    """Two augmentations of one crop; each one's prediction is held against the other one's target.

    Attributes:
        target: The moving average of encoder and projector; no gradient reaches it.
        memory: Raw features of the last inputs (M, 1, T, F), those of all ranks in the order of the global batch.
        remembered: Inputs that were taken up since the start.
        seen: Examples that `mean` and `var` are of.
        mean: Of all raw features so far.
        var: Of all raw features so far, biased.
    """

    independent = False
    memory: Tensor
    remembered: Tensor
    seen: Tensor
    mean: Tensor
    var: Tensor

    def __init__(self, config: BYOLAConfig, encoder: Encoder) -> None:
        super().__init__()
        self.crop_seconds = config.crop_seconds
        self.decay = config.decay
        self.mix_limit = config.mix_limit
        self.encoder = encoder
        self.projector = _mlp(encoder.embed_dim, config.hidden, config.out_dim)
        self.predictor = _mlp(config.out_dim, config.hidden, config.out_dim)
        if config.global_batch_norm:
            across_ranks(self)
        self.target = copy.deepcopy(nn.ModuleList([self.encoder, self.projector])).requires_grad_(False)
        with torch.no_grad():
            shape = encoder.frontend(torch.zeros(1, round(config.crop_seconds * encoder.sample_rate))).shape[1:]
        if len(shape) != 3:
            raise ValueError(
                f"BYOL-A stretches and mixes spectrograms, and {type(encoder).__name__} takes waves; take an encoder "
                "of spectrograms, or another objective (simclr)"
            )
        self.register_buffer("memory", torch.zeros(config.memory, *shape))
        self.register_buffer("remembered", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("var", torch.ones(()))
        self._everything: Tensor | None = None  # raw features of the step at hand, of all ranks

    def views(self, batch: CropBatch) -> Views:
        """Both augmentations, normalised together over the global batch."""
        raw = self.encoder.frontend(batch.waves[:, 0])
        self._everything = gathered(raw)
        _, mean, var = self._statistics(self._everything)
        all_draws = [batch.draws.at(number) for number in range(2)]
        augmented = torch.stack(
            [random_resize_crop(self._mixed(_normalised(raw, mean, var), mean, var, d), d) for d in all_draws]
        )
        moments = gathered(torch.stack(torch.var_mean(augmented, correction=0))[None])  # (W, 2)
        mean = moments[:, 1].mean()
        var = moments[:, 0].mean() + moments[:, 1].var(correction=0)
        norm = _dataset_norm(self.encoder)
        inputs = [_normalised(features, mean, var) for features in augmented]
        inputs = inputs if norm is None else [norm.undone(features) for features in inputs]
        return Views(tuple(map(View, inputs, all_draws)), batch.draws)

    def represent(self, view: View) -> Representation:
        """What is foretold, and what the target has (B, out_dim) each."""
        view.draws.key(self)
        prediction = self.predictor(self.projector(self.encoder.embed(view.features)))
        encoder, projector = self.target
        assert isinstance(encoder, Encoder), encoder
        with torch.no_grad():
            target = projector(encoder.embed(view.features))
        return prediction, target

    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """2 - 2 cos, both ways; `spread` is the deviation of the targets' directions: 1 is even, 0 a collapse."""
        (one, one_target), (two, two_target) = representations
        loss = (distances(one, two_target) + distances(two, one_target)).mean()
        directions = F.normalize(at_least_float32(one_target.detach()), dim=1)
        spread = (directions.var(0, correction=0).sum()).sqrt()
        return loss, {"spread": spread}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The target follows; statistics and memory take up the step's inputs."""
        followed = [*self.encoder.parameters(), *self.projector.parameters()]
        get_ema_multi_avg_fn(self.decay)([*self.target.parameters()], followed, None)
        if self._everything is None:
            return
        seen, mean, var = self._statistics(self._everything)
        for buffer, value in ((self.seen, seen), (self.mean, mean), (self.var, var)):
            buffer.copy_(value)
        for encoder in (self.encoder, self.target[0]):
            norm = _dataset_norm(encoder)
            if norm is not None:
                norm.mean.copy_(self.mean)
                norm.std.copy_(self.var.sqrt().clamp_min(STD_FLOOR))
        size = len(self.memory)
        latest = self._everything[-size:]
        first = self.remembered + len(self._everything) - len(latest)
        self.memory[(first + torch.arange(len(latest), device=self.memory.device)) % size] = latest.to(
            self.memory.dtype
        )
        self.remembered += len(self._everything)
        self._everything = None

    def _statistics(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Examples, mean and variance of all steps so far and these features."""
        var, mean = (value.to(self.mean.dtype) for value in torch.var_mean(features, correction=0))
        seen = self.seen + len(features)
        share = len(features) / seen.to(mean.dtype)
        apart = mean - self.mean
        merged = torch.lerp(self.var, var, share) + share * (1 - share) * apart.square()
        return seen, self.mean + share * apart, merged

    def _mixed(
        self, normed: Float[Tensor, "B 1 T F"], mean: Float[Tensor, ""], var: Float[Tensor, ""], draws: Draws
    ) -> Float[Tensor, "B 1 T F"]:
        """Energies mixed with those of inputs of earlier steps; as they are at the first."""
        filled = min(int(self.remembered), len(self.memory))
        if filled == 0:
            return normed
        chosen = torch.from_numpy((draws.uniform("memory") * filled).astype("int64")).to(self.memory.device)
        share = 1 - self.mix_limit * torch.from_numpy(draws.uniform("share"))
        return mix_energies(normed, _normalised(self.memory[chosen], mean, var), share)


def distances(predictions: Float[Tensor, "B D"], targets: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
    """2 - 2 cos of each pair."""
    with torch.autocast(predictions.device.type, enabled=False):
        return 2 - 2 * F.cosine_similarity(at_least_float32(predictions), at_least_float32(targets), dim=1)


def _normalised(features: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return (features - mean) / var.sqrt().clamp_min(STD_FLOOR)


def _dataset_norm(encoder: nn.Module) -> DatasetNorm | None:
    """The encoder's own, if it is standardised by dataset."""
    norm = getattr(encoder, "dataset_norm", None)
    return norm if isinstance(norm, DatasetNorm) else None


def _mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


OBJECTIVES = {"byola": BYOLAConfig()}
