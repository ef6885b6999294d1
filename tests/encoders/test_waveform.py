"""Frame rates and receptive fields of the encoders that take waves, as their sources state them."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from leveret.draws import of_batch
from leveret.encoders.bidir_cpc import BidirCPC, BidirCPCConfig
from leveret.encoders.transformer import Attention
from leveret.encoders.wav2vec2 import Wav2Vec2, Wav2Vec2Config
from leveret.encoders.waveform import field_and_hop
from leveret.inference import for_inference
from leveret.layers import Dropout
from leveret.registry import look_up

NORMS = (nn.GroupNorm, nn.LayerNorm)


def thin(config: Any) -> Any:
    """The network at its own kernels but few channels, in double precision; norms, which look at all times, are out."""
    torch.manual_seed(0)
    network = config.build().double().eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, NORMS):
            network.set_submodule(name, nn.Identity())
        if isinstance(module, nn.Conv1d):  # so that no ReLU hides a path
            module.weight.data.abs_()
    return network


def seen(value: torch.Tensor, wave: torch.Tensor) -> tuple[int, int]:
    """First sample and number of samples that a number depends on."""
    (gradient,) = torch.autograd.grad(value, wave, retain_graph=True)
    places = gradient[0].nonzero().flatten()
    return int(places[0]), int(places[-1] - places[0] + 1)


@pytest.mark.parametrize(
    ("config", "field", "hop"), [(BidirCPCConfig(), 955, 320), (Wav2Vec2Config(), 400, 320)], ids=["cpc", "wav2vec2"]
)
def test_latents_have_the_field_and_hop_of_their_source(config: Any, field: int, hop: int) -> None:
    assert field_and_hop(config.kernels, config.strides) == (field, hop)
    network = thin(
        dataclasses.replace(config, channels=2, context_dim=2)
        if isinstance(config, BidirCPCConfig)
        else dataclasses.replace(config, channels=2, width=16, depth=1, num_heads=2, hidden=4)
    )
    assert network.min_samples == field
    wave = (1 + torch.rand(1, field + 4 * hop, dtype=torch.float64)).requires_grad_()
    latents = network.latents(wave) if isinstance(network, BidirCPC) else network.convolved(wave)
    assert latents.shape[2] == 5
    for frame in range(5):
        assert seen(latents[0, 0, frame], wave) == (frame * hop, field)


def test_a_context_of_the_paper_sees_1_62_seconds() -> None:
    config = BidirCPCConfig()
    reach = sum(kernel - 1 for kernel in config.context_kernels)
    field, hop = field_and_hop(config.kernels, config.strides)
    assert reach == 78
    assert reach * hop == 24_960
    assert (reach * hop + field) / 16_000 == pytest.approx(1.62, abs=0.001)
    network = thin(dataclasses.replace(config, channels=2, context_dim=2))
    num_frames = 2 * reach + 3
    latents = (1 + torch.rand(1, 2, num_frames, dtype=torch.float64)).requires_grad_()
    *_, (past, future) = network.contexts(latents)
    middle = reach + 1
    places = [
        torch.autograd.grad(value[0, 0, middle], latents, retain_graph=True)[0][0].sum(0).nonzero().flatten()
        for value in (past, future)
    ]
    assert (int(places[0][0]), int(places[0][-1])) == (middle - reach, middle)
    assert (int(places[1][0]), int(places[1][-1])) == (middle, middle + reach)


@torch.no_grad()
def test_the_future_is_the_past_of_the_reversed_latents() -> None:
    network = look_up("encoders", "bidir_cpc_tiny").build().eval()
    network.future.load_state_dict(network.past.state_dict())
    latents = torch.randn(2, 16, 30)
    *_, (past, _) = network.contexts(latents)
    *_, (_, future) = network.contexts(latents.flip(2))
    torch.testing.assert_close(future, past.flip(2))


@torch.no_grad()
def test_one_context_convolution_by_hand() -> None:
    network = look_up("encoders", "bidir_cpc_tiny").build().eval()
    conv, latents = network.past[1], torch.randn(1, 8, 5)
    weight, bias = conv.conv.weight, conv.conv.bias
    frames = []
    for t in range(5):
        window = [latents[0, :, max(0, t + k - 2)] for k in range(3)]
        frames.append(sum(weight[:, :, k] @ window[k] for k in range(3)) + bias)
    y = torch.stack(frames, 1)
    y = (y - y.mean()) / (y.var(correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(conv(latents)[0], (latents[0] + y.relu()) * 2**-0.5)


@torch.no_grad()
def test_what_an_objective_takes_apart_is_what_the_encoder_computes() -> None:
    wave = 0.1 * torch.randn(2, 6_000)
    cpc = look_up("encoders", "bidir_cpc_tiny").build().eval()
    hidden = cpc.hidden(wave)
    assert torch.equal(cpc.latents(wave), hidden["conv9"].transpose(1, 2))
    *_, pair = cpc.contexts(cpc.latents(wave))
    assert torch.equal(torch.cat(pair, 1), hidden["context3"].transpose(1, 2))
    wav2vec2 = look_up("encoders", "wav2vec2_tiny").build().eval()
    latents = wav2vec2.latents(wav2vec2.convolved(wave))
    assert torch.equal(wav2vec2.transformed(latents), wav2vec2.hidden(wave)["block2"])
    torch.testing.assert_close(wav2vec2.transformed(latents).mean(1), wav2vec2(wave))


def test_masked_frames_are_hidden_and_teach_the_embedding_of_masked_frames() -> None:
    network = look_up("encoders", "wav2vec2_tiny").build().eval()
    latents = torch.randn(1, 12, 16)
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[:, 3:6] = True
    other = latents.clone()
    other[:, 3:6] += 1
    transformed = network.transformed(latents, mask)
    assert torch.equal(network.transformed(other, mask), transformed)
    transformed.square().sum().backward()
    assert network.mask_embedding.grad is not None
    assert network.mask_embedding.grad.any()


def test_layer_drop_leaves_out_layers_in_training_alone() -> None:
    network = look_up("encoders", "wav2vec2_tiny").build()
    assert isinstance(network, Wav2Vec2)
    network.layer_drop = 1.0
    latents = torch.randn(1, 12, 16)
    hidden = dict(network.train()._transformer(latents))
    assert torch.equal(hidden["block2"], hidden["input"])
    hidden = dict(network.eval()._transformer(latents))
    assert not torch.allclose(hidden["block2"], hidden["input"], atol=1e-2)
    only_first = network._transformer(latents, kept=torch.tensor([True, False]))
    found = dict(only_first)
    assert torch.equal(found["block2"], found["block1"])
    torch.testing.assert_close(found["block1"], hidden["block1"])


def test_no_two_dropouts_of_a_pass_draw_the_same_numbers() -> None:
    network = look_up("encoders", "wav2vec2_tiny").build().train()
    calls: list[str] = []
    for name, module in network.named_modules():
        if isinstance(module, Dropout):
            module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    network(0.1 * torch.randn(1, 4_000))
    assert len(calls) == 2 + 2 * 3
    assert len(set(calls)) == len(calls)


def test_keyed_attention_is_the_fused_one_when_nothing_is_dropped() -> None:
    attention = Attention(32, 4, dropout=0.1)
    x = torch.randn(2, 9, 32)
    fused = attention.eval()(x)
    attention.train().dropout.rate = 1e-12
    torch.testing.assert_close(attention(x), fused, rtol=0, atol=1e-6)
    attention.dropout.rate = 0.5
    of_batch(0, 0, 0, 2).key(attention)
    whole = attention(x)
    of_batch(0, 0, 1, 1).key(attention)
    torch.testing.assert_close(attention(x[1:]), whole[1:], rtol=0, atol=1e-6)
    assert not torch.allclose(whole, fused, atol=1e-2)


@torch.no_grad()
def test_weight_norm_is_folded_away() -> None:
    network = look_up("encoders", "wav2vec2_tiny").build().eval()
    network.positions.gain.mul_(2)
    fast, wave = for_inference(network), 0.1 * torch.randn(2, 4_000)
    assert not any(name.endswith("gain") for name, _ in fast.named_parameters())
    torch.testing.assert_close(fast(wave), network(wave), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["bidir_cpc_tiny", "wav2vec2_tiny"])
def test_a_wave_shorter_than_the_field_is_filled_up_with_zeros(name: str) -> None:
    network = look_up("encoders", name).build().eval()
    wave = 0.1 * torch.randn(1, 300)
    filled = torch.zeros(1, network.min_samples)
    filled[:, :300] = wave
    assert torch.equal(network(wave), network(filled))
