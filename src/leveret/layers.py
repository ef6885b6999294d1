"""The layers of normalizer-free networks: weight standardisation, SAME padding, squeeze-excite, stochastic depth.

Source: arXiv:2102.06171 (NFNets) and its program deepmind-research/nfnets/base.py; deepmind/slowfast_nfnets/base.py.
Shapes: B batch, C and D channels in and out, T x F the map, t x f the map after striding.
Departures: none in value. A constant that multiplies the input of a convolution is multiplied into its weight instead
(`input_scale`), which spares a pass over the map forward and another backward.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from leveret.draws import Keyed

GELU_GAIN = 1.7015043497085571
"""Makes the variance of gelu(x) one where x is standard normal."""

Size = int | torch.SymInt
"""Of an axis; a symbol while a graph for any size is recorded (torch.export)."""

VARIANCE_FLOOR = 1e-4
"""Least variance x fan-in of a filter; a clamp, not added (timm adds 1e-6 to the variance instead)."""


def gelu(x: Float[Tensor, "..."], exact: bool = False) -> Float[Tensor, "..."]:
    """GELU by its tanh approximation, JAX's default; the exact one moves the outputs by 3e-4."""
    return F.gelu(x, approximate="none" if exact else "tanh")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Cast up where it is of half precision; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class ScaledGELU(nn.Module):
    """GELU times a constant: GELU_GAIN keeps the variance, 1 is the plain one."""

    def __init__(self, scale: float = GELU_GAIN, exact: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.exact = exact

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Scale * gelu(x)."""
        return gelu(x, self.exact) if self.scale == 1 else gelu(x, self.exact) * self.scale


def same_padding(size: Size, kernel: int, stride: int) -> tuple[Size, Size]:
    """Cells to add before and after so that ceil(size / stride) windows fit, as TensorFlow and XLA count them."""
    if kernel == 1:  # as the rest says, but a symbol would carry the maximum along
        return 0, 0
    total = ((size + stride - 1) // stride - 1) * stride + kernel - size
    if kernel < stride:
        total = torch.sym_max(total, 0)
    return total // 2, total - total // 2


def _pad(
    x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float, *, windows: bool
) -> tuple[Tensor, tuple[int, int]]:
    """The map padded where SAME is lopsided, and the symmetric padding that is left for the operation itself.

    While a graph for any number of frames is recorded, what depends on that number may not decide what is done.

    Args:
        windows: A pooling window takes at most half of itself as padding; a convolution any amount.
    """
    before_t, after_t = same_padding(x.shape[2], kernel[0], stride[0])
    before_f, after_f = same_padding(x.shape[3], kernel[1], stride[1])
    if isinstance(before_t, int) and isinstance(before_f, int):
        fits = not windows or (2 * before_t <= kernel[0] and 2 * before_f <= kernel[1])
        if before_t == after_t and before_f == after_f and fits:
            return x, (before_t, before_f)
    around: Any = (before_f, after_f, before_t, after_t)  # the stubs of torch know no symbols here
    return F.pad(x, around, value=value), (0, 0)


class SameConv2d(nn.Conv2d):
    """A convolution with SAME padding: ceil(T / stride) x ceil(F / stride), lopsided on even sizes."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=bias)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """Pad and convolve."""
        return self._same_conv(x, self.weight)

    def _same_conv(self, x: Tensor, weight: Tensor) -> Tensor:
        kernel, stride = _pair(self.kernel_size), _pair(self.stride)
        x, padding = _pad(x, kernel, stride, 0.0, windows=False)
        return F.conv2d(x, weight, self.bias, stride, padding, groups=self.groups)


class WSConv2d(SameConv2d):
    """A SAME convolution whose filters are standardised in every call: (w - mean) gain / sqrt(max(var N, 1e-4)).

    Attributes:
        gain: One factor an output channel.
        input_scale: Constant that the input would have been multiplied by; it multiplies the filters.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
        input_scale: float = 1.0,
    ) -> None:
        super().__init__(channels, out, kernel, stride, groups)
        self.gain = nn.Parameter(torch.ones(out))
        self.input_scale = input_scale

    def reset_parameters(self) -> None:
        """Filters from N(0, 1 / fan-in), untruncated; no bias. The gain is one from the start."""
        nn.init.normal_(self.weight, std=self.weight[0].numel() ** -0.5)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def standardised_weight(self) -> Float[Tensor, "D c kt kf"]:
        """The filters that are applied; computed in float32 at least, even where the weight is bfloat16."""
        # Over rows of a matrix: torch.var_mean over three axes takes five times as long.
        # In the order of memory, so that nothing is copied and channels stay last where they are. Not for inductor:
        # grouped convolutions of 3x1 and 1x3 kernels that lie so are miscompiled (torch 2.13).
        last = not torch.compiler.is_compiling() and self.weight.is_contiguous(memory_format=torch.channels_last)
        ordered = at_least_float32(self.weight).permute((0, 2, 3, 1) if last else (0, 1, 2, 3))
        weight = ordered.flatten(1)  # (D, fan-in)
        gain = self.gain.to(weight.dtype)
        # A compiler or a recorder fuses what it can see through; by hand the step is of half the time.
        if torch.compiler.is_compiling():
            rows, *_ = _standardised_rows(weight, gain, self.input_scale)
        else:
            rows = _StandardisedRows.apply(weight, gain, self.input_scale)
        return rows.view(ordered.shape).permute((0, 3, 1, 2) if last else (0, 1, 2, 3)).to(self.weight.dtype)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B D t f"]:
        """Standardise the filters and convolve."""
        return self._same_conv(x, self.standardised_weight())

    @torch.no_grad()
    def folded(self) -> SameConv2d:
        """The same function as a plain convolution, the standardised filters baked in."""
        kernel, stride = _pair(self.kernel_size), _pair(self.stride)
        with torch.device("meta"):  # nothing is drawn: both tensors are replaced
            plain = SameConv2d(self.in_channels, self.out_channels, kernel, stride, self.groups)
        assert self.bias is not None
        plain.weight = nn.Parameter(self.standardised_weight(), requires_grad=False)
        plain.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=False)
        return plain


