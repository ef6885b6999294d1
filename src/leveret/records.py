"""Records of plain values in a file that people and programs open: Parquet, CSV or JSON.

Parquet and JSON hold text as it is. A CSV file is opened by spreadsheets, which take some cells for formulas, and by
programs that read lines: there control characters are escaped, and a cell that would be a formula begins with an
apostrophe.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from leveret.text import printable
from leveret.vectors import check_format, whole_file

RECORD_FORMATS = (".parquet", ".csv", ".json")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide forms count as well


def write_records(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length by the path's ending, atomically.

    Raises:
        VectorsError: Another ending than RECORD_FORMATS, or no such folder.
    """
    check_format(path, RECORD_FORMATS)
    with whole_file(path) as partial:
        if path.suffix == ".parquet":
            parquet.write_table(
                pa.table({name: pa.array(map(_encodable, of)) for name, of in columns.items()}), partial
            )
        elif path.suffix == ".json":
            partial.write_text(as_json(columns), encoding="ascii")
        else:
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(map(csv_cell, columns))
                writer.writerows(map(csv_cell, row) for row in zip(*columns.values(), strict=True))


def as_json(columns: Mapping[str, Sequence[Any]]) -> str:
    """A list of objects, one a line, in ASCII."""
    rows = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    return "[" + ",\n".join(rows) + "]\n"


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula and no reader for two lines; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _encodable(value: Any) -> Any:
    """File names that are no UTF-8 hold half surrogates, which Parquet cannot."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
