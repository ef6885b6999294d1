"""Journals: a JSON object a line, each with a checksum of its own, so that a torn or a damaged line counts for nothing.

A process killed while it writes leaves at most one line without an end; anything else that does not fit is damage.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """What the whole lines of a journal record; nothing where there is no journal."""
    if path.exists():
        yield from filter(None, map(_recorded, path.read_bytes().splitlines()))


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Record an entry with its checksum."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**entry, "crc32": _checksum(entry)}) + "\n")


def mended(path: Path) -> tuple[bytes, bool] | None:
    """What a journal should hold in place of lines that record nothing, and whether any of them was damaged.

    Returns:
        None for a journal without such lines. They must go before a new line is written, which would be joined to one
        without an end.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line.endswith(b"\n") and _recorded(line) is not None for line in lines]
    if all(whole):
        return None
    kept = b"".join(line for line, good in zip(lines, whole, strict=True) if good)
    return kept, any(line.endswith(b"\n") for line, good in zip(lines, whole, strict=True) if not good)


def from_json(content: bytes) -> Any:
    """The value of a file that may be damaged: None where it is no JSON."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def _recorded(line: bytes) -> dict[str, Any] | None:
    entry = from_json(line)
    return entry if isinstance(entry, dict) and entry.pop("crc32", None) == _checksum(entry) else None


def _checksum(entry: Mapping[str, Any]) -> int:
    return crc32(json.dumps(entry).encode())
