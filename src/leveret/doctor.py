"""What is installed, what is broken, what is missing, and what to do; nothing that may be broken is imported here.

Packages are imported in processes of their own (`packages.try_imports`), so a torch that crashes is a finding.
`python -m leveret.doctor` works even where what the command line is made of is broken.
"""

import locale
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING

from leveret.findings import Finding
from leveret.machine import cxx_compiler, has_bfloat16, has_cxx_compiler, num_cores
from leveret.packages import (
    IMPORT_SECONDS,
    NOISY_NEIGHBOURS,
    Imported,
    Requirement,
    is_there,
    pip_install,
    requirements,
    try_imports,
)
from leveret.progress import Reporter
from leveret.text import number_of
from leveret.version import __version__

if TYPE_CHECKING:
    from leveret.cache import StoredRows

WITHOUT_METADATA = (
    "torch", "numpy", "soundfile", "soxr", "scikit-learn", "scipy", "safetensors", "pyarrow", "rich", "tyro", "pooch",
    "platformdirs", "jaxtyping", "filelock", "threadpoolctl",
)  # fmt: skip
"""What is asked for where leveret runs without being installed."""

FOR_DEVELOPERS = ("dev", "docs", "bench")
"""Extras that nothing which leveret does needs."""

_LITTLE_SPACE = 5e9
_NO_SPACE = 1e8


def examine(reporter: Reporter | None = None, import_seconds: float = IMPORT_SECONDS) -> list[Finding]:
    """Everything, in the order of a report: what it runs on, packages, audio, computing, disk.

    Args:
        import_seconds: How long an import may take before it hangs.
    """
    try:
        needs = requirements()
        own = []
    except PackageNotFoundError:
        needs = [Requirement(name, "") for name in WITHOUT_METADATA]
        own = [Finding("warn", "leveret", f"{__version__}, run from source without being installed",
                       "installed", "pip install -e . in its folder; until then versions are not checked")]  # fmt: skip
    core = [need for need in needs if not need.extra]
    optional = [need for need in needs if need.extra and need.extra not in FOR_DEVELOPERS and need.installed]
    neighbours = [name for name in NOISY_NEIGHBOURS if is_there(name)]
    modules = list(dict.fromkeys(need.module for need in [*core, *optional] if need.installed and need.name != "torch"))
    heavy = [name for name in ("torch", *neighbours) if is_there(name)]
    with (reporter or Reporter()).stage("importing packages", len(heavy) + len(modules), "") as advance:
        imported = try_imports([heavy, modules], import_seconds, advance)
    return [
        check_python(),
        *(own or [Finding("pass", "leveret", f"{__version__} in {Path(__file__).parent}")]),
        *check_core(core, imported),
        *check_neighbours(neighbours, imported),
        *check_extras(needs, imported),
        *check_audio(imported),
        *check_compute(imported),
        *check_disk(imported),
        check_text(),
    ]


def check_python() -> Finding:
    """The version that runs."""
    seen = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}"
    return Finding("pass", "Python", seen)


def check_core(core: Sequence[Requirement], imported: dict[str, Imported]) -> list[Finding]:
    """Every package that leveret cannot do without: there, in range, importable."""
    found, good = [], []
    for need in core:
        expected = f"{need.name}{need.ranges}" if need.ranges else "any version"
        command = f"pip install '{need.name}{need.ranges}'"
        if not need.installed:
            found.append(Finding("fail", need.name, "is not installed", expected, command))
        elif imported[need.module].error:
            seen = f"{need.installed} is broken: {imported[need.module].error}"
            found.append(Finding("fail", need.name, seen, "imports", f"pip install --force-reinstall '{need.name}'"))
        elif not need.in_range():
            found.append(Finding("warn", need.name, f"{need.installed} is out of range", expected, command))
        elif need.name == "torch":
            build = imported["torch"].facts.get("build", "unknown")
            found.append(Finding("pass", "torch", f"{need.installed}, built for {build}"))
        else:
            good.append(f"{need.name} {need.installed}")
    if good:
        found.append(Finding("pass", "packages", ", ".join(good)))
    return found


