"""The authors' format: an .npz of the parameters under their Haiku paths.

Source: deepmind/slowfast_nfnets; see `leveret.haiku_weights`.
"""

from pathlib import Path

import numpy as np

from leveret.exporting.folders import whole_file
from leveret.exporting.formats import Exported, Format, Reader
from leveret.haiku_weights import from_haiku, read_haiku, to_haiku


def write_haiku(exported: Exported, path: Path) -> None:
    """Write the parameters, float32.

    Raises:
        HaikuError: The authors have no such network.
    """
    arrays = to_haiku(exported.encoder)
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_haiku_back(exported: Exported, path: Path) -> Reader:
    """The network that the file's parameters make."""
    return from_haiku(read_haiku(path), exported.name).encoder


FORMATS = {"haiku": Format("the authors' Haiku parameters, an .npz (NFNets)", ".npz", write_haiku)}
READERS = {"haiku": read_haiku_back}
