import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from leveret.progress import Reporter
from leveret.shards import SCHEMA, ShardError, ShardFacts, check_shards, checksum, open_index, open_shards, write_index

CONTENT = bytes(range(200))


@pytest.fixture
def folder(tmp_path):
    """Two archives of some bytes each; what they hold is nobody's business here."""
    rows = []
    for shard in ("a.tar", "b.tar"):
        (tmp_path / shard).write_bytes(CONTENT * 6)
        for k in range(5):
            rows.append(
                {"shard": shard, "key": f"{shard[0]}{k}", "offset": 200 * k, "size": 200, "seconds": 1.0 + k,
                 "labels": ["x"] if k else [], "id": f"clip {shard[0]}{k}", "group": shard, "digest": f"d{k}",
                 "checksum": checksum(CONTENT)}
            )  # fmt: skip
    facts = ShardFacts(
        sample_rate=16_000, labels=("x", "y"), source="s", source_digest="d", sizes={"a.tar": 1200, "b.tar": 1200},
        left_out={},
    )  # fmt: skip
    write_index(tmp_path, pyarrow.Table.from_pylist(rows, SCHEMA), facts)
    return tmp_path


def edited(folder, column=None, values=None, **header):
    """Write the index again with another column, or other facts."""
    path = folder / "index.parquet"
    table = parquet.read_table(path)
    facts = json.loads(table.schema.metadata[b"leveret.shards"]) | header
    if column:
        at = table.schema.get_field_index(column)
        table = table.set_column(at, SCHEMA.field(column), pyarrow.array(values, SCHEMA.field(column).type))
    parquet.write_table(table.replace_schema_metadata({b"leveret.shards": json.dumps(facts)}), path)


def test_clips_are_made_of_the_columns(folder):
    index = open_shards(folder)
    assert len(index) == 10
    assert (index[6].id, index[6].labels, index[6].group) == ("clip b1", ("x",), "b.tar")
    assert index[6].path == folder / "b.tar" / "b1.flac"
    assert [clip.id for clip in index[4:6]] == ["clip a4", "clip b0"]
    assert index.member(6).open().read() == CONTENT
    assert index.source_digests() == ["d0", "d1", "d2", "d3", "d4"]
    np.testing.assert_array_equal(index.seconds, [1, 2, 3, 4, 5] * 2)


def test_pieces_never_lie_in_two_shards(folder):
    assert open_shards(folder).pieces(2).tolist() == [0, 2, 4, 5, 7, 9, 10]


def test_whole_shards_have_no_problems(folder):
    assert check_shards(folder, 2, Reporter()) == []


def test_a_cut_shard_is_refused_and_the_check_says_from_where_on(folder):
    (folder / "b.tar").write_bytes(CONTENT * 3 + CONTENT[:50])
    with pytest.raises(ShardError, match=r"b.tar' has 650 bytes, it was written with 1,200; copy it again"):
        open_shards(folder)
    problems = check_shards(folder, 1, Reporter())
    assert len(problems) == 2
    assert problems[1] == "b.tar: b3.flac and what follows it are cut off"


def test_changed_bytes_a_missing_shard_and_a_surplus_one_are_named(folder):
    (folder / "a.tar").write_bytes(CONTENT[1:] + CONTENT * 5 + b"0")
    (folder / "b.tar").rename(folder / "c.tar")
    problems = check_shards(folder, 1, Reporter())
    assert f"the shard '{folder / 'b.tar'}' is missing" in problems
    assert "c.tar is not in the index; remove it" in problems
    assert "a.tar: a0.flac has another checksum than it was written with" in problems


def test_a_folder_without_an_index_and_an_index_that_is_none_are_told(folder):
    with pytest.raises(ShardError, match=r"expected a folder made by `leveret shards pack`"):
        open_shards(folder / "none")
    (folder / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError, match="is no index of shards"):
        open_shards(folder)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("offset", [0] * 9 + [10_000], "outside of their shards"),
        ("offset", [-1] * 10, "outside of their shards"),
        ("size", [0] * 10, "outside of their shards"),
        ("seconds", [float("nan")] * 10, "lengths that are none"),
        ("labels", [["z"]] * 10, "label 'z', which is none of the 2"),
        ("shard", ["../etc.tar"] * 10, "names shards that its own list does not have"),
    ],
)
def test_an_index_that_cannot_be_true_is_refused(folder, column, values, says):
    edited(folder, column, values)
    with pytest.raises(ShardError, match=says):
        open_index(folder)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"version": 2}, "has version 2, this leveret reads 1"),
        ({"labels": None}, "is no index of shards"),
        ({"sizes": {"../a.tar": 5}}, "names shards"),
    ],
)
def test_facts_that_cannot_be_true_are_refused(folder, header, says):
    edited(folder, **header)
    with pytest.raises(ShardError, match=says):
        open_index(folder)
