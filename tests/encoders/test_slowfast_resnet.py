"""SlowFast ResNet50 with batch norm against the authors' program on weights that anybody can compute; normalisers.

Its numbers are not among tests/golden, since the program's licence forbids commercial use; they lie beside it.
"""

import json
import re
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leveret.encoders.normed import conv_norm, normaliser
from leveret.encoders.streams import SpreadFrames
from leveret.inference import for_inference
from leveret.registry import look_up

Noise = Callable[[int, tuple[int, ...]], NDArray[np.float32]]


def path_of(name: str) -> str:
    """The program's name of one of our tensors."""
    leaf = name.rsplit(".", 1)[1]
    if fusion := re.match(r"fusions\.(\d)\.conv_f2s\.(conv|norm)", name):
        return f"s{int(fusion[1]) + 1}_fuse.{'conv_f2s' if fusion[2] == 'conv' else 'bn'}.{leaf}"
    pathway = {"slow": 0, "fast": 1}[name.split(".")[0]]
    if stem := re.match(r"\w+\.stem\.0\.(conv|norm)", name):
        return f"s1.pathway{pathway}_stem.{'conv' if stem[1] == 'conv' else 'bn'}.{leaf}"
    stage, block, place, kind = re.match(r"\w+\.stages\.(\d)\.(\d)\.(\w+)\.(conv|norm)", name).groups()  # type: ignore[union-attr]
    branch = "branch1" if place == "shortcut" else f"branch2.{place}"
    return f"s{int(stage) + 2}.pathway{pathway}_res{block}.{branch}{'' if kind == 'conv' else '_bn'}.{leaf}"


def value_of(path: str, shape: tuple[int, ...], noise: Noise) -> NDArray[np.float32]:
    z = noise(zlib.crc32(path.encode("ascii")), shape)
    if len(shape) == 4:
        return z * np.sqrt(np.float32(2) / np.float32(np.prod(shape[1:])))
    tenth = np.float32(0.1) * z
    if path.endswith(("bias", "running_mean")):
        return tenth
    about_one = np.float32(1) + tenth
    return np.float32(0.25) * about_one if path.endswith("c_bn.weight") else about_one


@pytest.fixture(scope="module")
def filled(golden_noise: Noise) -> nn.Module:
    encoder = look_up("encoders", "slowfast_resnet50").build().eval()
    for name, tensor in encoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(value_of(path_of(name), tuple(tensor.shape), golden_noise)))
    return encoder  # type: ignore[no-any-return]


@pytest.mark.real
def test_the_fill_matches_the_manifest(filled: nn.Module, shared: Path) -> None:
    rows = json.loads((shared / "golden" / "manifest_sf-resnet50-bn.json").read_text())["rows"]
    ours = {path_of(k): v for k, v in filled.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert ours.keys() == {row[0] for row in rows}
    for path, shape, *_, digest in rows:
        assert list(ours[path].shape) == shape, path
        assert sha256(ours[path].numpy().astype("<f4").tobytes()).hexdigest()[:16] == digest, path


@pytest.mark.real
@torch.no_grad()
def test_outputs_and_stages_agree(filled: nn.Module, shared: Path, golden_input: Callable[[str], Tensor]) -> None:
    with np.load(shared / "golden" / "golden_sf-resnet50-bn.npz") as file:
        golden: dict[str, Any] = {key.removeprefix("sf-resnet50-bn/"): value for key, value in file.items()}
    folded = for_inference(filled)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for key in "ab":
        x = golden_input(key)
        for encoder in (filled, folded):
            np.testing.assert_allclose(encoder.network(x), golden[f"{key}/out_f64"], rtol=0, atol=1e-5)  # type: ignore[operator]
    maps = filled.maps(x)  # type: ignore[operator]
    for n, stats in enumerate(golden["b/stats"]):
        slow, fast = maps[f"stage{n + 1}"]
        found = [slow.mean(), slow.std(correction=0), fast.mean(), fast.std(correction=0), *slow.shape[1:]]
        np.testing.assert_allclose(found, stats[:7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 97, 300])
def test_the_slow_input_reaches_from_the_first_frame_to_the_last(num_frames: int) -> None:
    frames = torch.arange(num_frames)[None, None, :, None].float()
    kept = SpreadFrames(4)(frames).flatten().tolist()
    assert len(kept) == -(-num_frames // 4)
    assert kept == sorted(set(kept))
    assert kept[0] == 0
    if len(kept) > 1:
        assert kept[-1] == num_frames - 1
    if num_frames % 4 == 0:  # as the program has it
        assert kept == torch.linspace(0, num_frames - 1, num_frames // 4).long().tolist()


@torch.no_grad()
@pytest.mark.parametrize("norm", ["bn", "ln", "ln_c", "in", "none"])
def test_a_normaliser_sets_mean_and_variance_over_its_axes(norm: str) -> None:
    axes = {"bn": (0, 2, 3), "ln": (1, 2, 3), "ln_c": (1,), "in": (2, 3), "none": ()}[norm]
    x = 3 * torch.randn(2, 5, 6, 7) + 1
    y = normaliser(norm, 5)(x)
    if not axes:
        assert torch.equal(y, x)
        return
    assert y.mean(axes).abs().max() < 1e-5
    torch.testing.assert_close(y.var(axes, correction=0), torch.ones_like(y.mean(axes)), rtol=1e-2, atol=1e-4)


def test_an_unknown_normaliser_is_named() -> None:
    with pytest.raises(ValueError, match="norm='batch' - bn, ln, ln_c, in or none was expected"):
        normaliser("batch", 5)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["bn", "ln", "ln_c", "in", "none"])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 3)])
def test_a_folded_convolution_gives_the_same(norm: str, kernel: tuple[int, int]) -> None:
    pair = conv_norm(4, 6, kernel, (1, 2), norm).eval()
    for tensor in pair.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor + 0.3 * torch.rand(tensor.shape))
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(pair.folded()(x), pair(x))
    if norm in ("bn", "none"):
        assert isinstance(pair.folded(), nn.Conv2d)


@torch.no_grad()
@pytest.mark.parametrize("name", ["slowfast_resnet_tiny", "slowfast_resnet_tiny_ln", "slowfast_resnet_tiny_no_norm"])
def test_every_residual_branch_is_off_at_first(name: str) -> None:
    encoder = look_up("encoders", name).build().eval()
    block = encoder.slow.stages[2][1]
    x = torch.rand(1, 32, 5, 6)
    assert torch.equal(block(x), x)
