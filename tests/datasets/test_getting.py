"""`data get`: a dataset is there whole or not at all, and what was downloaded is not downloaded twice."""

import errno
import io
import json
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from filelock import FileLock

from leveret import archives, cli
from leveret.archives import ArchiveError
from leveret.dataroots import DataRoots
from leveret.datasets import getting
from leveret.datasets.getting import STORE, get, plan_to_get
from leveret.datasets.names import published
from leveret.progress import Reporter
from leveret.published_audio import Archive, DatasetError


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def fetched(root):
    """Gets a published dataset into the root."""

    def run(one, **options):
        return get(plan_to_get(one, DataRoots(root=root)), Reporter(), **options)

    return run


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def hostile_tar(name="x", sort=tarfile.REGTYPE, content=b""):
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = sort, len(content), "/etc/passwd"
        tar.addfile(info, io.BytesIO(content))
    return found.getvalue()


def test_a_dataset_is_downloaded_unpacked_and_looked_over(site, publish, toy, toy_zip, root, fetched):
    site.files["/toy.zip"] = toy_zip
    done = fetched(publish(Archive("toy.zip", (f"{site.url}/toy.zip",))))
    assert files_below(root / "toy") == files_below(toy)
    assert done.num_files == 25
    assert [(one.status, one.name) for one in done.findings] == [
        ("pass", "toy_pitch clips"), ("note", "toy_pitch splits"), ("pass", "files"),
    ]  # fmt: skip
    assert [path.name for path in root.iterdir()] == ["toy"]


def test_archives_go_into_their_folders_and_what_is_no_archive_is_put_there(site, publish, toy, root, fetched):
    audio = io.BytesIO()
    with tarfile.open(fileobj=audio, mode="w:gz") as tar:
        for path in sorted((toy / "audio").iterdir()):
            tar.add(path, path.name)
    site.files |= {"/audio.tgz": audio.getvalue(), "/list": (toy / "list.csv").read_bytes()}
    fetched(
        publish(
            Archive("audio.tgz", (f"{site.url}/audio.tgz",), into="audio"),
            Archive("list.csv", (f"{site.url}/list",), into=""),
        )
    )
    assert files_below(root / "toy") == files_below(toy)


@pytest.mark.parametrize("whole", ["toy.zip", "bytes.bin"])
def test_pieces_are_joined(site, publish, toy, toy_zip, root, fetched, whole):
    third = len(toy_zip) // 3
    pieces = [toy_zip[:third], toy_zip[third : 2 * third], toy_zip[2 * third :]]
    site.files |= {f"/{number}": piece for number, piece in enumerate(pieces)}
    archives = [Archive(f"x.00{k}", (f"{site.url}/{k}",), part_of=whole) for k in range(3)]
    if whole == "toy.zip":
        fetched(publish(*archives))
        assert files_below(root / "toy") == files_below(toy)
    else:
        fetched(publish(*archives, how="Unpack bytes.bin."))
        assert (root / "toy" / whole).read_bytes() == toy_zip


def test_what_is_there_is_left_alone_and_an_empty_folder_is_filled(site, publish, toy_zip, root, fetched):
    site.files["/toy.zip"] = toy_zip
    one = publish(Archive("toy.zip", (f"{site.url}/toy.zip",)))
    (root / "toy").mkdir(parents=True)
    fetched(one)
    asked = len(site.asked)
    assert plan_to_get(one, DataRoots(root=root)).state == "there"
    assert len(site.asked) == asked


def test_a_named_folder_is_where_it_goes(site, publish, toy_zip, tmp_path):
    site.files["/toy.zip"] = toy_zip
    one = publish(Archive("toy.zip", (f"{site.url}/toy.zip",)))
    get(plan_to_get(one, DataRoots(folders={"toy": tmp_path / "mine"})), Reporter(), keep_archives=True)
    assert (tmp_path / "mine" / "list.csv").is_file()
    assert files_below(tmp_path / STORE) == ["mine/toy.zip"]


def test_nobody_saying_where_and_a_file_in_the_way_are_told(publish, root, monkeypatch):
    monkeypatch.delenv("LEVERET_DATA", raising=False)
    one = publish(Archive("toy.zip", ("http://127.0.0.1:9/x",)))
    with pytest.raises(DatasetError, match="nobody says where Toy shall lie: give --data ROOT"):
        plan_to_get(one, DataRoots())
    root.mkdir()
    (root / "toy").write_text("in the way")
    with pytest.raises(DatasetError, match="toy is a file"):
        plan_to_get(one, DataRoots(root=root))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (hostile_tar("../../owned"), "points out of the archive"),
        (hostile_tar("/tmp/owned"), "points out of the archive"),
        (hostile_tar("x", tarfile.SYMTYPE), "is a link or a device"),
        (hostile_tar("x", tarfile.LNKTYPE), "is a link or a device"),
        (hostile_tar("x", tarfile.CHRTYPE), "is a link or a device"),
        (hostile_tar("x", content=bytes(1 << 22)), "would unpack to more than 1 MB"),
        (b"<html>log in</html>", "is no whole tar"),
    ],
    ids=["climbs", "absolute", "symlink", "hard link", "device", "bomb", "web page"],
)
@pytest.mark.parametrize("vouched_for", [True, False])
def test_what_is_hostile_is_refused_and_leaves_nothing(
    site, publish, root, fetched, monkeypatch, content, says, vouched_for
):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    site.files["/x"] = content
    checksum = f"sha256:{sha256(content).hexdigest()}" if vouched_for else ""
    with pytest.raises(ArchiveError, match=says):
        fetched(publish(Archive("toy.tar.gz", (f"{site.url}/x",), checksum=checksum)))
    assert not (root / "toy").exists()
    # an archive with the right checksum would be downloaded again for nothing
    assert files_below(root) == ([f"{STORE}/toy/toy.tar.gz"] if vouched_for else [])


