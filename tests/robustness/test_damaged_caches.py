"""One flipped byte anywhere in the cache is found, named on screen and mended; the vectors stay what they were."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leveret import cli, runner
from leveret.cache import stores
from leveret.home import cache_root
from leveret.vectors import read_vectors


@pytest.fixture
def embedded(monkeypatch):
    """Rows that were really embedded since the last look."""
    counts = [0]
    vectors = runner.Network.vectors

    def counting(self, batch, layers):
        counts[0] += batch.num_rows
        return vectors(self, batch, layers)

    monkeypatch.setattr(runner.Network, "vectors", counting)

    def look() -> int:
        found, counts[0] = counts[0], 0
        return found

    return look


@pytest.fixture
def embed(tmp_path, capsys):
    """Embeds 40 sounds in pieces of 8 and gives the vectors and what was said."""
    (tmp_path / "sounds").mkdir()
    for k in range(40):
        wave = 0.1 * np.random.default_rng(k).standard_normal(1_600)
        soundfile.write(tmp_path / "sounds" / f"{k:02d}.wav", wave, 16_000)
    output = tmp_path / "v.parquet"

    def run():
        words = ["embed", tmp_path / "sounds", "-o", output, "--encoder", "melstats", "--batch-size", "8"]
        status = cli.main([str(word) for word in words])
        said = capsys.readouterr().err
        assert status == 0, said
        return read_vectors(output).vector, said

    return run


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


# file, place as a share of it, bit; how many of 40 rows in pieces of 8 are lost
FLIPS = [
    *[("rows.bin", share, bit, 8) for share, bit in [(0.0, 0), (0.5, 7), (0.99, 3)]],
    *[
        ("journal.jsonl", share, bit, 8)
        for share, bit in [(0.02, 0), (0.1, 1), (0.31, 4), (0.5, 2), (0.77, 0), (0.9, 6)]
    ],
    *[("identity.json", share, bit, 0) for share, bit in [(0.0, 0), (0.3, 1), (0.6, 6), (0.95, 2)]],
    ("fingerprint.npy", 0.01, 1, 40),
]


@pytest.mark.parametrize(("name", "share", "bit", "lost"), FLIPS)
def test_a_flipped_byte_is_found_named_and_mended(embed, embedded, capsys, name, share, bit, lost):
    expected, _ = embed()
    assert embedded() == 40
    (store,) = stores(cache_root())
    path = store.folder / name
    flip(path, int(share * path.stat().st_size), bit)

    status = cli.main(["cache", "verify"])
    listed = capsys.readouterr().out
    # a fingerprint can be judged only by the encoder
    assert status == (name != "fingerprint.npy")
    if name != "fingerprint.npy":
        assert str(store.folder) in listed
        assert "damaged" in listed

    found, said = embed()
    np.testing.assert_array_equal(found, expected)
    assert embedded() == lost
    assert str(store.folder) in said
    assert "damaged" in said
    assert name == "rows.bin" or name in said

    found, said = embed()
    np.testing.assert_array_equal(found, expected)
    assert embedded() == 0
    assert "damaged" not in said
    assert cli.main(["cache", "verify"]) == 0


def test_two_flipped_bytes_that_join_and_split_lines_are_mended_too(embed, embedded):
    expected, _ = embed()
    (store,) = stores(cache_root())
    path = store.folder / "journal.jsonl"
    content = path.read_bytes()
    first = content.index(b"\n")
    flip(path, first)  # two lines become one
    embedded()
    found, said = embed()
    np.testing.assert_array_equal(found, expected)
    assert embedded() == 16
    assert "journal.jsonl" in said


def test_a_store_whose_identity_is_unreadable_is_listed_and_can_be_cleared(embed, capsys):
    embed()
    (store,) = stores(cache_root())
    (store.folder / "identity.json").write_bytes(b"\xff\x00")
    assert cli.main(["cache", "ls", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["spoilt"] == ["identity.json"]
    assert cli.main(["cache", "ls"]) == 1
    assert cli.main(["cache", "gc", "--days", "0"]) == 0
    assert not store.folder.exists()


def test_the_torn_line_of_a_killed_process_is_no_damage(embed, embedded):
    embed()
    (store,) = stores(cache_root())
    path = store.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    embedded()
    _, said = embed()
    assert "damaged" not in said
    assert embedded() == 8
