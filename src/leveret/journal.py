"""A journal of finished pieces: a line of JSON each, which counts only with its checksum and its end.

A process killed at any moment leaves at most one line without its end; a flipped byte spoils one line, not the file.
Processes that work together have a journal each, `journal-RANK.jsonl` beside `journal.jsonl`, since no file system
promises that lines which several machines append to one file stay whole.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

JOURNAL = "journal.jsonl"


def append(path: Path, piece: Mapping[str, Any]) -> None:
    """Record a piece of plain values."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**piece, "crc32": _crc32(piece)}) + "\n")


def pieces(path: Path) -> Iterator[Mapping[str, Any]]:
    """Every piece that stands whole in a journal, which may not exist yet."""
    for line in _lines(path):
        if (piece := _piece(line)) is not None:
            yield piece


def journals(folder: Path) -> list[Path]:
    """The journal of a folder, then those that nobody folded into it yet."""
    return [path for path in [folder / JOURNAL, *sorted(folder.glob("journal-*.jsonl"))] if path.exists()]


def all_pieces(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Every piece that stands whole in one of a folder's journals."""
    return (piece for path in journals(folder) for piece in pieces(path))


def fold(folder: Path) -> None:
    """Mend a folder's journals and append the others to the first, while nobody writes any of them."""
    for path in journals(folder):
        mend(path)
        if path.name != JOURNAL:
            with (folder / JOURNAL).open("ab") as file:
                file.write(path.read_bytes())
            # a process that is killed before this leaves each piece twice, which says the same
            path.unlink()


def is_damaged(path: Path) -> bool:
    """Whether a line with its end records nothing; one without it was being written, and is no damage."""
    return any(line.endswith(b"\n") and _piece(line) is None for line in _lines(path))


def mend(path: Path) -> None:
    """Drop the lines that record nothing, since what is appended behind one without its end would be lost."""
    lines = _lines(path)
    good = [line for line in lines if line.endswith(b"\n") and _piece(line) is not None]
    if len(good) < len(lines):
        replace_file(path, b"".join(good))


def json_or_none(content: bytes) -> Any:
    """What JSON says; None where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def replace_file(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _piece(line: bytes) -> dict[str, Any] | None:
    piece = json_or_none(line)
    return piece if isinstance(piece, dict) and piece.pop("crc32", None) == _crc32(piece) else None


def _crc32(piece: Mapping[str, Any]) -> int:
    return crc32(json.dumps(piece).encode())