def test_an_archive_of_something_else_is_refused_where_no_checksum_vouches_for_it(site, publish, toy, root, fetched):
    (toy / "audio" / "03.wav").unlink()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(toy, ".")
    site.files["/x"] = content.getvalue()
    archive = Archive("toy.tar", (f"{site.url}/x",))
    with pytest.raises(DatasetError, match=r"is not Toy as published \(files: 1 of 24 missing: audio/03.wav\)"):
        fetched(publish(archive))
    assert files_below(root) == []
    vouched = Archive("toy.tar", archive.urls, checksum=f"sha256:{sha256(content.getvalue()).hexdigest()}")
    assert [one.name for one in fetched(publish(vouched)).findings if one.status == "fail"] == ["files"]
    assert (root / "toy" / "list.csv").is_file()


def test_a_disk_that_has_no_room_is_told_before_anything_is_asked_for(site, publish, root, monkeypatch):
    plan = plan_to_get(publish(Archive("toy.zip", (f"{site.url}/x",))), DataRoots(root=root))
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 999_999})())
    with pytest.raises(OSError, match=r"getting Toy needs 0\.00 GB"):
        get(plan, Reporter())
    assert not root.exists()
    assert site.asked == []


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archives_and_nothing_else(
    site, publish, toy_zip, root, fetched, monkeypatch
):
    site.files["/toy.zip"] = toy_zip
    one = publish(Archive("toy.zip", (f"{site.url}/toy.zip",)))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "copyfileobj", full)
        with pytest.raises(OSError, match="is full; what of Toy was downloaded is kept"):
            fetched(one)
    assert files_below(root) == [f"{STORE}/toy/toy.zip"]
    fetched(one)
    assert [path for path, _ in site.asked] == ["/toy.zip"]


def test_a_disk_that_fills_up_while_downloading_keeps_what_came(site, publish, toy_zip, root, fetched):
    site.files["/toy.zip"] = toy_zip
    site.break_after = [10_000]
    one = publish(Archive("toy.zip", (f"{site.url}/toy.zip",)))

    class Full(Reporter):
        def __init__(self):
            self.told = 0

        def stage(self, label, total, unit):
            self.told += 1
            if self.told == 2:  # the second connection
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().stage(label, total, unit)

    with pytest.raises(OSError, match="is full; what of Toy was downloaded is kept"):
        get(plan_to_get(one, DataRoots(root=root)), Full())
    plan = plan_to_get(one, DataRoots(root=root))
    assert plan.num_bytes is not None
    assert plan.num_bytes < 400_000 - 9_999
    fetched(one)
    assert site.asked[-1] == ("/toy.zip", "bytes=10000-")


def test_what_breaks_off_while_it_gets_its_name_leaves_nothing_half(site, publish, toy_zip, root, fetched, monkeypatch):
    site.files["/toy.zip"] = toy_zip
    one = publish(Archive("toy.zip", (f"{site.url}/toy.zip",)))

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(getting, "examine_names", stop)
        with pytest.raises(KeyboardInterrupt):
            fetched(one)
    assert not (root / "toy").exists()
    (root / STORE / "toy" / "unpacked").mkdir()  # as a kill leaves it
    fetched(one)
    assert (root / "toy" / "list.csv").is_file()


def test_two_at_once_are_one_too_many(publish, root, fetched):
    one = publish(Archive("toy.zip", ("http://127.0.0.1:9/x",)))
    (root / STORE).mkdir(parents=True)
    with FileLock(root / STORE / "toy.lock"), pytest.raises(DatasetError, match="another process is getting Toy"):
        fetched(one)


