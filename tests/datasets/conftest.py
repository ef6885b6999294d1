"""A toy dataset with its archive, and a server on this machine that can break off, lie and refuse."""

import csv
import io
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leveret import loading
from leveret.clips import Clip, Fold
from leveret.datasets import downloading, names
from leveret.published_audio import Archive, Dataset
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import in_any_format, read_table, require_some

SOURCE = "https://example.org/toy (10 kB, CC0)"


def toy_wave(number: int, rate: int = 22_050, seconds: float = 0.3):
    """Two classes by pitch, told by the number's parity; each clip is another."""
    time = np.arange(round(rate * seconds)) / rate
    wave = 0.3 * np.sin(2 * np.pi * (500 + 900 * (number % 2) + 7 * number) * time)
    return wave + 0.02 * np.random.default_rng(number).standard_normal(len(time))


def toy_tasks(folder):
    """`list.csv` with file, split and label; audio beside it."""
    rows = read_table(folder.labels or folder.root / "list.csv", ("file", "split", "label"), SOURCE)
    parts = {"train": [], "test": []}
    for row in rows:
        path = in_any_format(folder.root / row["file"])
        parts[row["split"]].append(Clip(row["file"], path, (row["label"],), row["file"]))
    require_some([clip.path for clips in parts.values() for clip in clips], "Toy", SOURCE)
    return [
        DividedTask(
            name="toy_pitch", domain="other", kind="single", slots=(("", ("high", "low")),), metric="accuracy",
            crop_seconds=0.3, suite="toy", variant=folder.variant, official_clips={"train": 12, "test": 12},
            parts=[Fold(parts["train"], (), parts["test"])],
        )
    ]  # fmt: skip


def write_toy(folder: Path, num_clips: int = 24) -> Path:
    (folder / "audio").mkdir(parents=True)
    with (folder / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "split", "label"))
        for k in range(num_clips):
            name = f"audio/{k:02d}.wav"
            soundfile.write(folder / name, toy_wave(k), 22_050, "PCM_24")
            table.writerow((name, ("train", "test")[(k // 2) % 2], ("low", "high")[k % 2]))
    return folder


@pytest.fixture
def toy(tmp_path):
    """The toy tree, as published."""
    return write_toy(tmp_path / "published" / "toy")


@pytest.fixture
def toy_zip(toy) -> bytes:
    """Its archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(toy.rglob("*")):
            archive.write(path, path.relative_to(toy))
    return content.getvalue()


@dataclass
class Site:
    """What the server holds, does, and was asked.

    Attributes:
        files: Path -> content.
        break_after: Bytes of a body after which connections are cut, one entry a connection; then no more.
        ranges: Whether it knows Range.
        versions: Path -> ETag.
        asked: Path and Range header of each request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch):
    """A server."""
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range", "")
            found.asked.append((self.path, wanted))
            content = found.files.get(self.path)
            if content is None or self.path in found.status:
                self.send_error(found.status.get(self.path, 404))
                return
            version = found.versions.get(self.path, "")
            start = 0
            if wanted and found.ranges and self.headers.get("If-Range", version) == version:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if version:
                self.send_header("ETag", version)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            if found.break_after:
                body = body[: found.break_after.pop(0)]
            self.wfile.write(body)

        def log_message(self, *_):
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(downloading, "WAIT_SECONDS", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def publish(monkeypatch):
    """Makes a dataset `toy` of archives, and makes it known."""

    def make(*archives: Archive, **changes) -> Dataset:
        entry = Dataset(
            name="toy", title="Toy", source=SOURCE, licence="CC0", hours=0.01, num_bytes=400_000,
            tasks=("toy_pitch",), make=toy_tasks, archives=archives, **changes,
        )  # fmt: skip
        for module in (loading, names):
            monkeypatch.setattr(module, "datasets", lambda: {"toy": entry})
        monkeypatch.setattr(names, "corpora", dict)
        return entry

    return make
