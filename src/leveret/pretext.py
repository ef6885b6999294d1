"""The fourth contract: what a pretraining objective, its data and the training loop owe each other.

Source: paper, section 3 and appendix C. A step is `views`, then `represent` of all views at once (view by
view where examples look at each other, and micro-batch by micro-batch of a view where memory is small), then one `loss`
over all of them.
Shapes: B clips of this rank, V crops a clip, N samples, K labels.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from leveret.contracts import Encoder
from leveret.draws import Draws

Representation = tuple[Tensor, ...]
"""What an example becomes before the loss: tensors (B, ...), one or several."""


def require_settings(
    config: object, *, positive: Sequence[str] = (), not_negative: Sequence[str] = (), shares: Sequence[str] = ()
) -> None:
    """Check an objective's numbers before anything is built from them.

    Args:
        positive: Settings above 0.
        not_negative: Settings of 0 or more.
        shares: Settings from 0 to 1.

    Raises:
        ValueError: One is not; NaN and infinity never are.
    """
    for name in (*positive, *not_negative, *shares):
        value = getattr(config, name)
        if name in positive:
            fits, expected = 0 < value < math.inf, "above 0"
        elif name in not_negative:
            fits, expected = 0 <= value < math.inf, "of 0 or more"
        else:
            fits, expected = 0 <= value <= 1, "from 0 to 1"
        if not fits:
            raise ValueError(f"{name}={value}; expected a number {expected}")


@dataclass(frozen=True)
class CropBatch:
    """What the data gives for one step: this rank's part of the global batch.

    Attributes:
        waves: Random crops of each clip (B, V, N), float32, mono at the encoder's rate.
        draws: The random numbers of these clips at this step.
        targets: 0 or 1 for each label (B, K); None for a corpus without labels.
        names: Of the clips, for messages.
    """

    waves: Float[Tensor, "B V N"]
    draws: Draws
    targets: Float[Tensor, "B K"] | None
    names: Sequence[str]


@dataclass(frozen=True)
class View:
    """One view of every clip, ready for the encoder.

    Attributes:
        features: What `Encoder.frontend` gives, mixed where the objective mixes.
        draws: The random numbers of this view: of layers that drop, of masks.
    """

    features: Shaped[Tensor, "B ..."]
    draws: Draws

    def __len__(self) -> int:
        """B."""
        return len(self.features)

    def __getitem__(self, part: slice) -> Self:
        """The same view of some of the clips."""
        return type(self)(self.features[part], self.draws[part])


@dataclass(frozen=True)
class Views:
    """All views of a step.

    Attributes:
        inputs: The views, in a fixed order.
        draws: The random numbers of the loss.
        targets: As the views were mixed (B, K); None without labels.
    """

    inputs: tuple[View, ...]
    draws: Draws
    targets: Float[Tensor, "B K"] | None = None


class Objective(nn.Module, ABC):
    """An encoder with what pretraining adds to it. Only `loss` may look across examples and ranks.

    `forward` is the whole of a step; a gradient cache calls the three parts.

    Attributes:
        encoder: What is trained, and what a checkpoint keeps.
        crops: Crops V of each clip that the data draws.
        crop_seconds: Length of a crop.
        needs_labels: Whether a corpus without labels is refused.
        independent: Whether `represent` treats every example by itself, so that a batch may be cut, and all views pass
            as one; False where a norm or a target looks across the batch.
    """

    encoder: Encoder
    crops: int = 1
    crop_seconds: float = 3.0
    needs_labels: ClassVar[bool] = False
    independent: bool = True

    @abstractmethod
    def views(self, batch: CropBatch) -> Views:
        """The step's inputs: front end and augmentation, without gradients.

        Mixing pairs an example with others of its block of consecutive examples of the global batch, so that what
        is drawn does not depend on how the batch is shared out.
        """

    @abstractmethod
    def represent(self, view: View) -> Representation:
        """What the loss is taken over, example by example; keys the layers that draw by the view's numbers."""

    @abstractmethod
    def loss(self, representations: Sequence[Representation], views: Views) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean over this rank's examples, with the global batch's negatives, and what is worth logging.

        Args:
            representations: One for each of `views.inputs`, of the whole local batch.
            views: What `views` gave.
        """

    def forward(self, batch: CropBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of a step, and what is worth logging: detached scalars."""
        views = self.views(batch)
        return self.loss([self.represent(view) for view in views.inputs], views)

    def after_step(self, step: int) -> None:
        """Called after each optimizer step: a target network follows, a memory takes up the batch."""

    def kept(self) -> Mapping[str, Tensor]:
        """Weights that a checkpoint keeps beside the encoder's: a supervised head. Most keep none."""
        return {}


class ObjectiveConfig(Protocol):
    """Settings of one objective: a frozen dataclass of plain values that builds it around an encoder."""

    @property
    def crop_seconds(self) -> float:
        """Length of a crop."""
        ...

    def build(self, encoder: Encoder, labels: Sequence[str]) -> Objective:
        """The objective with freshly drawn weights (torch's global generator).

        Args:
            encoder: To be trained, in place.
            labels: Vocabulary of the corpus, empty without labels.

        Raises:
            ValueError: The objective needs labels, or another sort of encoder.
        """
        ...
