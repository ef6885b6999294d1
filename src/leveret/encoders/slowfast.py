"""SlowFast NFNet-F0: a slow and a fast normalizer-free pathway over a log-mel spectrogram.

Source: paper, section 2.3, appendix B and table 5; deepmind/slowfast_nfnets/slowfast_nfnet.py for all that they leave
open; block maths from arXiv:2102.06171.
Shapes: B batch, T frames, F mel bins, C channels, D embedding.
Departures: none from the released program (D = 3456, 62,970,654 parameters). Where table 5 contradicts it the program
stands: the slow input is a maximum over four frames (table: stride 4), the fast stem is 3x3, 1x3, 1x3, 3x3 (table: all
3x3), the first stage is not strided, both streams end in a 1x1 convolution. `slowfast_nfnet_f0_table5` leaves that last
convolution out, which gives the table's D = 1728 and 58,171,422 parameters; slow input and fast stem are options. Three
controls for an ablation are ours: without fusions, the slow pathway alone (it sees the maximum over four frames all the
same), and `slowfast_nfnet_f0_plain`, an NFNet-F0 with its 3x3 kernels and strides in time whose blocks are dealt out so
that parameters (61.0m) and multiplications (+0.8 % at 300 x 80, +1.9 % at 400 x 128) are the SlowFast network's.
`slowfast_nfnet_small` and `slowfast_nfnet_tiny` are ours.
"""

from dataclasses import dataclass, replace
from typing import Literal

from leveret.encoders.nfnet import FAST_F0, SLOW_F0, Kernel, NFNetConfig, NFNetStream
from leveret.encoders.streams import Fusion, StridedFrames, TwoStreams
from leveret.frontend import LOG_MELS
from leveret.layers import MaxPoolTime, ScaledGELU, WSConv2d

NO_FUSION = (0, 0, 0, 0)
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
        fusion_channels: Channels that the fast pathway gives the slow one before each stage; all zero is none.
        final_width: Slow channels of the 1x1 convolution at the end; 0 is none.
        channel_ratio: Channels of the slow pathway for one of the fast.
        time_ratio: Frames of the fast pathway for one of the slow.
        drop_rate: Stochastic depth grows linearly from 0 at the first block towards this.
        slow_input: The slow pathway sees the maximum over `time_ratio` frames, or every so-manieth frame (table 5).
        fast_stem: Kernels of the fast stem; the table has 3x3 four times.
        gelu: The tanh approximation of the program, or the exact one.
        log_mel: A key of LOG_MELS: the front end, by default leveret's reading of the paper.
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
    slow_input: Literal["max", "stride"] = "max"
    fast_stem: tuple[Kernel, ...] = FAST_F0.stem_kernels
    gelu: Literal["tanh", "exact"] = "tanh"
    log_mel: Literal["leveret", "cola"] = "leveret"

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
            gelu=self.gelu,
            head_scale=PLAIN,
        )

    @property
    def slow(self) -> NFNetConfig:
        """The slow pathway."""
        return self.stream(SLOW_F0, 1)

    @property
    def fast(self) -> NFNetConfig:
        """The fast pathway."""
        return replace(self.stream(FAST_F0, self.channel_ratio), stem_kernels=self.fast_stem)

    def slow_alone(self) -> NFNetConfig:
        """What is left without the fast pathway; it still sees the maximum over `time_ratio` frames."""
        return replace(self.slow, time_ratio=self.time_ratio)

    def build(self) -> "SlowFastNFNet":
        """The two-stream network."""
        return SlowFastNFNet(self)


class SlowFastNFNet(TwoStreams):
    """Two streams side by side; the embedding is [fast, slow]."""

    def __init__(self, config: SlowFastConfig) -> None:
        slow, fast = config.slow, config.fast
        fast_channels = (fast.stem_channels[-1], *fast.widths[:-1])
        super().__init__(
            {"max": MaxPoolTime, "stride": StridedFrames}[config.slow_input](config.time_ratio),
            NFNetStream(fast),
            NFNetStream(slow, config.fusion_channels),
            [
                Fusion(WSConv2d(channels, out, (7, 1), (config.time_ratio, 1)), ScaledGELU(PLAIN, fast.exact))
                for channels, out in zip(fast_channels, config.fusion_channels, strict=True)
                if any(config.fusion_channels)
            ],
            "fast slow",
            (fast.layers, slow.layers),
            LOG_MELS[config.log_mel],
        )


SMALL = SlowFastConfig(
    stem_channels=(8, 8, 16, 32),
    widths=(64, 128, 384, 384),
    group_width=32,
    fusion_channels=(16, 64, 128, 256),
    final_width=768,
    channel_ratio=4,
)

# For tests and docs: every sort of layer once, no size that means anything.
TINY = SlowFastConfig(
    stem_channels=(4, 4, 8, 8),
    widths=(16, 16, 32, 32),
    depths=(1, 1, 2, 1),
    group_width=8,
    fusion_channels=(4, 4, 8, 8),
    final_width=64,
    channel_ratio=2,
)

ENCODERS = {
    "slowfast_nfnet_f0": SlowFastConfig(),
    "slowfast_nfnet_f0_table5": SlowFastConfig(final_width=0),
    # Controls for an ablation.
    "slowfast_nfnet_f0_no_fusion": SlowFastConfig(fusion_channels=NO_FUSION),
    "slowfast_nfnet_f0_slow_only": SlowFastConfig().slow_alone(),
    "slowfast_nfnet_f0_plain": NFNetConfig(widths=(256, 512, 1280, 1536), depths=(1, 2, 4, 5)),
    # For pretraining on a CPU: a quarter of the slow channels and half of the fast ones.
    "slowfast_nfnet_small": SMALL,
    # The other front end that the paper's words allow.
    "slowfast_nfnet_f0_cola": SlowFastConfig(log_mel="cola"),
    "slowfast_nfnet_small_cola": replace(SMALL, log_mel="cola"),
    "slowfast_nfnet_tiny": TINY,
    "slowfast_nfnet_tiny_no_fusion": replace(TINY, fusion_channels=NO_FUSION),
    "slowfast_nfnet_tiny_slow_only": TINY.slow_alone(),
}
