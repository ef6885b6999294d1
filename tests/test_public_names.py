"""`import leveret` gives callables, whatever was imported before, and costs no torch."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import leveret


def test_every_public_name_resolves():
    for name in leveret.__all__:
        assert getattr(leveret, name) is not None


def test_functions_stay_callable_after_every_submodule_was_imported():
    for module in pkgutil.walk_packages(leveret.__path__, "leveret."):
        # what an exported folder carries runs there, beside the package that it is for
        if not module.name.endswith("__main__") and ".carried." not in module.name:
            importlib.import_module(module.name)
    for name in ("create_encoder", "evaluate", "embed", "published", "find_runs"):
        assert callable(getattr(leveret, name)), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="evaluat"):
        leveret.evaluat  # noqa: B018 - the access is the test


def test_importing_leveret_imports_no_torch():
    script = "import sys, leveret; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
