"""The CNN of BYOL-A: three convolutions, then two layers over frequency and channels, frame by frame.

Source: arXiv:2103.06695 and nttcslab/byol-a (`AudioNTT2020`), by its layer table.
Shapes: B batch, T frames, T' = T / 8, F mel bins, C channels, D = 2048.
Departures: the embedding is the mean over time, as the paper's protocol says; `byola_cnn_max_mean` has the source's
own, maximum plus mean. 80 mels as in the paper's section 3, which makes it 5,584,000 parameters; the paper prints 5.3m,
those of the source's 64 mels (`byola_cnn_64mels`, 5,321,856). Standardised by example, as the paper has it for all;
`byola_cnn_64mels_dataset` is by dataset, as in the source. Fewer than 8 frames are filled up with zeros, which is the
mean of a standardised spectrogram. Names with `small` and `tiny` are ours.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leveret.encoders.normed import ConvNorm, normaliser, padded
from leveret.encoders.spectrogram import SpectrogramEncoder, Standardised
from leveret.frontend import LOG_MELS
from leveret.layers import Dropout

NUM_CONVS = 3


@dataclass(frozen=True, kw_only=True)
class BYOLACNNConfig:
    """Sizes of the CNN.

    Attributes:
        num_mels: F; the first layer over frequency has room for so many and no other.
        channels: Of each convolution.
        width: D, of both layers over frequency and channels.
        pooling: Over time.
        dropout: Between these layers, in training.
        standardised: By each example's own mean and deviation, or by the training set's.
    """

    num_mels: int = 80
    channels: int = 64
    width: int = 2048
    pooling: Literal["mean", "max+mean"] = "mean"
    dropout: float = 0.3
    standardised: Standardised = "example"

    def build(self) -> "BYOLACNN":
        """The network, with weights drawn as torch draws them."""
        return BYOLACNN(self)


class BYOLACNN(SpectrogramEncoder):
    """Three times convolution, batch norm, ReLU and a maximum over 2x2; then two layers a frame."""

    def __init__(self, config: BYOLACNNConfig) -> None:
        super().__init__(
            {
                **{f"conv{n + 1}": config.channels for n in range(NUM_CONVS)},
                "hidden": config.width,
                "features": config.width,
            },
            replace(LOG_MELS["leveret"], num_mels=config.num_mels),
            config.standardised,
        )
        self.max_too = {"mean": False, "max+mean": True}[config.pooling]
        self.convs = nn.ModuleList(
            nn.Sequential(
                ConvNorm(nn.Conv2d(channels, config.channels, 3, padding=1), normaliser("bn", config.channels)),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            for channels in (1, config.channels, config.channels)
        )
        self.hidden_layer = nn.Linear(config.num_mels // 2**NUM_CONVS * config.channels, config.width)
        self.dropout = Dropout(config.dropout)
        self.last_layer = nn.Linear(config.width, config.width)

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """Convolutions, and both layers as maps of one mel bin."""
        x = padded(x, 2**NUM_CONVS, 1)
        maps: dict[str, tuple[Tensor, ...]] = {}
        for n, conv in enumerate(self.convs):
            x = conv(x)
            maps[f"conv{n + 1}"] = (x,)
        frames = x.permute(0, 2, 3, 1).flatten(2)  # (B, T', F' C): all channels of a mel bin stand together
        hidden = torch.relu(self.hidden_layer(frames))
        features = torch.relu(self.last_layer(self.dropout(hidden)))
        return maps | {
            "hidden": (hidden.transpose(1, 2)[..., None],),
            "features": (features.transpose(1, 2)[..., None],),
        }

    def pooled(self, maps: dict[str, tuple[Tensor, ...]], layer: str) -> Float[Tensor, "B D"]:
        """The mean, and for the default layer with it the maximum over time, where that is asked for."""
        mean = super().pooled(maps, layer)
        return mean + maps[layer][0].amax((2, 3)) if self.max_too and layer == self.default_layer else mean


ENCODERS = {
    "byola_cnn": BYOLACNNConfig(),
    "byola_cnn_64mels": BYOLACNNConfig(num_mels=64),
    "byola_cnn_64mels_dataset": BYOLACNNConfig(num_mels=64, standardised="dataset"),
    "byola_cnn_max_mean": BYOLACNNConfig(pooling="max+mean"),
    "byola_cnn_64mels_dataset_small": BYOLACNNConfig(  # to train on a CPU
        num_mels=64, channels=32, width=1024, standardised="dataset"
    ),
    "byola_cnn_tiny": BYOLACNNConfig(channels=8, width=32),
    "byola_cnn_dataset_tiny": BYOLACNNConfig(channels=8, width=32, standardised="dataset"),
    "byola_cnn_max_mean_tiny": BYOLACNNConfig(channels=8, width=32, pooling="max+mean"),
}
