"""Planted packages: broken, crashing, hanging, silent; none of them harms the process that asks."""

import sys
import textwrap

import pytest

from leveret import packages
from leveret.packages import Requirement, is_there, pip_install, requirements, try_imports


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Puts modules first on the path of other processes, and of this one."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(site)

    def write(name, source):
        (site / f"{name}.py").write_text(textwrap.dedent(source))

    return write


def test_the_metadata_is_read_with_ranges_and_extras():
    found = {(need.name, need.extra): need for need in requirements()}
    assert found["torch", ""].ranges.startswith(">=")
    assert found["pytest", "dev"].extra == "dev"
    assert found["scikit-learn", ""].module == "sklearn"
    assert found["numpy", ""].in_range()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torch>=2.9", ("torch", ">=2.9", "")),
        ("mkdocstrings[python]>=0.25; extra == 'docs'", ("mkdocstrings", ">=0.25", "docs")),
        ("numpy (<3,>=1.26) ; extra == \"hf\" and python_version > '3'", ("numpy", "<3,>=1.26", "hf")),
        ("rich", ("rich", "", "")),
    ],
)
def test_every_form_of_a_requirement_is_understood(monkeypatch, line, expected):
    class Metadata:
        def get_all(self, key):
            return [line]

    monkeypatch.setattr(packages, "metadata", lambda package: Metadata())
    (need,) = requirements()
    assert (need.name, need.ranges, need.extra) == expected


@pytest.mark.parametrize(
    ("installed", "ranges", "expected"),
    [
        ("2.13.0+cpu", ">=2.9", True),
        ("2.9", ">=2.9.0", True),
        ("2.8.9", ">=2.9", False),
        ("2.10", ">=2.9,<2.10", False),
        ("1.26.0rc1", ">=1.26", True),
        ("1.0", "!=1.0", False),
        ("3", "", True),
    ],
)
def test_versions_are_compared_as_numbers(monkeypatch, installed, ranges, expected):
    monkeypatch.setattr(packages, "version", lambda name: installed)
    assert Requirement("x", ranges).in_range() is expected


def test_what_is_not_installed_has_no_version():
    assert Requirement("no-such-package-of-anybody", ">=1").installed == ""


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "pip install 'leveret[mini,hf]'"),
        ('{"url": "file:///src/leveret", "dir_info": {"editable": true}}', "pip install -e '/src/leveret[mini,hf]'"),
        ('{"url": "file:///src/leveret", "dir_info": {}}', "pip install '/src/leveret[mini,hf]'"),
    ],
)
def test_the_command_adds_to_the_leveret_that_runs(monkeypatch, origin, expected):
    class Distribution:
        def read_text(self, name):
            return origin

    monkeypatch.setattr(packages, "distribution", lambda name: Distribution())
    assert pip_install("mini,hf") == expected


def test_what_breaks_is_named_and_the_rest_is_still_tried(plant):
    plant("planted_broken", "raise OSError('libplanted.so: undefined symbol: _ZN5torch')")
    plant("planted_crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    plant("planted_exit", "import sys; sys.exit(0)")
    plant("planted_good", "print('hello'); print('[1]')")
    names = ["planted_broken", "planted_crash", "planted_exit", "planted_none", "planted_good"]
    found = try_imports([names])
    assert {name: imported.error for name, imported in found.items()} == {
        "planted_broken": "OSError: libplanted.so: undefined symbol: _ZN5torch",
        "planted_crash": "crashes the process (SIGSEGV)",
        "planted_exit": "ends the process without a word",
        "planted_none": "ModuleNotFoundError: No module named 'planted_none'",
        "planted_good": "",
    }
    assert not {"planted_broken", "planted_good"} & set(sys.modules)


def test_an_import_that_hangs_is_ended(plant):
    plant("planted_hang", "import time; time.sleep(60)")
    plant("planted_good", "")
    found = try_imports([["planted_good", "planted_hang"], ["json"]], seconds=3.0)
    assert found["planted_hang"].error == "hangs: not imported after 3 s"
    assert (found["planted_good"].error, found["json"].error) == ("", "")


def test_a_crash_while_the_process_goes_down_is_no_broken_import(plant):
    plant("planted_late", "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGSEGV)")
    tried = []
    found = try_imports([["json", "planted_late"]], advance=tried.append)
    assert {name: imported.error for name, imported in found.items()} == {"json": "", "planted_late": ""}
    assert sum(tried) == 2


def test_a_module_is_found_without_being_imported(plant):
    plant("planted_broken", "raise OSError('no')")
    assert is_there("planted_broken")
    assert not is_there("planted_none")


def test_nothing_to_import_is_no_work():
    assert try_imports([]) == {}
