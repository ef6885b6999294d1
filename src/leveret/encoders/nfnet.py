"""NFNet: residual networks without normalisation, and the single streams of the SlowFast one.

Source: arXiv:2102.06171 and deepmind-research/nfnets/nfnet.py (`nfnet_f0`); deepmind/slowfast_nfnets/slowfast_nfnet.py
(`nfnet_f0_slow`, `nfnet_f0_fast`: kernels split into time and frequency; paper, table 5, either column).
Shapes: B batch, T frames, F mel bins, C channels, D embedding.
Departures: no dropout before the classifier (the paper's encoders have none, though the program lists a rate of 0.2);
any T and F instead of squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leveret.encoders.streams import OneStream
from leveret.layers import (
    GELU_GAIN,
    AvgPool,
    MaxPoolTime,
    ScaledGELU,
    SqueezeExcite,
    StochasticDepth,
    WSConv2d,
    gelu,
)

Kernel = tuple[int, int]
"""Frames x mel bins."""

ALPHA = 0.2
"""Each residual branch adds ALPHA^2 to the variance, once its skip gain is one."""


@dataclass(frozen=True, kw_only=True)
class NFNetConfig:
    """Sizes of one stream, of NFNet-F0 by default.

    Attributes:
        stem_channels: Width after each stem convolution.
        stem_kernels: Kernel of each.
        stem_strides: Stride of each.
        widths: Output channels of the four stages; the bottleneck has half.
        depths: Blocks of the four stages.
        group_width: Channels in each group of the two middle convolutions.
        kernels: First middle convolution of the blocks, by stage; it carries the stride.
        second_kernels: Second middle convolution, by stage.
        strides: Stride of each stage's first block.
        final_width: Channels of the 1x1 convolution at the end; 0 is none.
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
        gelu: The tanh approximation of the programs, or the exact one.
        head_scale: Factor on the GELU of the head.
        time_ratio: So many frames are one to the network, their maximum.
    """

    stem_channels: tuple[int, ...] = (16, 32, 64, 128)
    stem_kernels: tuple[Kernel, ...] = ((3, 3), (3, 3), (3, 3), (3, 3))
    stem_strides: tuple[Kernel, ...] = ((2, 2), (1, 1), (1, 1), (2, 2))
    widths: tuple[int, ...] = (256, 512, 1536, 1536)
    depths: tuple[int, ...] = (1, 2, 6, 3)
    group_width: int = 128
    kernels: tuple[Kernel, ...] = ((3, 3), (3, 3), (3, 3), (3, 3))
    second_kernels: tuple[Kernel, ...] = ((3, 3), (3, 3), (3, 3), (3, 3))
    strides: tuple[Kernel, ...] = ((1, 1), (2, 2), (2, 2), (2, 2))
    final_width: int = 3072
    drop_rate: float = 0.1
    gelu: Literal["tanh", "exact"] = "tanh"
    head_scale: float = GELU_GAIN
    time_ratio: int = 1

    @property
    def exact(self) -> bool:
        """Whether GELU is exact."""
        return {"tanh": False, "exact": True}[self.gelu]

    @property
    def layers(self) -> dict[str, int]:
        """Stem, stages and head, with their widths."""
        return {
            "stem": self.stem_channels[-1],
            **{f"stage{n + 1}": width for n, width in enumerate(self.widths)},
            "features": self.final_width or self.widths[-1],
        }

    def build(self) -> OneStream:
        """The network as an encoder of its own."""
        first = MaxPoolTime(self.time_ratio) if self.time_ratio > 1 else None
        return OneStream(NFNetStream(self), self.layers, first)


class BlockScale(NamedTuple):
    """What a block's place among all blocks decides: `beta` and `drop_rate` of a normalizer-free block."""

    beta: float
    drop_rate: float


def block_scales(depths: Sequence[int], drop_rate: float) -> list[list[BlockScale]]:
    """Those of every block, stage by stage.

    Args:
        depths: Blocks of each stage.
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
    """
    stages: list[list[BlockScale]] = []
    variance, index = 1.0, 0
    for depth in depths:
        stages.append([])
        for place in range(depth):
            stages[-1].append(BlockScale(variance**-0.5, drop_rate * index / sum(depths)))
            # A transition convolves its shortcut, which sets the variance back to one; every branch adds its own.
            variance = (1.0 if place == 0 else variance) + ALPHA**2
            index += 1
    return stages