def check_neighbours(neighbours: Sequence[str], imported: dict[str, Imported]) -> list[Finding]:
    """Packages that leveret never imports, but that others import at the sight of them."""
    return [
        Finding(
            "warn", name, f"is broken: {imported[name].error}", "imports, or is not there",
            f"leveret never uses it, but other packages may fall over it: pip uninstall {name}",
        )
        for name in neighbours
        if imported[name].error
    ]  # fmt: skip


def check_extras(needs: Sequence[Requirement], imported: dict[str, Imported]) -> list[Finding]:
    """Each extra: complete, broken, or how to get it."""
    found, complete, missing = [], [], []
    for extra in dict.fromkeys(need.extra for need in needs if need.extra and need.extra not in FOR_DEVELOPERS):
        parts = [need for need in needs if need.extra == extra]
        absent = [need.name for need in parts if not need.installed]
        broken = [need for need in parts if need.module in imported and imported[need.module].error]
        found += [
            Finding("warn", f"[{extra}]", f"{need.name} {need.installed} is broken: {imported[need.module].error}",
                    "imports", f"pip install --force-reinstall '{need.name}'")
            for need in broken
        ]  # fmt: skip
        if absent:
            missing.append(extra)
        elif not broken:
            complete.append(extra)
    if complete:
        found.append(Finding("pass", "extras", f"{', '.join(complete)}"))
    if missing:
        found.append(Finding("note", "extras", f"not installed: {', '.join(missing)}",
                             advice=f"for those that you want: {pip_install(','.join(missing))}"))  # fmt: skip
    return found


def check_audio(imported: dict[str, Imported]) -> list[Finding]:
    """The formats that decode, by decoding."""
    facts = imported.get("soundfile", Imported("", {})).facts
    if not facts:
        return []  # check_core told why
    formats = facts["formats"]
    seen = f"libsndfile {facts['libsndfile']} reads {', '.join(k for k, v in formats.items() if v == 'reads')}"
    bad = {name: reason for name, reason in formats.items() if reason != "reads"}
    if bad:
        seen += f"; not {'; '.join(f'{name} ({reason})' for name, reason in bad.items())}"
        return [Finding("warn", "audio", seen, ", ".join(formats), "pip install --upgrade soundfile")]
    return [Finding("pass", "audio", seen)]


def check_compute(imported: dict[str, Imported]) -> list[Finding]:
    """Devices, cores and threads, bfloat16, a compiler."""
    facts = imported.get("torch", Imported("", {})).facts
    found = []
    if facts:
        found.append(Finding("pass", "devices", ", ".join(["cpu", *facts["devices"]])))
        if "CUDA" in facts["build"] and not facts["devices"]:
            found[-1] = Finding("note", "devices", "cpu; torch is built for CUDA but sees no card",
                                advice="if there is one, look at nvidia-smi and the driver")  # fmt: skip
    found.append(_threads_finding(facts.get("threads")))
    bfloat16 = has_bfloat16()
    if bfloat16 is not None:
        seen = "in the processor" if bfloat16 else "emulated: --dtype bfloat16 is slower than float32 on this processor"
        found.append(Finding("pass" if bfloat16 else "note", "bfloat16", seen))
    if has_cxx_compiler():
        found.append(Finding("pass", "compiler", f"{cxx_compiler()}, for --compile"))
    else:
        found.append(Finding("note", "compiler", f"no {cxx_compiler()!r}, so --compile does not work",
                             advice="install g++ or clang++, or name one in CXX"))  # fmt: skip
    return found


