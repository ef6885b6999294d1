import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from leveret import cache
from leveret.cache import CacheError, Store, digest_of, guest_lock, remove, rows_recorded, stores

IDENTITY = {"encoder": {"digest": "abc", "origin": "test", "config": {}}, "clips": "def"}
FINGERPRINT = np.arange(1, 17, dtype=np.float32).reshape(8, 2)


def opened(root, num_rows=10, width=3, dtype="float32", identity=IDENTITY, fingerprint=FINGERPRINT):
    return Store.open(root, identity, num_rows, width, dtype, fingerprint)


def vectors(first, stop, width=3):
    """Row r holds r, r + 0.25, r + 0.5, ..., which float16 holds exactly too."""
    return (np.arange(first, stop)[:, None] + np.arange(width) / 4).astype(np.float32)


@pytest.fixture
def filled(tmp_path):
    """A whole store of ten rows in pieces of four, four and two; row 5 is bad, row 9 silent."""
    with opened(tmp_path) as store:
        store.write(0, vectors(0, 4), {})
        store.write(4, vectors(4, 8), {5: "broken file"})
        store.write(8, vectors(8, 10), {}, [9])
    return tmp_path


def folder_of(root):
    (path,) = root.glob("??/*/identity.json")
    return path.parent


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_was_written_is_there_on_a_later_visit(tmp_path, dtype):
    with opened(tmp_path, dtype=dtype) as store:
        assert not store.done.any()
        store.write(0, vectors(0, 6), {2: "broken file"}, [3])
    with opened(tmp_path, dtype=dtype) as store:
        assert store.done.tolist() == [True] * 6 + [False] * 4
        assert store.rows.dtype == dtype
        np.testing.assert_array_equal(store.rows[:6], vectors(0, 6))
        assert store.bad == {2: "broken file"}
        assert store.silent == {3}
        assert store.damaged == []


@pytest.mark.parametrize("key", ["dtype", "shape", "store", "anything"])
def test_no_part_of_an_identity_is_lost_in_the_key(tmp_path, key):
    with opened(tmp_path, identity={**IDENTITY, key: "float32"}) as store:
        store.write(0, vectors(0, 10), {})
    with opened(tmp_path, identity={**IDENTITY, key: "bfloat16"}) as store:
        assert not store.done.any()


def test_a_store_without_rows_is_complete(tmp_path):
    with opened(tmp_path, num_rows=0) as store:
        assert store.rows.shape == (0, 3)
        assert store.done.all()
    assert [(found.num_rows, found.num_done, found.num_bytes) for found in stores(tmp_path, verify=True)] == [(0, 0, 0)]


@pytest.mark.parametrize("cut", [2, 30, 100])
def test_a_torn_journal_line_loses_its_piece_and_no_other(filled, cut):
    journal = folder_of(filled) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    with opened(filled) as store:
        assert store.done.tolist() == [True] * 8 + [False] * 2
        store.write(8, vectors(8, 10), {})
    with opened(filled) as store:
        assert store.done.all(), "the line after the torn one was lost too"
        np.testing.assert_array_equal(store.rows, vectors(0, 10))


def test_a_piece_whose_line_was_never_written_does_not_count(filled):
    journal = folder_of(filled) / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:1]))
    with opened(filled) as store:
        assert store.done.sum() == 4
    assert rows_recorded(filled, IDENTITY, 10, 3, "float32") == 4


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_flipped_byte_is_found_named_and_mended(filled):
    flip(folder_of(filled) / "rows.bin", 4 * 3 * 6)  # in row 6
    with opened(filled) as store:
        assert store.damaged == [(4, 8)]
        assert store.done.tolist() == [True] * 4 + [False] * 4 + [True] * 2
        assert store.bad == {}
        store.write(4, vectors(4, 8), {5: "broken file"})
    with opened(filled) as store:
        assert store.damaged == []
        assert store.done.all()
        np.testing.assert_array_equal(store.rows, vectors(0, 10))


def test_a_flipped_byte_anywhere_in_the_journal_never_counts_and_never_stops_the_work(filled):
    journal = folder_of(filled) / "journal.jsonl"
    whole = journal.read_bytes()
    for at in range(0, len(whole) - 1, 7):
        journal.write_bytes(whole)
        flip(journal, at)
        with opened(filled) as store:
            assert store.done.sum() >= 2, at  # two lines of three lie on one flipped line break at most
            assert store.bad == ({5: "broken file"} if store.done[5] else {})
            assert store.silent == ({9} if store.done[9] else set())


