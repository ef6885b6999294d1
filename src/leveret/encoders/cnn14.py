"""CNN14 of PANNs: six pairs of 3x3 convolutions with batch norm over a log-mel spectrogram.

Source: arXiv:1912.10211 and qiuqiangkong/audioset_tagging_cnn/pytorch/models.py (`Cnn14`).
Shapes: B batch, T frames, F mel bins, C and D channels in and out, t x f the map after pooling, D = 2048.
Departures: the embedding is the mean of the last map, as the paper's protocol says; `cnn14_panns` has the source's own,
mean over frequency, maximum plus mean over time and a hidden layer. The spectrogram is leveret's (80 mels at 16 kHz,
not 64 at 32 kHz), without SpecAugment. Fewer than 32 frames or mel bins are filled up with zeros behind the first norm.
The paper prints 71m parameters, which the public network never has: its convolutions have 75.5m, with the hidden layer
79.7m, with 527 outputs 80.8m. `cnn14_tiny` is ours.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.normed import ConvNorm, normaliser, padded
from leveret.encoders.spectrogram import SpectrogramEncoder
from leveret.frontend import LOG_MELS
from leveret.layers import Dropout


@dataclass(frozen=True, kw_only=True)
class CNN14Config:
    """Sizes of CNN14.

    Attributes:
        num_mels: F; batch norm of the input has one mean and variance a mel bin.
        widths: Output channels of the blocks; all but the last halve the map.
        hidden: The source's own read-out, a hidden layer on maximum plus mean over time.
        dropout: After each block, in training; the hidden layer's input has 0.5 wherever this is not 0.
    """

    num_mels: int = 80
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    hidden: bool = False
    dropout: float = 0.2

    def build(self) -> "CNN14":
        """The network, with filters drawn as in the source."""
        return CNN14(self)


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, then the mean over windows."""

    def __init__(self, channels: int, out: int, window: int, dropout: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            ConvNorm(nn.Conv2d(width, out, 3, padding=1, bias=False), normaliser("bn", out))
            for width in (channels, out)
        )
        self.pool = nn.AvgPool2d(window)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """The pooled map."""
        x = self.pool(F.relu(self.conv2(F.relu(self.conv1(x)))))
        dropped: Tensor = self.dropout(x)
        return dropped


class CNN14(SpectrogramEncoder):
    """Batch norm of each mel bin, six blocks, and perhaps the hidden layer."""

    def __init__(self, config: CNN14Config) -> None:
        layers = {f"block{n + 1}": width for n, width in enumerate(config.widths)}
        if config.hidden:
            layers["hidden"] = config.widths[-1]
        super().__init__(layers, replace(LOG_MELS["leveret"], num_mels=config.num_mels))
        self.bn0 = nn.BatchNorm2d(config.num_mels)
        last = len(config.widths) - 1
        self.blocks = nn.ModuleList(
            ConvBlock(channels, out, 2 if n < last else 1, config.dropout)
            for n, (channels, out) in enumerate(zip((1, *config.widths), config.widths, strict=False))
        )
        self.smallest = 2**last
        self.dropout = Dropout(0.5 if config.dropout else 0.0)
        self.fc1 = nn.Linear(config.widths[-1], config.widths[-1]) if config.hidden else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """Blocks, and the hidden layer as a map of one cell."""
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        x = padded(x, self.smallest, self.smallest)
        maps: dict[str, tuple[Tensor, ...]] = {}
        for n, block in enumerate(self.blocks):
            x = block(x)
            maps[f"block{n + 1}"] = (x,)
        if self.fc1 is not None:
            over_time = x.mean(3)  # (B, C, T)
            pooled = self.dropout(over_time.amax(2) + over_time.mean(2))
            maps["hidden"] = (F.relu(self.fc1(pooled))[:, :, None, None],)
        return maps


ENCODERS = {
    "cnn14": CNN14Config(),
    "cnn14_panns": CNN14Config(hidden=True),
    "cnn14_tiny": CNN14Config(widths=(4, 4, 8, 8, 16, 16)),
    "cnn14_panns_tiny": CNN14Config(widths=(4, 4, 8, 8, 16, 16), hidden=True),
}