def _threads_finding(threads: int | None) -> Finding:
    cores, set_to = num_cores(), os.environ.get("OMP_NUM_THREADS", "")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    parts = [number_of(cores, "core")]
    if threads:
        parts.append(f"torch takes {threads}")
    if set_to:
        parts.append(f"OMP_NUM_THREADS={set_to}")
    parts.append(f"load {load:.1f}")
    seen = ", ".join(parts)
    if set_to and not set_to.isdigit():
        return Finding("warn", "threads", seen, "a number in OMP_NUM_THREADS", "unset OMP_NUM_THREADS")
    if max(threads or 0, int(set_to or 0)) > cores:
        return Finding("warn", "threads", seen, f"at most {cores}",
                       f"more threads than cores wait for each other: export OMP_NUM_THREADS={cores}")  # fmt: skip
    if load > 1.5 * cores:
        return Finding("note", "threads", seen, advice="others are at work here: timings will be too slow")
    return Finding("pass", "threads", seen)


def check_disk(imported: dict[str, Imported]) -> list[Finding]:
    """Where leveret keeps its own: writable, with room, and what the caches hold."""
    if not all(name in imported and not imported[name].error for name in ("platformdirs", "numpy", "filelock")):
        return []  # what the caches are read with is broken; check_core told so
    from leveret.home import cache_root, home

    folder = home()
    standing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(standing).free
    expected, advice = "a folder that can be written", "set LEVERET_HOME to a folder that can be written"
    if not standing.is_dir() or not _writable(standing):
        return [Finding("fail", "home", f"{folder} cannot be written", expected, advice)]
    seen = f"{folder}, {free / 1e9:.1f} GB free"
    if free >= _LITTLE_SPACE:
        found = [Finding("pass", "home", seen)]
    else:
        found = [Finding("fail" if free < _NO_SPACE else "warn", "home", seen, f"{_LITTLE_SPACE / 1e9:.0f} GB free",
                         "leveret cache gc, or set LEVERET_HOME to a larger disk")]  # fmt: skip
    return [*found, _cache_finding(cache_root())]


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"leveret")
    except OSError:
        return False
    return True


def _cache_finding(root: Path) -> Finding:
    from leveret.cache import stores

    try:
        held: list[StoredRows] = list(stores(root))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding("warn", "cache", f"{root} cannot be read ({type(error).__name__}: {error})", "readable stores",
                       "delete the folder; everything in it can be computed again")  # fmt: skip
    size, damaged = sum(store.num_bytes for store in held), sum(store.num_damaged for store in held)
    seen = f"{number_of(len(held), 'store')}, {size / 1e9:.2f} GB"
    spoilt = sum(bool(store.spoilt) for store in held)
    if damaged or spoilt:
        what = [f"{number_of(damaged, 'row')} damaged"] * bool(damaged)
        what += [f"{number_of(spoilt, 'store')} with a damaged identity.json or journal.jsonl"] * bool(spoilt)
        return Finding("warn", "cache", f"{seen}, {', '.join(what)}", "no damage",
                       "nothing: the next run computes them again; leveret cache verify names them")  # fmt: skip
    return Finding("pass", "cache", f"{seen} (leveret cache verify reads every byte)" if held else seen)


def check_text() -> Finding:
    """File names of any language can be read and printed."""
    names, printed = sys.getfilesystemencoding(), getattr(sys.stdout, "encoding", "") or "unknown"
    seen = f"file names {names}, output {printed}, locale {locale.setlocale(locale.LC_CTYPE)}"
    if "utf" not in names.lower() or "utf" not in printed.lower():
        return Finding("warn", "text", seen, "UTF-8", "export PYTHONUTF8=1, or a UTF-8 locale such as C.UTF-8")
    return Finding("pass", "text", seen)


if __name__ == "__main__":
    for finding in examine():
        lines = [finding.seen, f"to do: {finding.advice}" if finding.advice else ""]
        sys.stdout.write(f"{finding.status:<4}  {finding.name:<12}  {'; '.join(filter(None, lines))}\n")
