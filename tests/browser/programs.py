"""Where the browser and its driver lie; without them this room is left out (tests/conftest.py)."""

import shutil
from importlib.util import find_spec
from pathlib import Path


def program(*names: str) -> Path | None:
    """The first of these on the path."""
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


CHROMIUM = program("chromium", "chromium-browser", "google-chrome")
CHROMEDRIVER = program("chromedriver")
THERE = None not in (CHROMIUM, CHROMEDRIVER) and None not in map(find_spec, ("selenium", "axe_core_python"))
