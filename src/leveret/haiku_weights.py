"""The authors' Haiku parameters into leveret's NFNets, and back: the same numbers under other names, axes turned.

Source: names and layouts of deepmind/slowfast_nfnets and deepmind-research/nfnets (tests/golden/README.md). Haiku keeps
a convolution as (kt, kf, in, out) and a matrix as (in, out); in the two-stream network `NFNet` is the fast stream.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leveret.array_pickle import read_arrays
from leveret.contracts import Encoder
from leveret.hollow import hollow
from leveret.registry import look_up

Arrays = Mapping[str, NDArray[Any]]
"""Path of a parameter in Haiku, such as `NFNet/~/stem_conv0/w` -> value."""

TWO_STREAMS, ONE_STREAM, RESNET = "slow_fast_nf_net", "NFNet", "NF_ResNet"
CANDIDATES = {
    TWO_STREAMS: ("slowfast_nfnet_f0", "slowfast_nfnet_f0_table5", "slowfast_nfnet_small"),
    ONE_STREAM: ("nfnet_f0", "nfnet_f0_fast", "nfnet_f0_slow"),
    RESNET: ("nf_resnet50",),
}
"""Root of the paths -> encoders that a file may hold, the first that fits."""
_FUSED = ("NFNet", "NFNet_1")


class HaikuError(ValueError):
    """A file that does not hold the parameters of a known network."""


@dataclass(frozen=True)
class Imported:
    """What a file held.

    Attributes:
        name: Key of the encoders room.
        encoder: Filled, in eval mode.
        unused: Paths of the file that are no part of the encoder: a projector, a classifier.
    """

    name: str
    encoder: Encoder
    unused: tuple[str, ...]


def read_haiku(path: Path) -> dict[str, NDArray[Any]]:
    """The parameters in an .npz, or in a pickle, which is read without running it.

    Raises:
        HaikuError: The file is missing, or neither.
        PickleRefusedError: A pickle that holds more than arrays.
    """
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise HaikuError(f"no file {path}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise HaikuError(f"{path} is damaged, or holds more than arrays ({error})") from error
    return dict(_flat(read_arrays(data, str(path))))


def from_haiku(arrays: Arrays, name: str = "") -> Imported:
    """The encoder with these parameters.

    Args:
        name: Key of the encoders room; empty takes the one whose sizes fit.

    Raises:
        HaikuError: A parameter is missing or of another shape, or no encoder fits.
    """
    root, below = _rooted(arrays)
    tried = []
    for candidate in [name] if name else CANDIDATES[root]:
        with hollow():
            shapes = look_up("encoders", candidate).build()
        wrong = _misfit(shapes, below)
        if not wrong:
            encoder = look_up("encoders", candidate).build().eval()
            paths = haiku_paths(encoder)
            with torch.no_grad():
                for key, parameter in encoder.named_parameters():
                    parameter.copy_(torch.from_numpy(_torch_layout(np.array(below[paths[key]]))))
            unused = tuple(sorted(set(below) - set(paths.values())))
            return Imported(candidate, encoder, unused)
        tried.append(f"{candidate}: {wrong}")
    raise HaikuError("these parameters fit no encoder; " + "; ".join(tried))


def to_haiku(encoder: Encoder) -> dict[str, NDArray[np.float32]]:
    """An NFNet's parameters under Haiku's names, float32.

    Raises:
        HaikuError: The authors have no such network.
    """
    paths = haiku_paths(encoder)
    return {paths[key]: _haiku_layout(parameter) for key, parameter in encoder.named_parameters()}


def haiku_paths(encoder: Encoder) -> dict[str, str]:
    """Our name of each parameter -> its path.

    Raises:
        HaikuError: The authors have no such network.
    """
    stream = getattr(encoder, "slow", None) or getattr(encoder, "stream", None)
    first = next((name for name, _ in encoder.named_parameters()), "")
    if stream is None or not any(key.endswith("gain") for key, _ in encoder.named_parameters()):
        raise HaikuError(f"{type(encoder).__name__} ({first}) is no network of the authors' program: give an NFNet")
    resnet = len(stream.stem) < 4
    root = TWO_STREAMS if hasattr(encoder, "slow") else RESNET if resnet else ONE_STREAM
    if root == TWO_STREAMS and resnet:
        raise HaikuError("the authors' program has no two streams of NF-ResNets: give an NFNet")
    depths = [len(stage) for stage in stream.stages]
    return {key: _path(key, root, depths) for key, _ in encoder.named_parameters()}


def _path(key: str, root: str, depths: list[int]) -> str:
    where, _, leaf = key.rpartition(".")
    leaf = "w" if leaf == "weight" else leaf
    if found := re.fullmatch(r"fusions\.(\d+)\.conv_f2s", where):
        return f"{root}/~/{_numbered('fuse_fast2_slow', int(found[1]))}/~/conv_f2s/{leaf}"
    stream, _, rest = where.partition(".")
    base = f"{root}/~/" + {"stream": "", "fast": f"{_FUSED[0]}/~/", "slow": f"{_FUSED[1]}/~/"}[stream]
    if found := re.fullmatch(r"stem\.(\d+)", rest):
        return base + ("initial_conv" if root == RESNET else f"stem_conv{int(found[1]) // 2}") + f"/{leaf}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.?(.*)", rest):
        number = sum(depths[: int(found[1])]) + int(found[2])
        block = base + _numbered("nf_res_block" if root == RESNET else "nf_block", number)
        if not found[3]:
            return f"{block}/{leaf}"
        leaf = "b" if "squeeze_excite" in found[3] and leaf == "bias" else leaf
        return f"{block}/~/{found[3].replace('.', '/~/')}/{leaf}"
    return f"{base}{rest}/{leaf}"


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _flat(value, f"{path}/{key}" if path else str(key))
    elif isinstance(values, list | tuple):
        for value in values:  # (parameters, state)
            yield from _flat(value, path)
    elif isinstance(values, np.ndarray):
        yield path, values


def _rooted(arrays: Arrays) -> tuple[str, dict[str, NDArray[Any]]]:
    """The network in the file, its paths from its own root on; others have theirs as they are."""
    for root in CANDIDATES:  # the two streams first: they hold an NFNet
        found = {path: match.start(1) for path in arrays if (match := re.search(rf"(?:^|/)({root})/", path))}
        if found:
            return root, {path[found.get(path, 0) :]: value for path, value in arrays.items()}
    shown = ", ".join(list(arrays)[:3]) or "nothing"
    raise HaikuError(f"no path begins with {', '.join(CANDIDATES)}; the file has {shown}: not the authors' parameters")


def _misfit(hollow: Encoder, arrays: Arrays) -> str:
    paths = haiku_paths(hollow)
    for key, parameter in hollow.named_parameters():
        path, expected = paths[key], tuple(_turned(parameter).shape)
        if path not in arrays:
            return f"{path} is missing"
        if arrays[path].shape != expected:
            return f"{path} is {arrays[path].shape}, expected {expected}"
        if not np.isfinite(arrays[path]).all():
            return f"{path} holds values that are not finite"
    return ""


def _turned(tensor: Tensor) -> Tensor:
    return tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor


def _haiku_layout(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(_turned(tensor.detach().float().cpu()).numpy()).reshape(_turned(tensor).shape)


def _torch_layout(array: NDArray[Any]) -> NDArray[np.float32]:
    turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T if array.ndim == 2 else array
    return np.array(turned, dtype=np.float32, order="C")
