"""Where leveret keeps what it makes for itself: caches and the demonstration suite; and whether a disk has room."""

import os
from pathlib import Path
from shutil import disk_usage

from platformdirs import user_cache_path


def home() -> Path:
    """The folder that LEVERET_HOME names, or the user's cache folder; it may not exist yet."""
    named = os.environ.get("LEVERET_HOME")
    return Path(os.path.expanduser(named)) if named else user_cache_path("leveret")


def cache_root() -> Path:
    """Where embeddings are kept."""
    return home() / "embeddings"


def require_space(folder: Path, num_bytes: int, what: str) -> None:
    """Refuse work whose result would not fit on the disk.

    Args:
        folder: An existing folder on the disk in question.
        what: What needs the room, for the message.

    Raises:
        OSError: Fewer bytes are free.
    """
    free = disk_usage(folder).free
    if num_bytes > free:
        raise OSError(
            f"{what} needs {num_bytes / 1e9:.2f} GB at {folder}, and {free / 1e9:.2f} GB are free; free some space, or "
            "name a folder on a larger disk"
        )
