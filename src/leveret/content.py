"""Digests of files and weights: what a result was made from, whatever its name or date.

Digests of files are remembered by path, size and times of change in a small database, so that a large dataset is read
once for them, not at every run.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from errno import EACCES, EPERM, EROFS
from hashlib import file_digest, sha256
from pathlib import Path

import torch
from torch import Tensor, nn

import leveret.distributed as distributed
from leveret.home import home
from leveret.tars import member_of

_BYTES = torch.uint8
_FILES_AT_ONCE = 4096


def content_digests(paths: Sequence[Path], threads: int) -> list[str]:
    """Sha256 of each file's bytes; an unreadable file has the empty string.

    Where leveret's home cannot be written, what it remembers is used and nothing is added. Under torchrun the ranks
    share out the files that are not known; rank 0 alone looks into the database, which is not made for network file
    systems.

    Raises:
        OSError: The database is damaged, or its disk full.
    """
    if not distributed.is_first():
        _fresh([""] * len(paths), paths, {}, threads)
        return distributed.from_first([])
    database = home() / "digests.sqlite"
    keys = [_key(path) for path in paths]
    known: dict[str, str] = {}
    fresh: dict[str, str] | None = None
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        # closing() closes, the connection's own `with` commits
        with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            connection.execute("create table if not exists digests (key text primary key, digest text)")
            known.update(_known(connection, list(dict.fromkeys(key for key in keys if key))))
            fresh = _fresh(keys, paths, known, threads)
            known |= fresh
            connection.executemany("insert or replace into digests values (?, ?)", fresh.items())
    except (sqlite3.Error, OSError) as error:
        if not _says_read_only(error):
            raise OSError(
                f"{database}, which remembers digests of files, cannot be used ({error}); remove it, or set "
                "LEVERET_HOME to a folder that can be written"
            ) from error
        if fresh is None:
            known |= _fresh(keys, paths, known, threads)
    return distributed.from_first([known.get(key, "") for key in keys])


def _fresh(keys: Sequence[str], paths: Sequence[Path], known: Mapping[str, str], threads: int) -> dict[str, str]:
    """Digests of the readable files that rank 0 does not know yet, by key."""
    missing = {key: k for k, key in enumerate(keys) if key and key not in known}
    wanted = distributed.from_first(list(missing.values()))
    mine = [paths[k] for k in wanted[distributed.even_share(len(wanted))]]
    with ThreadPoolExecutor(threads) as pool:
        # in blocks, since a thread pool remembers a kilobyte for each call that it was given
        blocks = (mine[first : first + _FILES_AT_ONCE] for first in range(0, len(mine), _FILES_AT_ONCE))
        found = distributed.gather([digest for block in blocks for digest in pool.map(_digest_or_nothing, block)])
    digests = (digest for part in found for digest in part)
    return {key: digest for key, digest in zip(missing, digests, strict=False) if digest}


def _says_read_only(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (EACCES, EPERM, EROFS)
    # a database error has a name since Python 3.11
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN"))


def file_sha256(path: Path) -> str:
    """Sha256 of a file's bytes, in hexadecimal; the file may lie in a tar archive."""
    member = member_of(path)
    with path.open("rb") if member is None else member.open() as file:
        return file_digest(file, "sha256").hexdigest()


def weights_digest(module: nn.Module) -> str:
    """Sha256 of every parameter and persistent buffer."""
    return tensors_digest(module.state_dict())


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Sha256 of tensors, whatever their order: names, shapes, dtypes, bytes."""
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(dtype=_BYTES).numpy().tobytes())
    return digest.hexdigest()


def code_digest() -> str:
    """Sha256 of leveret's own source files: which code made a result."""
    root = Path(__file__).parent
    digest = sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _digest_or_nothing(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return ""


def _known(connection: sqlite3.Connection, keys: Sequence[str]) -> Iterable[tuple[str, str]]:
    for first in range(0, len(keys), 500):  # sqlite's limit on bound values
        some = keys[first : first + 500]
        marks = ",".join("?" * len(some))
        yield from connection.execute(f"select key, digest from digests where key in ({marks})", some)


def _key(path: Path) -> str:
    try:
        member = member_of(path)
        stat = (path if member is None else member.archive).stat()
    except OSError:
        return ""
    # a name that is not UTF-8 goes into no database as it is
    name = str(path.resolve()).encode(errors="backslashreplace").decode()
    return f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
