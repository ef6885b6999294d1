"""Parity with the authors' programs (tests/golden/README.md).

Tolerances: rounding is 2e-15 in float64 and 1e-6 in float32; the least of the likely mistakes, another GELU, is 3e-4.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leveret.hollow import hollow
from leveret.inference import for_inference
from leveret.registry import look_up

NETWORKS = {
    "F0-fast": ("nfnet_f0_fast", "NFNet", "abcd"),
    "F0-slow": ("nfnet_f0_slow", "NFNet", "abcd"),
    "slowfast": ("slowfast_nfnet_f0", "slow_fast_nf_net", "abcd"),
    "nfnet-f0": ("nfnet_f0", "NFNet", "bc"),
    "nf-resnet50": ("nf_resnet50", "NF_ResNet", "bc"),
}
OUTPUTS_ONLY = ("nfnet-f0", "nf-resnet50")  # of these nothing from inside is stored


@dataclass
class Golden:
    """A filled network in both precisions, and what it has to give."""

    name: str
    single: nn.Module
    double: nn.Module
    paths: dict[str, str]
    numbers: dict[str, Any]
    manifest: dict[str, Any]

    def of(self, key: str) -> Any:
        return self.numbers[f"{self.name}/{key}"]


@pytest.fixture(scope="module", params=NETWORKS)
def network(
    request: pytest.FixtureRequest,
    golden: Callable[[str], dict[str, Any]],
    golden_fill: Callable[[nn.Module, str], dict[str, str]],
    golden_manifest: Callable[[str], dict[str, Any]],
) -> Golden:
    name = request.param
    with hollow():  # every parameter is filled below, so none need be drawn
        single = look_up("encoders", NETWORKS[name][0]).build().eval()
    single.to_empty(device="cpu")
    paths = golden_fill(single, NETWORKS[name][1])
    return Golden(name, single, copy.deepcopy(single).double(), paths, golden(name), golden_manifest(name))


def inputs_of(network: Golden) -> Iterator[str]:
    yield from NETWORKS[network.name][2]


def in_haiku_layout(tensor: Tensor) -> np.ndarray[Any, Any]:
    ours = tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor
    return ours.contiguous().numpy()


def stats_of(x: Tensor) -> np.ndarray[Any, Any]:
    return np.array([x.mean(), x.std(correction=0), x.min(), x.max()])


def watch(network: Golden) -> tuple[dict[str, np.ndarray[Any, Any]], list[Any]]:
    """Statistics of the intermediates by the name that the stored ones have, filled by the next forward pass."""
    encoder, seen, handles = network.double, {}, []

    def record(module: nn.Module, name: str) -> None:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen[name] = stats_of(output)

        handles.append(module.register_forward_hook(keep))

    for stream, prefix in (("stream", ""), ("fast", "fast/"), ("slow", "slow/")):
        if hasattr(encoder, stream):
            parts = getattr(encoder, stream)
            record(parts.stem, f"{prefix}stem")
            record(parts.head if hasattr(parts, "head") else parts.features, f"{prefix}head")
            for index, block in enumerate(block for stage in parts.stages for block in stage):
                record(block, f"{prefix}block{index}")
    if hasattr(encoder, "fusions"):
        record(encoder.slow_input, "slow/input")
        for index, fusion in enumerate(encoder.fusions):
            record(fusion, f"slow/fused{index}")
    return seen, handles


def test_the_fill_matches_the_manifest(network: Golden) -> None:
    root = NETWORKS[network.name][1]
    unused = {f"{root}/~/linear/w", f"{root}/~/linear/b"}  # the classifier of two of them, which we have not
    assert set(network.paths.values()) == set(network.manifest) - unused
    for name, parameter in network.single.named_parameters():
        shape, first, last, total, digest = network.manifest[network.paths[name]]
        values = in_haiku_layout(parameter.detach())
        assert list(values.shape) == shape, name
        assert (values.flat[0], values.flat[-1]) == (np.float32(first), np.float32(last)), name
        assert np.sum(values, dtype=np.float64) == pytest.approx(total, rel=1e-9, abs=1e-9), name
        assert sha256(values.astype("<f4").tobytes()).hexdigest()[:16] == digest, name


@torch.no_grad()
def test_outputs_and_intermediates_agree_in_float64(network: Golden, golden_input: Callable[[str], Tensor]) -> None:
    for key in inputs_of(network):
        seen, handles = watch(network)
        output = network.double.network(golden_input(key).double())  # type: ignore[operator]
        for handle in handles:
            handle.remove()
        np.testing.assert_allclose(output.numpy(), network.of(f"{key}/out_f64"), rtol=0, atol=1e-10)
        prefix = f"{network.name}/{key}/stats/"
        stored = {name.removeprefix(prefix) for name in network.numbers if name.startswith(prefix)}
        assert stored == (set() if network.name in OUTPUTS_ONLY else set(seen))
        for name in stored:
            np.testing.assert_allclose(seen[name], network.of(f"{key}/stats/{name}"), atol=1e-10, err_msg=name)


@torch.no_grad()
def test_outputs_agree_in_float32_folded_or_not(network: Golden, golden_input: Callable[[str], Tensor]) -> None:
    folded = for_inference(network.single)  # type: ignore[arg-type]
    for key in inputs_of(network):
        for encoder in (network.single, folded):
            output = encoder.network(golden_input(key)).numpy()  # type: ignore[operator]
            np.testing.assert_allclose(output, network.of(f"{key}/out_f64"), rtol=0, atol=1e-5)
            np.testing.assert_allclose(output, network.of(f"{key}/out_f32"), rtol=0, atol=1e-5)


def test_gradients_agree_in_float64(network: Golden, golden_input: Callable[[str], Tensor]) -> None:
    by_path = {network.paths[name]: p for name, p in network.double.named_parameters()}
    stored_keys = [key for key in inputs_of(network) if f"{network.name}/{key}/grad_norms" in network.numbers]
    assert stored_keys == {"F0-fast": ["b", "c"], "F0-slow": ["c"], "slowfast": ["b", "c"]}.get(network.name, [])
    for key in stored_keys:
        network.double.zero_grad()
        x = golden_input(key).double().requires_grad_()
        loss = network.double.network(x).square().sum()  # type: ignore[operator]
        loss.backward()
        assert loss.item() == pytest.approx(float(network.of(f"{key}/loss")), rel=1e-10)
        paths = network.of("grad_names")
        norms = [float(by_path[path].grad.norm()) for path in paths]
        np.testing.assert_allclose(norms, network.of(f"{key}/grad_norms"), rtol=1e-8)
        prefix = f"{network.name}/{key}/grad/"
        for name in (name for name in network.numbers if name.startswith(prefix)):
            ours = in_haiku_layout(by_path[name.removeprefix(prefix)].grad)
            np.testing.assert_allclose(ours, network.numbers[name], rtol=1e-6, atol=1e-8, err_msg=name)
        stored = network.of(f"{key}/grad_input")
        gradient = x.grad
        assert gradient is not None
        if stored.ndim:
            np.testing.assert_allclose(gradient[:, 0, :, :, None].numpy(), stored, rtol=1e-5, atol=1e-7)
        else:
            assert float(gradient.norm()) == pytest.approx(float(stored), rel=1e-8)
    network.double.zero_grad()


def test_betas_and_drop_rates_are_the_programs(golden: Callable[[str], dict[str, Any]]) -> None:
    units = golden("units")
    with hollow():
        streams = {
            "F0-slow": look_up("encoders", "nfnet_f0_slow").build().stream,
            "F0-fast": look_up("encoders", "nfnet_f0_fast").build().stream,
        }
    for name, stream in streams.items():
        blocks = [block for stage in stream.stages for block in stage]
        betas = [block.conv0.input_scale / 1.7015043497085571 for block in blocks]
        np.testing.assert_allclose(betas, units[f"{name}/beta"], rtol=1e-12)
        rates = [block.stochastic_depth.drop_rate for block in blocks]
        np.testing.assert_allclose(rates, units[f"{name}/stoch"], atol=1e-12)
