"""ResNet50: residual bottlenecks with batch norm over a log-mel spectrogram; the stream is the SlowFast form's, too.

Source: arXiv:1512.03385; the stride lies on the middle convolution ("v1.5"), as in all later programs.
Shapes: B batch, T frames, F mel bins, C channels.
Departures: any T and F instead of squares of 224; one input channel. The paper does not say where its ResNet50 has the
stride; the number of parameters (23,501,760) is the same either way. `resnet_tiny` is ours.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.normed import Norm, conv_norm, he_normal
from leveret.encoders.streams import OneStream

Kernel = tuple[int, int]
"""Frames x mel bins."""

BOTTLENECK = 4
"""Output channels of a block for one of its bottleneck."""


@dataclass(frozen=True, kw_only=True)
class ResNetSizes:
    """Sizes of one stream, of ResNet50 by default.

    Attributes:
        stem_width: Channels of the stem, which halves the map twice: convolution and pool.
        stem_kernel: Kernel of its convolution.
        widths: Output channels of the four stages; the bottleneck has a quarter.
        depths: Blocks of the four stages.
        first_kernels: First convolution of the blocks, by stage.
        kernel: Middle convolution of every block; it carries the stride.
        strides: Stride of each stage's first block.
    """

    stem_width: int = 64
    stem_kernel: Kernel = (7, 7)
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    first_kernels: tuple[Kernel, ...] = ((1, 1), (1, 1), (1, 1), (1, 1))
    kernel: Kernel = (3, 3)
    strides: tuple[Kernel, ...] = ((1, 1), (2, 2), (2, 2), (2, 2))

    @property
    def layers(self) -> dict[str, int]:
        """Stem and stages, with their widths."""
        return {"stem": self.stem_width, **{f"stage{n + 1}": width for n, width in enumerate(self.widths)}}


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(ResNetSizes):
    """A ResNet with a normaliser behind every convolution.

    Attributes:
        norm: "bn" batch, "ln" layer, "ln_c" layer over channels alone, "in" instance, or "none".
        zero_init: Every residual branch is off at first: its last gain is zero.
    """

    norm: Norm = "bn"
    zero_init: bool = False

    def build(self) -> OneStream:
        """One stream; the embedding is the mean of its last stage."""
        return OneStream(ResNetStream(self), self.layers)


class Bottleneck(nn.Module):
    """y = relu(shortcut + c(relu(b(relu(a(x)))))), a normaliser in each of a, b, c and in a convolved shortcut.

    Args:
        transition: True in the first block of a stage: the shortcut is convolved.
    """

    def __init__(
        self, channels: int, out: int, *, first_kernel: Kernel, kernel: Kernel, stride: Kernel, norm: Norm,
        transition: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = out // BOTTLENECK
        self.a = conv_norm(channels, inner, first_kernel, norm=norm)
        self.b = conv_norm(inner, inner, kernel, stride, norm)
        self.c = conv_norm(inner, out, (1, 1), norm=norm)
        self.shortcut = conv_norm(channels, out, (1, 1), stride, norm) if transition else None

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """The block's output, activated."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(shortcut + self.c(F.relu(self.b(F.relu(self.a(x))))))


class ResNetStream(nn.Module):
    """Stem and four stages of one stream; its owner runs them, and may widen the map before a stage.

    Args:
        extra_channels: Channels that the owner concatenates before each stage.
    """

    def __init__(self, config: ResNetConfig, extra_channels: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_norm(1, config.stem_width, config.stem_kernel, (2, 2), config.norm),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.ModuleList()
        channels = config.stem_width
        for stage, depth in enumerate(config.depths):
            channels += extra_channels[stage]
            blocks: list[nn.Module] = []
            for place in range(depth):
                blocks.append(
                    Bottleneck(
                        channels,
                        config.widths[stage],
                        first_kernel=config.first_kernels[stage],
                        kernel=config.kernel,
                        stride=config.strides[stage] if place == 0 else (1, 1),
                        norm=config.norm,
                        transition=place == 0,
                    )
                )
                channels = config.widths[stage]
            self.stages.append(nn.Sequential(*blocks))
        he_normal(self)
        for module in self.modules():
            if config.zero_init and isinstance(module, Bottleneck):
                module.c.zero()


ENCODERS = {
    "resnet50": ResNetConfig(),
    "resnet_tiny": ResNetConfig(stem_width=8, widths=(16, 32, 32, 64), depths=(1, 2, 1, 1)),
}