@pytest.mark.parametrize("name", ["identity.json", "fingerprint.npy"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x93NUMPY\x01\x00v\x00"])
def test_a_torn_file_beside_the_rows_is_mended(filled, name, content):
    path = folder_of(filled) / name
    path.write_bytes(content)
    with opened(filled) as store:
        # without a fingerprint nothing vouches for the rows
        assert store.done.all() == (name == "identity.json")
    with opened(filled) as store:
        assert store.done.all() == (name == "identity.json")
    assert len(list(stores(filled))) == 1


def test_a_process_killed_between_the_rows_and_the_identity_does_no_harm(filled):
    (folder := folder_of(filled)).joinpath("identity.json").unlink()
    with opened(filled) as store:
        assert store.done.all()
    assert (folder / "identity.json").exists()


def test_rows_of_another_length_are_begun_anew(filled):
    path = folder_of(filled) / "rows.bin"
    path.write_bytes(path.read_bytes()[:-1])
    (listed,) = stores(filled, verify=True)
    assert (listed.num_done, listed.num_damaged) == (0, 10)
    with opened(filled) as store:
        assert not store.done.any()
    assert path.stat().st_size == 10 * 3 * 4


@pytest.mark.parametrize(
    "other",
    [{"identity": {**IDENTITY, "clips": "xyz"}}, {"num_rows": 11}, {"width": 4}, {"dtype": "float16"}],
    ids=["identity", "rows", "width", "dtype"],
)
def test_another_identity_never_shares(filled, other):
    with opened(filled, **other) as store:
        assert not store.done.any()
    with opened(filled) as store:
        assert store.done.all()
    assert len(list(stores(filled))) == 2


def test_the_order_of_an_identity_does_not_matter():
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1, "b": [2]}) != digest_of({"a": 1, "b": [3]})


@pytest.mark.parametrize(
    ("fingerprint", "kept"),
    [
        (FINGERPRINT * (1 + 1e-3), True),
        (FINGERPRINT * 1.05, False),
        (np.zeros_like(FINGERPRINT), False),
        (FINGERPRINT[:, :1], False),
        (FINGERPRINT * np.float32(np.nan), False),
    ],
    ids=["other device", "changed", "zeros", "shape", "nan"],
)
def test_a_changed_behaviour_drops_the_rows(filled, fingerprint, kept):
    with opened(filled, fingerprint=fingerprint) as store:
        assert store.done.any() == kept


def test_a_full_disk_is_told_before_the_work_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(CacheError, match=r"needs 0\.00 GB .*; free some space .* set LEVERET_HOME"), opened(tmp_path):
        pytest.fail("opened")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert list(stores(tmp_path)) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call")
def test_a_disk_that_fills_up_meanwhile_is_told_too(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CacheError, match="No space left"), opened(tmp_path):
        pytest.fail("opened")
    assert not list(tmp_path.rglob("rows.bin"))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path, monkeypatch, number):
    def refuse(self, *arguments, **settings):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CacheError, match=f"cannot be written .*{os.strerror(number)}.*LEVERET_HOME"), opened(tmp_path):
        pytest.fail("opened")


def test_a_cache_folder_that_is_a_file_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="LEVERET_HOME"), opened(tmp_path / "file"):
        pytest.fail("opened")


def test_an_error_of_the_work_itself_is_not_blamed_on_the_cache(tmp_path):
    with pytest.raises(PermissionError, match=r"audio\.wav") as caught, opened(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "audio.wav")
    assert not isinstance(caught.value, CacheError)


def test_one_process_may_hold_one_store_twice(tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as other:
        one.write(0, vectors(0, 4), {})
        other.write(0, vectors(0, 4), {})
        other.write(4, vectors(4, 10), {})
    with opened(tmp_path) as store:
        assert store.done.all()
        np.testing.assert_array_equal(store.rows, vectors(0, 10))


WRITER = """
import sys
import threading
from pathlib import Path
import numpy as np
from leveret.cache import Store

root, value = Path(sys.argv[1]), int(sys.argv[2])
for piece in range(0, 100, 5):
    fingerprint = np.arange(1, 17, dtype=np.float32).reshape(8, 2)
    with Store.open(root, {"shared": True}, 100, 3, "float32", fingerprint) as store:
        if not store.done[piece]:
            store.write(piece, np.full((5, 3), value, np.float32), {piece: f"writer {value}"})
"""

REMOVER = """
import sys
import threading
from pathlib import Path
from leveret.cache import remove, stores

(store,) = stores(Path(sys.argv[1]))
print("found", flush=True)
remove(store)
"""


def test_two_processes_can_write_one_store(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), value]) for value in ("1", "2")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with opened(tmp_path, 100, identity={"shared": True}) as store:
        assert store.done.all()
        assert store.damaged == []
        for piece in range(0, 100, 5):
            value = store.rows[piece, 0]
            assert (store.rows[piece : piece + 5] == value).all()
            assert store.bad[piece] == f"writer {value:.0f}"
    journal = (folder_of(tmp_path) / "journal.jsonl").read_text().splitlines()
    assert len(journal) == 20  # nothing was computed twice


