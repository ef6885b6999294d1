"""What every encoder of the room owes, whoever wrote it. Full-size ones are only built, on the meta device."""

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leveret.contracts import Encoder
from leveret.encoders.layered import LayeredEncoder
from leveret.hollow import hollow
from leveret.inference import for_inference
from leveret.registry import UnknownNameError, entries

PARAMETER_COUNTS = {  # of the sources, table 2 of the paper where it agrees with them
    "bidir_cpc": 33_596_416,  # the predictions of its objective are not in it
    "byola_cnn": 5_584_000,
    "byola_cnn_64mels": 5_321_856,
    "cnn14": 75_477_472,
    "cnn14_panns": 79_673_824,
    "efficientnet_b0": 4_006_972,
    "melstats": 0,
    "nf_resnet50": 23_501_776,
    "nfnet_f0": 68_415_996,
    "nfnet_f0_fast": 899_842,
    "nfnet_f0_slow": 56_636_828,
    "resnet50": 23_501_760,
    "slowfast_nf_resnet50": 25_967_240,
    "slowfast_nfnet_f0": 62_970_654,
    "slowfast_nfnet_f0_cola": 62_970_654,
    "slowfast_nfnet_f0_no_fusion": 57_536_670,
    "slowfast_nfnet_f0_plain": 61_036_028,
    "slowfast_nfnet_f0_slow_only": 56_636_828,
    "slowfast_nfnet_f0_table5": 58_171_422,
    "slowfast_nfnet_small": 4_234_238,
    "slowfast_nfnet_small_cola": 4_234_238,
    "slowfast_resnet50": 25_967_208,
    "slowfast_resnet50_in": 25_967_208,
    "slowfast_resnet50_ln": 25_967_208,
    "slowfast_resnet50_no_norm": 25_936_864,
    "vit_base": 85_327_872,
    "wav2vec2_base": 94_371_712,
}
EMBED_DIMS = {
    "bidir_cpc": 768,
    "byola_cnn": 2048,
    "cnn14": 2048,
    "efficientnet_b0": 1280,
    "melstats": 240,
    "nf_resnet50": 2048,
    "nfnet_f0": 3072,
    "nfnet_f0_fast": 384,
    "nfnet_f0_slow": 3072,
    "resnet50": 2048,
    "slowfast_nf_resnet50": 2304,
    "slowfast_nfnet_f0": 3456,
    "slowfast_nfnet_f0_table5": 1728,
    "slowfast_resnet50": 2304,
    "vit_base": 768,
    "wav2vec2_base": 768,
}
WITHOUT_GRADIENT: dict[str, set[str]] = {  # encoder -> parameters that only a pretraining objective reaches
    "wav2vec2_tiny": {"mask_embedding"},
}
RUNNABLE_PARAMETERS = 1_000_000


@cache
def without_values(name: str) -> Encoder:
    with hollow():
        encoder = entries("encoders")[name].build()
    assert isinstance(encoder, Encoder)
    return encoder


def num_parameters(encoder: Encoder) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())


NAMES = list(entries("encoders"))
SMALL = [name for name in NAMES if num_parameters(without_values(name)) < RUNNABLE_PARAMETERS]


