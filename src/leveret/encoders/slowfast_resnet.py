"""SlowFast ResNet50 over a log-mel spectrogram, with batch, layer or instance norm, or none.

Source: paper, section 4.2 and table 3; arXiv:2103.03516 and ekazakos/auditory-slow-fast (its VGG-Sound configuration)
for the topology.
Shapes: B batch, T frames, F mel bins, C channels, D = 2304 = [slow 2048, fast 256].
Departures: the program takes T divisible by 4 alone and T / 4 frames for the slow stream; here it is ceil(T / 4), so
that the streams always meet. What the normalisers are is in `normed`. Without one the zero that its last gain would be
at first is in the block's last filters. `slowfast_resnet_tiny` is ours.
"""

from dataclasses import dataclass, replace

from torch import nn

from leveret.encoders.normed import Norm, conv_norm, he_normal
from leveret.encoders.resnet import ResNetConfig, ResNetSizes, ResNetStream
from leveret.encoders.streams import Fusion, SpreadFrames, TwoStreams

SLOW = ResNetSizes(
    stem_kernel=(1, 7),
    first_kernels=((1, 1), (1, 1), (3, 1), (3, 1)),
    kernel=(1, 3),
    strides=((1, 1), (1, 2), (1, 2), (1, 2)),
)
FAST = replace(SLOW, stem_kernel=(5, 7), first_kernels=((3, 1), (3, 1), (3, 1), (3, 1)))


@dataclass(frozen=True, kw_only=True)
class SlowFastResNetSizes:
    """Sizes of both pathways; the fast one is the slow one divided by `channel_ratio`.

    Attributes:
        stem_width: Slow channels of the stem.
        widths: Slow output channels of the four stages.
        depths: Blocks of the four stages, in both pathways.
        fusion_ratio: Channels that a fusion gives for one of the fast pathway.
        channel_ratio: Channels of the slow pathway for one of the fast.
        time_ratio: Frames of the fast pathway for one of the slow.
    """

    stem_width: int = 64
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    fusion_ratio: int = 2
    channel_ratio: int = 8
    time_ratio: int = 4

    @property
    def slow(self) -> ResNetSizes:
        """The slow pathway."""
        return replace(SLOW, stem_width=self.stem_width, widths=self.widths, depths=self.depths)

    @property
    def fast(self) -> ResNetSizes:
        """The fast pathway."""
        widths = tuple(width // self.channel_ratio for width in self.widths)
        return replace(FAST, stem_width=self.stem_width // self.channel_ratio, widths=widths, depths=self.depths)

    @property
    def fusions(self) -> tuple[tuple[int, int], ...]:
        """Channels in and out of the fusion before each stage."""
        sizes = self.fast
        return tuple((width, self.fusion_ratio * width) for width in (sizes.stem_width, *sizes.widths[:-1]))


@dataclass(frozen=True, kw_only=True)
class SlowFastResNetConfig(SlowFastResNetSizes):
    """A SlowFast ResNet with a normaliser behind every convolution.

    Attributes:
        norm: As for one stream.
        zero_init: Every residual branch is off at first.
    """

    norm: Norm = "bn"
    zero_init: bool = True

    def build(self) -> "SlowFastResNet":
        """The two-stream network."""
        return SlowFastResNet(self)


class SlowFastResNet(TwoStreams):
    """Two streams side by side; the embedding is [slow, fast]."""

    def __init__(self, config: SlowFastResNetConfig) -> None:
        slow, fast = (
            ResNetConfig(**vars(sizes), norm=config.norm, zero_init=config.zero_init)
            for sizes in (config.slow, config.fast)
        )
        fusions = [
            Fusion(conv_norm(channels, out, (7, 1), (config.time_ratio, 1), config.norm), nn.ReLU())
            for channels, out in config.fusions
        ]
        for fusion in fusions:
            he_normal(fusion)
        super().__init__(
            SpreadFrames(config.time_ratio),
            ResNetStream(fast),
            ResNetStream(slow, tuple(out for _, out in config.fusions)),
            fusions,
            "slow fast",
            (fast.layers, slow.layers),
        )


TINY = SlowFastResNetConfig(stem_width=8, widths=(16, 16, 32, 32), depths=(1, 1, 2, 1), channel_ratio=2)

ENCODERS = {
    "slowfast_resnet50": SlowFastResNetConfig(),
    "slowfast_resnet50_ln": SlowFastResNetConfig(norm="ln"),
    "slowfast_resnet50_in": SlowFastResNetConfig(norm="in"),
    "slowfast_resnet50_no_norm": SlowFastResNetConfig(norm="none"),
    "slowfast_resnet_tiny": TINY,
    "slowfast_resnet_tiny_ln": replace(TINY, norm="ln"),
    "slowfast_resnet_tiny_in": replace(TINY, norm="in"),
    "slowfast_resnet_tiny_no_norm": replace(TINY, norm="none"),
}
