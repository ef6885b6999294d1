"""Bidirectional CPC: convolutions over the wave, then a context of the past and one of the future.

Source: paper, table 2, which cites Wang, Kawakami and van den Oord 2020 (arXiv:2009.07543); kernels of both parts from
published notes on it, the layers themselves from wav2vec (arXiv:1904.05862, fairseq's wav2vec.py), on which it builds.
Shapes: B batch, N samples, T frames of 20 ms, C = 512 channels, D = 768 = [past 384, future 384].
Departures: the paper's 38m parameters are not uniquely explained. Two context networks of width 384 with twelve linear
predictions each make 38.3m; here are the 33.6m that give the embedding, the predictions belong to the objective. The
notes list seven kernels of 4, but six give the context of 1.62 s that they state, so six it is. No dropout.
`bidir_cpc_small` and `bidir_cpc_tiny` are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.waveform import WaveformEncoder, field_and_hop


@dataclass(frozen=True, kw_only=True)
class BidirCPCConfig:
    """Sizes of both parts.

    Attributes:
        channels: Of every convolution over the wave.
        kernels: Of these.
        strides: Of these.
        context_dim: Width of each direction.
        context_kernels: Frames that each convolution of a context sees; the last is the present one.
        log_compression: log(1 + |x|) of the latents, as in wav2vec.
    """

    channels: int = 512
    kernels: tuple[int, ...] = (10, 4, 4, 4, 4, 4, 4, 1, 1)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2, 1, 1)
    context_dim: int = 384
    context_kernels: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    log_compression: bool = True

    def build(self) -> "BidirCPC":
        """The network, with weights drawn as torch draws them."""
        return BidirCPC(self)


class CausalConv(nn.Module):
    """A convolution over the past, the first frame repeated before it, with group norm and ReLU; residual if it can be.

    Group norm takes one mean and variance a clip, over channels and time.
    """

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel)
        self.norm = nn.GroupNorm(1, out)
        self.residual = channels == out

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B D T"]:
        """As many frames as came in."""
        before = F.pad(x, (self.conv.kernel_size[0] - 1, 0), mode="replicate")
        y = F.relu(self.norm(self.conv(before)))
        return (x + y) * 0.5**0.5 if self.residual else y


class BidirCPC(WaveformEncoder):
    """Latents, and a stack of causal convolutions in either direction of time.

    Attributes:
        channels: Of a latent.
        context_dim: Of a context of one direction.
        hop: Samples from frame to frame.
    """

    def __init__(self, config: BidirCPCConfig) -> None:
        contexts = {f"context{n + 1}": 2 * config.context_dim for n in range(len(config.context_kernels))}
        field, self.hop = field_and_hop(config.kernels, config.strides)
        self.channels, self.context_dim = config.channels, config.context_dim
        super().__init__({**{f"conv{n + 1}": config.channels for n in range(len(config.kernels))}, **contexts}, field)
        self.log_compression = config.log_compression
        self.convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, config.channels, kernel, stride, bias=False),
                nn.GroupNorm(1, config.channels),
                nn.ReLU(),
            )
            for channels, kernel, stride in zip(
                (1, *(config.channels for _ in config.kernels)), config.kernels, config.strides, strict=False
            )
        )
        self.past, self.future = (
            nn.ModuleList(
                CausalConv(config.context_dim if place else config.channels, config.context_dim, kernel)
                for place, kernel in enumerate(config.context_kernels)
            )
            for _ in range(2)
        )

    def stages(self, x: Float[Tensor, "B N"]) -> Iterator[tuple[str, Float[Tensor, "B C T"]]]:
        """Every convolution, over the wave and over the frames; of the last over the wave what the contexts take."""
        latents = x[:, None]
        for n, conv in enumerate(self.convs):
            latents = conv(latents)
            if self.log_compression and n == len(self.convs) - 1:
                latents = latents.abs().log1p()
            yield f"conv{n + 1}", latents
        for n, (past, future) in enumerate(self.contexts(latents)):
            yield f"context{n + 1}", torch.cat([past, future], 1)

    def latents(self, x: Float[Tensor, "B N"]) -> Float[Tensor, "B C T"]:
        """What the contexts take, and what the objective has them predict."""
        name = f"conv{len(self.convs)}"
        return next(value for layer, value in self.stages(x) if layer == name)

    def contexts(
        self, latents: Float[Tensor, "B C T"]
    ) -> Iterator[tuple[Float[Tensor, "B D T"], Float[Tensor, "B D T"]]]:
        """(Past and present, future and present) of every frame after each convolution."""
        past, future = latents, latents.flip(2)
        for of_past, of_future in zip(self.past, self.future, strict=True):
            past, future = of_past(past), of_future(future)
            yield past, future.flip(2)


ENCODERS = {
    "bidir_cpc": BidirCPCConfig(),
    "bidir_cpc_small": BidirCPCConfig(channels=64, context_dim=96),  # for pretraining on a CPU
    "bidir_cpc_tiny": BidirCPCConfig(channels=16, context_dim=8, context_kernels=(2, 3, 4)),
}
