"""What encoders of log-mel spectrograms share: the front end, the standardisation, layers to read out, the global mean.

Source: paper, section 2.1 and appendix C: standardise each spectrogram, then "global average pooling is applied to the
representations from the last layer".
Shapes: B batch, N samples, T frames, F mel bins, T' frames of the last stream, D embedding.
Departures: none. Several streams are read side by side at the frame rate of the last; the paper reads only the
pooled vector.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from leveret.encoders.layered import LayeredEncoder
from leveret.frontend import LOG_MELS, DatasetNorm, LogMel, LogMelConfig, standardise

Standardised = Literal["example", "dataset"]
"""By each example's own mean and deviation, or by those of the whole training set."""


class SpectrogramEncoder(LayeredEncoder):
    """An encoder that is a network over standardised log-mels and the mean of its last maps.

    A file of the room supplies `maps`; a network with a pooling of its own overrides `pooled` as well.

    Args:
        layers: Name -> width of each layer in `maps`, the last one the default.
        log_mel: The spectrogram it takes.
        standardised: By what.

    Attributes:
        dataset_norm: Mean and deviation of the training set; None where each example is standardised by itself.
    """

    def __init__(
        self,
        layers: Mapping[str, int],
        log_mel: LogMelConfig = LOG_MELS["leveret"],
        standardised: Standardised = "example",
    ) -> None:
        super().__init__(layers)
        self.sample_rate = log_mel.sample_rate
        self.log_mel = LogMel(log_mel)
        self.dataset_norm = {"example": None, "dataset": DatasetNorm()}[standardised]

    @abstractmethod
    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """Each layer's maps (B, C, t, f), one a stream; their channels add up to the layer's width."""

    def frontend(self, wave: Float[Tensor, "B N"]) -> Float[Tensor, "B 1 T F"]:
        """Raw log-mels, 100 frames a second."""
        features: Tensor = self.log_mel(wave)
        return features

    def prepare(self, features: Float[Tensor, "B 1 T F"]) -> Float[Tensor, "B 1 T F"]:
        """Standardised in float32, then in the network's own precision."""
        standardised: Tensor = standardise(features) if self.dataset_norm is None else self.dataset_norm(features)
        return standardised.to(self.dtype)

    def network(self, x: Float[Tensor, "B 1 T F"]) -> Float[Tensor, "B {self.embed_dim}"]:
        """The default embedding of what is standardised already."""
        return self.pooled(self.maps(x), self.default_layer)

    def pooled(self, maps: dict[str, tuple[Tensor, ...]], layer: str) -> Float[Tensor, "B D"]:
        """One vector an example: the mean of the layer's maps over time and frequency."""
        return torch.cat([stream.mean((2, 3)) for stream in maps[layer]], 1)

    def with_frames(
        self, x: Float[Tensor, "B 1 T F"], layers: Sequence[str]
    ) -> tuple[Float[Tensor, "B D"], dict[str, Float[Tensor, "B _ _"]]]:
        """Over time is the mean over frequency, all streams at the last one's frame rate."""
        maps = self.maps(x)
        return self.pooled(maps, self.default_layer), {layer: _over_time(maps[layer]) for layer in layers}

    def read_out(self, x: Float[Tensor, "B 1 T F"], layers: Sequence[str]) -> dict[str, Float[Tensor, "B _"]]:
        """One pass, then the pooling of each layer."""
        maps = self.maps(x)
        return {layer: self.pooled(maps, layer) for layer in layers}


def _over_time(streams: tuple[Float[Tensor, "B _ _ _"], ...]) -> Float[Tensor, "B T D"]:
    """Streams beside each other at the frame rate of the last, averaged over frequency."""
    num_frames = streams[-1].shape[2]
    return torch.cat([_area_pool(stream.mean(3), num_frames) for stream in streams], 1).transpose(1, 2)


def _area_pool(x: Float[Tensor, "B C T"], num_frames: int) -> Float[Tensor, "B C t"]:
    """Means over equal shares of the time axis; frames on a border count in part, so the overall mean stays exact."""
    if x.shape[2] == num_frames:
        return x
    span = x.shape[2] / num_frames
    starts = torch.arange(num_frames, device=x.device, dtype=torch.float64)[:, None] * span  # (t, 1)
    cells = torch.arange(x.shape[2], device=x.device, dtype=torch.float64)  # (T,)
    overlap = torch.minimum(starts + span, cells + 1) - torch.maximum(starts, cells)
    return x @ (overlap.clamp_min(0) / span).to(x.dtype).T
