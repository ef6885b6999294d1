"""The rule of tests/golden/README.md: inputs and weights that every platform computes alike, and the stored numbers."""

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

GOLDEN = Path(__file__).parents[1] / "golden"
INPUTS = {"a": (101, 2, 400, 128), "b": (102, 2, 300, 80), "c": (103, 1, 97, 64), "d": (104, 3, 500, 80)}

Fill = Callable[[nn.Module, str], dict[str, str]]


def noise(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    uniform = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
    return ((uniform - np.float32(0.5)) * np.float32(3.4641016)).reshape(shape)


def parameter(path: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    z = noise(zlib.crc32(path.encode("ascii")), shape)
    last = path.rsplit("/", 1)[-1]
    if last == "w":
        return z * (np.float32(0.05) if len(shape) == 4 else np.float32(1) / np.sqrt(np.float32(shape[0])))
    tenth = np.float32(0.1) * z
    return np.asarray(tenth + np.float32({"gain": 1, "bias": 0, "b": 0, "skip_gain": 0.5}[last]), np.float32)


def haiku_layout(tensor: Tensor) -> Tensor:
    """OIHW -> HWIO, (out, in) -> (in, out); its own inverse only for matrices."""
    return tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor


def haiku_path(name: str, root: str, depths: tuple[int, ...]) -> str:
    """The program's path of one of our parameters."""
    streams = {
        "stream.": f"{root}/~/",
        "fast.": f"{root}/~/NFNet/~/",
        "slow.": f"{root}/~/NFNet_1/~/",
    }
    leaf = {"weight": "w"}.get(name.rsplit(".", 1)[1], name.rsplit(".", 1)[1])
    if fusion := re.match(r"fusions\.(\d)\.", name):
        number = f"_{fusion[1]}" if fusion[1] != "0" else ""
        return f"{root}/~/fuse_fast2_slow{number}/~/conv_f2s/{leaf}"
    stream, rest = re.match(r"(stream\.|fast\.|slow\.)(.*)\.", name).groups()  # type: ignore[union-attr]
    plain_resnet = root == "NF_ResNet"
    if stem := re.match(r"stem\.(\d)", rest):
        if plain_resnet:
            return f"{streams[stream]}initial_conv/{leaf}"
        return f"{streams[stream]}stem_conv{int(stem[1]) // 2}/{leaf}"
    if block := re.match(r"stages\.(\d)\.(\d)\.?(.*)", rest):
        index = sum(depths[: int(block[1])]) + int(block[2])
        base = streams[stream] + ("nf_res_block" if plain_resnet else "nf_block") + (f"_{index}" if index else "")
        if leaf == "skip_gain":
            return f"{base}/{leaf}"
        if "squeeze_excite" in rest:
            leaf = {"bias": "b"}.get(leaf, leaf)
        return f"{base}/~/{block[3].replace('.', '/~/')}/{leaf}"
    return f"{streams[stream]}{rest}/{leaf}"


@pytest.fixture(scope="session")
def golden_input() -> Callable[[str], Tensor]:
    """Input a, b, c or d as (B, 1, T, F), float32."""

    def make(key: str) -> Tensor:
        seed, *shape = INPUTS[key]
        return torch.from_numpy(noise(seed, (*shape, 1))).permute(0, 3, 1, 2).contiguous()

    return make


@pytest.fixture(scope="session")
def golden_noise() -> Callable[[int, tuple[int, ...]], NDArray[np.float32]]:
    """The rule's noise: (seed, shape) -> values."""
    return noise


@pytest.fixture(scope="session")
def golden_parameter() -> Callable[[str, tuple[int, ...]], NDArray[np.float32]]:
    """A parameter by the rule: (the program's path, shape) -> values in the program's layout."""
    return parameter


@pytest.fixture(scope="session")
def golden_manifest() -> Callable[[str], dict[str, list[object]]]:
    """Path -> [shape, first, last, sum, digest] of one network's parameters."""

    def load(name: str) -> dict[str, list[object]]:
        rows = json.loads((GOLDEN / f"manifest_{name}.json").read_text())["rows"]
        return {row[0]: row[1:] for row in rows}

    return load


@pytest.fixture(scope="session")
def golden_fill() -> Fill:
    """Fills an encoder by the rule and returns our name -> the program's path."""

    def fill(encoder: nn.Module, root: str) -> dict[str, str]:
        streams = [getattr(encoder, name) for name in ("stream", "slow") if hasattr(encoder, name)]
        depths = tuple(len(stage) for stage in streams[0].stages)
        paths = {}
        for name, tensor in encoder.named_parameters():
            paths[name] = haiku_path(name, root, depths)
            values = torch.from_numpy(parameter(paths[name], tuple(haiku_layout(tensor).shape)))
            ours = values.permute(3, 2, 0, 1) if values.ndim == 4 else values.T if values.ndim == 2 else values
            with torch.no_grad():
                tensor.copy_(ours)
        return paths

    return fill
