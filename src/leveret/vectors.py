"""Vector files: what `leveret embed` writes, and what somebody else's program may hand in to be scored.

A Parquet file with the columns `file` and `vector` (lists of one length), optionally `start` and `seconds`: several
rows of one file are windows of it. An npz file holds the same as arrays, `file` as `files`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet

from leveret.parquet_files import whole_table

_ROWS_AT_ONCE = 16_384  # a row group is held in memory until it is written
FORMATS = (".parquet", ".npz")


class VectorsError(ValueError):
    """A vector file that cannot be used; the message says why."""


@dataclass(frozen=True)
class VectorFile:
    """Vectors of files or of windows of them.

    Attributes:
        file: Path of each row, as it was given.
        start: Seconds into the file of each row.
        seconds: Length of each row.
        vector: (R, D) float32.
        about: Encoder, versions, settings; empty for a foreign file.
    """

    file: Sequence[str]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    vector: NDArray[np.float32]
    about: Mapping[str, Any]


def write_vectors(path: Path, vectors: VectorFile) -> None:
    """Write by the path's ending, atomically.

    Raises:
        VectorsError: Another ending than FORMATS.
    """
    check_format(path)
    with whole_file(path) as partial:
        if path.suffix == ".npz":
            np.savez(
                partial,
                files=np.array(vectors.file, dtype=np.str_),
                start=vectors.start,
                seconds=vectors.seconds,
                vector=vectors.vector,
                about=np.array(json.dumps(vectors.about)),
            )
        else:
            flat = pa.array(np.ascontiguousarray(vectors.vector).reshape(-1))
            columns = {
                "file": pa.array(vectors.file, pa.string()),
                "start": pa.array(vectors.start),
                "seconds": pa.array(vectors.seconds),
                "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.vector.shape[1]),
            }
            table = pa.table(columns).replace_schema_metadata({"leveret": json.dumps(vectors.about)})
            with partial.open("wb") as file:  # pyarrow itself opens no path that is not UTF-8
                parquet.write_table(table, file, row_group_size=_ROWS_AT_ONCE)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside it to write to, which takes its place once it is whole; otherwise nothing is left of it.

    Raises:
        VectorsError: The system refuses, as where the disk is full.
    """
    # a name of its own, or two processes that write one file would mix their halves
    partial = path.with_name(f".{path.stem[:40]}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise VectorsError(
            f"{path} could not be written ({error.strerror or error}); make room, or give another place"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def check_format(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Refuse a path that could not be written, before any work is done.

    Raises:
        VectorsError: Another ending than those of `formats`, a folder of that name, or no folder to write it in.
    """
    if path.suffix not in formats:
        raise VectorsError(f"{path} ends in {path.suffix!r}; expected {' or '.join(formats)}")
    if not path.parent.is_dir():
        raise VectorsError(f"the folder {path.parent} of {path.name} does not exist; make it first")
    if path.is_dir():
        raise VectorsError(f"{path} is a folder; give the name of a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise VectorsError(f"the folder {path.parent} of {path.name} cannot be written in; give another place")


def encoder_of(path: Path) -> Mapping[str, Any]:
    """What a vector file says of its encoder; empty where no `leveret embed` wrote it."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                notes = str(arrays["about"])
        else:
            with path.open("rb") as file:
                notes = (parquet.ParquetFile(file).schema_arrow.metadata or {})[b"leveret"].decode()
        encoder = json.loads(notes)["encoder"]
    # whatever else may lie there under such a name: no archive, a single array, notes of another program
    except (pa.ArrowException, BadZipFile, OSError, ValueError, KeyError, TypeError, EOFError):
        return {}
    return encoder if isinstance(encoder, dict) else {}


def read_vectors(path: Path) -> VectorFile:
    """Read a Parquet vector file.

    Raises:
        VectorsError: Not Parquet, a column is missing or of another type, no rows, or vectors that are of different
            lengths or not finite.
    """
    if not path.is_file():
        raise VectorsError(f"no vector file at {path}; write one with `leveret embed FILES -o {path.name}`")
    try:
        table = whole_table(path)
        columns = list(table.column_names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise VectorsError(f"{path} is not a Parquet file ({error})") from error
    twice = [name for name in ("file", "vector", "start", "seconds") if columns.count(name) > 1]
    if twice:
        raise VectorsError(f"{path} has the column {', '.join(twice)} twice; rename or remove one")
    missing = [name for name in ("file", "vector") if name not in columns]
    if missing:
        raise VectorsError(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    if not len(table):
        raise VectorsError(f"{path} holds no vectors; expected one row a file or window")
    try:
        names = table["file"].to_pylist()
        about = json.loads((table.schema.metadata or {}).get(b"leveret", b"{}"))
    except ValueError as error:
        raise VectorsError(f"{path}: the column file or leveret's own notes are no text ({error})") from error
    if not all(isinstance(name, str) for name in names):
        raise VectorsError(f"{path}: the column file is {table['file'].type} with nulls or numbers; expected paths")
    column = table["vector"].combine_chunks()
    if not _holds_numbers(column.type):
        raise VectorsError(f"{path}: the column vector is {column.type}; expected lists of numbers")
    sizes = set(pc.list_value_length(column).drop_null().to_pylist())
    if len(sizes) != 1 or column.null_count or 0 in sizes:
        raise VectorsError(
            f"{path}: vectors have the lengths {', '.join(map(str, sorted(sizes)))} and {column.null_count} are null; "
            "expected one length above 0 and no nulls"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
        vector = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(table), -1)
    bad = np.flatnonzero(~np.isfinite(vector).all(axis=1))
    if len(bad):
        raise VectorsError(
            f"{path}: {len(bad)} vectors are not finite, the first is of {names[bad[0]]!r}; leave them out"
        )
    return VectorFile(
        names,
        _numbers(path, table, "start"),
        _numbers(path, table, "seconds"),
        vector,
        about if isinstance(about, dict) else {},
    )


def _holds_numbers(column: pa.DataType) -> bool:
    is_list = pa.types.is_list(column) or pa.types.is_large_list(column) or pa.types.is_fixed_size_list(column)
    return bool(is_list and (pa.types.is_floating(column.value_type) or pa.types.is_integer(column.value_type)))


def _numbers(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column of seconds; zeros where there is none."""
    if name not in table.column_names:
        return np.zeros(len(table))
    column = table[name]
    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise VectorsError(
            f"{path}: the column {name} is {column.type} with {column.null_count} nulls; expected seconds in each row, "
            "or no such column"
        )
    return np.asarray(column.to_numpy(), dtype=np.float64)
