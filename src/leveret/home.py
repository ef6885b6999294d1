"""Where leveret keeps what it makes for itself: caches and the demonstration suite."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def home() -> Path:
    """The folder that LEVERET_HOME names, or the user's cache folder; it may not exist yet."""
    named = os.environ.get("LEVERET_HOME")
    return Path(named).expanduser() if named else user_cache_path("leveret")


def cache_root() -> Path:
    """Where embeddings are kept."""
    return home() / "embeddings"
