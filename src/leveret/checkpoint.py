"""Checkpoints: an encoder's name, config and weights in one safetensors file; nothing is ever unpickled.

The header's metadata holds one JSON object under "leveret": format version, encoder name, config, and whatever the
writer adds (training recipe, digests of training files, ...).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leveret.contracts import Encoder, EncoderConfig
from leveret.hollow import hollow
from leveret.registry import look_up
from leveret.tensor_files import read_tensors, write_tensors

CHECKPOINT_SUFFIX = ".safetensors"
CHECKPOINT_VERSION = 1
HEADER = "leveret"
BESIDE = "beside:"
"""Before the names of tensors that are no weights of the encoder; no module's name has a colon."""

OBJECTIVE, TRAINING_FILES = "objective.", "training_files"
"""Of what pretraining keeps: before the names of the objective's own tensors; sha256 of each file, (n, 32) bytes."""

LARGEST_SIZE = 65_536
"""Of any width, depth or rate in a config; what a stranger's file asks for is built before it is compared."""


class CheckpointError(ValueError):
    """A file that is not a leveret checkpoint, or not of a version or encoder that this leveret knows."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        name: Key of the encoders room.
        config: The sizes it was built with.
        encoder: Built and filled, in eval mode.
        extra: What the writer added.
        beside: Tensors that the writer added: a supervised head, digests of training files.
    """

    name: str
    config: EncoderConfig
    encoder: Encoder
    extra: Mapping[str, Any]
    beside: Mapping[str, Tensor]


def save_checkpoint(
    path: str | Path,
    name: str,
    config: EncoderConfig,
    encoder: Encoder,
    extra: Mapping[str, Any] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint atomically: a killed writer leaves the old file, or none.

    Args:
        name: Key of the encoders room that `config` is a variant of.
        extra: Anything JSON can hold.
        beside: Tensors that are no weights of the encoder.
    """
    described = {
        "version": CHECKPOINT_VERSION,
        "encoder": name,
        "config": config_as_json(config),
        "extra": dict(extra or {}),
    }
    tensors = encoder.state_dict() | {f"{BESIDE}{key}": tensor for key, tensor in (beside or {}).items()}
    write_tensors(Path(path), {key: tensor.detach().contiguous() for key, tensor in tensors.items()}, HEADER, described)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: The file is missing, torn, foreign, or its weights do not fit its config.
    """
    tensors, described = read_tensors(Path(path), HEADER, "checkpoint", CHECKPOINT_VERSION, CheckpointError)
    weights = {key: tensor for key, tensor in tensors.items() if not key.startswith(BESIDE)}
    beside = {key.removeprefix(BESIDE): tensor for key, tensor in tensors.items() if key not in weights}
    try:
        name, values, extra = (described[key] for key in ("encoder", "config", "extra"))
        if not (isinstance(name, str) and isinstance(values, dict) and isinstance(extra, dict)):
            raise TypeError("expected text and two objects as encoder, config and extra")
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the header of {path} is damaged ({type(error).__name__}: {error})") from error
    config: EncoderConfig = config_from_json(name, values)
    try:
        with hollow():  # a config that asks for more memory than there is must not get it
            config.build().load_state_dict(weights, assign=True)
        with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are overwritten at once
            encoder = config.build()
        encoder.load_state_dict(weights)
    except (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise CheckpointError(f"the weights in {path} do not fit {name}: {error}") from error
    return Checkpoint(name, config, encoder.eval(), extra, beside)


def config_as_json(config: Any) -> dict[str, Any]:
    """A config, which is a dataclass, as plain values."""
    assert is_dataclass(config), config
    assert not isinstance(config, type), config
    return dict(json.loads(json.dumps(asdict(config))))


def config_from_json(name: str, values: Mapping[str, Any], room: str = "encoders") -> Any:
    """The config of an encoder with these values; JSON's lists become the tuples that configs hold.

    Args:
        room: Of the entry: "encoders", or another whose entries are such configs.

    Raises:
        UnknownNameError: No such encoder.
        CheckpointError: A value that this encoder's config does not have.
    """
    base: Any = look_up(room, name)
    try:
        return _like(base, values)
    except TypeError as error:
        raise CheckpointError(f"the config of {name} does not fit this leveret: {error}") from error


def _like(pattern: Any, value: Any) -> Any:
    if is_dataclass(pattern) and isinstance(value, Mapping):
        return replace(pattern, **{key: _like(getattr(pattern, key, None), item) for key, item in value.items()})  # type: ignore[type-var]
    if isinstance(value, int) and abs(value) > LARGEST_SIZE:
        raise TypeError(f"{value} is no size of a network")
    if isinstance(value, list):
        value = tuple(_like(None, item) for item in value)
    if isinstance(pattern, bool | int | float | str | tuple):
        kinds = (int, float) if type(pattern) is float else (type(pattern),)
        if type(value) not in kinds:
            raise TypeError(f"{value!r} in the place of {pattern!r}")
    return value