def test_what_is_listed_is_what_lies_there(filled):
    with opened(filled, num_rows=4, identity={"other": 1}) as store:
        store.write(0, vectors(0, 2), {})
    listed = {found.num_rows: found for found in stores(filled)}
    assert listed[10].identity == IDENTITY
    assert (listed[10].num_done, listed[10].num_damaged, listed[10].num_bytes) == (10, 0, 120)
    assert (listed[4].num_done, listed[4].width, listed[4].dtype) == (2, 3, "float32")


def test_only_verifying_reads_the_rows(filled):
    flip(folder_of(filled) / "rows.bin", 0)
    assert [(found.num_done, found.num_damaged) for found in stores(filled)] == [(10, 0)]
    assert [(found.num_done, found.num_damaged) for found in stores(filled, verify=True)] == [(6, 4)]


def test_opening_a_store_renews_the_date_of_its_last_use(filled):
    path = folder_of(filled) / "identity.json"
    os.utime(path, (1, 1))
    with opened(filled):
        pass
    assert next(stores(filled)).last_used > 1e9
    assert json.loads(path.read_text())["identity"] == IDENTITY


def test_a_removed_store_is_gone_and_can_be_made_again(filled):
    (listed,) = stores(filled)
    remove(listed)
    assert list(stores(filled)) == []
    remove(listed)  # somebody else was faster
    with opened(filled) as store:
        assert not store.done.any()


def test_a_store_that_is_in_use_is_not_removed_under_its_writer(filled):
    folder = folder_of(filled)
    with opened(filled):
        remover = subprocess.Popen([sys.executable, "-c", REMOVER, str(filled)], stdout=subprocess.PIPE)
        with remover.stdout as said:
            assert said.readline() == b"found\n"
        with pytest.raises(subprocess.TimeoutExpired):
            remover.wait(0.3)
        assert (folder / "rows.bin").exists()
    assert remover.wait(60) == 0
    assert not folder.exists()


def test_what_a_guest_recorded_counts_and_is_folded_into_the_one_journal(tmp_path):
    with opened(tmp_path) as store:
        store.write(0, vectors(0, 4), {})
        guest = Store(store.folder, store.rows, store.done.copy(), {}, set(), [], journal="journal-1.jsonl")
        guest.write(6, vectors(6, 8), {7: "broken file"}, [6])
        with (store.folder / "journal-1.jsonl").open("ab") as file:
            file.write(b'{"rows": [8, 10], "sha')  # killed while it wrote
        assert rows_recorded(tmp_path, IDENTITY, 10, 3, "float32") == 6
    for _ in range(2):
        with opened(tmp_path) as store:
            assert store.done.tolist() == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2
            assert (store.bad, store.silent, store.spoilt) == ({7: "broken file"}, {6}, [])
            assert [path.name for path in store.folder.glob("journal*")] == ["journal.jsonl"]


def test_the_damaged_journal_of_a_guest_is_named_and_what_it_vouched_for_is_not_done(tmp_path):
    with opened(tmp_path) as store:
        store.journal = "journal-3.jsonl"
        store.write(0, vectors(0, 4), {})
    path = folder_of(tmp_path) / "journal-3.jsonl"
    path.write_bytes(path.read_bytes().replace(b"sha256", b"sha257"))
    with opened(tmp_path) as store:
        assert not store.done.any()
        assert store.spoilt == ["journal-3.jsonl"]


def test_who_opens_a_store_waits_for_the_guests_of_a_host_that_was_killed(tmp_path):
    with opened(tmp_path) as store:
        folder = store.folder
    entered = threading.Event()

    def next_owner():
        with opened(tmp_path):
            entered.set()

    with guest_lock(folder, 1):
        thread = threading.Thread(target=next_owner)
        thread.start()
        assert not entered.wait(0.3)
    thread.join(timeout=20)
    assert entered.is_set()


def test_rows_that_somebody_still_reads_are_not_written_over_when_the_encoder_changes(filled):
    with opened(filled) as store:
        rows = store.rows
    with opened(filled, fingerprint=2 * FINGERPRINT) as store:
        store.write(0, vectors(100, 110), {})
    np.testing.assert_array_equal(rows[:4], vectors(0, 4))
