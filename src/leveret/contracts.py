"""The contracts: what an encoder, a task and a probe owe each other and the evaluation engine.

Source: the protocol of the paper (section 2.1, appendix A): a frozen encoder, global average pooling, a probe.
Shapes: B batch, N samples, T frames, F mel bins, D embedding, R rows, M clips, K classes, S seeds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from leveret.clips import Fold
from leveret.disk_rows import DiskRows

Kind = Literal["single", "multi", "slots"]
Progress = Callable[[float], None]
"""Called with the finished share of the work, 0 to 1."""


class Encoder(nn.Module, ABC):
    """Audio in, one vector a clip out; mixing acts between `frontend` and `embed`.

    Attributes:
        sample_rate: Hz of the waves it takes.
        embed_dim: Width D of its default embedding.
        layers: Name -> width of each layer that can be read out, the last one the default.
        convertible: Whether leveret may copy, fold, cast and compile its network; False for somebody else's.
        min_samples: Shortest wave that it takes without padding; shorter ones are zero-padded at the end.
    """

    sample_rate: int = 16_000
    embed_dim: int
    layers: Mapping[str, int]
    min_samples: int = 400
    convertible: bool = True

    def frontend(self, wave: Float[Tensor, "B N"]) -> Shaped[Tensor, "B ..."]:
        """Raw, unstandardised features; the wave itself for encoders that take waves.

        Args:
            wave: Mono audio at `sample_rate`, nominally in [-1, 1].
        """
        return wave

    @abstractmethod
    def embed(self, features: Shaped[Tensor, "B ..."], layer: str | None = None) -> Float[Tensor, "B D"]:
        """One vector an example from what `frontend` returned.

        Args:
            features: Raw features, perhaps mixed.
            layer: A key of `layers`; None is the default layer.
        """

    def embed_layers(self, features: Shaped[Tensor, "B ..."], layers: Sequence[str]) -> dict[str, Float[Tensor, "B _"]]:
        """What `embed` gives for each layer; an encoder that can read them all in one pass overrides this.

        Args:
            features: Raw features, perhaps mixed.
            layers: Keys of `layers`.
        """
        return {layer: self.embed(features, layer) for layer in layers}

    def forward(self, wave: Float[Tensor, "B N"], layer: str | None = None) -> Float[Tensor, "B D"]:
        """One vector a wave: `embed(frontend(wave))`."""
        return self.embed(self.frontend(wave), layer)


class EncoderConfig(Protocol):
    """Sizes of one architecture: a frozen dataclass of plain values that builds the encoder."""

    def build(self) -> Encoder:
        """The encoder with freshly drawn weights (torch's global generator)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One classification task over clips.

    Attributes:
        name: Unique in its suite; also the file name of its predictions.
        domain: "environment", "speech", "music" or "other".
        kind: One label a clip, any number of labels, or one label in each of several slots.
        slots: Name and vocabulary of each slot, in the order of the score columns; one nameless slot unless the kind is
            "slots".
        metric: A key of `leveret.metrics.METRICS`.
        crop_seconds: Length of a window; a shorter clip is zero-padded to it unless `whole_clip`.
        whole_clip: A clip up to `crop_seconds` is one window of its own length, never padded.
        head: A key of the probes room, for the protocols `paper` and `cached`.
        batch: Clips a step (appendix A).
        steps: Optimizer steps (appendix A).
        mixed_passes: Crops a clip, each mixed with another clip of its part, that the head trains on in place of the
            clip's own windows (appendix A: AudioSet, ESC-50); 0 mixes nothing.
        tuned_on_first_fold: The head's free setting is chosen on the test clips of the first fold and kept for the
            others (ESC-50, appendix A).
        num_windows: So many equally spaced, perhaps overlapping windows of each clip that is scored (appendix A: ten
            for AudioSet); 0 is consecutive windows that cover the clip.
        takes_kept_head: A checkpoint that was trained on its labels is scored by the classifier of its pretraining, and
            not by a new head (appendix A: AudioSet).
        suite: Scores of different suites are never averaged together.
        stands_for: The HARES task that this one resembles, if any.
        variant: Which of its dataset's variants it is; empty where there is one only.
        substitute: Its splits stand in for splits of the paper that were never published; a mean over it is `HARES*`.
        official_clips: Split -> number of clips as published, summed over the folds; empty where nothing is published.
        notes: What a reader of its score must know, printed with every result.
    """

    name: str
    domain: str
    kind: Kind
    slots: tuple[tuple[str, tuple[str, ...]], ...]
    metric: str
    crop_seconds: float
    whole_clip: bool = False
    head: str = "linear"
    batch: int = 64
    steps: int = 400_000
    mixed_passes: int = 0
    tuned_on_first_fold: bool = False
    num_windows: int = 0
    takes_kept_head: bool = False
    suite: str
    stands_for: str = ""
    variant: str = ""
    substitute: bool = False
    official_clips: Mapping[str, int] = field(default_factory=dict)
    notes: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The whole vocabulary, slot after slot."""
        return tuple(label for _, labels in self.slots for label in labels)

    @abstractmethod
    def folds(self) -> Sequence[Fold]:
        """Train, valid and test clips; more than one fold is cross-validation, scored as the mean of the folds."""


@runtime_checkable
class Crops(Protocol):
    """Random crops of clips, embedded once or as they are drawn; a crop is a row, numbered clip after clip."""

    @property
    def held(self) -> Tensor:
        """The rows that are held (R, D): all or none of them."""

    @property
    def count(self) -> Tensor:
        """Rows of each clip (m,), on the CPU."""

    def drawn(
        self, clips: Int[Tensor, "n S B"], rows: Int[Tensor, "n S B"], seeds: Sequence[int], first_step: int
    ) -> tuple[Tensor, Int[Tensor, "n S B"], Int[Tensor, "n S B"]]:
        """Vectors of the n steps from `first_step` on, and each example's clip and place among the vectors.

        What was drawn is a clip and a row, counted over all clips, for each example of S seeds.
        """


@dataclass(frozen=True)
class Table:
    """Rows to train a probe on, or to score: a vector each, and the clip that it is a window of.

    Attributes:
        X: The vectors, float32 or float16; on disk for probes that can take them from there (`from_disk`).
        rows: Index of each row's clip, ascending; every clip has a row.
        targets: Class index of each clip, or 0/1 for each clip and class.
        groups: Index of each clip's group; a held-out part never shares a group with the rest.
        num_classes: K.
        crops: What a probe that draws at each step is trained on in place of these rows; None trains on the rows.
        crop_targets: Targets of the clips of `crops`.
    """

    X: Float[Tensor, "R D"] | DiskRows
    rows: Int[Tensor, "R"]
    targets: Int[Tensor, "M"] | Float[Tensor, "M K"]
    groups: Int[Tensor, "M"]
    num_classes: int
    crops: Crops | None = None
    crop_targets: Int[Tensor, "m"] | Float[Tensor, "m K"] | None = None

    @property
    def multilabel(self) -> bool:
        """True where a clip has any number of labels."""
        return self.targets.ndim == 2

    @property
    def vectors(self) -> Float[Tensor, "R D"]:
        """X, for probes that need all of it."""
        assert isinstance(self.X, Tensor), "only a probe that says from_disk gets rows on disk"
        return self.X

    @property
    def num_clips(self) -> int:
        """M."""
        return len(self.targets)

    def take(self, clips: Int[Tensor, "m"]) -> Self:
        """The rows of these clips alone, clips renumbered in the given order."""
        new_index = torch.full((self.num_clips,), -1, dtype=torch.long, device=self.rows.device)
        new_index[clips] = torch.arange(len(clips), device=self.rows.device)
        mapped = new_index[self.rows]
        keep = torch.nonzero(mapped >= 0).squeeze(1)
        order = keep[torch.argsort(mapped[keep], stable=True)]
        return type(self)(self.X[order], mapped[order], self.targets[clips], self.groups[clips], self.num_classes)


class FittedProbe(Protocol):
    """A trained probe: a read-out, which can be saved.

    Attributes:
        kind: The key of its class in the `READOUTS` of its file; saved with it.
    """

    kind: ClassVar[str]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the result should carry: the chosen L2, the under-fitted check, steps a second, ..."""
        ...

    def scores(self, X: Float[Tensor, "R D"]) -> Float[Tensor, "S R K"]:
        """Decision values (logits) of every row, once for each seed; higher means more likely."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `scores` depends on."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], embed_dim: int, num_classes: int) -> Self:
        """The read-out whose `tensors` these are; the inverse of it, but for the facts.

        Raises:
            ValueError: A tensor is missing, of another shape or type, or not finite.
        """
        ...


class Probe(Protocol):
    """A trainable read-out: a frozen dataclass of its settings with one method.

    One that reads its training vectors row by row says `from_disk = True`, and is given those on disk that memory does
    not hold.

    Attributes:
        logits: Whether the softmax of its scores (the sigmoid, where clips have any number of labels) are
            probabilities; False for votes and margins.
    """

    logits: ClassVar[bool]

    def fit(self, train: Table, valid: Table | None, progress: Progress | None = None) -> FittedProbe:
        """Train on `train`; `valid` may only choose settings, and may be None.

        A class without a training clip keeps its score column.
        """
        ...


@runtime_checkable
class TunableProbe(Probe, Protocol):
    """A probe that chooses a setting, and can be told to keep a choice."""

    def settled(self, facts: Mapping[str, Any]) -> Probe:
        """The same probe with what a fit chose, as that fit's facts tell."""
        ...
