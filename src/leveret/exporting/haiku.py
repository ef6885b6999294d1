"""The authors' format: an .npz of the parameters under their Haiku paths.

Source: deepmind/slowfast_nfnets; see `leveret.haiku_weights`.
"""

import os
from pathlib import Path

import numpy as np

from leveret.exporting.formats import Exported, Format
from leveret.haiku_weights import to_haiku


def write_haiku(exported: Exported, path: Path) -> None:
    """Write the parameters, float32.

    Raises:
        HaikuError: The authors have no such network.
    """
    arrays = to_haiku(exported.encoder)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


FORMATS = {"haiku": Format("the authors' Haiku parameters, an .npz (NFNets)", ".npz", write_haiku)}
