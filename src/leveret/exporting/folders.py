"""Folders and files that a format writes: they appear under their name when all of it is there, or not at all.

Source: ours.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from shutil import rmtree
from typing import BinaryIO

from leveret.text import printable

CODE_LICENCE = "LICENSE.leveret"
"""Of the code in a folder; what may be done with the weights is for whoever trained them to say."""


class NotExportableError(ValueError):
    """An encoder, a scorecard or a place that a format has no use for."""


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `path` at the end; a killed writer leaves nothing of that name.

    Raises:
        NotExportableError: Something lies there already.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise NotExportableError(
            f"{printable(path)} is there already; nothing is overwritten: name another folder, or remove it"
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        rmtree(partial, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which becomes `path` at the end; a killed writer leaves the old one, or none."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Files of text, with the licence of leveret's code beside them."""
    licence = distribution("leveret").read_text("licenses/LICENSE")
    assert licence is not None, "every installation of leveret has its licence in its metadata"
    for name, text in {**files, CODE_LICENCE: licence}.items():
        (folder / name).write_text(text, encoding="utf-8")