class NFBlock(nn.Module):
    """A pre-activated bottleneck: y = shortcut + branch * gate, where gate = 2 SE(branch) skip_gain alpha.

    Args:
        beta: One over the expected standard deviation of the input.
        transition: True in the first block of a stage: the shortcut is pooled and convolved.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        kernel: Kernel,
        second_kernel: Kernel,
        stride: Kernel,
        group_width: int,
        beta: float,
        drop_rate: float,
        transition: bool,
        exact: bool,
    ) -> None:
        super().__init__()
        self.exact = exact
        width = out // 2
        groups = width // group_width
        self.conv0 = WSConv2d(channels, width, (1, 1), input_scale=GELU_GAIN * beta)
        self.conv1 = WSConv2d(width, width, kernel, stride, groups, input_scale=GELU_GAIN)
        self.conv1b = WSConv2d(width, width, second_kernel, groups=groups, input_scale=GELU_GAIN)
        self.conv2 = WSConv2d(width, out, (1, 1), input_scale=GELU_GAIN)
        self.pool = AvgPool(stride) if transition and max(stride) > 1 else nn.Identity()
        self.conv_shortcut = WSConv2d(channels, out, (1, 1), input_scale=GELU_GAIN * beta) if transition else None
        self.squeeze_excite = SqueezeExcite(out, out // 2)
        self.stochastic_depth = StochasticDepth(drop_rate)
        self.skip_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """The block's output, not activated."""
        activated = gelu(x, self.exact)
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(self.pool(activated))
        branch = self.conv0(activated)
        branch = self.conv1(gelu(branch, self.exact))
        branch = self.conv1b(gelu(branch, self.exact))
        branch = self.conv2(gelu(branch, self.exact))
        # All that multiplies the branch goes through the gate, which has one value a channel.
        gate = self.stochastic_depth(self.squeeze_excite(branch)) * (2 * ALPHA * self.skip_gain)
        return torch.addcmul(shortcut, branch, gate)


class Stem(nn.Sequential):
    """Four convolutions with scaled GELU between them and none after the last."""

    def __init__(self, config: NFNetConfig) -> None:
        layers: list[nn.Module] = []
        channels, scale = 1, 1.0
        for out, kernel, stride in zip(config.stem_channels, config.stem_kernels, config.stem_strides, strict=True):
            if layers:
                layers.append(ScaledGELU(1.0, config.exact))
                scale = GELU_GAIN  # the gain of the activation, in the next filters
            layers.append(WSConv2d(channels, out, kernel, stride, input_scale=scale))
            channels = out
        super().__init__(*layers)


class NFNetStream(nn.Module):
    """Stem, four stages and head of one stream; its owner runs them, and may widen the map before a stage.

    Args:
        config: Sizes of the stream.
        extra_channels: Channels that the owner concatenates before each stage.
    """

    def __init__(self, config: NFNetConfig, extra_channels: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.stem = Stem(config)
        self.stages = nn.ModuleList()
        channels = config.stem_channels[-1]
        for stage, scales in enumerate(block_scales(config.depths, config.drop_rate)):
            channels += extra_channels[stage]
            blocks: list[nn.Module] = []
            for place, scale in enumerate(scales):
                blocks.append(
                    NFBlock(
                        channels,
                        config.widths[stage],
                        kernel=config.kernels[stage],
                        second_kernel=config.second_kernels[stage],
                        stride=config.strides[stage] if place == 0 else (1, 1),
                        group_width=config.group_width,
                        beta=scale.beta,
                        drop_rate=scale.drop_rate,
                        transition=place == 0,
                        exact=config.exact,
                    )
                )
                channels = config.widths[stage]
            self.stages.append(nn.Sequential(*blocks))
        self.final_conv = WSConv2d(channels, config.final_width, (1, 1)) if config.final_width else nn.Identity()
        self.head = ScaledGELU(config.head_scale, config.exact)

    def features(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D T F"]:
        """The activated map after the last stage, to be averaged."""
        features: Tensor = self.head(self.final_conv(x))
        return features


SLOW_F0 = NFNetConfig(
    stem_kernels=((1, 3), (1, 3), (1, 3), (3, 3)),
    kernels=((1, 1), (1, 1), (3, 1), (3, 1)),
    second_kernels=((1, 3), (1, 3), (1, 3), (1, 3)),
    strides=((1, 1), (1, 2), (1, 2), (1, 2)),
)
FAST_F0 = NFNetConfig(
    stem_channels=(2, 4, 8, 16),
    stem_kernels=((3, 3), (1, 3), (1, 3), (3, 3)),
    widths=(32, 64, 192, 192),
    group_width=16,
    kernels=((3, 1), (3, 1), (3, 1), (3, 1)),
    second_kernels=((1, 3), (1, 3), (1, 3), (1, 3)),
    strides=((1, 1), (1, 2), (1, 2), (1, 2)),
    final_width=384,
)

ENCODERS = {
    "nfnet_f0": NFNetConfig(),
    "nfnet_f0_slow": SLOW_F0,
    "nfnet_f0_fast": FAST_F0,
    # For tests: every sort of layer once.
    "nfnet_tiny": NFNetConfig(
        stem_channels=(4, 4, 8, 8), widths=(16, 16, 32, 32), depths=(1, 1, 2, 1), group_width=8, final_width=64
    ),
}
