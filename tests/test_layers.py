"""Single layers against the stored operations of the authors' programs, and by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from leveret.layers import (
    VARIANCE_FLOOR,
    AvgPool,
    MaxPoolTime,
    ScaledGELU,
    SqueezeExcite,
    StochasticDepth,
    WSConv2d,
    gelu,
    same_padding,
)

CONVOLUTIONS = {  # stride and groups; the kernel is in the file
    "ws0": ((2, 2), 1),
    "ws1": ((1, 2), 2),
    "ws2": ((4, 1), 1),
    "ws3": ((1, 2), 1),
    "ws4": ((2, 2), 1),
}


@pytest.fixture(scope="module")
def units(golden: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return golden("units")


def nchw(array: Any) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()


def conv_of(units: dict[str, Any], name: str) -> WSConv2d:
    stride, groups = CONVOLUTIONS[name]
    w = units[f"{name}/w"]
    conv = WSConv2d(w.shape[2] * groups, w.shape[3], w.shape[:2], stride, groups)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(w).permute(3, 2, 0, 1))
        conv.gain.copy_(torch.from_numpy(units[f"{name}/gain"]))
        conv.bias.copy_(torch.from_numpy(units[f"{name}/bias"]))  # type: ignore[union-attr]
    return conv


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_weight_standardised_convolution_agrees(units: dict[str, Any], name: str) -> None:
    conv, x = conv_of(units, name), nchw(units[f"{name}/x"])
    np.testing.assert_allclose(conv(x).detach().permute(0, 2, 3, 1), units[f"{name}/out_f64"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        conv.double()(x.double()).detach().permute(0, 2, 3, 1), units[f"{name}/out_f64"], rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_folded_is_the_same_function(units: dict[str, Any], name: str) -> None:
    conv, x = conv_of(units, name), nchw(units[f"{name}/x"])
    conv.input_scale = 1.7
    torch.testing.assert_close(conv.folded()(x), conv(x), rtol=0, atol=1e-6)


def test_input_scale_is_a_factor_on_the_input() -> None:
    plain = WSConv2d(3, 4, (3, 3))
    scaled = WSConv2d(3, 4, (3, 3), input_scale=1.7)
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(scaled(x), plain(1.7 * x))


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_the_gradient_by_hand_is_that_of_the_formula(spread: float) -> None:
    conv = WSConv2d(6, 4, (3, 1), groups=2, input_scale=1.7).double()
    with torch.no_grad():
        conv.weight.copy_(0.3 + spread * torch.randn(conv.weight.shape, dtype=torch.float64))
        conv.gain.copy_(torch.randn(4))
    filters = conv.weight.detach().flatten(1)
    scatter = (filters - filters.mean(1, keepdim=True)).square().sum(1)
    assert (scatter < VARIANCE_FLOOR).all() == (spread < 1)  # both sides of the floor are looked at

    def applied(weight: Tensor, gain: Tensor) -> Tensor:
        return torch.func.functional_call(_Filters(conv), {"conv.weight": weight, "conv.gain": gain}, ())

    assert torch.autograd.gradcheck(applied, (conv.weight, conv.gain))


class _Filters(torch.nn.Module):
    def __init__(self, conv: WSConv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self) -> Tensor:
        return self.conv.standardised_weight()


def test_filters_of_one_value_have_a_finite_gradient() -> None:
    conv = WSConv2d(2, 3, (3, 3))
    torch.nn.init.ones_(conv.weight)
    conv.standardised_weight().sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.isfinite().all()


def test_filters_are_standardised_in_float32_under_autocast() -> None:
    conv = WSConv2d(3, 4, (3, 3))
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.standardised_weight().dtype == torch.float32
        assert conv(torch.randn(1, 3, 4, 4)).dtype == torch.bfloat16
    assert conv.double().standardised_weight().dtype == torch.float64


def test_a_bfloat16_filter_is_standardised_to_unit_norm() -> None:
    weight = WSConv2d(64, 8, (3, 3)).bfloat16().standardised_weight()
    assert weight.dtype == torch.bfloat16
    torch.testing.assert_close(weight.float().square().sum((1, 2, 3)), torch.ones(8), rtol=0, atol=5e-3)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 4), (4, 4), (1, 2)])
def test_same_padding_gives_ceil_size_over_stride(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert 0 <= after - before <= 1


def test_pools_agree_on_odd_sizes(units: dict[str, Any]) -> None:
    x = nchw(units["pool/x"])
    assert np.array_equal(MaxPoolTime(4)(x).permute(0, 2, 3, 1), units["pool/max_t4"])
    for name, window in (("avg_f2", (1, 2)), ("avg_t2f2", (2, 2))):
        pooled = AvgPool(window)(x.double()).permute(0, 2, 3, 1)
        np.testing.assert_allclose(pooled, units[f"pool/{name}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_frames", range(1, 10))
def test_max_pool_never_sees_its_padding(num_frames: int) -> None:
    x = -1 - torch.rand(1, 2, num_frames, 3)
    pooled = MaxPoolTime(4)(x)
    assert pooled.shape[2] == -(-num_frames // 4)
    assert x.min() <= pooled.min()
    assert pooled.max() < 0


def test_squeeze_excite_agrees(units: dict[str, Any]) -> None:
    gate = SqueezeExcite(8, 4)
    with torch.no_grad():
        for ours, name in ((gate.linear, "linear"), (gate.linear_1, "linear_1")):
            ours.weight.copy_(torch.from_numpy(units[f"se/~/{name}/w"]).T)
            ours.bias.copy_(torch.from_numpy(units[f"se/~/{name}/b"]))
    gates = gate.double()(nchw(units["se/x"]).double())
    np.testing.assert_allclose(gates.detach().permute(0, 2, 3, 1), units["se/out_f64"], rtol=0, atol=1e-12)


def test_gelu_is_the_tanh_approximation(units: dict[str, Any]) -> None:
    x = torch.from_numpy(units["gelu/x"])
    np.testing.assert_allclose(gelu(x), units["gelu/plain_tanh"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(ScaledGELU()(x), units["gelu/scaled"], rtol=0, atol=1e-14)


def test_stochastic_depth_drops_whole_examples_and_rescales_nothing() -> None:
    torch.manual_seed(0)
    layer, gates = StochasticDepth(0.25), torch.rand(4000, 2, 1, 1) + 1
    dropped = layer(gates)
    kept = (dropped == gates).all(1).flatten()
    assert torch.equal(kept, (dropped != 0).any(1).flatten())
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)  # four deviations
    assert torch.equal(layer.eval()(gates), gates)


def test_initialisation_is_the_programs() -> None:
    torch.manual_seed(0)
    conv, gate = WSConv2d(64, 256, (3, 1), groups=2), SqueezeExcite(400, 200)
    assert conv.weight.std().item() == pytest.approx((32 * 3) ** -0.5, rel=0.02)
    assert (conv.gain == 1).all()
    assert conv.bias is not None
    assert (conv.bias == 0).all()
    assert gate.linear.weight.std().item() == pytest.approx(0.8796 * 400**-0.5, rel=0.02)
    assert gate.linear.weight.abs().max() <= 2 * 400**-0.5
    assert (gate.linear_1.bias == 0).all()
