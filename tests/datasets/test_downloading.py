"""Downloads go on where they broke off, try mirrors in turn, and keep nothing that is another file."""

from hashlib import md5, sha256

import numpy as np
import pytest

from leveret.datasets.downloading import TRIES, DownloadError, fetch
from leveret.progress import Reporter
from leveret.published_audio import Archive

CONTENT = np.random.default_rng(5).bytes(1_000_000)
SUM = f"sha256:{sha256(CONTENT).hexdigest()}"


def archive(site, *paths, checksum=SUM):
    return Archive("x.bin", tuple(f"{site.url}{path}" for path in paths or ("/x",)), checksum=checksum)


@pytest.fixture
def holding(site):
    site.files["/x"] = CONTENT
    return site


@pytest.mark.parametrize("checksum", [SUM, f"md5:{md5(CONTENT).hexdigest()}", ""])
def test_a_file_comes_whole_and_a_second_call_asks_nobody(holding, tmp_path, checksum):
    path = fetch(archive(holding, checksum=checksum), tmp_path, Reporter())
    assert path == tmp_path / "x.bin"
    assert path.read_bytes() == CONTENT
    fetch(archive(holding, checksum=checksum), tmp_path, Reporter())
    assert holding.asked == [("/x", "")]
    assert [one.name for one in tmp_path.iterdir()] == ["x.bin"]


def test_a_connection_that_is_cut_is_gone_on_from_where_it_was(holding, tmp_path):
    holding.break_after = [300_000, 1, 500_000]
    assert fetch(archive(holding), tmp_path, Reporter()).read_bytes() == CONTENT
    assert [wanted for _, wanted in holding.asked] == ["", "bytes=300000-", "bytes=300001-", "bytes=800001-"]


def test_what_came_before_the_server_fell_silent_is_kept_for_the_next_call(holding, tmp_path):
    holding.break_after = [300_000, *[0] * TRIES]
    with pytest.raises(DownloadError, match=r"broke off after 300000 of 1000000 bytes, 5 times in a row; 0.3 MB have"):
        fetch(archive(holding), tmp_path, Reporter())
    assert (tmp_path / "x.bin.part").stat().st_size == 300_000
    assert fetch(archive(holding), tmp_path, Reporter()).read_bytes() == CONTENT
    assert holding.asked[-1] == ("/x", "bytes=300000-")


def test_a_server_that_knows_no_ranges_sends_all_again(holding, tmp_path):
    holding.ranges, holding.break_after = False, [300_000]
    assert fetch(archive(holding), tmp_path, Reporter()).read_bytes() == CONTENT


def test_halves_of_two_versions_are_never_put_together(holding, tmp_path):
    newer = CONTENT[::-1]
    holding.versions["/x"] = '"first"'
    holding.break_after = [300_000, *[0] * TRIES]
    with pytest.raises(DownloadError):
        fetch(archive(holding, checksum=""), tmp_path, Reporter())
    holding.files["/x"], holding.versions["/x"] = newer, '"second"'
    assert fetch(archive(holding, checksum=""), tmp_path, Reporter()).read_bytes() == newer


def test_without_a_checksum_a_mirror_begins_anew(holding, tmp_path):
    holding.files["/mirror"] = CONTENT[::-1]
    holding.break_after = [300_000, *[0] * TRIES]
    path = fetch(archive(holding, "/x", "/mirror", checksum=""), tmp_path, Reporter())
    assert path.read_bytes() == CONTENT[::-1]
    assert holding.asked[-1] == ("/mirror", "")


def test_with_a_checksum_a_mirror_goes_on(holding, tmp_path):
    holding.files["/mirror"] = CONTENT
    holding.break_after = [300_000, *[0] * TRIES]
    assert fetch(archive(holding, "/x", "/mirror"), tmp_path, Reporter()).read_bytes() == CONTENT
    assert holding.asked[-1] == ("/mirror", "bytes=300000-")


def test_a_file_that_was_whole_already_is_taken(holding, tmp_path):
    (tmp_path / "x.bin.part").write_bytes(CONTENT)
    assert fetch(archive(holding), tmp_path, Reporter()).read_bytes() == CONTENT
    (tmp_path / "x.bin").unlink()
    (tmp_path / "x.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(archive(holding), tmp_path, Reporter()).read_bytes() == CONTENT


def test_another_checksum_is_refused_and_nothing_of_it_is_kept(holding, tmp_path):
    holding.files["/x"] = b"a page that says log in"
    with pytest.raises(DownloadError, match=r"x.bin cannot be downloaded: http.*does not match the known hash"):
        fetch(archive(holding), tmp_path, Reporter())
    assert not list(tmp_path.iterdir())


def test_a_mirror_is_asked_where_the_first_has_nothing_or_something_else(holding, tmp_path):
    holding.files["/other"] = b"another file"
    path = fetch(archive(holding, "/none", "/other", "/x"), tmp_path, Reporter())
    assert path.read_bytes() == CONTENT
    assert [path for path, _ in holding.asked] == ["/none", "/other", "/x"]


def test_a_file_that_nobody_has_tells_what_each_said(holding, tmp_path):
    holding.status["/forbidden"] = 403
    holding.files["/forbidden"] = b""
    with pytest.raises(DownloadError, match=r"/none: the server says 404 Not Found; .*/forbidden: the server says 403"):
        fetch(archive(holding, "/none", "/forbidden"), tmp_path, Reporter())
    assert len(holding.asked) == 2
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_busy_is_asked_again(holding, tmp_path):
    holding.status["/x"] = 503
    with pytest.raises(DownloadError, match=r"the server says 503 .*, 5 times in a row"):
        fetch(archive(holding), tmp_path, Reporter())
    assert len(holding.asked) == TRIES


def test_nobody_at_an_address_is_told(tmp_path, site):
    with pytest.raises(DownloadError, match="Connection refused, 5 times in a row"):
        fetch(Archive("x.bin", ("http://127.0.0.1:9/x",)), tmp_path, Reporter())


def test_a_file_that_does_not_fit_is_not_begun(holding, tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 999_999})())
    with pytest.raises(OSError, match=r"downloading x.bin needs 0.00 GB at"):
        fetch(archive(holding), tmp_path, Reporter())
    assert not list(tmp_path.iterdir())
