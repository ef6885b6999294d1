"""One file over HTTP: goes on where it broke off, tries the mirrors in turn, keeps nothing whose checksum is another.

pooch checks checksums and moves the file to its place; it does not resume, so `Resuming` is the downloader it is given.
What has come lies in NAME.part, and NAME.part.origin tells the address and the version (ETag or date) it came from, so
that halves of two versions are never put together.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pooch

from leveret.home import require_space
from leveret.progress import Reporter
from leveret.published_audio import Archive, DatasetError
from leveret.version import __version__

TRIES = 5
"""Connections in a row that bring nothing before an address is given up."""
WAIT_SECONDS = 1.0
"""Before the second try, doubled for each one after it."""
TIMEOUT_SECONDS = 60.0
_CHUNK = 1 << 18
_WORTH_ANOTHER_TRY = (408, 425, 429)
_RANGE_NOT_SATISFIABLE = 416


class DownloadError(DatasetError):
    """A file that no address gives whole; the message says what each answered."""


def fetch(archive: Archive, store: Path, reporter: Reporter) -> Path:
    """The archive's file in a folder: one that is there whole, or downloaded.

    Args:
        store: Exists.

    Raises:
        DownloadError: No address gives it. What has come stays in `store`.
        OSError: The disk has no room.
    """
    reasons = []
    for url in archive.urls:
        try:
            with _silent_pooch():
                return Path(
                    pooch.retrieve(
                        url, archive.checksum or None, archive.name, store, downloader=Resuming(archive, reporter)
                    )
                )
        except ValueError as error:  # pooch's own is that of a wrong checksum; the file is gone then
            reasons.append(f"{url}: {error}")
    raise DownloadError(f"{archive.name} cannot be downloaded: " + "; ".join(reasons))


class Resuming:
    """A downloader for pooch that writes beside and goes on from there.

    Args:
        archive: What is fetched.
    """

    def __init__(self, archive: Archive, reporter: Reporter) -> None:
        self.archive, self.reporter = archive, reporter

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch the address into that file, which is in the folder of the partial one.

        Raises:
            DownloadError: It has no such file, or every try broke off without bringing more.
        """
        part = Path(output_file).with_name(f"{self.archive.name}.part")
        failures = 0
        while failures < TRIES:
            if failures:
                time.sleep(WAIT_SECONDS * 2 ** (failures - 1))
            before = _size(part)
            try:
                self._go_on(url, part)
            except HTTPError as error:
                if error.code < 500 and error.code not in _WORTH_ANOTHER_TRY:
                    raise DownloadError(f"the server says {error.code} {error.reason}") from error
                reason = f"the server says {error.code} {error.reason}"
            except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
                reason = str(getattr(error, "reason", "") or error or type(error).__name__)
            else:
                os.replace(part, output_file)
                _origin(part).unlink(missing_ok=True)
                return
            failures = 0 if _size(part) > before else failures + 1
        raise DownloadError(
            f"{reason}, {TRIES} times in a row; {_size(part) / 1e6:.1f} MB have come and are kept, so the same command "
            "goes on from there"
        )

    def _go_on(self, url: str, part: Path) -> None:
        """One connection: what is missing of the partial file, or all of it where that is of another version."""
        have = _size(part)
        origin, _, version = _read(_origin(part)).partition("\n")
        headers = {"User-Agent": f"leveret/{__version__}"}
        # another address has the same bytes only where a checksum says so
        if have and (origin == url or self.archive.checksum):
            headers["Range"] = f"bytes={have}-"
            if origin == url and version:
                headers["If-Range"] = version
        try:
            response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
        except HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE:
                raise
            if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                return  # it was whole already
            part.unlink()
            raise ConnectionError(f"the server has another file than the {have} bytes that had come") from error
        with response:
            self._write(response, url, part, have if response.status == 206 else 0)

    def _write(self, response: HTTPResponse, url: str, part: Path, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        if total:
            require_space(part.parent, total - start, f"downloading {self.archive.name}")
        tag = response.headers.get("ETag", "")
        # a weak tag does not promise the same bytes
        version = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        _origin(part).write_text(f"{url}\n{version}", encoding="utf-8")
        expected = (total or self.archive.num_bytes or 0) / 1e6
        with (
            part.open("ab" if start else "wb") as file,
            self.reporter.stage(self.archive.name, expected, "MB") as advance,
        ):
            advance(start / 1e6)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                advance(len(chunk) / 1e6)
        if total is not None and _size(part) != total:
            raise ConnectionError(f"the connection broke off after {_size(part)} of {total} bytes")


@contextmanager
def _silent_pooch() -> Iterator[None]:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _origin(part: Path) -> Path:
    return part.with_name(f"{part.name}.origin")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
