"""Archives from strangers are read member by member; what no honest archive holds is refused before it is written.

Zip and tar (plain, gzip, bzip2, xz) are told by their first bytes. Refused are names that point out of the archive,
links, devices and other things that are no file or folder, holes in place of data, encryption, and archives that unpack
to far more than their size (bombs).
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from shutil import copyfileobj
from stat import S_IFMT, S_ISDIR, S_ISREG
from typing import Any

from leveret.home import require_space
from leveret.progress import Advance

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_BYTES_PER_BYTE = 100
"""Of the unpacked for each of the archive's; audio and tables stay below 20, a bomb has a thousand and more."""
ALWAYS_ALLOWED = 1 << 26
"""Bytes that even the smallest archive may unpack to: a few files of silence are no bomb."""
_HEADER_BYTES = 512  # a member counts for so many, so that millions of empty files are a bomb too
_LONGEST_READ = 1 << 26  # a tar's header may claim to be as long as it likes, and would be read at once
_CHUNK = 1 << 20
_OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


class ArchiveError(ValueError):
    """An archive that is damaged, or that nobody made in good faith; the message names the member and says why."""


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive, its name looked at already.

    Attributes:
        name: With slashes, never absolute and never upwards.
        where: Archive and member, for messages.
        open: A file's content, as a stream of bytes.
    """

    name: str
    where: str
    is_folder: bool
    num_bytes: int
    open: Callable[[], Any]


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked; any other is put as it is."""
    return name.lower().endswith(SUFFIXES)


@contextmanager
def members(pieces: Sequence[Path]) -> Iterator[Iterator[Member]]:
    """The members of an archive in their order; each is to be read before the next is asked for.

    Whatever breaks while they are read, here or in the caller's block, is told as an ArchiveError.

    Args:
        pieces: The archive, or the files that it was cut into, in their order.

    Raises:
        ArchiveError: See its own text.
    """
    where = repr(str(pieces[0]))
    sort = "archive"
    try:
        with ExitStack() as stack:
            whole = stack.enter_context(io.BufferedReader(Joined(pieces), _CHUNK))
            first = whole.peek(8)
            sort = "zip" if first.startswith(_ZIP) else "tar"
            limit = max(ALWAYS_ALLOWED, MOST_BYTES_PER_BYTE * sum(piece.stat().st_size for piece in pieces))
            if sort == "zip":
                found = _zip_members(stack.enter_context(zipfile.ZipFile(whole)), where)
            else:
                opener = next((make for mark, make in _OPENERS.items() if first.startswith(mark)), None)
                stream = _Bounded(stack.enter_context(opener(whole)) if opener else whole, where)
                # the stubs ask for more of a file than tarfile does, and than _Bounded has
                archive = stack.enter_context(tarfile.open(fileobj=stream, mode="r:"))  # type: ignore[call-overload]
                found = _tar_members(archive, where)
            yield _bounded(found, limit, where)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise ArchiveError(f"{where} is no whole {sort} ({error}); download it again") from error
    except NotImplementedError as error:
        raise ArchiveError(
            f"{where} is packed in a way that Python does not know ({error}); unpack it by hand"
        ) from error


def unpack(pieces: Sequence[Path], folder: Path, advance: Advance = lambda amount: None) -> int:
    """Write the files of an archive below a folder; if it is refused, the caller removes what was written until then.

    Args:
        folder: Holds nothing but what other archives of the same source put there; is made where it is missing.
        advance: Called with the bytes written.

    Returns:
        The number of files.

    Raises:
        ArchiveError: See its own text.
        OSError: The disk has no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_files = 0
    with members(pieces) as found:
        for member in found:
            path = folder / member.name
            try:
                if member.is_folder:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                require_space(folder, member.num_bytes, member.where)
                with member.open() as content, path.open("wb") as file:
                    copyfileobj(content, file, _CHUNK)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise ArchiveError(f"{member.where} is a file in one place and a folder in another") from error
            num_files += 1
            advance(member.num_bytes)
    return num_files


class Joined(io.RawIOBase):
    """Files read as if they were one, so that an archive that was cut needs no second copy on the disk."""

    def __init__(self, pieces: Sequence[Path]) -> None:
        super().__init__()
        with ExitStack() as stack:  # of ten pieces the last may be missing
            self.files = [stack.enter_context(piece.open("rb")) for piece in pieces]
            stack.pop_all()
        self.ends = list(accumulate(piece.stat().st_size for piece in pieces))
        self.position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning of the first file."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; as of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.ends[-1]}[whence]
        self.position = max(0, base + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fill what one file has of it."""
        number = bisect_right(self.ends, self.position)
        if number == len(self.files):
            return 0
        self.files[number].seek(self.position - (self.ends[number - 1] if number else 0))
        num_read = self.files[number].readinto(buffer)
        self.position += num_read
        return int(num_read)

    def close(self) -> None:
        """Close them all."""
        for file in self.files:
            file.close()
        super().close()


class _Bounded:
    """A stream of which nobody reads very much at once."""

    def __init__(self, stream: Any, where: str) -> None:
        self.stream, self.where = stream, where
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, num_bytes: int) -> bytes:
        if num_bytes > _LONGEST_READ:
            raise ArchiveError(f"{self.where} has a header of {num_bytes} bytes; no archive of files has that")
        return bytes(self.stream.read(num_bytes))


def _bounded(found: Iterator[Member], limit: int, where: str) -> Iterator[Member]:
    total = 0
    for member in found:
        _check_name(member)
        total += member.num_bytes + _HEADER_BYTES
        if total > limit:
            raise ArchiveError(
                f"{where} would unpack to more than {limit / 1e6:,.0f} MB, over {MOST_BYTES_PER_BYTE} times its size; "
                "nobody packs audio like that in good faith, so it is not unpacked"
            )
        yield member


def _check_name(member: Member) -> None:
    parts = re.split(r"[/\\]", member.name)
    if not parts[0] or ".." in parts or "\0" in member.name:
        raise ArchiveError(
            f"{member.where} points out of the archive; nobody makes such an archive in good faith, so it is not read"
        )


def _zip_members(archive: zipfile.ZipFile, where: str) -> Iterator[Member]:
    for info in archive.infolist():
        member = f"{where}: member {info.filename!r}"
        mode = info.external_attr >> 16
        # a zip that was made elsewhere than on Unix says nothing of the sort of its members
        if S_IFMT(mode) and not S_ISREG(mode) and not S_ISDIR(mode):
            raise ArchiveError(f"{member} is a link or a device; expected files and folders alone")
        if info.flag_bits & 1:
            raise ArchiveError(f"{member} is encrypted; unpack it by hand")
        yield Member(info.filename, member, info.is_dir(), info.file_size, partial(archive.open, info))


def _tar_members(archive: tarfile.TarFile, where: str) -> Iterator[Member]:
    def content(info: tarfile.TarInfo) -> io.BufferedIOBase:
        found = archive.extractfile(info)
        assert isinstance(found, io.BufferedIOBase), info
        return found

    for info in archive:
        member = f"{where}: member {info.name!r}"
        if not info.isreg() and not info.isdir():
            raise ArchiveError(f"{member} is a link or a device; expected files and folders alone")
        if info.issparse():
            raise ArchiveError(f"{member} has holes in place of data; pack it again")
        yield Member(info.name, member, info.isdir(), info.size, partial(content, info))
        archive.members.clear()  # type: ignore[attr-defined]  # it remembers each, and a corpus has millions
