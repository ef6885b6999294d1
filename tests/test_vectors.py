import json
import os
from errno import ENOSPC

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from leveret.vectors import VectorFile, VectorsError, check_format, read_vectors, write_vectors


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return VectorFile(
        ["a.wav", "a.wav", "sub/bé\n.wav"],
        np.array([0.0, 3.0, 0.5]),
        np.array([3.0, 3.0, 1.25]),
        rng.normal(size=(3, 5)).astype(np.float32),
        {"encoder": {"name": "melstats"}, "window": 3.0},
    )


@pytest.fixture
def foreign(tmp_path):
    """Writes a Parquet file as somebody else would."""

    def write(**columns):
        path = tmp_path / "foreign.parquet"
        parquet.write_table(pa.table(columns), path)
        return path

    return write


def complaint(path):
    with pytest.raises(VectorsError) as caught:
        read_vectors(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_parquet_comes_back_bit_for_bit(tmp_path, vectors):
    write_vectors(tmp_path / "v.parquet", vectors)
    found = read_vectors(tmp_path / "v.parquet")
    assert list(found.file) == list(vectors.file)
    assert found.about == vectors.about
    for name in ("start", "seconds", "vector"):
        np.testing.assert_array_equal(getattr(found, name), getattr(vectors, name))
    assert found.vector.dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["v.parquet"]


def test_npz_holds_the_same_without_pickles(tmp_path, vectors):
    write_vectors(tmp_path / "v.npz", vectors)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as found:
        assert sorted(found) == ["about", "files", "seconds", "start", "vector"]
        assert found["files"].tolist() == list(vectors.file)
        assert json.loads(str(found["about"])) == vectors.about
        np.testing.assert_array_equal(found["vector"], vectors.vector)
        np.testing.assert_array_equal(found["start"], vectors.start)


@pytest.mark.parametrize("ending", [".parquet", ".npz"])
def test_no_rows_can_be_written(tmp_path, ending):
    empty = VectorFile([], np.zeros(0), np.zeros(0), np.zeros((0, 4), np.float32), {})
    write_vectors(tmp_path / f"v{ending}", empty)
    assert (tmp_path / f"v{ending}").exists()


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32()),
        pa.list_(pa.float16()),
        pa.list_(pa.int64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
    ],
    ids=str,
)
def test_any_list_of_numbers_of_somebody_else_is_read(foreign, kind):
    values = [[1.0, 2.0], [3.0, 4.0]]
    if pa.types.is_float16(kind.value_type):
        values = [[np.float16(number) for number in row] for row in values]
    found = read_vectors(foreign(file=["a", "b"], vector=pa.array(values, kind)))
    np.testing.assert_array_equal(found.vector, [[1, 2], [3, 4]])
    assert found.vector.dtype == np.float32
    assert found.about == {}
    assert found.start.tolist() == found.seconds.tolist() == [0, 0]


def test_many_row_groups_are_one_table(tmp_path):
    table = pa.table({"file": [str(k) for k in range(10)], "vector": [[float(k), 0.5] for k in range(10)]})
    parquet.write_table(table, tmp_path / "v.parquet", row_group_size=3)
    found = read_vectors(tmp_path / "v.parquet")
    assert found.vector[:, 0].tolist() == list(range(10))


def test_whole_seconds_and_repeated_names_are_read(foreign):
    file = pa.array(["a", "a"]).dictionary_encode()
    found = read_vectors(foreign(file=file, vector=[[1.0], [2.0]], start=[0, 3], seconds=[3, 3]))
    assert list(found.file) == ["a", "a"]
    assert found.start.dtype == np.float64
    assert found.start.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"file": ["a"]}, ["no column vector", "it has file"]),
        ({"vector": [[1.0]], "name": ["a"]}, ["no column file", "it has vector, name"]),
        ({"file": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, ["lengths 1, 2", "one length"]),
        ({"file": ["a", "b"], "vector": [[1.0], None]}, ["1 are null"]),
        ({"file": ["a", "b"], "vector": pa.array([[1.0], None], pa.list_(pa.float32(), 1))}, ["1 are null"]),
        ({"file": ["a"], "vector": [[]]}, ["null"]),
        ({"file": ["a"], "vector": pa.array([[]], pa.list_(pa.float32()))}, ["lengths 0"]),
        ({"file": pa.array([], pa.string()), "vector": pa.array([], pa.list_(pa.float32(), 2))}, ["holds no vectors"]),
        ({"file": ["a"], "vector": [1.0]}, ["vector is double", "lists of numbers"]),
        ({"file": ["a"], "vector": ["1 2 3"]}, ["vector is string"]),
        ({"file": ["a"], "vector": [["1", "2"]]}, ["list<", "lists of numbers"]),
        ({"file": [1], "vector": [[1.0]]}, ["file is int64"]),
        ({"file": ["a", None], "vector": [[1.0], [2.0]]}, ["with nulls"]),
        ({"file": ["a"], "vector": [[1.0]], "start": ["0"]}, ["start is string"]),
        ({"file": ["a"], "vector": [[1.0]], "seconds": pa.array([None], pa.float64())}, ["seconds", "1 nulls"]),
        ({"file": ["a", "b\n"], "vector": [[1.0], [np.nan]]}, ["1 vectors are not finite", r"'b\n'"]),
        ({"file": ["a"], "vector": [[1.0, None]]}, ["not finite"]),
        ({"file": ["a"], "vector": [[np.inf]]}, ["not finite"]),
        ({"file": ["a"], "vector": [[1e300]]}, ["not finite"]),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_with_its_reason(foreign, columns, parts):
    message = complaint(foreign(**columns))
    for part in parts:
        assert part in message


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"PAR1 but not really")
    assert "is not a Parquet file" in complaint(tmp_path / "v.parquet")
    assert "leveret embed" in complaint(tmp_path / "none.parquet")


def test_a_path_that_could_not_be_written_is_refused_before_the_work(tmp_path, vectors, monkeypatch):
    with pytest.raises(VectorsError, match=r"ends in '\.csv'; expected \.parquet or \.npz"):
        check_format(tmp_path / "v.csv")
    with pytest.raises(VectorsError, match="does not exist"):
        write_vectors(tmp_path / "none" / "v.npz", vectors)
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(VectorsError, match=r"d.npz is a folder; give the name of a file"):
        check_format(tmp_path / "d.npz")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root everything can be written
    with pytest.raises(VectorsError, match=r"the folder .* of v.npz cannot be written in"):
        check_format(tmp_path / "v.npz")


def test_a_writer_that_fails_leaves_the_old_file(tmp_path, vectors, monkeypatch):
    (tmp_path / "v.parquet").write_bytes(b"old")

    def fail(table, file, **settings):
        file.write(b"half")
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", fail)
    with pytest.raises(VectorsError, match=r"v.parquet could not be written \(No space left on device\); make room"):
        write_vectors(tmp_path / "v.parquet", vectors)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("v.parquet", b"old")]
