"""What all encoders of the room share: layers to read out by name, one vector an example for each, in one pass.

Source: paper, section 2.1: "global average pooling is applied to the representations from the last layer".
Shapes: B batch, D embedding.
Departures: none.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from leveret.contracts import Encoder
from leveret.layers import at_least_float32
from leveret.registry import unknown_name


class LayeredEncoder(Encoder):
    """An encoder that can read out what it has after each of its stages.

    Args:
        layers: Name -> width of each layer, in the order of the network; the last one is the default.
    """

    def __init__(self, layers: Mapping[str, int]) -> None:
        super().__init__()
        self.layers = dict(layers)
        self.default_layer, self.embed_dim = list(layers.items())[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's parameters; float32 where there is none."""
        return next((parameter.dtype for parameter in self.parameters()), torch.float32)

    @abstractmethod
    def prepare(self, features: Shaped[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """What the network takes, in its own precision, made of what `frontend` gave."""

    @abstractmethod
    def network(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B D"]:
        """The default embedding of what is prepared already."""

    @abstractmethod
    def read_out(self, x: Float[Tensor, "B ..."], layers: Sequence[str]) -> dict[str, Float[Tensor, "B _"]]:
        """One vector an example and layer of what is prepared already."""

    @abstractmethod
    def with_frames(
        self, x: Float[Tensor, "B ..."], layers: Sequence[str]
    ) -> tuple[Float[Tensor, "B D"], dict[str, Float[Tensor, "B _ _"]]]:
        """The default embedding, and these layers over time (B, T', width), of what is prepared already; one pass."""

    def hidden(self, features: Shaped[Tensor, "B ..."]) -> dict[str, Float[Tensor, "B _ _"]]:
        """Every layer over time, (B, T', width)."""
        return self.with_frames(self.prepare(features), tuple(self.layers))[1]

    def embed(self, features: Shaped[Tensor, "B ..."], layer: str | None = None) -> Float[Tensor, "B D"]:
        """One vector an example, float32 unless the network is float64.

        Args:
            features: What `frontend` gave, perhaps mixed.
            layer: A key of `layers`; None is the default layer.
        """
        if layer is None or layer == self.default_layer:
            return at_least_float32(self.network(self.prepare(features)))
        return self.embed_layers(features, (layer,))[layer]

    def embed_layers(self, features: Shaped[Tensor, "B ..."], layers: Sequence[str]) -> dict[str, Float[Tensor, "B _"]]:
        """A vector an example and layer, all in one pass."""
        for layer in layers:
            if layer not in self.layers:
                raise unknown_name("layer", layer, self.layers)
        return {
            layer: at_least_float32(vectors) for layer, vectors in self.read_out(self.prepare(features), layers).items()
        }
