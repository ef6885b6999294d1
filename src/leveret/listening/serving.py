"""One page, its neighbours and its sounds over HTTP, for the browser of this machine and nobody else.

It listens on 127.0.0.1 only. Everything lies below a random key, so that no other user of the machine and no page of
another site can guess an address. A request with a foreign Host (a name rebound to 127.0.0.1) or a foreign Origin (a
form or script of another site) is refused. Sounds are asked for by number: no address holds a path, so none can lead
out of the folder.
"""

import json
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BytesIO
from secrets import compare_digest, token_urlsafe
from threading import Lock
from typing import Any

import soundfile

from leveret.audio import AudioError, read_info, read_span
from leveret.listening.neighbours import LONGEST_SECONDS, Sounds, is_within
from leveret.report.rendering import policy, rendered
from leveret.text import number_of

ADDRESS = "127.0.0.1"
LARGEST_UPLOAD = 50_000_000
NUM_NEAREST = 24
STYLES, SCRIPTS = ("page.css", "listen.css"), ("base.js", "listen.js")
SOURCES = {
    "connect-src": "'self'", "media-src": "'self' blob:", "base-uri": "'none'", "form-action": "'none'",
}  # fmt: skip
TYPES = {
    ".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".oga": "audio/ogg",
    ".opus": "audio/ogg",
}  # fmt: skip
"""What browsers play; all else is decoded for them."""
_PIECE = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class ListenServer(ThreadingHTTPServer):
    """Serves one folder of sounds.

    Attributes:
        url: Where the page is.
    """

    daemon_threads = True

    def __init__(self, sounds: Sounds, port: int = 0) -> None:
        """Bind.

        Args:
            port: 0 takes a free one.

        Raises:
            ValueError: The port is taken, or none.
        """
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise _not_to_be_had(port, error) from error
        self.sounds, self.key = sounds, token_urlsafe(16)
        self.hosts = [f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")]
        self.url = f"http://{ADDRESS}:{self.server_port}/{self.key}/"
        self.embedding = Lock()  # one clip at a time: a network takes all cores
        self.page = _page(sounds).encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hung up; tell all else."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def check_port(port: int) -> None:
    """Refuse a port before hours of embedding.

    Raises:
        ValueError: It is taken, or none.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port}; expected 1 to 65535, or 0 for a free one")
    try:
        with socket.create_server((ADDRESS, port)):
            pass
    except OSError as error:
        raise _not_to_be_had(port, error) from error


def _not_to_be_had(port: int, error: OSError) -> ValueError:
    why = error.strerror or str(error)
    return ValueError(f"port {port} of {ADDRESS} cannot be had ({why}); name another with --port, or leave it out")


def _page(sounds: Sounds) -> str:
    names, places = sounds.names, sounds.map()
    about = sounds.runner.described()
    return rendered(
        "listen.html",
        STYLES,
        SCRIPTS,
        {"clips": [[name, *place] for name, place in zip(names, places.round(4).tolist(), strict=True)],
         "largest": LARGEST_UPLOAD},
        {
            "title": f"{sounds.folder.name or sounds.folder}: {number_of(len(names), 'sound')}",
            "encoder": str(about["name"]),
            "width": f"{about['embed_dim']:,}",
            "skipped": dict(sounds.skipped),
            "largest": f"{LARGEST_UPLOAD / 1e6:.0f} MB",
        },
        SOURCES,
    )  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    """One request; whatever is not asked for rightly is refused in a word."""

    server: ListenServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """The page, a clip's neighbours, a clip's sound."""
        parts = self._parts()
        if parts is None:
            return
        match parts:
            case [""]:
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
            case ["nearest", number] if (k := self._number(number)) is not None:
                sounds = self.server.sounds
                self._json({"nearest": sounds.nearest(sounds.vectors[k], NUM_NEAREST, but=k)})
            case ["audio", number] if (k := self._number(number)) is not None:
                self._audio(k)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "there is nothing of that name")

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def do_POST(self) -> None:
        """The neighbours of a clip that is sent along."""
        self.close_connection = True  # what is refused is not read, and must not be taken for the next request
        parts = self._parts(needs_origin=True)
        if parts is None:
            return
        length = self.headers.get("Content-Length", "")
        if parts != ["nearest"]:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing of that name")
        elif self.headers.get("Content-Type") != "application/octet-stream":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the bytes of a clip, as application/octet-stream")
        elif not re.fullmatch(r"\d{1,12}", length, re.ASCII):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long the clip is")
        elif int(length) > LARGEST_UPLOAD:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a clip has at most {LARGEST_UPLOAD / 1e6:.0f} MB")
        else:
            content = self.rfile.read(int(length))
            if len(content) < int(length):
                return  # the sender hung up
            try:
                with self.server.embedding:
                    vector = self.server.sounds.embed(content)
            except AudioError as error:
                self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            else:
                self._json({"nearest": self.server.sounds.nearest(vector, NUM_NEAREST)})

    def _parts(self, needs_origin: bool = False) -> list[str] | None:
        """What follows the key in the address; None for a request that was refused."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "this page is for the browser of this machine, by its own address")
            return None
        ours = [f"http://{host}" for host in self.server.hosts]
        site = self.headers.get("Sec-Fetch-Site", "none")
        if (
            any(origin.lower() not in ours for origin in origins)
            or len(origins) < needs_origin
            or (site not in ("none", "same-origin"))
        ):
            self._refuse(HTTPStatus.FORBIDDEN, "another site asks for this")
            return None
        # taken as it stands: nothing is decoded, so nothing can be hidden by an escape
        root, *parts = self.path.partition("?")[0].split("/")
        if root or not parts or not compare_digest(parts[0].encode("utf-8", "replace"), self.server.key.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing of that name")
            return None
        return parts[1:]

    def _number(self, text: str) -> int | None:
        """The number of a sound that there is."""
        known = re.fullmatch(r"\d{1,9}", text, re.ASCII) and int(text) < len(self.server.sounds.paths)
        return int(text) if known else None

    def _audio(self, k: int) -> None:
        path = self.server.sounds.paths[k]
        # a file may have become a link since
        if not is_within(self.server.sounds.folder, path):
            self._refuse(HTTPStatus.NOT_FOUND, "the file is gone")
            return
        kind = TYPES.get(path.suffix.lower())
        try:
            if kind is None:
                content = _as_wav(path)
                self._ranged("audio/wav", BytesIO(content), len(content))
            else:
                with path.open("rb") as file:
                    self._ranged(kind, file, path.stat().st_size)
        except AudioError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # a player that has enough hangs up
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "the file is gone")

    def _ranged(self, kind: str, file: BufferedIOBase, size: int) -> None:
        """All of a file, or the one range that is asked for: players seek by it."""
        first, last = 0, size - 1
        asked = self.headers.get("Range")
        found = _RANGE.fullmatch(asked) if asked else None
        headers = {"Accept-Ranges": "bytes"}
        if found and (found[1] or found[2]):
            first = int(found[1]) if found[1] else max(0, size - int(found[2]))
            last = min(size - 1, int(found[2])) if found[1] and found[2] else size - 1
            if first > last:
                headers["Content-Range"] = f"bytes */{size}"
                self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, b"", headers)
                return
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._begin(HTTPStatus.PARTIAL_CONTENT if "Content-Range" in headers else HTTPStatus.OK, kind,
                    last - first + 1, headers)  # fmt: skip
        if self.command != "HEAD":
            for piece in _pieces(file, first, last - first + 1):
                self.wfile.write(piece)

    def _json(self, values: Mapping[str, Any]) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(values).encode())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(status, "application/json", json.dumps({"error": why}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._begin(status, kind, len(content), headers or {})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        allowed = (
            f"{policy(STYLES, SCRIPTS, SOURCES)}; frame-ancestors 'none'"
            if kind.startswith("text/html")
            else ("default-src 'none'; frame-ancestors 'none'")
        )
        always = {
            "Content-Type": kind, "Content-Length": str(length), "Content-Security-Policy": allowed,
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }  # fmt: skip
        for name, value in (always | dict(headers)).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses: another method, a line that is none; nothing of it is repeated."""
        self.close_connection = True
        self._refuse(HTTPStatus(code), HTTPStatus(code).phrase)

    def version_string(self) -> str:
        """Nothing of Python's version."""
        return "leveret"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on screen: an address holds the key."""


def _as_wav(path: Any) -> bytes:
    """What no browser plays, decoded: mono, 16 bits, the first ten minutes."""
    end = min(read_info(path).seconds, LONGEST_SECONDS)
    wave, rate = read_span(path, 0.0, end)
    written = BytesIO()
    soundfile.write(written, wave, rate, format="WAV", subtype="PCM_16")
    return written.getvalue()


def _pieces(file: BufferedIOBase, first: int, length: int) -> Iterator[bytes]:
    file.seek(first)
    while length > 0 and (piece := file.read(min(_PIECE, length))):
        length -= len(piece)
        yield piece
