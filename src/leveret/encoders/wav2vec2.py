"""wav2vec 2.0 base: convolutions over the wave, then a transformer; inputs and targets stay continuous.

Source: arXiv:2006.11477 and fairseq's wav2vec2.py with its base configuration; paper, section 3.2, for the continuous
inputs and targets.
Shapes: B batch, N samples, T frames of 20 ms, C = 512 channels, D = 768.
Departures: no quantizer. The two projections of the objective (328,192 parameters) are not part of the encoder; the
embedding of masked frames is, as in the count of 94,371,712. A whole layer is left out for the whole batch, as in the
source, but computed all the same: its gradient is zero, not absent, and the graph of every step is the same.
`wav2vec2_small` and `wav2vec2_tiny` are ours.
"""

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.transformer import TransformerLayer
from leveret.encoders.waveform import WaveformEncoder, field_and_hop
from leveret.layers import Dropout

EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2Config:
    """Sizes of the base model.

    Attributes:
        channels: Of every convolution over the wave.
        kernels: Of these.
        strides: Of these.
        width: D.
        depth: Transformer layers.
        num_heads: Of each.
        hidden: Width between the fully connected layers.
        position_kernel: Frames that the convolution for positions sees.
        position_groups: Its groups.
        dropout: Of what enters the transformer, of the attention's weights and of what each part of a layer adds;
            hidden units have none.
        layer_drop: Share of transformer layers left out in training.
    """

    channels: int = 512
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    hidden: int = 3072
    position_kernel: int = 128
    position_groups: int = 16
    dropout: float = 0.1
    layer_drop: float = 0.05

    def build(self) -> "Wav2Vec2":
        """The network, with weights drawn as in the source."""
        return Wav2Vec2(self)


