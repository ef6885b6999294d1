"""Reading a Parquet file as one table, from whatever path it has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def whole_table(path: Path, columns: Sequence[str] | None = None) -> Any:
    """The table of a file, or some of its columns.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: There is none, or it cannot be read.
    """
    from pyarrow import parquet  # who only reads CSV does not pay for it

    # pyarrow itself opens no path that is not UTF-8; and of a Python file its own threads must not hold what they read
    # ahead: one that lets go of it while the interpreter ends takes the process down
    with path.open("rb") as file:
        # not pyarrow's read_table, which takes a folder's name of the form a=b for one more column
        return parquet.ParquetFile(file, pre_buffer=False).read(columns=None if columns is None else list(columns))
