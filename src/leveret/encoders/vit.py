"""ViT-Base: a transformer over 16x16 patches of a log-mel spectrogram.

Source: arXiv:2010.11929; paper, table 2, which cites AST (arXiv:2104.01778) for spectrograms.
Shapes: B batch, T frames, F mel bins, t x f patches, D = 768.
Departures: neither patch stride nor read-out is in the paper. Patches do not overlap (AST: stride 10,
`vit_base_stride10`), the embedding is the mean over the patches after the last layer norm, as its protocol says; the
class token takes part (85,327,872 parameters). AST's distillation token, its ImageNet weights and its 128 mels are not
here. Positions are learned for a spectrogram of 304 x 80 and interpolated for others. A spectrogram is filled up to
whole patches with zeros, which is the mean of a standardised one; overlapping patches leave a rest of less than a
stride unseen. `vit_tiny` is ours.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.encoders.normed import padded
from leveret.encoders.spectrogram import SpectrogramEncoder
from leveret.encoders.transformer import TransformerLayer

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes of ViT-Base.

    Attributes:
        width: D.
        depth: Transformer layers.
        num_heads: Of each.
        hidden: Width between the fully connected layers.
        patch: Frames and mel bins of a patch.
        stride: From patch to patch; as large as the patch, or smaller.
        frames: Length of the spectrogram that the table of positions is for.
        mels: Its height.
        pooling: The mean over the patches, or the class token.
    """

    width: int = 768
    depth: int = 12
    num_heads: int = 12
    hidden: int = 3072
    patch: int = 16
    stride: int = 16
    frames: int = 304
    mels: int = 80
    pooling: Literal["mean", "class"] = "mean"

    def build(self) -> "ViT":
        """The network, its weights from a normal of deviation 0.02, cut."""
        return ViT(self)


class ViT(SpectrogramEncoder):
    """Patches, transformer layers and a last layer norm."""

    def __init__(self, config: ViTConfig) -> None:
        blocks = {f"block{n + 1}": config.width for n in range(config.depth)}
        super().__init__({"patches": config.width, **blocks, "features": config.width})
        self.patch, self.stride = config.patch, config.stride
        self.by_class = {"mean": False, "class": True}[config.pooling]
        self.patches = nn.Conv2d(1, config.width, config.patch, config.stride)
        self.grid = (
            1 + (config.frames - config.patch) // config.stride,
            1 + (config.mels - config.patch) // config.stride,
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.class_position = nn.Parameter(torch.zeros(1, 1, config.width))
        self.positions = nn.Parameter(torch.zeros(1, config.width, *self.grid))
        self.blocks = nn.ModuleList(
            TransformerLayer(config.width, config.num_heads, config.hidden, pre_norm=True, eps=EPS)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, EPS)
        for parameter in (self.class_token, self.class_position, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None, module
                nn.init.zeros_(module.bias)

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """The patches before and after each layer, as maps; with class pooling the last is the class token."""
        x = self.patches(self._whole_patches(x))
        grid = x.shape[2:]
        x = x + self._positions_for(grid)
        maps: dict[str, tuple[Tensor, ...]] = {"patches": (x,)}
        first = (self.class_token + self.class_position).expand(x.shape[0], -1, -1)
        tokens = torch.cat([first, x.flatten(2).transpose(1, 2)], 1)  # (B, 1 + t f, D)
        for n, block in enumerate(self.blocks):
            tokens = block(tokens)
            maps[f"block{n + 1}"] = (_as_map(tokens, grid),)
        tokens = self.norm(tokens)
        features = tokens[:, 0, :, None, None] if self.by_class else _as_map(tokens, grid)
        return maps | {"features": (features,)}

    def _whole_patches(self, x: Tensor) -> Tensor:
        if self.stride < self.patch:
            return padded(x, self.patch, self.patch)
        frames, mels = ((size + self.patch - 1) // self.patch * self.patch for size in x.shape[2:])
        return padded(x, frames, mels)

    def _positions_for(self, grid: torch.Size) -> Tensor:
        if not torch.compiler.is_exporting() and tuple(grid) == self.grid:
            return self.positions
        positions: Tensor = F.interpolate(self.positions, tuple(grid), mode="bilinear", align_corners=False)
        return positions


def _as_map(tokens: Float[Tensor, "B N D"], grid: torch.Size) -> Float[Tensor, "B D t f"]:
    """All tokens but the class token, where they lie."""
    cells: Tensor = tokens[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))
    return cells


ENCODERS = {
    "vit_base": ViTConfig(),
    "vit_base_stride10": ViTConfig(stride=10, frames=300),
    "vit_base_class": ViTConfig(pooling="class"),
    "vit_tiny": ViTConfig(width=32, depth=2, num_heads=4, hidden=64, frames=96),
    "vit_class_tiny": ViTConfig(width=32, depth=2, num_heads=4, hidden=64, frames=96, pooling="class"),
}
