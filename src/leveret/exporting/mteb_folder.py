"""`--to mteb`: a folder that is a module with a model of MTEB, and needs mteb and torch, not leveret.

    import my_encoder                                    with the folder my_encoder on the path
    mteb.evaluate(my_encoder.load_model(), tasks)

Source: mteb 2 (EncoderProtocol, ModelMeta).
Departures: those of `carried/mteb_encoder.py`.
"""

from pathlib import Path

from leveret.exporting.formats import Exported, Format
from leveret.exporting.packages import write_package


def write_mteb(exported: Exported, path: Path) -> None:
    """Write the folder.

    Raises:
        NotExportableError: The folder's name is no name of a module, or something lies there.
    """
    write_package(exported, path, "mteb_encoder", ("LeveretEncoder", "load_model", "model_meta"))


FORMATS = {"mteb": Format("a folder with a model of MTEB, without leveret", "", write_mteb)}
