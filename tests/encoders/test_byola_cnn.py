"""The CNN of BYOL-A by hand on a small network; the order of the features in a frame is the trap."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from leveret.encoders.byola_cnn import BYOLACNNConfig
from leveret.inference import for_inference

SMALL = BYOLACNNConfig(num_mels=17, channels=3, width=5)


def built(config: BYOLACNNConfig) -> Any:
    torch.manual_seed(0)
    network = config.build().eval()
    for name, tensor in network.state_dict().items():
        if ".norm." in name and tensor.is_floating_point():
            tensor.add_(0.3 * torch.rand(tensor.shape))
    return network


def by_hand(network: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(B, T', D) from (B, T, F), place by place."""
    x = x[:, None]
    for conv, _, _ in network.convs:
        weight, bias, mean, variance, gain, offset = (
            value.detach().double().numpy()
            for value in (
                conv.conv.weight, conv.conv.bias, conv.norm.running_mean, conv.norm.running_var, conv.norm.weight,
                conv.norm.bias,
            )
        )  # fmt: skip
        around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        y = np.zeros((len(x), len(weight), x.shape[2] // 2, x.shape[3] // 2))
        for t, f in np.ndindex(y.shape[2:]):
            places = []
            for dt, df in np.ndindex(2, 2):
                patch = around[:, :, 2 * t + dt : 2 * t + dt + 3, 2 * f + df : 2 * f + df + 3]
                value = np.einsum("bcij,dcij->bd", patch, weight) + bias
                places.append(np.maximum((value - mean) / np.sqrt(variance + 1e-5) * gain + offset, 0))
            y[:, :, t, f] = np.max(places, 0)
        x = y
    B, C, T, F = x.shape
    frames = np.zeros((B, T, F * C))
    for f, c in np.ndindex(F, C):
        frames[:, :, f * C + c] = x[:, c, :, f]
    for layer in (network.hidden_layer, network.last_layer):
        frames = np.maximum(frames @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy(), 0)
    return frames


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [8, 39])
def test_embedding_agrees_with_a_computation_by_hand(num_frames: int) -> None:
    x = torch.randn(2, 1, num_frames, 17)
    network = built(SMALL)
    frames = by_hand(network, x[:, 0].double().numpy())
    assert frames.shape == (2, num_frames // 8, 5)
    assert (frames > 0).any()
    np.testing.assert_allclose(network.network(x), frames.mean(1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(for_inference(network).network(x), frames.mean(1), rtol=0, atol=1e-6)  # type: ignore[operator]
    np.testing.assert_allclose(
        built(replace(SMALL, pooling="max+mean")).network(x), frames.mean(1) + frames.max(1), rtol=0, atol=1e-6
    )


@torch.no_grad()
def test_a_short_spectrogram_is_filled_up_with_zeros() -> None:
    network = built(SMALL)
    x = torch.randn(1, 1, 3, 17)
    filled = torch.zeros(1, 1, 8, 17)
    filled[:, :, :3] = x
    assert torch.equal(network.network(x), network.network(filled))


def test_drop_out_acts_only_in_training() -> None:
    network = built(replace(SMALL, width=64))
    hidden = torch.rand(4, 64)
    assert torch.equal(network.dropout(hidden), hidden)
    dropped = network.train().dropout(hidden)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.12)  # four deviations


@torch.no_grad()
def test_standardised_by_dataset_the_features_are_moved_by_one_mean_and_deviation() -> None:
    network = built(replace(SMALL, standardised="dataset"))
    features = 3 * torch.randn(2, 1, 16, 17) + 5
    torch.testing.assert_close(network.embed(features), network.network(features))  # before any pretraining
    network.dataset_norm.mean.fill_(5)
    network.dataset_norm.std.fill_(3)
    torch.testing.assert_close(network.embed(features), network.network((features - 5) / 3))
    torch.testing.assert_close(network.dataset_norm.undone(network.dataset_norm(features)), features)
    assert not torch.allclose(network.embed(features), network.embed(2 * features))


@torch.no_grad()
def test_mean_and_deviation_of_the_dataset_stay_float32_in_half_precision() -> None:
    network = built(replace(SMALL, standardised="dataset"))
    network.dataset_norm.mean.fill_(5.03)
    assert for_inference(network, torch.bfloat16).dataset_norm.mean.item() == network.dataset_norm.mean.item()
