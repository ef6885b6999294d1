"""A cache that cannot be written serves what it holds whole, and refuses the rest in one sentence.

Permission bits do not stop root, so a test that runs as root takes the user nobody's rights for the while.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leveret.bad_files import BadFilePolicy
from leveret.cache import CacheError, Store
from leveret.file_embedding import embed
from leveret.runner import Compute

NOBODY = 65_534
ONE_THREAD = Compute(device="cpu", threads=1, batch_size=8)


@pytest.fixture
def folder(monkeypatch):
    """A folder that nobody may read; pytest's own are open to their owner alone."""
    made = Path(tempfile.mkdtemp(prefix="leveret-read-only-"))
    made.chmod(0o755)
    monkeypatch.setenv("LEVERET_HOME", str(made / "home"))
    yield made
    for path in [made, *made.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(made)


@contextmanager
def read_only(folder: Path):
    """Inside, nothing in the folder can be written; reading it is as before."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError):
            (folder / "probe").touch()
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def sounds(folder):
    (folder / "sounds").mkdir()
    for k in range(12):
        wave = 0.1 * np.random.default_rng(k).standard_normal(1_600)
        soundfile.write(folder / "sounds" / f"{k:02d}.wav", wave, 16_000)
    return folder / "sounds"


def embedded(inputs):
    return embed([inputs], "melstats", compute=ONE_THREAD, policy=BadFilePolicy("skip"))


def test_a_read_only_cache_with_every_row_is_read(folder, sounds):
    (sounds / "bad.wav").write_bytes(b"words")
    expected = embedded(sounds)
    before = {path: path.stat().st_mtime_ns for path in (folder / "home").rglob("*")}
    with read_only(folder):
        found = embedded(sounds)
    np.testing.assert_array_equal(found.vector, expected.vector)
    assert list(found.file) == list(expected.file)
    assert found.about["skipped"] == expected.about["skipped"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "home").rglob("*")} == before


def test_files_whose_digests_nobody_remembers_are_digested_anew(folder, sounds):
    expected = embedded(sounds)
    shutil.copytree(sounds, folder / "copied")
    with read_only(folder):
        found = embedded(folder / "copied")
    np.testing.assert_array_equal(found.vector, expected.vector)


@pytest.mark.parametrize("what", ["piece", "flipped", "other", "nothing"])
def test_a_read_only_cache_without_every_row_is_one_clear_error(folder, sounds, what):
    if what != "nothing":
        embedded(sounds)
        (rows,) = (folder / "home").rglob("rows.bin")
        if what == "piece":
            journal = rows.with_name("journal.jsonl")
            journal.write_text(journal.read_text().splitlines(keepends=True)[0])
        elif what == "flipped":
            content = bytearray(rows.read_bytes())
            content[100] ^= 1
            rows.write_bytes(content)
        else:
            (sounds / "00.wav").write_bytes((sounds / "01.wav").read_bytes())
    else:
        (folder / "home").mkdir()
    with read_only(folder), pytest.raises(CacheError, match=r"cannot be written .*LEVERET_HOME"):
        embedded(sounds)


FINGERPRINT = np.arange(1, 17, dtype=np.float32).reshape(8, 2)


def test_another_behaviour_finds_no_rows_in_a_read_only_cache(folder):
    with Store.open(folder, {"x": 1}, 4, 3, "float32", FINGERPRINT) as store:
        store.write(0, np.ones((4, 3), np.float32), {}, [2])
    with read_only(folder):
        with Store.open(folder, {"x": 1}, 4, 3, "float32", FINGERPRINT) as store:
            assert store.done.all()
            assert store.silent == {2}
            with pytest.raises(ValueError, match="read-only"):
                store.rows[0] = 0
        with pytest.raises(CacheError), Store.open(folder, {"x": 1}, 4, 3, "float32", 2 * FINGERPRINT):
            pytest.fail("opened")
