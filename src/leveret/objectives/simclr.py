"""SimCLR: two crops of a clip, each mixed with another clip, are told from all other crops of the batch.

Source: paper, section 3, appendix C and table 2; NT-Xent from arXiv:2002.05709.
Shapes: B clips of this rank, N samples, D embedding.
Departures: the paper's projector is "a MLP with 3 hidden layers of size 4096"; that it ends in 128 numbers, without a
norm, is ours, and so are two independent crops of a clip (section 3.1 finds fault with one).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from leveret.augment import mixed
from leveret.contracts import Encoder
from leveret.layers import as_haiku_draws
from leveret.objectives.contrast import ntxent
from leveret.pretext import CropBatch, Objective, Representation, View, Views, require_settings
from leveret.replica_norm import across_ranks, has_batch_norm


@dataclass(frozen=True, kw_only=True)
class SimCLRConfig:
    """Settings of SimCLR.

    Attributes:
        temperature: Divides the cosines.
        hidden: Widths of the projector's hidden layers.
        out_dim: Width in which views are compared.
        global_batch_norm: An encoder's batch norms look at all ranks' examples, not at their own rank's.
    """

    crop_seconds: float = 3.0
    temperature: float = 0.1
    hidden: tuple[int, ...] = (4096, 4096, 4096)
    out_dim: int = 128
    global_batch_norm: bool = True

    def __post_init__(self) -> None:
        require_settings(self, positive=("temperature", "out_dim"))

    def build(self, encoder: Encoder, labels: Sequence[str]) -> "SimCLR":
        """The encoder with a new projector."""
        return SimCLR(self, encoder)


class SimCLR(Objective):
    """Two mixed views of every clip; the loss is the mean over this rank's 2B views."""

    crops = 2

    def __init__(self, config: SimCLRConfig, encoder: Encoder) -> None:
        super().__init__()
        self.crop_seconds = config.crop_seconds
        self.temperature = config.temperature
        self.encoder = across_ranks(encoder) if config.global_batch_norm else encoder
        self.independent = not has_batch_norm(encoder)
        hidden: list[nn.Module] = []
        for width, out in pairwise((encoder.embed_dim, *config.hidden)):
            hidden += [as_haiku_draws(nn.Linear(width, out)), nn.ReLU()]
        last = as_haiku_draws(nn.Linear((encoder.embed_dim, *config.hidden)[-1], config.out_dim))
        self.projector = nn.Sequential(*hidden, last)

    def views(self, batch: CropBatch) -> Views:
        """Both crops as raw features, each mixed for itself."""
        inputs = []
        for number in range(self.crops):
            draws = batch.draws.at(number)
            features, _ = mixed(self.encoder.frontend(batch.waves[:, number]), draws)
            inputs.append(View(features, draws))
        return Views(tuple(inputs), batch.draws)

    def represent(self, view: View) -> Representation:
        """What the projector makes of the embedding (B, out_dim)."""
        view.draws.key(self)
        return (self.projector(self.encoder.embed(view.features)),)

    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """NT-Xent; `accuracy` is the share of views that are nearest to their other view."""
        (one,), (two,) = representations
        loss, accuracy = ntxent(one, two, self.temperature)
        return loss, {"accuracy": accuracy}


OBJECTIVES = {"simclr": SimCLRConfig()}
