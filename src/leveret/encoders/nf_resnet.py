"""NF-ResNet50 and its SlowFast form: residual bottlenecks without normalisation, weights standardised.

Source: arXiv:2101.08692 and deepmind-research/nfnets/nf_resnet.py (`nf_resnet50`, block maths); the topology of the
SlowFast form is the SlowFast ResNet50's (paper, section 4.2 and table 3; it was never released).
Shapes: B batch, T frames, F mel bins, C channels, D = 2304 = [slow 2048, fast 256] or 2048.
Departures: the SlowFast form puts the two sources together as they are, with SAME padding: a fusion is a standardised
convolution with the scaled activation, each stream ends in the activation, stochastic depth grows by block as in the
program. `nf_resnet_tiny` and `slowfast_nf_resnet_tiny` are ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.nfnet import ALPHA, block_scales
from leveret.encoders.resnet import BOTTLENECK, Kernel, ResNetSizes
from leveret.encoders.slowfast_resnet import SlowFastResNetSizes
from leveret.encoders.streams import Fusion, OneStream, SpreadFrames, TwoStreams
from leveret.layers import MaxPool, StochasticDepth, WSConv2d

RELU_GAIN = 1.7139588594436646
"""Makes the variance of relu(x) one where x is standard normal."""


class ScaledReLU(nn.Module):
    """ReLU times its gain, where no convolution follows that could hold it."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """RELU_GAIN * relu(x)."""
        return F.relu(x) * RELU_GAIN


@dataclass(frozen=True, kw_only=True)
class NFResNetConfig(ResNetSizes):
    """A normalizer-free ResNet.

    Attributes:
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
    """

    drop_rate: float = 0.1

    @property
    def layers(self) -> dict[str, int]:
        """Stem, stages and head, with their widths."""
        return super().layers | {"features": self.widths[-1]}

    def build(self) -> OneStream:
        """One stream; the embedding is the mean of its activated last stage."""
        return OneStream(NFResNetStream(self), self.layers)


class NFResBlock(nn.Module):
    """A pre-activated bottleneck: y = shortcut + branch * skip_gain alpha.

    Args:
        beta: One over the expected standard deviation of the input.
        transition: True in the first block of a stage: the shortcut is convolved, with the stride.
    """

    def __init__(
        self, channels: int, out: int, *, first_kernel: Kernel, kernel: Kernel, stride: Kernel, beta: float,
        drop_rate: float, transition: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = out // BOTTLENECK
        self.conv0 = WSConv2d(channels, inner, first_kernel, input_scale=RELU_GAIN * beta)
        self.conv1 = WSConv2d(inner, inner, kernel, stride, input_scale=RELU_GAIN)
        self.conv2 = WSConv2d(inner, out, (1, 1), input_scale=RELU_GAIN)
        self.conv_shortcut = (
            WSConv2d(channels, out, (1, 1), stride, input_scale=RELU_GAIN * beta) if transition else None
        )
        self.stochastic_depth = StochasticDepth(drop_rate)
        self.skip_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """The block's output, not activated."""
        activated = F.relu(x)
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(activated)
        branch = self.conv2(F.relu(self.conv1(F.relu(self.conv0(activated)))))
        gate = self.stochastic_depth(branch.new_ones(branch.shape[0], 1, 1, 1)) * (ALPHA * self.skip_gain)
        return torch.addcmul(shortcut, branch, gate)


class NFResNetStream(nn.Module):
    """Stem, four stages and head of one stream; its owner runs them, and may widen the map before a stage.

    Args:
        extra_channels: Channels that the owner concatenates before each stage.
    """

    def __init__(self, config: NFResNetConfig, extra_channels: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.stem = nn.Sequential(WSConv2d(1, config.stem_width, config.stem_kernel, (2, 2)), MaxPool((3, 3), (2, 2)))
        self.stages = nn.ModuleList()
        channels = config.stem_width
        for stage, scales in enumerate(block_scales(config.depths, config.drop_rate)):
            channels += extra_channels[stage]
            blocks: list[nn.Module] = []
            for place, scale in enumerate(scales):
                blocks.append(
                    NFResBlock(
                        channels,
                        config.widths[stage],
                        first_kernel=config.first_kernels[stage],
                        kernel=config.kernel,
                        stride=config.strides[stage] if place == 0 else (1, 1),
                        beta=scale.beta,
                        drop_rate=scale.drop_rate,
                        transition=place == 0,
                    )
                )
                channels = config.widths[stage]
            self.stages.append(nn.Sequential(*blocks))
        self.features = ScaledReLU()


@dataclass(frozen=True, kw_only=True)
class SlowFastNFResNetConfig(SlowFastResNetSizes):
    """A normalizer-free SlowFast ResNet.

    Attributes:
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
    """

    drop_rate: float = 0.1

    def build(self) -> "SlowFastNFResNet":
        """The two-stream network."""
        return SlowFastNFResNet(self)


class SlowFastNFResNet(TwoStreams):
    """Two streams side by side; the embedding is [slow, fast]."""

    def __init__(self, config: SlowFastNFResNetConfig) -> None:
        slow, fast = (NFResNetConfig(**vars(sizes), drop_rate=config.drop_rate) for sizes in (config.slow, config.fast))
        super().__init__(
            SpreadFrames(config.time_ratio),
            NFResNetStream(fast),
            NFResNetStream(slow, tuple(out for _, out in config.fusions)),
            [
                Fusion(WSConv2d(channels, out, (7, 1), (config.time_ratio, 1)), ScaledReLU())
                for channels, out in config.fusions
            ],
            "slow fast",
            (fast.layers, slow.layers),
        )


ENCODERS = {
    "nf_resnet50": NFResNetConfig(),
    "nf_resnet_tiny": NFResNetConfig(stem_width=8, widths=(16, 32, 32, 64), depths=(1, 2, 1, 1)),
    "slowfast_nf_resnet50": SlowFastNFResNetConfig(),
    "slowfast_nf_resnet_tiny": SlowFastNFResNetConfig(
        stem_width=8, widths=(16, 16, 32, 32), depths=(1, 1, 2, 1), channel_ratio=2
    ),
}