class PositionalConv(nn.Module):
    """A grouped convolution with weight norm over each place of its kernel, then GELU: tells frames where they are."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        std = (4 / (kernel * width)) ** 0.5
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(width, width // groups, kernel), std=std))
        self.gain: nn.Parameter | None = nn.Parameter(torch.ones(1, 1, kernel))
        if not self.weight.is_meta:  # shapes alone have no norms
            self.gain.data.copy_(self._norms())
        self.bias = nn.Parameter(torch.zeros(width))

    def _norms(self) -> Float[Tensor, "1 1 k"]:
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        norms: Tensor = torch.linalg.vector_norm(weight, dim=(0, 1), keepdim=True)
        return norms

    def forward(self, x: Float[Tensor, "B D T"]) -> Float[Tensor, "B D T"]:
        """As many frames as came in; with an even kernel the last one that it gives is left out."""
        kernel = self.weight.shape[2]
        y = F.conv1d(x, self._normed_weight(), self.bias, padding=kernel // 2, groups=self.groups)
        return F.gelu(y[:, :, : x.shape[2]])

    def _normed_weight(self) -> Tensor:
        if self.gain is None:
            return self.weight
        return self.weight * (self.gain / self._norms()).to(self.weight.dtype)

    @torch.no_grad()
    def folded(self) -> "PositionalConv":
        """The same function, the normed filters baked in."""
        plain = copy.deepcopy(self)
        plain.weight = nn.Parameter(self._normed_weight(), requires_grad=False)
        plain.gain = None
        return plain


class Wav2Vec2(WaveformEncoder):
    """Convolutions, layer norm, projection, positions, transformer layers that are normalised after their parts.

    `convolved`, `latents` and `transformed` are the three parts that an objective puts something between.

    Attributes:
        channels: Of a latent.
        hop: Samples from frame to frame.
        layer_drop: Share of transformer layers left out in training.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        convs = {f"conv{n + 1}": config.channels for n in range(len(config.kernels))}
        blocks = {f"block{n + 1}": config.width for n in range(config.depth)}
        field, self.hop = field_and_hop(config.kernels, config.strides)
        self.channels = config.channels
        super().__init__({**convs, "latents": config.channels, "input": config.width, **blocks}, field)
        self.convs = nn.ModuleList()
        for n, (kernel, stride) in enumerate(zip(config.kernels, config.strides, strict=True)):
            conv = nn.Conv1d(config.channels if n else 1, config.channels, kernel, stride, bias=False)
            nn.init.kaiming_normal_(conv.weight)
            # one mean and variance a channel and clip, over time; in the first layer alone
            norm = nn.Identity() if n else nn.GroupNorm(config.channels, config.channels, EPS)
            self.convs.append(nn.Sequential(conv, norm, nn.GELU()))
        self.latent_norm = nn.LayerNorm(config.channels, EPS)
        self.projection = nn.Linear(config.channels, config.width)
        self.mask_embedding = nn.Parameter(torch.rand(config.width))
        self.positions = PositionalConv(config.width, config.position_kernel, config.position_groups)
        self.input_norm = nn.LayerNorm(config.width, EPS)
        self.blocks = nn.ModuleList(
            TransformerLayer(
                config.width, config.num_heads, config.hidden, pre_norm=False, eps=EPS, dropout=config.dropout,
                attention_dropout=config.dropout,
            )
            for _ in range(config.depth)
        )  # fmt: skip
        self.projected_dropout = Dropout(config.dropout)
        self.input_dropout = Dropout(config.dropout)
        self.layer_drop = config.layer_drop
        for block in self.blocks:
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
                    nn.init.zeros_(module.bias)

    def stages(self, x: Float[Tensor, "B N"]) -> Iterator[tuple[str, Float[Tensor, "B C T"]]]:
        """Convolutions, normalised latents, the transformer's input and its layers."""
        convolved = x
        for name, convolved in self._convolutions(x):
            yield name, convolved
        latents = self.latents(convolved)
        yield "latents", latents.transpose(1, 2)
        for name, value in self._transformer(latents):
            yield name, value.transpose(1, 2)

    def _convolutions(self, x: Float[Tensor, "B N"]) -> Iterator[tuple[str, Float[Tensor, "B C T"]]]:
        x = x[:, None]
        for n, conv in enumerate(self.convs):
            x = conv(x)
            yield f"conv{n + 1}", x

    def _transformer(
        self,
        latents: Float[Tensor, "B T C"],
        mask: Bool[Tensor, "B T"] | None = None,
        kept: Bool[Tensor, "L"] | None = None,
    ) -> Iterator[tuple[str, Float[Tensor, "B T D"]]]:
        x = self.projected_dropout(self.projection(latents))
        if mask is not None:
            x = torch.where(mask[:, :, None], self.mask_embedding.to(x.dtype), x)
        x = x + self.positions(x.transpose(1, 2)).transpose(1, 2)
        x = self.input_dropout(self.input_norm(x))
        yield "input", x
        if kept is None and self.training and self.layer_drop:
            kept = torch.rand(len(self.blocks), device=x.device) >= self.layer_drop
        for n, block in enumerate(self.blocks):
            x = block(x) if kept is None else torch.where(kept[n], block(x), x)
            yield f"block{n + 1}", x

    def convolved(self, x: Float[Tensor, "B N"]) -> Float[Tensor, "B C T"]:
        """The last convolution, whose mean square the objective keeps small."""
        return deque(self._convolutions(x), maxlen=1).pop()[1]  # none but the last is kept

    def latents(self, convolved: Float[Tensor, "B C T"]) -> Float[Tensor, "B T C"]:
        """Layer norm of each frame: the transformer's input, and the objective's targets."""
        normed: Tensor = self.latent_norm(convolved.transpose(1, 2))
        return normed

    def transformed(
        self,
        latents: Float[Tensor, "B T C"],
        mask: Bool[Tensor, "B T"] | None = None,
        kept: Bool[Tensor, "L"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The last layer.

        Args:
            mask: True where a frame is hidden from the transformer, behind the embedding of masked frames.
            kept: Which transformer layers take part; None draws them in training from torch's generator.
        """
        return deque(self._transformer(latents, mask, kept), maxlen=1).pop()[1]


ENCODERS = {
    "wav2vec2_base": Wav2Vec2Config(),
    "wav2vec2_small": Wav2Vec2Config(  # for pretraining on a CPU
        channels=64, width=192, depth=4, num_heads=4, hidden=768, position_kernel=32
    ),
    # Two groups: with four, oneDNN (torch 2.13, AMX) gets this size wrong in bfloat16, though not the full size.
    "wav2vec2_tiny": Wav2Vec2Config(
        channels=16, width=32, depth=2, num_heads=4, hidden=64, position_kernel=16, position_groups=2
    ),
}
