"""A room's entries are found by looking at its files: dropping a file in is the registration.

A room is a sub-package (`encoders`, `tasks`, ...). Each of its files declares its entries in one plain dict whose name
is the room's name in capitals (`ENCODERS = {...}`). Two files that claim one name are an error that names both.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any

ROOMS = ("encoders", "adapters", "tasks", "probes", "objectives")


class UnknownNameError(ValueError):
    """A name that no entry has; the message says the nearest, or all that exist."""


_LISTED_BY = {
    **{one: f"leveret list {one}s" for one in ("encoder", "adapter", "task", "probe", "objective", "recipe", "format")},
    "row of the paper": "leveret list published",
    "published row": "leveret list published",
    "dataset": "leveret data list",
    "command": "leveret --help",
}
"""The command that shows what there is of a sort of thing, in place of a message full of names."""

_FEW = 12
_SURE = 0.7  # a slip of the pen


@cache
def entries(room: str, declared_in: str = "") -> dict[str, Any]:
    """Every entry of a room by name, in alphabetical order of name.

    Args:
        room: One of ROOMS.
        declared_in: Name of the dict that declares them; empty is the room's name in capitals.

    Raises:
        ValueError: Two files of the room declare the same name.
    """
    package = importlib.import_module(f"leveret.{room}")
    found: dict[str, Any] = {}
    owner: dict[str, str] = {}
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"leveret.{room}.{module_info.name}")
        for name, entry in getattr(module, declared_in or room.upper(), {}).items():
            if name in owner:
                raise ValueError(
                    f"{room}: two files declare {name!r}: {owner[name]} and {module.__file__} - "
                    "names are unique in a room; rename one"
                )
            found[name], owner[name] = entry, str(module.__file__)
    return dict(sorted(found.items()))


def look_up(room: str, name: str, declared_in: str = "") -> Any:
    """The entry of that name; arguments as `entries`.

    Raises:
        UnknownNameError: There is none; the message carries the closest names.
    """
    known = entries(room, declared_in) if declared_in else entries(room)  # the cache tells both calls apart
    if name not in known:
        raise unknown_name((declared_in.lower() or room).removesuffix("s"), name, known)
    return known[name]


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The one error for a name nobody has: what was asked, the nearest, and all names unless one is surely meant.

    Args:
        what: The sort of thing in the singular, as in "no task 'esc_50'".
    """
    names = list(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    sure = bool(get_close_matches(name, names, n=1, cutoff=_SURE))
    if sure and len(names) > _FEW and what in _LISTED_BY:
        return UnknownNameError(f"no {what} {name!r}.{hint} `{_LISTED_BY[what]}` names all of them")
    shown = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
    return UnknownNameError(f"no {what} {name!r}.{hint} Known: {shown or 'none'}")
