"""Folders that are a Python package: a network's source, its weights as a checkpoint, and the functions of one API.

Source: ours.
"""

from collections.abc import Sequence
from pathlib import Path

from leveret.checkpoint import save_checkpoint
from leveret.exporting.folders import NotExportableError, whole_folder, write_files
from leveret.exporting.formats import Exported
from leveret.exporting.sources import network_sources
from leveret.text import printable

WEIGHTS = "model.safetensors"


def write_package(exported: Exported, path: Path, module: str, names: Sequence[str]) -> None:
    """Write the folder.

    Args:
        module: Of `leveret.exporting.carried`, which has the API.
        names: What the package itself gives of it.

    Raises:
        NotExportableError: The folder's name is no name of a module, or something lies there.
    """
    _check_name(path)
    sources = network_sources(exported.name, exported.config, f"leveret.exporting.carried.{module}")
    shown = ", ".join(f'"{name}"' for name in names)
    sources["__init__.py"] = (
        f'"""{exported.name}, an encoder of leveret; {module}.py has what it is used by."""\n\n'
        f"from .{module} import {', '.join(names)}\n\n"
        f"__all__ = [{shown}]\n"
    )
    with whole_folder(path) as folder:
        write_files(folder, sources)
        save_checkpoint(folder / WEIGHTS, exported.name, exported.config, exported.encoder, exported.extra)


def _check_name(path: Path) -> None:
    """A folder is imported by its name."""
    name = path.resolve().name
    if not name.isidentifier():
        better = "".join(letter if letter.isalnum() else "_" for letter in name).strip("_")
        better = better if better.isidentifier() else "my_encoder"
        raise NotExportableError(
            f"the folder is imported by its name, and {printable(name)!r} is no name of a module; expected letters, "
            f"digits and _, such as {better}"
        )
