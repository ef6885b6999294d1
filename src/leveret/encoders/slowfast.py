"""SlowFast NFNet-F0: a slow and a fast normalizer-free pathway over a log-mel spectrogram.

Source: paper, section 2.3, appendix B and table 5; deepmind/slowfast_nfnets/slowfast_nfnet.py for all that they leave
open; block maths from arXiv:2102.06171.
Shapes: B batch, T frames, F mel bins, C channels, D embedding.
Departures: none from the released program (D = 3456, 62,970,654 parameters). Where table 5 contradicts it the program
stands: the slow input is a maximum over four frames (table: stride 4), the fast stem is 3x3, 1x3, 1x3, 3x3 (table: all
3x3), the first stage is not strided, both streams end in a 1x1 convolution. `slowfast_nfnet_f0_table5` leaves that last
convolution out, which gives the table's D = 1728 and 58,171,422 parameters. `slowfast_nfnet_small` and
`slowfast_nfnet_tiny` are ours.
"""

from dataclasses import dataclass, replace

from leveret.encoders.nfnet import FAST_F0, SLOW_F0, NFNetConfig, NFNetStream
from leveret.encoders.streams import Fusion, TwoStreams
from leveret.layers import MaxPoolTime, ScaledGELU, WSConv2d

PLAIN = 1.0
"""The fusions and the two heads of the released program use GELU without its gain."""


@dataclass(frozen=True, kw_only=True)
class SlowFastConfig:
    """Sizes of both pathways, as in table 5; the fast one is the slow one divided by `channel_ratio`.

    Attributes:
        stem_channels: Slow width after each stem convolution.
        widths: Slow output channels of the four stages; the bottleneck has half.
        depths: Blocks of the four stages, in both pathways.
        group_width: Channels in each group of the slow middle convolutions.
        fusion_channels: Channels that the fast pathway gives the slow one before each stage.
        final_width: Slow channels of the 1x1 convolution at the end; 0 is none.
        channel_ratio: Channels of the slow pathway for one of the fast.
        time_ratio: Frames of the fast pathway for one of the slow.
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
    """

    stem_channels: tuple[int, ...] = (16, 32, 64, 128)
    widths: tuple[int, ...] = (256, 512, 1536, 1536)
    depths: tuple[int, ...] = (1, 2, 6, 3)
    group_width: int = 128
    fusion_channels: tuple[int, ...] = (64, 256, 512, 1024)
    final_width: int = 3072
    channel_ratio: int = 8
    time_ratio: int = 4
    drop_rate: float = 0.1

    def stream(self, kernels: NFNetConfig, ratio: int) -> NFNetConfig:
        """One pathway: these sizes divided by `ratio`, with the kernels and strides of `kernels`."""
        return replace(
            kernels,
            stem_channels=tuple(width // ratio for width in self.stem_channels),
            widths=tuple(width // ratio for width in self.widths),
            depths=self.depths,
            group_width=self.group_width // ratio,
            final_width=self.final_width // ratio,
            drop_rate=self.drop_rate,
        )

    def build(self) -> "SlowFastNFNet":
        """The two-stream network."""
        return SlowFastNFNet(self)


class SlowFastNFNet(TwoStreams):
    """Two streams side by side; the embedding is [fast, slow]."""

    def __init__(self, config: SlowFastConfig) -> None:
        slow, fast = config.stream(SLOW_F0, 1), config.stream(FAST_F0, config.channel_ratio)
        fast_channels = (fast.stem_channels[-1], *fast.widths[:-1])
        super().__init__(
            MaxPoolTime(config.time_ratio),
            NFNetStream(fast, head_scale=PLAIN),
            NFNetStream(slow, config.fusion_channels, head_scale=PLAIN),
            [
                Fusion(WSConv2d(channels, out, (7, 1), (config.time_ratio, 1)), ScaledGELU(PLAIN))
                for channels, out in zip(fast_channels, config.fusion_channels, strict=True)
            ],
            "fast slow",
            (fast.layers, slow.layers),
        )


ENCODERS = {
    "slowfast_nfnet_f0": SlowFastConfig(),
    "slowfast_nfnet_f0_table5": SlowFastConfig(final_width=0),
    # For pretraining on a CPU: a quarter of the slow channels and half of the fast ones.
    "slowfast_nfnet_small": SlowFastConfig(
        stem_channels=(8, 8, 16, 32),
        widths=(64, 128, 384, 384),
        group_width=32,
        fusion_channels=(16, 64, 128, 256),
        final_width=768,
        channel_ratio=4,
    ),
    # For tests and docs: every sort of layer once, no size that means anything.
    "slowfast_nfnet_tiny": SlowFastConfig(
        stem_channels=(4, 4, 8, 8),
        widths=(16, 16, 32, 32),
        depths=(1, 1, 2, 1),
        group_width=8,
        fusion_channels=(4, 4, 8, 8),
        final_width=64,
        channel_ratio=2,
    ),
}
