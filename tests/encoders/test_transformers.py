"""The same numbers as transformers gives with our weights copied into it, on small sizes.

Rounding is some 1e-6; the tolerance is 1e-5.
"""

import re

import pytest
import torch
from torch import Tensor, nn

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
