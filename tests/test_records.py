import csv
import json

import pytest
from pyarrow import parquet

from leveret.records import as_json, csv_cell, write_records
from leveret.vectors import VectorsError

HOSTILE = ["=1+1.wav", "a\nb.wav", "\x1b]0;title\x07.wav", 'quo"te,comma.wav', "no utf-8 \udcff.wav", "plain.wav"]
COLUMNS = {"file": HOSTILE, "rank": list(range(6)), "probability": [-0.5, 0.25, 1e-9, 1.0, 0.0, 0.5]}


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\\t=1"),
        ("\r=1", "\\r=1"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(cell, written):
    assert csv_cell(cell) == written


def test_numbers_stay_numbers():
    assert csv_cell(-1.5) == -1.5


def test_csv_has_one_line_a_row_whatever_the_names(tmp_path):
    write_records(tmp_path / "r.csv", COLUMNS)
    assert len((tmp_path / "r.csv").read_bytes().splitlines()) == 7
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [
        "'=1+1.wav", "a\\nb.wav", "\\x1b]0;title\\x07.wav", 'quo"te,comma.wav', "no utf-8 \\udcff.wav", "plain.wav"
    ]  # fmt: skip
    assert [float(row["probability"]) for row in rows] == COLUMNS["probability"]


def test_parquet_and_json_hold_names_as_they_are(tmp_path):
    write_records(tmp_path / "r.parquet", COLUMNS)
    write_records(tmp_path / "r.json", COLUMNS)
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [row["file"] for row in rows] == HOSTILE
    assert rows == json.loads(as_json(COLUMNS))
    table = parquet.read_table(tmp_path / "r.parquet")
    # Parquet's text is UTF-8, so the one name that is none has its byte escaped
    assert table["file"].to_pylist() == [*HOSTILE[:4], "no utf-8 \\udcff.wav", HOSTILE[5]]
    assert table["rank"].to_pylist() == COLUMNS["rank"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.parquet"]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_no_rows_are_a_file_all_the_same(tmp_path, suffix):
    write_records(tmp_path / f"r{suffix}", {"file": [], "label": []})
    assert (tmp_path / f"r{suffix}").stat().st_size > 0


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(VectorsError, match=r"'.xlsx'; expected .parquet or .csv or .json"):
        write_records(tmp_path / "r.xlsx", COLUMNS)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_records(tmp_path / "r.csv", {"a": [1, 2], "b": [1]})
    assert list(tmp_path.iterdir()) == []
