"""The embedding store: content-addressed rows in one raw memory map, written piece by piece, never half-trusted.

An identity (a JSON object) names everything the rows depend on; its digest is the folder. In it: `identity.json`,
`rows.bin` (R x D, little-endian, allocated whole at the start, so a full disk is found before the work), and
`journal.jsonl`: a line for each finished piece with its rows, their sha256 and the rows that are bad, and a
checksum of the line itself. A piece counts only once its line is written and both digests fit, so a process killed at
any moment loses one piece at most and a flipped byte is found, named and computed again.

Where several processes fill one store, each keeps a journal of its own, `journal-RANK.jsonl`; whoever opens the store
next, or ends the work, folds them into the one (`gathering.py`).
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any, Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from leveret.journal import JOURNAL, all_pieces, append, fold, is_damaged, journals, json_or_none, replace_file

STORE_VERSION = 2


class CacheError(OSError):
    """The cache folder cannot hold the rows; the message says what it needs and where else it could lie."""


def digest_of(identity: Mapping[str, Any]) -> str:
    """Sha256 of an identity: canonical JSON, sorted keys."""
    return sha256(json.dumps(identity, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


@dataclass
class Store:
    """Rows of one identity.

    Attributes:
        folder: Where it lies.
        rows: The memory map (R, D); rows not yet `done` hold nothing of meaning.
        done: Which rows are written and verified.
        bad: Row -> why it has no vector.
        silent: Rows whose audio is digital silence.
        damaged: Pieces that were recorded but whose bytes differ; they are not `done`.
        spoilt: Names of the files beside the rows that were damaged, or another behaviour's, and are written anew.
        journal: Name of the journal that this process writes.
    """

    folder: Path
    rows: NDArray[Any]
    done: NDArray[np.bool_]
    bad: dict[int, str]
    silent: set[int]
    damaged: list[tuple[int, int]]
    spoilt: list[str] = field(default_factory=list)
    journal: str = JOURNAL

    @classmethod
    @contextmanager
    def open(
        cls,
        root: Path,
        identity: Mapping[str, Any],
        num_rows: int,
        width: int,
        dtype: str,
        fingerprint: NDArray[np.float32],
    ) -> Iterator[Self]:
        """The store of an identity, made if there is none; one process at a time writes, others wait.

        Where the folder cannot be written, a store in which every row is there and verified is opened for reading.

        Args:
            root: The cache folder that holds all stores.
            dtype: "float32" or "float16".
            fingerprint: The encoder's vectors of fixed waves. Rows that were made under another one are dropped: the
                identity cannot know that an encoder's code changed, its behaviour does.

        Raises:
            CacheError: The folder cannot be written, or the disk has no room for the rows.
        """
        folder = _folder(root, identity, num_rows, width, dtype)
        with ExitStack() as stack:
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_lock(folder))
                _wait_for_guests(folder)
                folder.mkdir(exist_ok=True)
                dropped = _drop_if_behaviour_changed(folder, fingerprint)
                store = cls._open(folder, identity, num_rows, width, dtype)
                store.spoilt += dropped
            except CacheError:
                rmtree(folder, ignore_errors=True)
                raise
            except OSError as error:
                found = cls._for_reading(folder, num_rows, width, dtype, fingerprint)
                if found is None:
                    raise CacheError(
                        f"the cache folder {folder} cannot be written ({error.strerror}) and does not hold every row; "
                        "set LEVERET_HOME to a folder that can"
                    ) from error
                store = found
            yield store

    @classmethod
    def _for_reading(
        cls, folder: Path, num_rows: int, width: int, dtype: str, fingerprint: NDArray[np.float32]
    ) -> Self | None:
        """The store as it lies there, without a lock, if it needs no work at all."""
        data = folder / "rows.bin"
        try:
            if not _same_behaviour(folder / "fingerprint.npy", fingerprint) or data.stat().st_size == 0:
                return None
            store = cls._verified(folder, np.memmap(data, dtype=dtype, mode="r", shape=(num_rows, width)))
        except (OSError, ValueError):  # nothing there, or rows of another length
            return None
        return store if store.done.all() else None

    @classmethod
    def _open(cls, folder: Path, identity: Mapping[str, Any], num_rows: int, width: int, dtype: str) -> Self:
        num_bytes = num_rows * width * np.dtype(dtype).itemsize
        data, about = folder / "rows.bin", folder / "identity.json"
        if not data.exists() or data.stat().st_size != num_bytes:
            for path in journals(folder):
                path.unlink()
            _allocate(data, num_bytes)
        spoilt = [path.name for path in journals(folder) if is_damaged(path)]
        fold(folder)
        # written each time, so that its date says when the store was last used, for `leveret cache gc`
        described = {"identity": identity, "rows": num_rows, "width": width, "dtype": dtype}
        content = (json.dumps(described, indent=1) + "\n").encode()
        spoilt += [about.name] if about.exists() and json_or_none(about.read_bytes()) != json.loads(content) else []
        replace_file(about, content)
        rows: NDArray[Any] = (
            np.memmap(data, dtype=dtype, mode="r+", shape=(num_rows, width))
            if num_bytes
            else np.empty((num_rows, width), dtype)
        )
        store = cls._verified(folder, rows)
        store.spoilt = spoilt
        return store

    @classmethod
    def _verified(cls, folder: Path, rows: NDArray[Any]) -> Self:
        """The store of rows of which every piece that the journal records was compared with its digest."""
        store = cls(folder, rows, np.zeros(len(rows), dtype=bool), {}, set(), [])
        store.take_up()
        return store

    def take_up(self) -> None:
        """Count what the journals record beyond `done`, where the rows fit their digest."""
        for piece in all_pieces(self.folder):
            first, stop = piece["rows"]
            if self.done[first:stop].all():
                continue
            if _digest(self.rows[first:stop]) == piece["sha256"]:
                self.done[first:stop] = True
                self.bad.update({int(row): reason for row, reason in piece["bad"].items()})
                self.silent.update(piece["silent"])
            else:
                self.damaged.append((first, stop))
        # a damaged piece that was written anew later is whole
        self.damaged = [(first, stop) for first, stop in self.damaged if not self.done[first:stop].all()]

    def write(self, first: int, vectors: NDArray[Any], bad: Mapping[int, str], silent: Sequence[int] = ()) -> None:
        """Record a piece: bytes first, then the line that makes them count.

        Args:
            first: Number of the piece's first row.
            bad: Row number -> why it has no vector.
            silent: Numbers of the rows whose audio is digital silence.
        """
        stop = first + len(vectors)
        self.rows[first:stop] = vectors
        line = {
            "rows": [first, stop],
            "sha256": _digest(self.rows[first:stop]),
            "bad": {str(row): reason for row, reason in bad.items()},
            "silent": list(silent),
        }
        append(self.folder / self.journal, line)
        self.done[first:stop] = True
        self.bad.update(bad)
        self.silent.update(silent)


def rows_recorded(root: Path, identity: Mapping[str, Any], num_rows: int, width: int, dtype: str) -> int:
    """How many rows of an identity the journal records; nothing is opened, locked or verified."""
    done = np.zeros(num_rows, dtype=bool)
    for piece in all_pieces(_folder(root, identity, num_rows, width, dtype)):
        done[slice(*piece["rows"])] = True
    return int(done.sum())


@dataclass(frozen=True)
class StoredRows:
    """What `leveret cache ls` shows of one store; where its identity.json is damaged, little."""

    key: str
    folder: Path
    identity: Mapping[str, Any]
    num_rows: int
    width: int
    dtype: str
    num_done: int
    num_damaged: int
    num_bytes: int
    last_used: float
    spoilt: Sequence[str] = ()


def stores(root: Path, verify: bool = False) -> Iterator[StoredRows]:
    """Every store below a cache folder.

    Args:
        verify: Read every row and compare digests; otherwise the journal is believed.
    """
    for path in sorted(root.glob("??/*/identity.json")):
        folder = path.parent
        described = _described(path)
        names = [journal.name for journal in journals(folder) if is_damaged(journal)]
        if described is None:
            data = folder / "rows.bin"
            held = data.stat().st_size if data.exists() else 0
            names = [path.name, *names]
            yield StoredRows(folder.name, folder, {}, 0, 0, "", 0, 0, held, path.stat().st_mtime, names)
            continue
        num_rows, width, dtype = described["rows"], described["width"], described["dtype"]
        done, damaged = np.zeros(num_rows, dtype=bool), np.zeros(num_rows, dtype=bool)
        data = folder / "rows.bin"
        num_bytes = num_rows * width * np.dtype(dtype).itemsize
        held = data.stat().st_size if data.exists() else 0
        rows = np.memmap(data, dtype=dtype, mode="r", shape=(num_rows, width)) if held == num_bytes > 0 else None
        for piece in all_pieces(folder):
            span = slice(*piece["rows"])
            whole = held == num_bytes and (not verify or rows is None or _digest(rows[span]) == piece["sha256"])
            done[span] |= whole
            damaged[span] |= not whole
        yield StoredRows(
            folder.name, folder, described["identity"], num_rows, width, dtype, int(done.sum()),
            int((damaged & ~done).sum()), held, path.stat().st_mtime, names,
        )  # fmt: skip


def _described(path: Path) -> dict[str, Any] | None:
    """What identity.json says, if its digest is the folder's name."""
    described = json_or_none(path.read_bytes())
    try:
        folder = _folder(path.parents[2], *(described[key] for key in ("identity", "rows", "width", "dtype")))
    except (TypeError, KeyError):
        return None
    return described if folder == path.parent else None


