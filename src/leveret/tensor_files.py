"""Tensors with one JSON object in a safetensors file: written atomically, nothing is ever unpickled.

The format itself promises that tensors lie inside the file; what they mean is for the caller to check.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: str, described: Mapping[str, Any]) -> None:
    """Write atomically: a killed writer leaves the old file, or none.

    Args:
        header: Key of the metadata under which `described` stands as JSON.
        described: Plain values, a "version" among them.

    Raises:
        OSError: The disk is full, or the folder cannot be written; a file of that name stays as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    text = json.dumps(described)
    try:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(dict(tensors), partial, metadata={header: text})
        partial.chmod(mode)  # safetensors lets nobody but the owner read what it writes
        partial.replace(path)
    except SafetensorError as error:
        raise OSError(
            f"{path} cannot be written ({error}); what is there stays as it was. Free some space, or name a folder on "
            "another disk"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def read_tensors(
    path: Path, header: str, what: str, version: int, error: type[ValueError]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header.

    Args:
        what: Name of the sort of file, for messages.
        version: The newest format that the caller reads.
        error: Raised where the file is missing, torn, foreign, or of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError as missing:
        raise error(f"no {what} at {path}") from missing
    except (SafetensorError, OSError) as broken:
        raise error(f"{path} is not a safetensors file, or is cut short ({broken})") from broken
    if header not in metadata:
        raise error(
            f"{path} is a safetensors file without leveret's header of a {what}, so what its tensors mean is unknown; "
            f"give a {what} that leveret wrote"
        )
    try:
        described = json.loads(metadata[header])
        too_new = described["version"] > version
    except (json.JSONDecodeError, RecursionError, KeyError, TypeError) as broken:
        raise error(f"the header of {path} is damaged ({type(broken).__name__}: {broken})") from broken
    if too_new:
        raise error(f"{path} has format {described['version']}, this leveret reads {version}; upgrade")
    return tensors, described
