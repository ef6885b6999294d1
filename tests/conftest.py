"""Every annotation and shape is checked while the tests run; and where the data beside the checkout lies."""

import csv
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, wraps
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import jaxtyping
import numpy as np
import pytest
import tests.browser.programs as browser_programs
import torch
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception, BeartypeDecorHintPep3119Exception
from numpy.typing import NDArray

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for type checkers


def checked(thing: Any) -> Any:
    """Beartype, but for what it cannot check: Self outside a decorated class, a protocol that isinstance refuses."""
    try:
        return check(thing)
    except (BeartypeDecorHintPep673Exception, BeartypeDecorHintPep3119Exception):
        return thing


def holds_arrays(hint: Any) -> bool:
    """Whether an annotation has shapes in it; of a text nobody knows."""
    if isinstance(hint, str) or (isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)):
        return True
    parts = get_args(hint)
    return any(map(holds_arrays, parts)) or any(holds_arrays(part) for part in parts if isinstance(part, list))


shapes_checked = jaxtyping.jaxtyped
calls: Counter[Any] = Counter()  # of functions with shapes, in the test at work


def mostly(with_shapes: Any, plain: Any) -> Any:
    """The first twenty calls in a test have their shapes checked, then every hundredth: a loop repeats itself."""

    @wraps(plain)
    def call(*args: Any, **named: Any) -> Any:
        calls[plain] += 1
        number = calls[plain]
        return (with_shapes if number <= 20 or number % 100 == 0 else plain)(*args, **named)

    # nobody's own file, to whoever looks for that in a traceback
    call.__code__ = call.__code__.replace(co_filename="<shapes>")
    return call


def jaxtyped(thing: Any = None, *, typechecker: Any) -> Any:
    """The hook's decorator, without the book-keeping of shapes, ten times a check, where no annotation has any."""
    if thing is None:
        return partial(jaxtyped, typechecker=typechecker)
    hints = getattr(thing.__init__ if isinstance(thing, type) else thing, "__annotations__", {})
    if any(map(holds_arrays, hints.values())):
        with_shapes = shapes_checked(thing, typechecker=typechecker)
        return with_shapes if isinstance(thing, type) else mostly(with_shapes, thing)
    if not isinstance(thing, type):
        return checked(thing)
    if is_dataclass(thing) and "__init__" in vars(thing):
        thing.__init__ = checked(thing.__init__)  # type: ignore[misc]
    return thing


jaxtyping.jaxtyped = jaxtyped
# The hook takes its checker by name, and a conftest has none that can be imported.
sys.modules["leveret_checker"] = ModuleType("leveret_checker")
sys.modules["leveret_checker"].checked = checked  # type: ignore[attr-defined]
# Before any test module imports leveret; it stays for the session.
jaxtyping.install_import_hook("leveret", "leveret_checker.checked")


NEEDS = {
    "test_cuda.py": ("a GPU", torch.cuda.is_available()),
    "browser": ("Chromium and chromedriver", browser_programs.THERE or bool(os.environ.get("CI"))),
}
collect_ignore = [name for name, (_, there) in NEEDS.items() if not there]

# Tiny networks gain nothing from threads, and lose tenfold at OpenMP's barriers while another process wants the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and papers beside the checkout."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def dev_audio(shared: Path) -> list[Path]:
    """Files of real audio, 16 kHz mono: every 500th of the development manifest, so all its sources."""
    manifest = shared / "data" / "dev" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"no file {manifest}")
    with manifest.open(newline="") as file:
        return [manifest.parent / row["file"] for row in list(csv.DictReader(file))[::500]]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, NDArray[np.float64]]]:
    """All numbers of tests/golden/golden_NAME.npz by key."""

    def load(name: str) -> dict[str, NDArray[np.float64]]:
        with np.load(Path(__file__).parent / "golden" / f"golden_{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture(autouse=True)
def _counted_anew() -> None:
    calls.clear()


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's cache, nor the user's."""
    monkeypatch.setenv("LEVERET_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def tones_in() -> Callable[..., Path]:
    """Writes a manifest of short tones, two classes by pitch, 10 clips a group; even one window tells them apart."""

    def write(
        root: Path, name: str = "tones", num_clips: int = 60, seconds: float = 0.4, splits: str = "train valid test"
    ) -> Path:
        import soundfile

        folder = root / name
        (folder / "audio").mkdir(parents=True)
        generator = np.random.default_rng(7)
        parts = splits.split()
        lines = ["task,split,label,group,file"]
        for k in range(num_clips):
            high = k % 2
            time = np.arange(round(16_000 * seconds)) / 16_000
            wave = 0.3 * np.sin(2 * np.pi * (600 + 1200 * high + 10 * k) * time)
            wave += 0.05 * generator.standard_normal(len(time))
            soundfile.write(folder / "audio" / f"{k:03d}.wav", wave, 16_000)
            lines.append(
                f"tones,{parts[(k // 2) % len(parts)]},{'high' if high else 'low'},g{k // 10},audio/{k:03d}.wav"
            )
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
        return folder / "manifest.csv"

    return write


@pytest.fixture
def tone_manifest(tmp_path: Path, tones_in: Callable[..., Path]) -> Callable[..., Path]:
    """The same in a folder of the test's own."""
    return partial(tones_in, tmp_path)


def pytest_report_header() -> list[str]:
    """What is left out on this machine."""
    return [f"tests/{name} is left out, which needs {NEEDS[name][0]}" for name in collect_ignore]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests come first: begun last, one of them would run while the other processes have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """In continuous integration everything is there, so a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in continuous integration: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """A small objective with made-up clips, for all that is said of pretraining as such."""
    spec = spec_from_file_location("toy_pretraining", Path(__file__).with_name("toy_pretraining.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
