"""One stream over a spectrogram, or two side by side: a fast one, and a slow one that is told what the fast one found.

A stream is a module with `stem` and `stages`, and `features` where it has a head.

Source: arXiv:1812.03982 (SlowFast) and arXiv:2103.03516 (for audio); paper, section 2.3.
Shapes: B batch, T and t fast and slow frames, F mel bins, C, c and D channels.
Departures: none.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leveret.encoders.spectrogram import SpectrogramEncoder
from leveret.frontend import LOG_MELS, LogMelConfig


class Fusion(nn.Module):
    """Fast to slow: a convolution strided to the slow frame rate, an activation, concatenated behind the slow channels.

    Args:
        conv_f2s: 7x1, with its normaliser if there is one.
    """

    def __init__(self, conv_f2s: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv_f2s = conv_f2s
        self.activation = activation

    def forward(self, slow: Float[Tensor, "B C t F"], fast: Float[Tensor, "B c T F"]) -> Float[Tensor, "B D t F"]:
        """The slow map with the fused channels."""
        return torch.cat([slow, self.activation(self.conv_f2s(fast))], 1)


class StridedFrames(nn.Module):
    """Every so-manieth frame from the first: ceil(T / stride) of them."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C t F"]:
        """What is kept."""
        return x[:, :, :: self.stride]


class SpreadFrames(nn.Module):
    """ceil(T / stride) frames at equal distances from the first to the last, rounded down."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C t F"]:
        """What is kept."""
        num_frames = (x.shape[2] + self.stride - 1) // self.stride
        return x[:, :, torch.arange(num_frames, device=x.device) * (x.shape[2] - 1) // torch.sym_max(num_frames - 1, 1)]


class OneStream(SpectrogramEncoder):
    """The loop over one stream.

    Args:
        layers: Widths of the stem, the stages and, if the stream has one, the head.
        first: Spectrogram -> what the stream sees; None is the spectrogram itself.
    """

    def __init__(self, stream: nn.Module, layers: Mapping[str, int], first: nn.Module | None = None) -> None:
        super().__init__(layers)
        self.first = first or nn.Identity()
        self.stream = stream

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """Stem, stages and head."""
        x = self.stream.stem(self.first(x))  # type: ignore[operator]
        maps: dict[str, tuple[Tensor, ...]] = {"stem": (x,)}
        for stage, blocks in enumerate(self.stream.stages):  # type: ignore[arg-type]
            x = blocks(x)
            maps[f"stage{stage + 1}"] = (x,)
        if "features" in self.layers:
            maps["features"] = (self.stream.features(x),)  # type: ignore[operator]
        return maps


class TwoStreams(SpectrogramEncoder):
    """The loop over both streams.

    Args:
        slow_input: Spectrogram -> what the slow stream sees.
        fusions: One before each stage; none at all leaves the streams apart.
        order: How the streams stand in every vector.
        layers: Widths of the fast and of the slow stream's layers, of equal names.
        log_mel: The spectrogram that both see.
    """

    def __init__(
        self,
        slow_input: nn.Module,
        fast: nn.Module,
        slow: nn.Module,
        fusions: Sequence[Fusion],
        order: Literal["fast slow", "slow fast"],
        layers: tuple[Mapping[str, int], Mapping[str, int]],
        log_mel: LogMelConfig = LOG_MELS["leveret"],
    ) -> None:
        super().__init__({name: width + layers[1][name] for name, width in layers[0].items()}, log_mel)
        self.slow_input = slow_input
        self.fast = fast
        self.slow = slow
        self.fusions = nn.ModuleList(fusions)
        self.order = order

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """Stem, stages and head, each as one map a stream, in the order of the vectors."""
        fast, slow = self.fast.stem(x), self.slow.stem(self.slow_input(x))  # type: ignore[operator]
        maps = {"stem": (fast, slow)}
        for n, (of_fast, of_slow) in enumerate(zip(self.fast.stages, self.slow.stages, strict=True)):  # type: ignore[arg-type]
            # The fusion takes the fast map from before the stage.
            slow = of_slow(self.fusions[n](slow, fast) if self.fusions else slow)
            fast = of_fast(fast)
            maps[f"stage{n + 1}"] = (fast, slow)
        if "features" in self.layers:
            maps["features"] = (self.fast.features(fast), self.slow.features(slow))  # type: ignore[operator]
        return {name: pair if self.order == "fast slow" else pair[::-1] for name, pair in maps.items()}
