"""Tars of audio and JSON, as X-ARES reads them."""

import io
import json
import logging
import tarfile

import numpy as np
import pytest
import soundfile

from leveret.audio import load
from leveret.home import home
from leveret.tasks import xares_unpack
from leveret.tasks.suite_settings import SuiteError
from leveret.tasks.xares_tars import xares_tasks


def tone(hertz=440, rate=16000):
    """The bytes of a wav of half a second."""
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * hertz * np.arange(rate // 2) / rate), rate, format="WAV")
    return file.getvalue()


def add(tar, name, content=b"", **changes):
    """One member, of another type or size if need be."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in changes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def tars(tmp_path):
    """Writes env/TASK with tars {name: {key: about}} and xares.json; gives the folder."""

    def write(content, said=None, task="esc50"):
        folder = tmp_path / "env" / task
        folder.mkdir(parents=True)
        for name, samples in content.items():
            with tarfile.open(folder / name, "w") as tar:
                for key, about in samples.items():
                    add(tar, f"{key}.wav", tone())
                    add(tar, f"{key}.json", json.dumps(about).encode())
        if said is not None:
            (folder / "xares.json").write_text(json.dumps(said))
        return folder

    return write


def splits(about=lambda label: {"label": label}):
    """A train and a test tar of two classes."""
    return {f"wds-audio-{split}-0.tar": {f"{split}{k}": about("ab"[k]) for k in (0, 1)} for split in ("train", "test")}


def test_a_task_has_the_splits_of_its_tars_and_says_what_was_guessed(tars):
    (task,) = xares_tasks(str(tars(splits())))
    assert (task.name, task.suite, task.domain, task.kind) == ("esc50", "xares/env", "environment", "single")
    assert (task.metric, task.labels, task.whole_clip) == ("accuracy", ("a", "b"), True)
    (fold,) = task.folds()
    assert [(clip.id, clip.labels) for clip in fold.test] == [
        ("wds-audio-test-0/test0", ("a",)), ("wds-audio-test-0/test1", ("b",)),
    ]  # fmt: skip
    assert "guessed label=label" in task.notes
    assert "guessed kind=single" in task.notes
    assert len(load(fold.train[0].path, 16000)) == 8000


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["gtzan_fold_0_0000000.tar", "gtzan_fold_1_0000000.tar"], "folds"),
        (["urbansound_fold1_0000000.tar", "urbansound_fold10_0000000.tar"], "folds"),
        (["libricount_fold00.tar", "libricount_fold01.tar"], "folds"),
        (["wds-audio-fold-1-000000.tar", "wds-audio-fold-2-000000.tar"], "folds"),
        (["train_subset_2k_0000000.tar", "dev_000000.tar"], "test"),
        (["asvspoof_train_0000000.tar", "asvspoof_eval_0000000.tar"], "test"),
        (["train-clean-100-000000.tar", "test-clean-000000.tar"], "test"),
    ],
)
def test_names_of_x_ares_tars_tell_their_splits(tars, names, parts):
    (task,) = xares_tasks(str(tars({name: {f"{name[:3]}{k}": "ab"[k] for k in (0, 1)} for name in names})))
    folds = task.folds()
    assert [{clip.id.split("/")[0] for clip in fold.test} for fold in folds] == (
        [{name.removesuffix(".tar")} for name in names] if parts == "folds" else [{names[1].removesuffix(".tar")}]
    )
    assert not any(fold.valid for fold in folds)
    assert ("valid ones are the test" in task.notes) == names[1].startswith("dev")


def test_a_list_makes_a_multi_label_task_and_a_separator_too(tars):
    (task,) = xares_tasks(str(tars(splits(lambda label: {"soundevent": [label, "c"], "x": 1, "y": 2}))))
    assert (task.kind, task.metric, task.labels) == ("multi", "map", ("a", "b", "c"))
    folder = tars(splits(lambda label: {"tags": f"{label};c"}), {"label": "tags", "separator": ";"}, task="fsd50k")
    (task,) = xares_tasks(str(folder))
    assert (task.kind, task.labels, task.domain) == ("multi", ("a", "b", "c"), "environment")


def test_what_xares_json_says_is_taken(tars):
    said = {
        "name": "mine", "label": "x", "group": "speaker", "labels": ["b", "a"], "domain": "speech", "crop_seconds": 0.2,
        "whole_clip": False, "metric": "macro_f1", "kind": "single", "splits": {"one*": "train", "two.tar": "eval"},
    }  # fmt: skip
    rows = {"k0": {"x": "a", "speaker": 7}, "k1": {"x": "b", "speaker": 8}}
    (task,) = xares_tasks(str(tars({"one-0.tar": rows, "two.tar": rows}, said)))
    assert (task.name, task.labels, task.domain, task.metric) == ("mine", ("b", "a"), "speech", "macro_f1")
    assert (task.crop_seconds, task.whole_clip) == (0.2, False)
    assert [clip.group for clip in task.folds()[0].train] == ["7", "8"]
    assert "guessed" not in task.notes


def test_numbers_are_labels_in_the_order_of_their_size(tars):
    rows = {f"{split}.tar": {f"{split}{k}": {"num_speakers": k} for k in (10, 9, 2)} for split in ("train", "test")}
    (task,) = xares_tasks(str(tars(rows)))
    assert task.labels == ("2", "9", "10")


def test_a_key_that_stands_twice_is_two_clips(tars):
    folder = tars(splits())
    with tarfile.open(folder / "train-more.tar", "w") as tar:
        for key in ("x", "y", "x"):
            add(tar, f"./deep/{key}.JSON", b'{"label": "a"}')
            add(tar, f"./deep/{key}.wav", tone())
    (task,) = xares_tasks(str(folder))
    ids = [clip.id for clip in task.folds()[0].train]
    assert ids[:3] == ["train-more/deep/x", "train-more/deep/y", "train-more/deep/x#2"]


def test_tars_are_unpacked_once_and_told_of(tars, caplog):
    folder = tars(splits())
    with caplog.at_level(logging.WARNING, "leveret"):
        (first,) = xares_tasks(str(folder))
    assert f"unpacking 2 tars (0.1 MB) into '{home() / 'xares-tars'}'" in caplog.text
    caplog.clear()
    (again,) = xares_tasks(str(folder.rename(folder.with_name("moved"))))
    assert not caplog.text
    assert [clip.path for clip in again.folds()[0].test] == [clip.path for clip in first.folds()[0].test]


def test_an_interrupted_unpacking_leaves_nothing_that_counts(tars, monkeypatch):
    folder = tars(splits())

    def break_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(xares_unpack, "copyfileobj", break_off)
        with pytest.raises(KeyboardInterrupt):
            xares_tasks(str(folder))
    (task,) = xares_tasks(str(folder))
    assert len(load(task.folds()[0].train[0].path, 16000)) == 8000
    assert not list((home() / "xares-tars").glob("*.partial"))


def test_a_full_disk_is_told_before_anything_is_written(tars, monkeypatch):
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OSError, match="unpacking the tars needs"):
        xares_tasks(str(tars(splits())))


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("../x.wav", {}, "points out of the archive"),
        ("a/../../x.wav", {}, "points out of the archive"),
        ("/etc/x.wav", {}, "points out of the archive"),
        ("x.wav", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link or a device"),
        ("x.wav", {"type": tarfile.LNKTYPE, "linkname": "train0.wav"}, "is a link or a device"),
        ("x.wav", {"type": tarfile.CHRTYPE}, "is a link or a device"),
        ("\x1b[31mx.wav", {}, r"1 samples have no json file.*'\\x1b\[31mx'"),
        ("x.json", {}, "is not JSON"),
    ],
)
def test_a_member_that_no_tar_of_clips_has_is_refused(tars, tmp_path, name, changes, complaint):
    folder = tars(splits())
    with tarfile.open(folder / "train-1.tar", "w") as tar:
        add(tar, name, **changes)
    with pytest.raises(SuiteError, match=complaint) as caught:
        xares_tasks(str(folder))
    assert "\x1b" not in str(caught.value)
    assert not list((home() / "xares-tars").rglob("*x.wav"))


def test_a_member_that_claims_more_than_the_disk_has_is_refused(tars):
    folder = tars(splits())
    with (folder / "train-1.tar").open("wb") as file:
        member = tarfile.TarInfo("x.wav")
        member.size = 1 << 60
        file.write(member.tobuf() + bytes(2048))
    with pytest.raises(SuiteError, match=r"train-1.tar' would unpack to more than 67 MB"):
        xares_tasks(str(folder))


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([("a.wav", b""), ("a.json", b"{}"), ("b.wav", b"")], "1 samples have no json file.*first is 'b'"),
        ([("a.json", b"{}")], "have no audio file"),
        ([("a.wav", b""), ("a.flac", b"")], "second flac of one sample"),
        ([("a.npy", b"")], "holds no clips"),
        ([("a.json", b"0" * ((1 << 20) + 1))], "expected a few that describe one clip"),
    ],
)
def test_samples_that_are_not_whole_are_named(tars, members, complaint):
    folder = tars(splits())
    with tarfile.open(folder / "train-1.tar", "w") as tar:
        for name, content in members:
            add(tar, name, content)
    with pytest.raises(SuiteError, match=complaint):
        xares_tasks(str(folder))


@pytest.mark.parametrize("content", [b"", b"not a tar at all" * 100])
def test_what_is_no_tar_is_named(tars, content):
    folder = tars(splits())
    (folder / "train-1.tar").write_bytes(content)
    with pytest.raises(SuiteError, match=r"train-1.tar' is no whole tar"):
        xares_tasks(str(folder))


def test_a_tar_that_was_cut_is_named(tars):
    folder = tars(splits())
    path = folder / "wds-audio-train-0.tar"
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(SuiteError, match="is no whole tar"):
        xares_tasks(str(folder))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"lable": "x"}, "Did you mean 'label'"),
        ({"label": "genre"}, "has no field 'genre'"),
        ({"kind": "slots"}, "kind='slots'; expected single or multi"),
        ({"labels": ["a"]}, "'labels' lacks 'b'"),
        ({"labels": ["a", "b", "a"]}, "expected a list of different labels"),
        ({"splits": {"*": "train"}}, "has no test clips"),
        ({"splits": {"*train*": "fold1"}}, "has folds and splits"),
        ({"splits": ["train"]}, "expected an object"),
        ({"domain": "sounds"}, "domain='sounds'"),
        ({"metric": "map"}, "metric='map'"),
        ([], "expected a JSON object"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(tars, said, complaint):
    with pytest.raises(SuiteError, match=complaint):
        xares_tasks(str(tars(splits(), said)))


@pytest.mark.parametrize(
    ("about", "complaint"),
    [
        (lambda label: {"x": label, "y": label}, "which field is the label"),
        (lambda label: {"label": 0.5}, "expected text, an integer"),
        (lambda label: {"label": None}, "expected text, an integer"),
        (lambda label: {"label": "a"}, r"1 class\(es\)"),
        (lambda label: [label, label] if label == "a" else {"label": label}, "expected text, an integer"),
    ],
)
def test_labels_that_make_no_sense_are_refused(tars, about, complaint):
    with pytest.raises(SuiteError, match=complaint):
        xares_tasks(str(tars(splits(about))))


def test_a_single_label_task_has_one_label_a_clip(tars):
    with pytest.raises(SuiteError, match="has 2 labels; expected one"):
        xares_tasks(str(tars(splits(lambda label: {"label": [label, "c"]}), {"kind": "single"})))


def test_a_tar_without_a_split_in_its_name_is_named(tars):
    with pytest.raises(SuiteError, match=r"audio.tar': no split in its name"):
        xares_tasks(str(tars({"audio.tar": {"x": "a"}})))


def test_a_folder_without_tars_says_what_was_expected(tmp_path):
    with pytest.raises(SuiteError, match=r"nor a folder in it has tars \(\*.tar\)"):
        xares_tasks(str(tmp_path))
