"""The encoder of this folder, from its sizes, or from a file of weights that says its sizes itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leveret.checkpoint import CHECKPOINT_VERSION, HEADER, CheckpointError
from leveret.contracts import Encoder
from leveret.exporting.carried.architecture import NAME, Config
from leveret.tensor_files import read_tensors

WEIGHTS = Path(__file__).with_name("model.safetensors")


def build(sizes: Mapping[str, Any]) -> Encoder:
    """The encoder with freshly drawn weights.

    Args:
        sizes: Fields of its config, as JSON gives them.

    Raises:
        ValueError: They are not those of this network.
    """
    try:
        return Config(**{name: _tuples(value) for name, value in sizes.items()}).build()
    except TypeError as error:
        raise ValueError(f"{dict(sizes)} are no sizes of {NAME}: {error}") from error


def load(file: Path) -> Encoder:
    """The encoder of a checkpoint, in eval mode.

    Raises:
        CheckpointError: The file is missing, torn, or of another network.
    """
    return load_with_extra(file)[0]


def load_with_extra(file: Path) -> tuple[Encoder, dict[str, Any]]:
    """As `load`, with what the checkpoint's writer added."""
    weights, described = read_tensors(file, HEADER, "checkpoint", CHECKPOINT_VERSION, CheckpointError)
    try:
        encoder = build(described["config"])
        encoder.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{file} holds no weights of {NAME}: {error}") from error
    return encoder.eval(), dict(described.get("extra") or {})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
