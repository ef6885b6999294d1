"""The same numbers as transformers gives with our weights copied into it, on small sizes.

Rounding is some 1e-6; the tolerance is 1e-5.
"""

import dataclasses
import re

import pytest
import torch
from torch import Tensor, nn

from leveret.hollow import hollow
from leveret.registry import look_up


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def liven(network: nn.Module) -> None:
    """Nothing stays at the zero or one that it was initialised to."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and ("norm" in name or not tensor.any()):
            tensor.add_(0.2 * torch.rand(tensor.shape))


def copied(weights: dict[str, Tensor], reference: nn.Module, unused: str = "num_batches_tracked$") -> None:
    """Fill the reference; every one of its tensors must be given, but for the unused ones."""
    wanted = reference.state_dict()
    assert {key for key in wanted if not re.search(unused, key)} == {k for k in weights if not re.search(unused, k)}
    reference.load_state_dict(wanted | weights)
    reference.eval()


@torch.no_grad()
def test_resnet() -> None:
    from transformers import ResNetConfig, ResNetModel

    encoder = look_up("encoders", "resnet_tiny").build().eval()
    liven(encoder)
    config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[16, 32, 32, 64], depths=[1, 2, 1, 1])
    names = {}
    for name, tensor in encoder.state_dict().items():
        name = name.replace(".conv.", ".convolution.").replace(".norm.", ".normalization.")
        name = name.replace("stream.stem.0", "embedder.embedder")
        name = re.sub(r"stream\.stages\.(\d)\.(\d)\.", r"encoder.stages.\1.layers.\2.", name)
        for place, letter in enumerate("abc"):
            name = name.replace(f".{letter}.", f".layer.{place}.")
        names[name] = tensor
    reference = ResNetModel(config)
    copied(names, reference)
    for shape in ((96, 64), (301, 80), (3, 80)):
        x = torch.randn(2, 1, *shape)
        torch.testing.assert_close(encoder.network(x), reference(x).pooler_output.flatten(1), rtol=0, atol=1e-5)


@torch.no_grad()
def test_efficientnet_b0() -> None:
    from transformers import EfficientNetConfig, EfficientNetModel

    encoder = look_up("encoders", "efficientnet_b0").build().eval()
    liven(encoder)
    reference = EfficientNetModel(
        EfficientNetConfig(num_channels=1, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280)
    )
    parts = {
        "stem.0.conv": "embeddings.convolution",
        "stem.0.norm": "embeddings.batchnorm",
        "head.0.conv": "encoder.top_conv",
        "head.0.norm": "encoder.top_bn",
        "expand.conv": "expansion.expand_conv",
        "expand.norm": "expansion.expand_bn",
        "depthwise.conv": "depthwise_conv.depthwise_conv",
        "depthwise.norm": "depthwise_conv.depthwise_norm",
        "squeeze_excite.reduce": "squeeze_excite.reduce",
        "squeeze_excite.expand": "squeeze_excite.expand",
        "project.conv": "projection.project_conv",
        "project.norm": "projection.project_bn",
    }
    depths = [len(stage) for stage in encoder.stages]
    names = {}
    for name, tensor in encoder.state_dict().items():
        prefix, rest = "", name
        if block := re.match(r"stages\.(\d)\.(\d)\.(.*)", name):
            prefix, rest = f"encoder.blocks.{sum(depths[: int(block[1])]) + int(block[2])}.", block[3]
        part, leaf = rest.rsplit(".", 1)
        is_conv = "squeeze_excite" in part and leaf == "weight"
        names[f"{prefix}{parts[part]}.{leaf}"] = tensor[:, :, None, None] if is_conv else tensor
    copied(names, reference)
    x = torch.randn(2, 1, 64, 96)  # the library pads as for even sizes, whatever the size, so all maps are even
    torch.testing.assert_close(encoder.maps(x)["features"][0], reference(x).last_hidden_state, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "class"])
def test_vit(pooling: str) -> None:
    from transformers import ViTConfig, ViTModel

    name = {"mean": "vit_tiny", "class": "vit_class_tiny"}[pooling]
    encoder = look_up("encoders", name).build().eval()
    liven(encoder)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, num_channels=1,
        image_size=(96, 80), layer_norm_eps=1e-6,
    )  # fmt: skip
    reference = ViTModel(config, add_pooling_layer=False)
    parts = {
        "attention_norm": "layernorm_before", "mlp_norm": "layernorm_after", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
        "attention.query": "attention.q_proj", "attention.key": "attention.k_proj",
        "attention.value": "attention.v_proj", "attention.out": "attention.o_proj",
    }  # fmt: skip
    names = {
        "embeddings.cls_token": encoder.class_token,
        "embeddings.position_embeddings": torch.cat(
            [encoder.class_position, encoder.positions.flatten(2).transpose(1, 2)], 1
        ),
    }
    for ours, tensor in encoder.state_dict().items():
        if block := re.match(r"blocks\.(\d)\.(.*)\.(\w+)$", ours):
            names[f"layers.{block[1]}.{parts[block[2]]}.{block[3]}"] = tensor
        elif ours.startswith("patches."):
            names[ours.replace("patches", "embeddings.patch_embeddings.projection")] = tensor
        elif ours.startswith("norm."):
            names[ours.replace("norm", "layernorm")] = tensor
    copied(names, reference)
    x = torch.randn(2, 1, 96, 80)
    tokens = reference(x).last_hidden_state
    expected = tokens[:, 1:].mean(1) if pooling == "mean" else tokens[:, 0]
    torch.testing.assert_close(encoder.network(x), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kernel", [16, 15])
def test_wav2vec2(kernel: int) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from leveret.encoders.wav2vec2 import ENCODERS

    encoder = dataclasses.replace(ENCODERS["wav2vec2_tiny"], position_kernel=kernel).build().eval()
    liven(encoder)
    encoder.positions.gain.mul_(1 + torch.rand(kernel))
    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=[16] * 7,
        num_conv_pos_embeddings=kernel, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    reference = Wav2Vec2Model(config)
    parts = {
        "attention_norm": "layer_norm", "mlp_norm": "final_layer_norm", "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense", "attention.query": "attention.q_proj", "attention.key": "attention.k_proj",
        "attention.value": "attention.v_proj", "attention.out": "attention.out_proj",
    }  # fmt: skip
    fixed = {
        "mask_embedding": "masked_spec_embed",
        "convs.0.1.weight": "feature_extractor.conv_layers.0.layer_norm.weight",
        "convs.0.1.bias": "feature_extractor.conv_layers.0.layer_norm.bias",
        "positions.weight": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "positions.gain": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "positions.bias": "encoder.pos_conv_embed.conv.bias",
    }
    prefixes = {
        "latent_norm.": "feature_projection.layer_norm.",
        "projection.": "feature_projection.projection.",
        "input_norm.": "encoder.layer_norm.",
    }
    names = {}
    for ours, tensor in encoder.state_dict().items():
        if block := re.match(r"blocks\.(\d)\.(.*)\.(\w+)$", ours):
            names[f"encoder.layers.{block[1]}.{parts[block[2]]}.{block[3]}"] = tensor
        elif ours in fixed:
            names[fixed[ours]] = tensor
        elif conv := re.match(r"convs\.(\d)\.0\.weight", ours):
            names[f"feature_extractor.conv_layers.{conv[1]}.conv.weight"] = tensor
        else:
            prefix, leaf = ours.split(".")
            names[prefixes[f"{prefix}."] + leaf] = tensor
    copied(names, reference)
    wave = 0.1 * torch.randn(2, 8_000)
    found = reference(wave)
    hidden = encoder.hidden(wave)
    torch.testing.assert_close(hidden["latents"], found.extract_features, rtol=0, atol=1e-5)
    torch.testing.assert_close(hidden["block2"], found.last_hidden_state, rtol=0, atol=1e-5)
    mask = torch.rand(2, hidden["latents"].shape[1]) < 0.5
    masked = reference(wave, mask_time_indices=mask).last_hidden_state
    torch.testing.assert_close(encoder.transformed(hidden["latents"], mask), masked, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "vit_base", "wav2vec2_base"])
def test_full_size_has_the_same_shapes(name: str) -> None:
    import transformers as hf

    with hollow():
        reference = {
            "resnet50": lambda: hf.ResNetModel(hf.ResNetConfig(num_channels=1)),
            "efficientnet_b0": lambda: hf.EfficientNetModel(
                hf.EfficientNetConfig(num_channels=1, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280)
            ),
            "vit_base": lambda: hf.ViTModel(
                hf.ViTConfig(num_channels=1, image_size=(304, 80)), add_pooling_layer=False
            ),
            "wav2vec2_base": lambda: hf.Wav2Vec2Model(hf.Wav2Vec2Config()),
        }[name]()
        encoder = look_up("encoders", name).build()

    def shapes(network: nn.Module) -> list[tuple[int, ...]]:
        # what is known of positions, and 1x1 convolutions, are stored in other layouts
        return sorted(
            tuple(sorted(size for size in p.shape if size > 1))
            for key, p in network.named_parameters()
            if not re.search("position|pos_conv", key)
        )

    assert shapes(encoder) == shapes(reference)
