"""Archives: what honest ones hold comes out as it went in; what no honest one holds is refused."""

import io
import lzma
import os
import tarfile
import zipfile

import pytest

from leveret import archives
from leveret.archives import ArchiveError, Joined, is_archive, unpack

FILES = {"top/a.txt": b"first", "top/deep/b.bin": bytes(range(256)) * 300, "top/empty": b""}


def write_tar(path, files=FILES, mode="w", **changes):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, files=FILES, mode=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def read_tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar", "w"), ("x.tgz", "w:gz"), ("x.tar.bz2", "w:bz2"), ("x.tar.xz", "w:xz"), ("x.zip", "")]
)
def test_every_sort_is_told_by_its_bytes_and_unpacked_as_it_was(tmp_path, name, mode):
    path = write_tar(tmp_path / name, mode=mode) if mode else write_zip(tmp_path / name)
    assert is_archive(name)
    anonymous = path.rename(tmp_path / "anonymous")
    told = []
    assert unpack([anonymous], tmp_path / "out", told.append) == 3
    assert read_tree(tmp_path / "out") == FILES
    assert sum(told) == sum(map(len, FILES.values()))


@pytest.mark.parametrize("num_pieces", [2, 3, 7])
@pytest.mark.parametrize("sort", ["tar", "zip"])
def test_pieces_are_read_as_one(tmp_path, sort, num_pieces):
    whole = (write_tar(tmp_path / "x.tar") if sort == "tar" else write_zip(tmp_path / "x.zip")).read_bytes()
    size = -(-len(whole) // num_pieces)
    pieces = [tmp_path / f"x.{sort}.{number:03d}" for number in range(num_pieces)]
    for number, piece in enumerate(pieces):
        piece.write_bytes(whole[number * size : (number + 1) * size])
    with Joined(pieces) as joined:
        assert joined.read() == whole
        joined.seek(-3, os.SEEK_END)
        assert joined.read() == whole[-3:]
    unpack(pieces, tmp_path / "out")
    assert read_tree(tmp_path / "out") == FILES


HOSTILE = ["../x", "a/../../x", "/etc/x", "a\\..\\..\\x", "..\\x"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_a_name_that_points_out_is_refused_before_anything_of_it_is_written(tmp_path, write, name):
    path = write(tmp_path / "x", {name: b"owned"})
    with pytest.raises(ArchiveError, match="points out of the archive"):
        unpack([path], tmp_path / "in" / "out")
    assert read_tree(tmp_path) == {"x": path.read_bytes()}


@pytest.mark.parametrize("sort", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, sort):
    path = write_tar(tmp_path / "x.tar", {"x": b""}, type=sort, linkname="/etc/passwd")
    with pytest.raises(ArchiveError, match="member 'x' is a link or a device"):
        unpack([path], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("mode", [0o120777, 0o020644, 0o010644])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    path = write_zip(tmp_path / "x.zip", {"x": b"/etc/passwd"}, mode)
    with pytest.raises(ArchiveError, match="member 'x' is a link or a device"):
        unpack([path], tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "zip"])
def test_a_bomb_is_refused_by_how_much_it_unpacks_to(tmp_path, mode, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    files = {f"{number}.wav": bytes(1 << 20) for number in range(4)}
    path = write_zip(tmp_path / "x") if mode == "zip" else tmp_path / "x"
    path = write_zip(path, files) if mode == "zip" else write_tar(path, files, mode)
    with pytest.raises(ArchiveError, match="would unpack to more than 1 MB, over 100 times its size"):
        unpack([path], tmp_path / "out")


def test_millions_of_empty_files_are_a_bomb_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 16)
    path = write_tar(tmp_path / "x", {f"{number:06d}": b"" for number in range(3000)}, "w:xz")
    with pytest.raises(ArchiveError, match="would unpack to more than"):
        unpack([path], tmp_path / "out")


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    path = tmp_path / "x"
    path.write_bytes(lzma.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 12)))
    with pytest.raises(ArchiveError, match=f"has a header of {1 << 33} bytes"):
        unpack([path], tmp_path / "out")


def test_holes_in_place_of_data_are_refused(tmp_path):
    info = tarfile.TarInfo("hole.wav")
    info.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"77777777777\0"  # its real size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(ArchiveError, match="has holes in place of data"):
        unpack([tmp_path / "x"], tmp_path / "out")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"x": b"secret"})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="member 'x' is encrypted"):
        unpack([path], tmp_path / "out")


@pytest.mark.parametrize("sort", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_an_archive_that_was_cut_is_named(tmp_path, sort, share):
    generator = __import__("numpy").random.default_rng(0)
    files = {"a": generator.bytes(20_000), "b": generator.bytes(20_000)}
    path = write_zip(tmp_path / "x", files) if sort == "zip" else write_tar(tmp_path / "x", files, sort)
    content = path.read_bytes()
    if sort == "w":
        content = content[:41_500]  # a plain tar is padded with zeros
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArchiveError, match=r"x' is no whole (tar|zip)"):
        unpack([path], tmp_path / "out")


def test_a_page_of_a_server_in_place_of_an_archive_is_told(tmp_path):
    (tmp_path / "x.zip").write_text("<html>Please log in</html>" * 100)
    with pytest.raises(ArchiveError, match="is no whole tar"):
        unpack([tmp_path / "x.zip"], tmp_path / "out")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_that_is_a_folder_too_is_refused(tmp_path, names):
    path = write_tar(tmp_path / "x", dict.fromkeys(names, b"1"))
    with pytest.raises(ArchiveError, match="a file in one place and a folder in another"):
        unpack([path], tmp_path / "out")


def test_a_missing_piece_leaves_no_file_open(tmp_path):
    path = write_tar(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        unpack([path, tmp_path / "none"], tmp_path / "out")


def test_what_does_not_fit_on_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OSError, match=r"member 'top/deep/b.bin' needs"):
        unpack([write_tar(tmp_path / "x")], tmp_path / "out")