def command(capsys, *words):
    status = cli.main(["data", "get", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_asks_first(site, publish, toy_zip, root, capsys, monkeypatch):
    site.files["/toy.zip"] = toy_zip
    publish(Archive("toy.zip", (f"{site.url}/toy.zip",), num_bytes=len(toy_zip)))
    words = ("toy", "--data", root)
    status, _, err = command(capsys, *words)
    assert status == 2
    assert "to download, CC0, into" in err
    assert "nobody is there to be asked whether to download this; give --yes" in err

    def at_a_terminal(answer):
        terminal = io.StringIO(answer)
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", terminal)

    at_a_terminal("\n")
    assert command(capsys, *words)[0] == 2
    assert site.asked == []
    at_a_terminal("y\n")
    status, out, err = command(capsys, *words)
    assert status == 0, err
    assert "Download? [y/N]" in err
    assert "Toy: 25 files in" in out
    status, out, _ = command(capsys, *words)
    assert status == 0
    assert "Toy is there already, in" in out
    assert "leveret data check toy" in out


def test_the_command_tells_what_a_person_has_to_do(publish, root, capsys):
    publish(how="Fill in the form at example.org and unpack toy.zip there.")
    status, out, _ = command(capsys, "toy", "--data", root)
    assert status == 1
    assert "Toy is to be got by hand, into" in out
    assert "Fill in the form" in out
    status, out, _ = command(capsys, "toy_pitch", "--data", root, "--json")
    assert json.loads(out) == [
        {"name": "toy", "state": "by hand", "folder": str(root / "toy"),
         "how": "Fill in the form at example.org and unpack toy.zip there."},
    ]  # fmt: skip


def test_one_that_fails_is_told_with_status_1(site, publish, root, capsys):
    publish(Archive("toy.zip", (f"{site.url}/none", f"{site.url}/nor")))
    status, out, err = command(capsys, "toy", "--data", root, "--yes", "--json")
    assert status == 1
    (row,) = json.loads(out)
    assert row["state"] == "failed"
    assert "404" in row["error"]
    assert "/nor: the server says 404" in err
    assert "Traceback" not in err


def test_a_name_that_nobody_has_lists_the_nearest(publish, root, capsys):
    publish()
    status, _, err = command(capsys, "toyy", "--data", root)
    assert status == 2
    assert "no dataset 'toyy'. Did you mean 'toy'" in err
    assert command(capsys)[2].startswith("leveret: error: no dataset to get")


def test_the_store_is_beside_the_dataset(publish, root):
    plan = plan_to_get(publish(Archive("toy.zip", ("http://127.0.0.1:9/x",))), DataRoots(root=root))
    assert plan.store == Path(root) / STORE / "toy"


@pytest.fixture
def two_versions(site, publish, toy_zip):
    """A dataset with one archive for all variants and one for each of two."""
    site.files |= {"/toy.zip": toy_zip} | {f"/{name}.txt": name.encode() for name in ("old", "new")}
    return publish(
        Archive("toy.zip", (f"{site.url}/toy.zip",), num_bytes=len(toy_zip)),
        Archive("new.txt", (f"{site.url}/new.txt",), num_bytes=3, into="more", variants=("new", "user")),
        Archive("old.txt", (f"{site.url}/old.txt",), into="more", variants=("old",)),
        variants=("new", "old", "user"),
    )


@pytest.mark.parametrize(("variant", "file"), [("", "new"), ("new", "new"), ("old", "old"), ("user", "new")])
def test_of_a_variant_its_own_archives_are_got(site, two_versions, toy_zip, root, variant, file):
    data = DataRoots(root=root, variants={"toy": variant} if variant else {})
    plan = plan_to_get(two_versions, data)
    # the size of what all of it takes is said of the default
    assert plan.num_bytes == (None if variant == "old" else len(toy_zip) + 3)
    done = get(plan, Reporter())
    assert [path for path in files_below(root / "toy") if path.startswith("more/")] == [f"more/{file}.txt"]
    assert [path for path, _ in site.asked] == ["/toy.zip", f"/{file}.txt"]
    (splits,) = [one.seen for one in done.findings if one.name == "toy_pitch splits"]
    assert f"variant {'new' if variant == 'user' else variant or 'new'} (there are" in splits


def test_what_came_of_another_variant_is_not_counted(two_versions, toy_zip, root):
    plan = plan_to_get(two_versions, DataRoots(root=root))
    plan.store.mkdir(parents=True)
    (plan.store / "old.txt").write_bytes(bytes(10))
    (plan.store / "toy.zip.part").write_bytes(bytes(7))
    assert plan_to_get(two_versions, DataRoots(root=root)).num_bytes == len(toy_zip) + 3 - 7


def test_the_command_takes_a_variant_and_the_list_tells_its_archives(two_versions, root, capsys):
    assert command(capsys, "toy", "--data", root, "--variant", "toy=olf", "--yes")[0] == 2
    status, out, _ = command(capsys, "toy", "--data", root, "--variant", "toy=old", "--yes", "--json")
    assert (status, json.loads(out)[0]["variant"]) == (0, "old")
    assert (root / "toy" / "more" / "old.txt").is_file()
    status, out, _ = command(capsys, "toy", "--data", root, "--yes")
    assert "another variant goes elsewhere, with --data toy=PATH" in out
    assert cli.main(["data", "list", "toy"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "new.txt (3 B, new, user only); old.txt (old only)" in said


@pytest.mark.parametrize("one", [one for one in published().values() if one.archives], ids=lambda one: one.name)
def test_every_archive_is_of_variants_that_its_dataset_has(one):
    known = getattr(one, "variants", ())
    assert {name for archive in one.archives for name in archive.variants} <= set(known)
    for variant in known or ("",):
        assert one.archives_of(variant)
