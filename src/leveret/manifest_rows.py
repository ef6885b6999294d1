"""Rows of a manifest as text, whether it is CSV or Parquet."""

import csv
from collections.abc import Mapping
from pathlib import Path

from leveret.parquet_files import whole_table


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names the row, the value, what was expected and what to do."""


def read_rows(path: Path) -> tuple[list[tuple[int, Mapping[str, str]]], list[str]]:
    """The rows with their numbers, and the names of the columns.

    Raises:
        ManifestError: It cannot be read.
    """
    if not path.is_file():
        found = f"{path} is a folder" if path.is_dir() else f"no manifest at {path}"
        raise ManifestError(f"{found}; expected a CSV or Parquet file")
    if path.suffix == ".parquet":
        import pyarrow  # a CSV manifest does not pay for it

        try:
            table = whole_table(path)
            columns = list(table.column_names)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise ManifestError(f"{path} is not a Parquet file ({error})") from error
        nested = [field.name for field in table.schema if pyarrow.types.is_nested(field.type)]
        if nested:
            raise ManifestError(
                f"{path}: {', '.join(map(repr, nested))} holds lists; expected one value a cell, tags joined by '|'"
            )
        # a row as a dict would hide a column that stands twice, so columns are read by number
        try:
            cells = [table.column(k).to_pylist() for k in range(len(columns))]
        except ValueError as error:  # text that is not UTF-8, dates beyond what Python holds
            raise ManifestError(f"{path} has a cell that is neither text nor a number ({error})") from error
        text = [
            {name: "" if value is None else str(value) for name, value in zip(columns, row, strict=True)}
            for row in zip(*cells, strict=True)
        ]
        return list(enumerate(text, 1)), columns
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            # a row with too many cells has the surplus under the key None
            rows: list[tuple[int, Mapping[str, str]]] = [
                (reader.line_num, {str(k): v or "" for k, v in row.items() if k is not None}) for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} is not a UTF-8 CSV file ({error}); save it as one") from error
    return rows, columns
