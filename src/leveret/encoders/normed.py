"""A convolution and the normaliser behind it: batch, layer or instance norm, or none (paper, table 3).

Source: paper, section 4.2 (the normalisers of the SlowFast ResNet50).
Shapes: B batch, C and D channels in and out, T x F the map, t x f the map after striding.
Departures: the paper does not say over which axes its layer norm goes. "ln" takes one mean and variance an example,
over C, T and F, with a gain and bias a channel; "ln_c" one a cell, over C alone. Over T and F alone it would be
instance norm, which the paper lists beside it. "none" gives the convolution a bias in the normaliser's place.
"""

import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.layers import Size

Norm = Literal["bn", "ln", "ln_c", "in", "none"]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell."""

    def forward(self, input: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        """Every cell by its own mean and variance."""
        return super().forward(input.movedim(1, 3)).movedim(3, 1)


def normaliser(norm: str, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """The normaliser of that name, with a gain and a bias for each channel.

    Args:
        norm: A `Norm`; a config that comes from a file may hold any text.

    Raises:
        ValueError: Another name.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "bn":
        return nn.BatchNorm2d(channels, eps, momentum)
    if norm == "ln":
        return nn.GroupNorm(1, channels, eps)
    if norm == "ln_c":
        return ChannelNorm(channels, eps)
    if norm == "in":
        return nn.InstanceNorm2d(channels, eps, affine=True)
    raise ValueError(f"norm={norm!r} - bn, ln, ln_c, in or none was expected")


class ConvNorm(nn.Module):
    """A convolution, then a normaliser.

    Args:
        conv: With a bias only where there is no normaliser, or where its source has one.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """Convolve and normalise; no activation."""
        normed: Tensor = self.norm(self.conv(x))
        return normed

    @torch.no_grad()
    def zero(self) -> None:
        """Let it give nothing: zero gain, or zero filters where there is no normaliser."""
        last = self.conv if isinstance(self.norm, nn.Identity) else self.norm
        assert isinstance(last.weight, Tensor), last
        last.weight.zero_()

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """In eval mode the same function, as one convolution where the normaliser is batch norm."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return self.conv if isinstance(norm, nn.Identity) else self
        assert norm.running_mean is not None, norm
        assert norm.running_var is not None, norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        offset = norm.running_mean if self.conv.bias is None else norm.running_mean - self.conv.bias
        conv = copy.deepcopy(self.conv)
        conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None], requires_grad=False)
        conv.bias = nn.Parameter(norm.bias - offset * scale, requires_grad=False)
        return conv


def conv_norm(
    channels: int, out: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), norm: str = "bn"
) -> ConvNorm:
    """A convolution with half a kernel of padding on either side, and its normaliser."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=norm == "none")
    return ConvNorm(conv, normaliser(norm, out))


def he_normal(network: nn.Module) -> None:
    """Draw the filters of every convolution in it from N(0, 2 / fan-out), and set their biases to zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def padded(x: Float[Tensor, "B C T F"], frames: Size, mels: Size) -> Float[Tensor, "B C t f"]:
    """The map with zeros at its ends, so that it has so many frames and mel bins at least."""
    return F.pad(x, (0, torch.sym_max(0, mels - x.shape[3]), 0, torch.sym_max(0, frames - x.shape[2])))