def _standardised_rows(weight: Tensor, gain: Tensor, factor: float) -> tuple[Tensor, ...]:
    """Standardised filters (D, fan-in), the centred ones, the biased variance times the fan-in (D,), 1 / its root."""
    centred = weight - weight.mean(1, keepdim=True)
    scatter = centred.square().sum(1)
    root = scatter.clamp_min(VARIANCE_FLOOR).rsqrt()
    return centred * (gain * factor * root)[:, None], centred, scatter, root


class _StandardisedRows(torch.autograd.Function):
    """The gradient by its formula, in four passes over the filters where autograd takes a dozen.

    With c the centred filter, v its scatter and s = gain factor / sqrt(v), y = s c has the gradient
    s (g - mean g - c (g.c) / v); below the floor v is constant and the last term is not there.
    A network has a hundred filters, small ones among them, so on a GPU the number of operations is what counts.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, gain: Tensor, factor: float) -> Tensor:
        rows, centred, scatter, root = _standardised_rows(weight, gain, factor)
        ctx.factor = factor
        ctx.save_for_backward(centred, scatter, root, gain)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        centred, scatter, root, gain = ctx.saved_tensors
        along = (gradient * centred).sum(1)
        by_gain = ctx.factor * root
        scale = (gain * by_gain)[:, None]
        varies = (along / scatter).masked_fill_(scatter <= VARIANCE_FLOOR, 0)[:, None]
        by_weight = torch.addcmul(gradient.mean(1, keepdim=True) * -scale, gradient, scale)
        return by_weight.addcmul_(centred, varies * scale, value=-1), along * by_gain, None


def as_haiku_draws(layer: nn.Linear) -> nn.Linear:
    """The layer with new weights from N(0, 1 / fan-in), cut at two deviations and not corrected for the cut; bias 0."""
    std = layer.in_features**-0.5
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    nn.init.zeros_(layer.bias)
    return layer


class SqueezeExcite(nn.Module):
    """One gate a channel from the map's mean: sigmoid(W1 relu(W0 mean)); the caller multiplies."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, hidden)
        self.linear_1 = nn.Linear(hidden, channels)
        for layer in (self.linear, self.linear_1):
            as_haiku_draws(layer)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C 1 1"]:
        """The gates, each in (0, 1)."""
        gates = torch.sigmoid(self.linear_1(F.relu(self.linear(x.mean((2, 3))))))
        return gates[:, :, None, None]


class StochasticDepth(Keyed):
    """In training, one 0 or 1 for each example; in eval always 1. Nothing is rescaled in either, as in the source.

    Args:
        rescale: What is kept is divided by its share in training, as in networks other than NFNets.
    """

    def __init__(self, drop_rate: float, rescale: bool = False) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.rescale = rescale

    def forward(self, gates: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        """A residual branch or its gates, those of a dropped example zero."""
        if not self.training or self.drop_rate == 0:
            return gates
        kept = self.uniform(gates, 1).view(-1, 1, 1, 1) >= self.drop_rate
        return gates * kept / (1 - self.drop_rate) if self.rescale else gates * kept


class Dropout(Keyed):
    """In training each number is zero with probability `rate`, else divided by the share that is kept."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    @property
    def acts(self) -> bool:
        """Whether anything is dropped: in training, at a rate above zero."""
        return self.training and self.rate > 0

    def forward(self, x: Shaped[Tensor, "B ..."]) -> Shaped[Tensor, "B ..."]:
        """Of the same shape."""
        if not self.acts:
            return x
        kept = self.uniform(x, x[0].numel()).view(x.shape) >= self.rate
        return x * kept / (1 - self.rate)


class MaxPool(nn.Module):
    """Maximum over windows, SAME, what is beyond the edge counting as minus infinity."""

    def __init__(self, window: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.window = window
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C t f"]:
        """ceil(T / stride) x ceil(F / stride)."""
        x, padding = _pad(x, self.window, self.stride, -math.inf, windows=True)
        return F.max_pool2d(x, self.window, self.stride, padding)


class MaxPoolTime(MaxPool):
    """Maximum over consecutive spans of frames: ceil(T / span) of them."""

    def __init__(self, span: int) -> None:
        super().__init__((span, 1), (span, 1))


class AvgPool(nn.Module):
    """Mean over windows as large as their stride, SAME; a window over the edge is the mean of what lies inside."""

    def __init__(self, window: tuple[int, int]) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C t f"]:
        """ceil(T / window) x ceil(F / window)."""
        # With window = stride, SAME pads at most window - 1 cells. For windows of 1 and 2 they all lie at the end,
        # which is what ceil_mode does.
        assert max(self.window) <= 2, self.window
        return F.avg_pool2d(x, self.window, ceil_mode=True, count_include_pad=False)


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    """The two sizes, for the type checker."""
    first, second = value
    return first, second
