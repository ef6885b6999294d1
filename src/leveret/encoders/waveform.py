"""What encoders of waves share: no front end, layers to read out as they pass, the mean over time.

Source: paper, section 2.1: "global average pooling is applied to the representations from the last layer".
Shapes: B batch, N samples, T' frames of a layer, C its channels, D embedding.
Departures: none. Waves are taken as they are, nominally in [-1, 1].
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leveret.encoders.layered import LayeredEncoder


class WaveformEncoder(LayeredEncoder):
    """An encoder that is a network over waves and the mean of its last layer over time.

    A file of the room supplies `stages`.

    Args:
        layers: Name -> width of each layer in `stages`, the last one the default.
        min_samples: What the last layer's first frame sees; a shorter wave is filled up with zeros.
    """

    def __init__(self, layers: Mapping[str, int], min_samples: int) -> None:
        super().__init__(layers)
        self.min_samples = min_samples

    @abstractmethod
    def stages(self, x: Float[Tensor, "B N"]) -> Iterator[tuple[str, Float[Tensor, "B C T"]]]:
        """Each layer by name, in the order of `layers`.

        One after the other, since the first layers of a long wave are far too large to be kept.
        """

    def prepare(self, features: Float[Tensor, "B N"]) -> Float[Tensor, "B n"]:
        """The wave in the network's own precision, and long enough."""
        return F.pad(features, (0, torch.sym_max(0, self.min_samples - features.shape[1]))).to(self.dtype)

    def network(self, x: Float[Tensor, "B N"]) -> Float[Tensor, "B {self.embed_dim}"]:
        """The default embedding of a wave that is long enough."""
        return self.read_out(x, (self.default_layer,))[self.default_layer]

    def read_out(self, x: Float[Tensor, "B N"], layers: Sequence[str]) -> dict[str, Float[Tensor, "B _"]]:
        """The mean over time of each layer; the network runs no further than the last of them."""
        found: dict[str, Tensor] = {}
        for name, value in self.stages(x):
            if name in layers:
                found[name] = value.mean(2)
                if len(found) == len(set(layers)):
                    break
        return {layer: found[layer] for layer in layers}

    def with_frames(
        self, x: Float[Tensor, "B N"], layers: Sequence[str]
    ) -> tuple[Float[Tensor, "B D"], dict[str, Float[Tensor, "B _ _"]]]:
        """Each layer at its own frame rate."""
        frames: dict[str, Tensor] = {}
        vector = x
        for name, value in self.stages(x):
            if name in layers:
                frames[name] = value.transpose(1, 2)
            if name == self.default_layer:
                vector = value.mean(2)
        return vector, frames


def field_and_hop(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Samples that one frame of a stack of convolutions sees, and the step from frame to frame."""
    field, hop = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field, hop = field + (kernel - 1) * hop, hop * stride
    return field, hop
