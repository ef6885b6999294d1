"""CNN14 by hand, in loops of numpy, on a small network."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from leveret.encoders.cnn14 import CNN14Config
from leveret.inference import for_inference

Array = NDArray[np.float64]


def normed(x: Array, norm: nn.Module) -> Array:
    """Batch norm of the second axis with its running mean and variance."""
    mean, variance, gain, bias = (
        value.detach().double().numpy()[:, None, None]
        for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)  # type: ignore[union-attr,operator]
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + bias


def convolved(x: Array, weight: Array) -> Array:
    """3x3 with one zero around, place by place."""
    B, _, T, F = x.shape
    around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((B, len(weight), T, F))
    for t in range(T):
        for f in range(F):
            y[:, :, t, f] = np.einsum("bcij,dcij->bd", around[:, :, t : t + 3, f : f + 3], weight)
    return y


def by_hand(network: Any, x: Array, windows: list[int]) -> Array:
    """The last map."""
    mean, variance, gain, bias = (
        value.detach().double().numpy()
        for value in (network.bn0.running_mean, network.bn0.running_var, network.bn0.weight, network.bn0.bias)
    )
    x = (x - mean) / np.sqrt(variance + 1e-5) * gain + bias  # a mean and variance a mel bin, the last axis
    for block, window in zip(network.blocks, windows, strict=True):
        for pair in (block.conv1, block.conv2):
            x = np.maximum(normed(convolved(x, pair.conv.weight.detach().double().numpy()), pair.norm), 0)
        T, F = x.shape[2] // window, x.shape[3] // window
        x = x[:, :, : T * window, : F * window].reshape(*x.shape[:2], T, window, F, window).mean((3, 5))
    return x


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    network = CNN14Config(num_mels=12, widths=(3, 4, 5), hidden=True).build().eval()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and ("norm" in name or "bn0" in name or "bias" in name):
            tensor.add_(0.3 * torch.rand(tensor.shape))
    return network


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [9, 8])
def test_maps_and_read_outs_agree_with_a_computation_by_hand(network: Any, num_frames: int) -> None:
    x = torch.randn(2, 1, num_frames, 12)
    last = by_hand(network, x.double().numpy(), [2, 2, 1])
    np.testing.assert_allclose(network.maps(x)["block3"][0], last, rtol=0, atol=1e-5)
    # mean over frequency, then the maximum plus the mean over time, then the hidden layer
    pooled = last.mean(3).max(2) + last.mean((2, 3))
    weight, bias = (value.detach().double().numpy() for value in (network.fc1.weight, network.fc1.bias))
    np.testing.assert_allclose(network.network(x), np.maximum(pooled @ weight.T + bias, 0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(for_inference(network).network(x), network.network(x), rtol=0, atol=1e-5)  # type: ignore[operator]


@torch.no_grad()
def test_without_the_hidden_layer_the_embedding_is_the_mean_of_the_last_map() -> None:
    network = CNN14Config(num_mels=12, widths=(3, 4, 5)).build().eval()
    x = torch.randn(2, 1, 9, 12)
    np.testing.assert_allclose(
        network.network(x), by_hand(network, x.double().numpy(), [2, 2, 1]).mean((2, 3)), atol=1e-5
    )


@torch.no_grad()
def test_a_short_spectrogram_is_filled_up_after_the_first_norm(network: Any) -> None:
    x = torch.randn(1, 1, 2, 12)
    filled = torch.zeros(1, 1, 4, 12)
    filled[:, :, :2] = network.bn0(x.transpose(1, 3)).transpose(1, 3)
    network.bn0.reset_running_stats()
    nn.init.ones_(network.bn0.weight)
    nn.init.zeros_(network.bn0.bias)
    network.bn0.eps = 0.0
    expected = network.network(filled)
    again = network.network(filled[:, :, :2])
    torch.testing.assert_close(again, expected)


def test_drop_out_acts_only_in_training(network: Any) -> None:
    x = torch.randn(4, 1, 9, 12)
    assert torch.equal(network.network(x), network.network(x))
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 0.0
    network.train()
    assert not torch.equal(network.network(x), network.network(x))
