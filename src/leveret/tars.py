"""Files inside uncompressed tar archives, read where they lie: a path that goes on below a `.tar` names a member.

`shard-0001.tar/inner/name.flac` needs no unpacking: one pass over the headers finds where each member begins, and that
index is kept in leveret's home, since the pass reads the whole shard on some disks. Nothing is ever written beside or
out of an archive, and a name in it means nothing but itself: links, devices, absolute names and names with `..` are no
members.
"""

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from leveret.home import home

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
INDEX_VERSION = 1

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = 512
_SHARDS_AT_ONCE = 64  # indices held in memory; rows are read shard by shard
_building = Lock()


class TarError(OSError):
    """An archive, or a member of one, that cannot be read in place."""


@dataclass(frozen=True)
class TarIndex:
    """Where the plain files of an archive lie.

    Attributes:
        members: Name -> first byte and number of bytes; of two with one name the last counts, as for tar itself.
        whole: Whether the archive has its end mark; without it members may be missing.
        skipped: How many members were left out, because they are links, devices or have a name that leads elsewhere.
    """

    members: Mapping[str, tuple[int, int]]
    whole: bool
    skipped: int


@dataclass(frozen=True)
class Member:
    """One file in an archive."""

    archive: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        """The path that names it."""
        return f"{self.archive}/{self.name}"

    def open(self) -> io.BufferedReader:
        """Its bytes, from 0 to `size`.

        Raises:
            TarError: The archive ends before the member does.
        """
        held = self.archive.stat().st_size
        if self.offset + self.size > held:
            raise TarError(
                f"the archive breaks off {self.offset + self.size - held} bytes before the end of {self.name!r}; "
                "copy it again"
            )
        return io.BufferedReader(_Span(self.archive, self.offset, self.size))


def is_tar(path: Path) -> bool:
    """Whether a name is that of an archive: one that is read in place, or that would have to be decompressed first."""
    return path.name.lower().endswith((".tar", *COMPRESSED)) and path.is_file()


def member_of(path: Path) -> Member | None:
    """The member that a path below an archive names; None where no part of the path is an archive.

    Raises:
        TarError: The archive is compressed, damaged, or has no such member.
    """
    if ".t" not in str(path).lower():  # nearly all paths: no look at the disk
        return None
    for archive in path.parents:
        if is_tar(archive):
            index, name = index_of(archive), path.relative_to(archive).as_posix()
            if name not in index.members:
                cut = "" if index.whole else ", which breaks off before its end; copy it again"
                raise TarError(f"no such file among the {len(index.members)} in the archive{cut}")
            return Member(archive, name, *index.members[name])
    return None


def index_of(archive: Path) -> TarIndex:
    """Where the files of an archive lie; found once, and remembered until the archive changes.

    Raises:
        TarError: Compressed, or no tar archive.
        OSError: It cannot be read.
    """
    status = archive.stat()
    with _building:  # sixteen threads that begin with one shard pass over it once
        return _index(str(archive), status.st_size, status.st_mtime_ns)


def files_in(archive: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of an archive with one of these endings, in the order in which they lie.

    Raises:
        TarError: Compressed, no tar archive, or one that breaks off.
        OSError: It cannot be read.
    """
    index = index_of(archive)
    if not index.whole:
        raise TarError(
            f"it breaks off after {len(index.members)} files, so that nobody can tell what is missing; copy it again, "
            "or name the files that you want: ARCHIVE.tar/NAME"
        )
    names = [name for name in index.members if name.lower().endswith(tuple(suffixes))]
    return [archive / name for name in sorted(names, key=index.members.__getitem__)]


def reading_order(paths: Sequence[Path]) -> list[int]:
    """The order in which members are read front to back, shard by shard; what lies in no archive keeps its place.

    A path whose member cannot be found counts as one that lies in no archive.
    """
    places: dict[int, tuple[str, int]] = {}
    for k, path in enumerate(paths):
        try:
            member = member_of(path)
        except OSError:
            continue
        if member is not None:
            places[k] = (str(member.archive), member.offset)
    in_order = iter(sorted(places, key=places.__getitem__))
    return [next(in_order) if k in places else k for k in range(len(paths))]


def left_out(paths: Sequence[Path]) -> dict[Path, int]:
    """Archive -> how many of its members are no plain files, of all archives that the paths lie in."""
    found: dict[Path, int] = {}
    for path in paths:
        archive = next((one for one in path.parents if is_tar(one)), None)
        if archive is not None and archive not in found:
            with suppress(OSError):  # one that cannot be read makes bad files of those that are named in it
                found[archive] = index_of(archive).skipped
    return {archive: count for archive, count in found.items() if count}


@lru_cache(maxsize=_SHARDS_AT_ONCE)
def _index(archive: str, size: int, mtime: int) -> TarIndex:
    key = sha256(f"{INDEX_VERSION}\0{os.path.realpath(archive)}\0{size}\0{mtime}".encode(errors="surrogateescape"))
    kept = home() / "tars" / f"{key.hexdigest()}.json"
    found = _kept(kept)
    if found is None:
        found = _passed_over(Path(archive))
        _keep(kept, found)
    return found


def _passed_over(archive: Path) -> TarIndex:
    with archive.open("rb") as file:
        start = file.read(8)
    if archive.suffix.lower() != ".tar" or any(start.startswith(magic) for magic in _MAGIC):
        raise TarError(_advice(archive))
    members: dict[str, tuple[int, int]] = {}
    skipped = end = 0
    whole = True
    try:
        # "r:" takes no compressed archive, whose members lie nowhere
        with tarfile.open(archive, "r:") as tar:
            try:
                for info in tar:
                    if info.size < 0:  # tarfile would go back by so much, and round in circles
                        raise tarfile.ReadError(f"{info.size} bytes")
                    end = info.offset_data + (-(-info.size // _BLOCK) * _BLOCK if info.isreg() else 0)
                    if info.isreg() and not info.issparse() and _is_plain(info.name):
                        members[str(PurePosixPath(info.name))] = (info.offset_data, info.size)
                    else:
                        skipped += not info.isdir()
            except tarfile.TarError:
                whole = False  # what stands before the damage can be used
    except tarfile.TarError as error:
        raise TarError(f"no tar archive ({error}); pack the files with `tar -cf`") from error
    with archive.open("rb") as file:
        file.seek(end)
        whole = whole and file.read(_BLOCK) == bytes(_BLOCK)
    return TarIndex(members, whole, skipped)


def _is_plain(name: str) -> bool:
    """Whether a name below the archive's path is a path below the archive's path."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _kept(path: Path) -> TarIndex | None:
    """The index that was kept; None where there is none, or it is damaged."""
    try:
        plain: Any = json.loads(path.read_bytes())
        members = {str(name): (int(at), int(size)) for name, (at, size) in plain["members"].items()}
        return TarIndex(members, bool(plain["whole"]), int(plain["skipped"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(path: Path, index: TarIndex) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    content = json.dumps({"members": index.members, "whole": index.whole, "skipped": index.skipped})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(content, encoding="ascii")
        partial.replace(path)
    except OSError:  # a home that cannot be written, or is full: the next process passes over the shard again
        partial.unlink(missing_ok=True)


def _advice(archive: Path) -> str:
    return (
        "it is compressed, so that nothing in it can be read in place; decompress it (`gunzip`, `zstd -d`), "
        f"and name the .tar: {archive.name!r}"
    )


class _Span(io.RawIOBase):
    """Some bytes of a file as a file of their own."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(f"seek to {start + offset}: before the first byte")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(wanted) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
