"""`--to hear`: a folder that is a module of the HEAR 2021 challenge and needs torch and safetensors alone.

    heareval.embeddings.runner my_encoder                with the folder my_encoder on the path
    leveret evaluate --encoder hear:my_encoder           the same by the adapter

Its weights are a checkpoint of leveret; `load_model(FILE)` takes any other checkpoint of the same network.
Source: the common API of HEAR 2021 (arXiv:2203.03022, appendix).
Departures: timestamp embeddings are those of `leveret.hear`.
"""

from pathlib import Path

from leveret.exporting.formats import Exported, Format, Reader
from leveret.exporting.packages import write_package
from leveret.loading import load_encoder

FUNCTIONS = ("get_scene_embeddings", "get_timestamp_embeddings", "load_model")


def write_hear(exported: Exported, path: Path) -> None:
    """Write the folder.

    Raises:
        NotExportableError: The folder's name is no name of a module, or something lies there.
    """
    write_package(exported, path, "hear_module", FUNCTIONS)


def read_hear(exported: Exported, path: Path) -> Reader:
    """The folder as leveret's own adapter takes it."""
    return load_encoder(f"hear:{path}").encoder


FORMATS = {"hear": Format("a folder that is a HEAR 2021 module, without leveret", "", write_hear)}
READERS = {"hear": read_hear}