@cache
def awake(name: str) -> Encoder:
    """The encoder with no parameter zero, so that what starts switched off takes part."""
    torch.manual_seed(0)
    encoder = entries("encoders")[name].build().eval()
    assert isinstance(encoder, Encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if not parameter.any():
                parameter.copy_(0.5 + 0.1 * torch.randn(parameter.shape))
        # Batch norm as after training: with a mean of 0 and a variance of 1 it would leave little but the biases.
        norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        if norms:
            for norm in norms:
                norm.momentum = 1.0
            encoder.train()(waves(encoder, 4, 1.0))
    return encoder.eval()


def waves(encoder: Encoder, num_clips: int, seconds: float) -> Tensor:
    noise = torch.randn(num_clips, round(seconds * encoder.sample_rate), generator=torch.Generator().manual_seed(1))
    return 0.1 * noise * torch.linspace(0.1, 1, num_clips)[:, None]


@pytest.mark.parametrize("name", PARAMETER_COUNTS)
def test_number_of_parameters(name: str) -> None:
    assert num_parameters(without_values(name)) == PARAMETER_COUNTS[name]


@pytest.mark.parametrize("name", EMBED_DIMS)
def test_width_is_the_sources(name: str) -> None:
    assert without_values(name).embed_dim == EMBED_DIMS[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_last_layer_is_the_default(name: str) -> None:
    encoder = without_values(name)
    assert isinstance(encoder.layers, Mapping)
    assert list(encoder.layers.values())[-1] == encoder.embed_dim
    assert encoder.min_samples > 0
    assert encoder.sample_rate > 0


@pytest.mark.parametrize("name", NAMES)
def test_config_survives_json(name: str) -> None:
    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    config = entries("encoders")[name]
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    again = type(config)(**{key: tuples(value) for key, value in fields.items()})
    assert again == config
    with hollow():
        keys = list(again.build().state_dict())
    assert keys == list(without_values(name).state_dict())


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("seconds", [0.3, 1.0, 30.0])
def test_takes_waves_of_any_length(name: str, seconds: float) -> None:
    encoder = awake(name)
    wave = waves(encoder, 1, seconds)
    untouched = wave.clone()
    embedding = encoder(wave)
    assert embedding.shape == (1, encoder.embed_dim)
    assert embedding.dtype == torch.float32
    assert embedding.isfinite().all()
    assert torch.equal(wave, untouched)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_takes_the_shortest_wave_and_silence(name: str) -> None:
    encoder = awake(name)
    assert encoder(torch.zeros(1, encoder.min_samples)).isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_embedding_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    encoder = awake(name)
    wave = waves(encoder, 3, 1.0)
    together = encoder(wave)
    torch.testing.assert_close(torch.cat([encoder(one[None]) for one in wave]), together, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder(wave.flip(0)).flip(0), together, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_eval_is_deterministic_and_leaves_the_features(name: str) -> None:
    encoder = awake(name)
    features = encoder.frontend(waves(encoder, 2, 1.0))
    untouched = features.clone()
    assert torch.equal(encoder.embed(features), encoder.embed(features))
    assert torch.equal(features, untouched)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_every_layer_has_its_width(name: str) -> None:
    encoder = awake(name)
    features = encoder.frontend(waves(encoder, 2, 1.0))
    for layer, width in encoder.layers.items():
        assert encoder.embed(features, layer).shape == (2, width), layer
    assert torch.equal(encoder.embed(features, list(encoder.layers)[-1]), encoder.embed(features))
    hidden = encoder.hidden(features)  # type: ignore[operator]
    assert {layer: value.shape[2] for layer, value in hidden.items()} == dict(encoder.layers)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_frames_come_with_the_vector_of_one_pass(name: str) -> None:
    encoder = awake(name)
    assert isinstance(encoder, LayeredEncoder)
    features = encoder.frontend(waves(encoder, 2, 1.0))
    first, last = next(iter(encoder.layers)), list(encoder.layers)[-1]
    vector, frames = encoder.with_frames(encoder.prepare(features), (first, last))
    torch.testing.assert_close(vector.float(), encoder.embed(features))
    assert list(frames) == list(dict.fromkeys((first, last)))
    hidden = encoder.hidden(features)
    assert all(torch.equal(frames[layer], hidden[layer]) for layer in frames)
    assert vector.shape == (2, frames[last].shape[2])


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_an_unknown_layer_is_named_with_the_known_ones(name: str) -> None:
    encoder = awake(name)
    with pytest.raises(UnknownNameError, match=r"no layer 'penultimate'.*Known: "):
        encoder.embed(encoder.frontend(waves(encoder, 1, 0.5)), "penultimate")


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_the_copy_for_inference_gives_the_same_in_float32_and_nearly_in_bfloat16(name: str) -> None:
    encoder = awake(name)
    wave = waves(encoder, 2, 1.0)
    for layer in encoder.layers:
        expected = encoder(wave, layer)
        scale = expected.abs().max().item()
        folded = for_inference(encoder)(wave, layer)
        torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-5 * max(1.0, scale), msg=layer)
    half = for_inference(encoder, torch.bfloat16)(wave)
    assert half.dtype == torch.float32
    error = (half - encoder(wave)).norm() / encoder(wave).norm()
    assert error < 0.05, error  # eight bits of mantissa, through some twenty layers


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    encoder = awake(name)
    if not num_parameters(encoder):
        assert not list(encoder.parameters())
        return
    encoder.zero_grad()
    encoder(waves(encoder, 2, 1.0)).square().sum().backward()
    without = {
        key
        for key, p in encoder.named_parameters()
        if p.grad is None or not p.grad.any() or not p.grad.isfinite().all()
    }
    assert without == WITHOUT_GRADIENT.get(name, set())
    encoder.zero_grad()
