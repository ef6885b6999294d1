"""The HEAR 2021 common API: `load_model`, `get_scene_embeddings`, `get_timestamp_embeddings`."""

from pathlib import Path

from leveret.exporting.carried.building import WEIGHTS, load
from leveret.hear import HearModel, get_scene_embeddings, get_timestamp_embeddings

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]


def load_model(model_file_path: str = "") -> HearModel:
    """The model of this folder.

    Args:
        model_file_path: Another checkpoint of the same network; empty is the folder's own weights.

    Raises:
        ValueError: No such file, or of another network.
    """
    return HearModel(load(Path(model_file_path) if model_file_path else WEIGHTS)).eval()