def remove(store: StoredRows) -> None:
    """Delete a store; a process that is writing it is waited for."""
    with _lock(store.folder):
        rmtree(store.folder, ignore_errors=True)


def _lock(folder: Path) -> FileLock:
    """Beside the folder and never removed: whoever waits for it would hold the lock of a file that is gone.

    One object a process: two encoders with the same weights are one store, opened twice.
    """
    return FileLock(folder.with_suffix(".lock"), is_singleton=True)


def guest_lock(folder: Path, rank: int) -> FileLock:
    """What a process holds that writes to a store whose lock another one holds."""
    return FileLock(folder.with_suffix(f".{rank}.lock"), is_singleton=True)


def _wait_for_guests(folder: Path) -> None:
    """Those whose host was killed end soon after it; until then they write."""
    for path in folder.parent.glob(f"{folder.name}.*.lock"):
        with FileLock(path, is_singleton=True):
            path.unlink(missing_ok=True)


def _folder(root: Path, identity: Mapping[str, Any], num_rows: int, width: int, dtype: str) -> Path:
    # the identity stays apart: it has a "dtype" too, that of the network
    key = digest_of({"identity": identity, "store": STORE_VERSION, "shape": [num_rows, width], "dtype": dtype})
    return root / key[:2] / key


def _drop_if_behaviour_changed(folder: Path, fingerprint: NDArray[np.float32]) -> list[str]:
    """The fingerprint's file name if rows were dropped for it."""
    path = folder / "fingerprint.npy"
    if _same_behaviour(path, fingerprint):
        return []
    dropped = []
    for journal in journals(folder):
        journal.unlink()
        dropped = [path.name]
    (folder / "rows.bin").unlink(missing_ok=True)  # who still reads the old rows keeps them
    written = BytesIO()
    np.save(written, fingerprint)
    replace_file(path, written.getvalue())
    return dropped


def _same_behaviour(path: Path, fingerprint: NDArray[np.float32]) -> bool:
    known = _read_fingerprint(path)
    # batch, threads and devices move a vector by 1e-6 of its size, bfloat16 by 6e-3; a changed network by far more
    return bool(
        known.shape == fingerprint.shape and np.linalg.norm(known - fingerprint) <= 0.02 * np.linalg.norm(known)
    )


def _read_fingerprint(path: Path) -> NDArray[np.float32]:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    except (FileNotFoundError, ValueError, EOFError):  # a damaged file vouches for nothing
        return np.empty(0, np.float32)


def _digest(rows: NDArray[Any]) -> str:
    return sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def _allocate(path: Path, num_bytes: int) -> None:
    free = disk_usage(path.parent).free
    try:
        if num_bytes > free:
            raise OSError("the disk is full")
        with path.open("wb") as file:
            if num_bytes and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                file.truncate(num_bytes)
    except PermissionError:
        raise
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CacheError(
            f"the embedding cache needs {num_bytes / 1e9:.2f} GB at {path.parent}, and {free / 1e9:.2f} GB are free "
            f"({error}); free some space (`leveret cache gc`), or set LEVERET_HOME to a larger disk"
        ) from error
