"""Which packages leveret asks for, which are there, and whether they import. No package is imported in this process.

Ranges come from leveret's own metadata; what `pip check` would say of versions is said here of leveret's alone.
"""

import json
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, metadata, version
from importlib.util import find_spec
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from threading import Event, Timer
from typing import Any

from leveret.progress import Advance

PROBE = Path(__file__).with_name("import_probe.py")
IMPORT_SECONDS = 60.0
"""An import that takes longer hangs."""

MODULES = {"scikit-learn": "sklearn", "dm-haiku": "haiku", "pyyaml": "yaml", "protobuf": "google.protobuf"}
"""Distribution -> module where the name is not the same with underscores."""

NOISY_NEIGHBOURS = ("torchaudio", "torchvision", "timm")
"""Never used by leveret; built for another torch they fail at import and take their importers with them."""

_COMPARE = {">=": ge, "<=": le, "==": eq, "!=": ne, ">": gt, "<": lt}


@dataclass(frozen=True)
class Requirement:
    """One line of the metadata.

    Attributes:
        name: Of the distribution, as pip knows it.
        ranges: Such as ">=2.9"; empty is any version.
        extra: The extra that asks for it; empty for what is always needed.
    """

    name: str
    ranges: str
    extra: str = ""

    @property
    def module(self) -> str:
        """What is imported."""
        return MODULES.get(self.name.lower(), self.name.replace("-", "_"))

    @property
    def installed(self) -> str:
        """The version that is there; empty where there is none."""
        try:
            return version(self.name)
        except PackageNotFoundError:
            return ""

    def in_range(self) -> bool:
        """Whether the installed version is one that leveret works with."""
        return all(
            _COMPARE[compare](*_aligned(self.installed, bound))
            for compare, bound in re.findall(r"(>=|<=|==|!=|>|<)\s*([\d.]+)", self.ranges)
        )


@dataclass(frozen=True)
class Imported:
    """How an import went.

    Attributes:
        error: Why it failed, in a line; empty where it did not.
        facts: What the module tells of itself.
    """

    error: str
    facts: dict[str, Any]


def requirements(package: str = "leveret") -> list[Requirement]:
    """All lines of a package's metadata, extras included.

    Raises:
        PackageNotFoundError: It is used without being installed.
    """
    found = []
    for line in metadata(package).get_all("Requires-Dist") or []:
        need, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^)]*)\)?", need)
        assert match, line
        found.append(Requirement(match[1], match[2].strip(), extra[1] if extra else ""))
    return found


def pip_install(what: str) -> str:
    """The command that adds an extra to the leveret that runs here: "[mini]" to the same folder or package."""
    origin = json.loads(distribution("leveret").read_text("direct_url.json") or "{}")
    folder = str(origin.get("url", "")).removeprefix("file://")
    editable = origin.get("dir_info", {}).get("editable", False)
    return f"pip install {'-e ' if editable else ''}'{folder or 'leveret'}[{what}]'"


def is_there(module: str) -> bool:
    """Whether a top-level module would be found; it is not imported."""
    return find_spec(module) is not None


def try_imports(
    groups: Sequence[Sequence[str]], seconds: float = IMPORT_SECONDS, advance: Advance = lambda amount: None
) -> dict[str, Imported]:
    """Import modules in other processes: one a group, all at once.

    Args:
        seconds: A module that takes longer hangs, and its process is ended.
        advance: Called with 1 for each module that was tried.
    """
    with ThreadPoolExecutor(len(groups) or 1) as pool:
        parts = pool.map(lambda names: _try_group(names, seconds, advance), groups)
        return {name: imported for part in parts for name, imported in part.items()}


def _try_group(names: Sequence[str], seconds: float, advance: Advance) -> dict[str, Imported]:
    found: dict[str, Imported] = {}
    while left := [name for name in names if name not in found]:  # a process that ends early is started again
        reason = ""
        for told in _told(left, seconds):
            if "done" in told:
                found[told.pop("done")] = Imported("", told)
                advance(1)
            reason = told.get("ended", "")
        missing = [name for name in left if name not in found]
        if missing:  # the first of them ended it; a crash after the last is the interpreter's going down
            found[missing[0]] = Imported(reason, {})
            advance(1)
    return found


def _told(names: Sequence[str], seconds: float) -> Iterator[dict[str, Any]]:
    """What a probe of these modules tells, and at last {"ended": why} if it did not come to its end."""
    command = [sys.executable, "-P", "-W", "ignore", str(PROBE), *names]
    hangs = Event()
    left = len(names)
    with (
        TemporaryFile("w+", errors="replace") as errors,
        Popen(command, stdout=PIPE, stderr=errors, text=True, errors="replace") as process,
    ):
        assert process.stdout is not None

        def end() -> None:
            hangs.set()
            process.kill()

        watch = Timer(seconds, end)
        watch.start()
        for line in process.stdout:
            told = _parsed(line)
            if "done" in told:
                watch.cancel()
                watch = Timer(seconds, end)
                watch.start()
                left -= 1
            yield told
        watch.cancel()
        code = process.wait()
        errors.seek(0)
        last = (errors.read().strip().splitlines() or ["ends the process without a word"])[-1][:200]
    if hangs.is_set():
        yield {"ended": f"hangs: not imported after {seconds:.0f} s"}
    elif code < 0:
        yield {"ended": f"crashes the process ({signal.Signals(-code).name})"}
    elif left:
        yield {"ended": last}


def _parsed(line: str) -> dict[str, Any]:
    """A line of the probe; what imported modules print themselves is none."""
    try:
        told = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _aligned(*versions: str) -> list[tuple[int, ...]]:
    """Versions as numbers of one length; a suffix such as rc1 or +cpu does not count."""
    found = [[int(part) for part in re.match(r"[\d.]*", one)[0].split(".") if part] for one in versions]  # type: ignore[index]
    width = max(map(len, found))
    return [(*numbers, *[0] * (width - len(numbers))) for numbers in found]
