"""EfficientNet-B0: inverted bottlenecks with depthwise convolutions and squeeze-excite over a log-mel spectrogram.

Source: arXiv:1905.11946 as Keras builds it, which is the network of google-research/cola.
Shapes: B batch, T frames, F mel bins, C and D channels in and out, t x f the map after striding, D = 1280.
Departures: the embedding is the mean of the last map; COLA takes its maximum. One input channel, no classifier and no
dropout before it. Stochastic depth is rescaled here, as in the source. `efficientnet_tiny` is ours.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.normed import ConvNorm, normaliser
from leveret.encoders.spectrogram import SpectrogramEncoder
from leveret.layers import SameConv2d, StochasticDepth

BATCH_NORM = {"eps": 1e-3, "momentum": 0.01}
SQUEEZE = 4
"""Input channels of a block for one hidden unit of its squeeze-excite."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """Sizes of the seven stages, of B0 by default.

    Attributes:
        stem_width: Channels of the stem.
        expansions: Depthwise channels of a block for one that comes in.
        widths: Output channels.
        depths: Blocks.
        strides: Stride of each stage's first block, in time and in frequency.
        kernels: Of the depthwise convolutions, squares.
        final_width: Channels of the 1x1 convolution at the end.
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
    """

    stem_width: int = 32
    expansions: tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    kernels: tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    final_width: int = 1280
    drop_rate: float = 0.2

    def build(self) -> "EfficientNet":
        """The network, with filters drawn as Keras draws them."""
        return EfficientNet(self)


def conv_bn(channels: int, out: int, size: int = 1, stride: int = 1, groups: int = 1) -> ConvNorm:
    """A square SAME convolution without bias, then batch norm."""
    conv = SameConv2d(channels, out, (size, size), (stride, stride), groups, bias=False)
    return ConvNorm(conv, normaliser("bn", out, **BATCH_NORM))


class SwishSqueezeExcite(nn.Module):
    """Every channel times its gate, sigmoid(W1 swish(W0 mean))."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        """The gated map."""
        gates = torch.sigmoid(self.expand(F.silu(self.reduce(x.mean((2, 3))))))
        return x * gates[:, :, None, None]


class InvertedBottleneck(nn.Module):
    """Widen, convolve each channel, gate, narrow; added to the input where both have one shape."""

    def __init__(
        self, channels: int, out: int, *, expansion: int, kernel: int, stride: int, drop_rate: float
    ) -> None:  # fmt: skip
        super().__init__()
        wide = channels * expansion
        self.expand = conv_bn(channels, wide) if expansion > 1 else None
        self.depthwise = conv_bn(wide, wide, kernel, stride, groups=wide)
        self.squeeze_excite = SwishSqueezeExcite(wide, max(1, channels // SQUEEZE))
        self.project = conv_bn(wide, out)
        self.residual = stride == 1 and channels == out
        self.stochastic_depth = StochasticDepth(drop_rate, rescale=True)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """The block's output, not activated."""
        wide = x if self.expand is None else F.silu(self.expand(x))
        branch: Tensor = self.project(self.squeeze_excite(F.silu(self.depthwise(wide))))
        return x + self.stochastic_depth(branch) if self.residual else branch


class EfficientNet(SpectrogramEncoder):
    """Stem, seven stages and a 1x1 convolution."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__(
            {
                "stem": config.stem_width,
                **{f"stage{n + 1}": width for n, width in enumerate(config.widths)},
                "features": config.final_width,
            }
        )
        self.stem = nn.Sequential(conv_bn(1, config.stem_width, 3, 2), nn.SiLU())
        self.stages = nn.ModuleList()
        channels, index = config.stem_width, 0
        for stage, depth in enumerate(config.depths):
            blocks: list[nn.Module] = []
            for place in range(depth):
                blocks.append(
                    InvertedBottleneck(
                        channels,
                        config.widths[stage],
                        expansion=config.expansions[stage],
                        kernel=config.kernels[stage],
                        stride=config.strides[stage] if place == 0 else 1,
                        drop_rate=config.drop_rate * index / sum(config.depths),
                    )
                )
                channels, index = config.widths[stage], index + 1
            self.stages.append(nn.Sequential(*blocks))
        self.head = nn.Sequential(conv_bn(channels, config.final_width), nn.SiLU())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _draw(module.weight, module.weight[:, 0].numel())
            elif isinstance(module, nn.Linear):  # a 1x1 convolution in the source
                _draw(module.weight, module.out_features)
                nn.init.zeros_(module.bias)

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """Stem, stages and head."""
        x = self.stem(x)
        maps: dict[str, tuple[Tensor, ...]] = {"stem": (x,)}
        for stage, blocks in enumerate(self.stages):
            x = blocks(x)
            maps[f"stage{stage + 1}"] = (x,)
        return maps | {"features": (self.head(x),)}


def _draw(weight: Tensor, fan_out: int) -> None:
    """Normal of variance 2 / fan-out once cut at two deviations (Keras, `VarianceScaling`)."""
    std = math.sqrt(2 / fan_out) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


ENCODERS = {
    "efficientnet_b0": EfficientNetConfig(),
    "efficientnet_tiny": EfficientNetConfig(
        stem_width=8,
        expansions=(1, 2, 2, 2, 2, 2, 2),
        widths=(8, 8, 8, 16, 16, 16, 32),
        depths=(1, 2, 1, 1, 1, 2, 1),
        final_width=64,
    ),
}
