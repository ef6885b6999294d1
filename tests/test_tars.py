import io
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile

import leveret.tars as tars
from leveret.audio import AudioError, find_audio, load, read_info
from leveret.batches import CropRule
from leveret.cli import main
from leveret.clips import Clip
from leveret.content import content_digests
from leveret.embedding import Job
from leveret.file_embedding import embed
from leveret.manifests import read_manifest
from leveret.tars import TarError, index_of, member_of, reading_order


def tone(number, seconds=0.4, subtype="PCM_16", form="FLAC"):
    wave = 0.3 * np.sin(np.arange(round(16_000 * seconds)) * (0.1 + 0.01 * number))
    file = io.BytesIO()
    soundfile.write(file, wave, 16_000, format=form, subtype=subtype)
    return file.getvalue()


def packed(path, members, **entry):
    """An archive of (name, bytes)."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in entry.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def shard(tmp_path):
    """Six tones, named against the order in which they lie, between a text and a folder."""
    members = [("readme.txt", b"hello"), *((f"./in/{9 - k}.flac", tone(k)) for k in range(6))]
    return packed(tmp_path / "shard-0001.tar", members)


def vectors(inputs):
    found = embed(inputs, "melstats")
    return found.file, found.vector


def test_the_members_of_an_archive_equal_the_files_that_were_packed(shard, tmp_path):
    with tarfile.open(shard) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    names, inside = vectors([shard])
    assert names == [f"{shard}/in/{9 - k}.flac" for k in range(6)], "in the order in which they lie"
    files = [tmp_path / "unpacked" / "in" / Path(name).name for name in names]
    _, outside = vectors(files)
    np.testing.assert_array_equal(inside, outside)
    assert content_digests([Path(name) for name in names], 2) == [
        sha256(path.read_bytes()).hexdigest() for path in files
    ]
    assert read_info(Path(names[0])) == read_info(files[0])
    np.testing.assert_array_equal(load(Path(names[3]), 8_000, 0.1, 0.3), load(files[3], 8_000, 0.1, 0.3))


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
def test_every_format_is_read_inside_an_archive_as_outside(tmp_path, form, subtype):
    content = tone(3, 1.0, subtype, form)
    (tmp_path / "a.any").write_bytes(content)
    shard = packed(tmp_path / "s.tar", [("x.txt", b"-" * 700), ("a.any", content), ("y.txt", b"-" * 700)])
    np.testing.assert_array_equal(load(shard / "a.any", 16_000), load(tmp_path / "a.any", 16_000))


def test_a_manifest_names_members_of_archives(shard, tmp_path):
    lines = [f"{shard.name}/in/{9 - k}.flac,{'ab'[k % 2]},{'train' if k < 4 else 'test'}" for k in range(6)]
    (tmp_path / "set.csv").write_text("file,label,split\n" + "\n".join(lines) + "\n")
    (part,) = read_manifest(tmp_path / "set.csv")
    clips = [*part.folds[0].train, *part.folds[0].test]
    job = Job.make("x", list(reversed(clips)), CropRule(seconds=0.4), 2)
    assert job.plan.bad == {}
    assert [clip.id for clip in job.plan.clips] == [clip.id for clip in clips], "a shard is read front to back"


def test_members_are_read_shard_by_shard_and_files_keep_their_place(shard, tmp_path):
    other = packed(tmp_path / "shard-0000.tar", [("b.flac", tone(1)), ("a.flac", tone(2))])
    paths = [shard / "in/8.flac", tmp_path / "one.wav", other / "a.flac", shard / "in/9.flac", other / "b.flac"]
    assert [paths[k] for k in reading_order(paths)] == [
        other / "b.flac", tmp_path / "one.wav", other / "a.flac", shard / "in/9.flac", shard / "in/8.flac",
    ]  # fmt: skip


def test_an_archive_is_passed_over_once_until_it_changes(shard, monkeypatch):
    passes = []
    passed_over = tars._passed_over
    monkeypatch.setattr(tars, "_passed_over", lambda path: passes.append(path) or passed_over(path))
    tars._index.cache_clear()
    for _ in range(3):
        assert member_of(shard / "in/9.flac").size == len(tone(0))
    tars._index.cache_clear()  # another process
    index_of(shard)
    assert len(passes) == 1
    (kept,) = (Path(tars.home()) / "tars").iterdir()
    kept.write_bytes(kept.read_bytes()[:-7])
    tars._index.cache_clear()
    index_of(shard)
    assert len(passes) == 2, "a damaged index is no index"
    packed(shard, [("new.flac", tone(1, 0.5))])
    assert list(index_of(shard).members) == ["new.flac"]


HOSTILE = ["/etc/passwd", "../../up.flac", "in/../../up.flac", "."]


def test_a_name_that_leads_elsewhere_is_no_member_and_is_counted(tmp_path, capsys, monkeypatch):
    shard = packed(tmp_path / "bad.tar", [*((name, tone(1)) for name in HOSTILE), ("good.flac", tone(2))])
    with tarfile.open(shard, "a") as tar:
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "good.flac"), (tarfile.FIFOTYPE, "")):
            info = tarfile.TarInfo(f"link-{kind!r}.flac")
            info.type, info.linkname = kind, target
            tar.addfile(info)
        info = tarfile.TarInfo("x")
        info.pax_headers = {"path": "a\x00b.flac"}
        tar.addfile(info)
    assert list(index_of(shard).members) == ["good.flac"]
    for name in ("../../up.flac", "link-b'2'.flac"):
        with pytest.raises(AudioError, match="no such file among the 1 in the archive"):
            read_info(shard / name)
    assert main(["embed", str(shard), "--encoder", "melstats", "-o", str(tmp_path / "v.parquet")]) == 0
    assert "bad.tar: 8 members are left out" in capsys.readouterr().err


def test_a_member_whose_name_is_hostile_to_terminals_is_read_and_shown_escaped(tmp_path, capsys):
    name = "a\x1b[31m\nred [bold]x.flac"
    shard = packed(tmp_path / "s.tar", [(name, tone(1)), ("broken.flac", b"nothing"), ("\udce9.flac", tone(2))])
    assert load(shard / name, 16_000).any()
    with pytest.raises(AudioError, match="not UTF-8"):
        load(shard / "\udce9.flac", 16_000)
    words = ["embed", str(shard), "--encoder", "melstats", "--bad-files", "skip", "-o", str(tmp_path / "v.parquet")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "\x1b[31m" not in said.out + said.err
    assert "broken.flac' is not audio" in said.err


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_a_compressed_archive_is_refused_with_advice(tmp_path, capsys, ending):
    path = tmp_path / f"s.{ending}"
    with tarfile.open(path, f"w:{ending[-3:].lstrip('.').replace('tgz', 'gz')}") as tar:
        tar.addfile(tarfile.TarInfo("a.flac"), io.BytesIO())
    renamed = tmp_path / "renamed.tar"
    renamed.write_bytes(path.read_bytes())
    for name in (path, path / "a.flac", renamed, renamed / "a.flac"):
        assert main(["embed", str(name), "--encoder", "melstats", "-o", str(tmp_path / "v.parquet")]) == 2
        said = capsys.readouterr().err
        assert "it is compressed, so that nothing in it can be read in place; decompress it" in said
        assert said.count("\n") == 1


def test_a_name_that_is_not_in_its_archive_is_one_bad_file_among_others(tmp_path, shard):
    packed_up = tmp_path / "s.tar.gz"
    with tarfile.open(packed_up, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.flac"), io.BytesIO())
    inputs = [shard / "in/4.flac", shard / "none.flac", packed_up / "a.flac"]
    skipped = embed(inputs, "melstats", policy="skip").about["skipped"]
    assert list(skipped) == [str(path) for path in inputs[1:]]
    assert "no such file among the" in skipped[str(inputs[1])]
    assert "it is compressed" in skipped[str(inputs[2])]


def cut(shard, num_bytes):
    shard.write_bytes(shard.read_bytes()[:num_bytes])
    return shard


def test_a_truncated_archive_gives_the_members_before_the_cut(shard):
    end = index_of(shard).members["in/6.flac"][0]
    cut(shard, end + 100)
    with pytest.raises(AudioError, match=r"breaks off after .* copy it again"):
        find_audio([shard])
    assert load(shard / "in/7.flac", 16_000).any()
    clips = [Clip(f"{k}", shard / f"in/{k}.flac", (), "") for k in range(4, 10)]
    bad = Job.make("x", clips, CropRule(seconds=0.4), 2).plan.bad
    assert sorted(bad) == ["4", "5", "6"]
    assert all("copy it again" in reason for reason in bad.values())


def test_an_archive_without_its_end_mark_is_not_taken_for_whole(shard):
    at, size = index_of(shard).members["in/4.flac"]
    assert index_of(shard).whole
    assert not index_of(cut(shard, at + -(-size // 512) * 512)).whole


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100, bytes(1024), b"\x00" * 511])
def test_what_is_no_archive_is_one_sentence(tmp_path, capsys, content):
    (tmp_path / "s.tar").write_bytes(content)
    assert main(["embed", str(tmp_path / "s.tar"), "--encoder", "melstats", "-o", str(tmp_path / "v.npz")]) == 2
    assert capsys.readouterr().err.startswith("leveret: error: ")


def test_a_size_below_zero_ends_the_index_and_not_the_patience(tmp_path):
    shard = packed(tmp_path / "s.tar", [("a.flac", tone(1)), ("b.flac", tone(2))])
    with tarfile.open(shard) as tar:
        at = tar.getmember("b.flac").offset
    content = bytearray(shard.read_bytes())
    content[at + 124 : at + 136] = b"\xff" * 11 + b"\x00"  # -256, in the binary form of sizes
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    shard.write_bytes(content)
    index = index_of(shard)
    assert list(index.members) == ["a.flac"]
    assert not index.whole


def test_a_folder_or_a_file_that_is_merely_called_so_is_no_archive(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "folder.tar" / "a.flac").write_bytes(tone(1))
    assert member_of(tmp_path / "folder.tar" / "a.flac") is None
    assert load(tmp_path / "folder.tar" / "a.flac", 16_000).any()
    assert find_audio([tmp_path / "folder.tar"]) == [tmp_path / "folder.tar" / "a.flac"]


def test_a_member_is_a_bounded_file(shard):
    member = member_of(shard / "in/9.flac")
    with member.open() as file:
        content = file.read()
        assert content == tone(0)
        assert file.read() == b""
        file.seek(-10, io.SEEK_END)
        assert file.read(100) == content[-10:]
        with pytest.raises(OSError, match="seek"):
            file.raw.seek(-1)
    shard.write_bytes(shard.read_bytes()[: member.offset + 10])
    with pytest.raises(TarError, match="breaks off"):
        member.open()
