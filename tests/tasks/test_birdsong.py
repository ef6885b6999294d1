"""Birdsong: the three real tables in, its three divisions out; what is missing, mixed or damaged is told."""

import shutil
from collections import Counter
from hashlib import sha256

import pytest
from tests.tasks.toy_environment import WARBLR_OF_2016, birdsong_tree, evaluated

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks.birdsong import COLLECTIONS, LABELS, OFFICIAL_CLIPS, VARIANTS, birdsong_tasks

WARBLR = "warblrb10k_public_metadata_2018.csv"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return birdsong_tree(tmp_path_factory.mktemp("data") / "birdsong")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "birdsong")


@pytest.fixture(scope="module")
def real_root(shared, tmp_path_factory):
    """One recording a collection: enough to tell a dataset that lacks files from a wrong folder."""
    root = tmp_path_factory.mktemp("real")
    (root / "wav").mkdir()
    for item in ("00053d90-e4b9-4045-a2f1-f39efc90cfa9", "55", "759808e5-f824-401e-9058"):
        (root / "wav" / f"{item}.wav").touch()
    return root


def folds_of(root, variant, labels=None):
    return birdsong_tasks(DataFolder(root, labels, variant))[0].folds()


@pytest.mark.real
def test_the_real_tables_give_the_printed_split_and_its_hash(shared, real_root):
    (fold,) = folds_of(real_root, "hares_like", shared / "meta" / "birdsong")
    assert (len(fold.train), len(fold.valid), len(fold.test)) == (28_552, 0, 7_138)
    keys = sorted(clip.id for clip in fold.test)
    assert sha256("\n".join(keys).encode()).hexdigest() == (
        "ae13f0528c30f55a53b6db297b0a8ee0e5a5c01e18dc1c3ba44c468ce9a875ac"
    )
    assert Counter((clip.source, clip.labels[0]) for clip in fold.test) == {
        ("BirdVox-DCASE-20k", "no bird"): 1_997, ("BirdVox-DCASE-20k", "bird"): 2_003,
        ("ff1010bird", "no bird"): 1_151, ("ff1010bird", "bird"): 387,
        ("warblrb10k", "no bird"): 391, ("warblrb10k", "bird"): 1_209,
    }  # fmt: skip
    assert not set(keys) & {clip.id for clip in fold.train}
    everything = Counter((clip.source, clip.labels[0]) for clip in (*fold.train, *fold.test))
    assert everything == {
        ("BirdVox-DCASE-20k", "no bird"): 9_983, ("BirdVox-DCASE-20k", "bird"): 10_017,
        ("ff1010bird", "no bird"): 5_755, ("ff1010bird", "bird"): 1_935,
        ("warblrb10k", "no bird"): 1_955, ("warblrb10k", "bird"): 6_045,
    }  # fmt: skip


@pytest.mark.real
def test_of_the_real_tables_each_collection_is_left_out_once(shared, real_root):
    folds = folds_of(real_root, "leave_one_dataset_out", shared / "meta" / "birdsong")
    assert [{clip.source for clip in fold.test} for fold in folds] == [
        {"BirdVox-DCASE-20k"}, {"ff1010bird"}, {"warblrb10k"}
    ]  # fmt: skip
    assert [(len(fold.train), len(fold.test)) for fold in folds] == [(15_690, 20_000), (28_000, 7_690), (27_690, 8_000)]
    for fold in folds:
        assert not {clip.source for clip in fold.train} & {clip.source for clip in fold.test}


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_the_protocol_is_that_of_appendix_a(tree, variant):
    (task,) = birdsong_tasks(DataFolder(tree, variant=variant))
    assert (task.name, task.suite, task.domain, task.kind) == ("birdsong", "hares", "environment", "single")
    assert (task.metric, task.head, task.batch, task.steps) == ("micro_f1", "linear", 64, 400_000)
    assert (task.crop_seconds, task.num_windows, task.whole_clip, task.mixed_passes) == (1.0, 0, False, 0)
    assert (task.labels, task.stands_for) == (("no bird", "bird"), "birdsong")
    assert (task.variant, task.substitute, task.official_clips) == (variant, True, OFFICIAL_CLIPS[variant])
    assert "not the paper's" in task.notes or "not public" in task.notes


def test_the_published_numbers_are_those_of_the_three_collections():
    assert sum(one.num_clips for one in COLLECTIONS) == 35_690  # table 1: 36k
    assert OFFICIAL_CLIPS["hares_like"] == {"train": 28_552, "test": 7_138}
    assert OFFICIAL_CLIPS["leave_one_dataset_out"] == {"train": 71_380, "test": 35_690}
    archives = look_up("tasks", "birdsong").archives
    assert {archive.name: (archive.urls[0], archive.into) for archive in archives} == {
        "BirdVox-DCASE-20k.zip": (
            "https://zenodo.org/record/1208080/files/BirdVox-DCASE-20k.zip", "BirdVox-DCASE-20k"
        ),
        "BirdVoxDCASE20k_csvpublic.csv": ("https://ndownloader.figshare.com/files/10853300", ""),
        "ff1010bird_wav.zip": ("https://archive.org/download/ff1010bird/ff1010bird_wav.zip", "ff1010bird_wav"),
        "ff1010bird_metadata_2018.csv": ("https://ndownloader.figshare.com/files/10853303", ""),
        "warblrb10k_public_wav.zip": (
            "https://archive.org/download/warblrb10k_public/warblrb10k_public_wav.zip", "warblrb10k_public_wav"
        ),
        WARBLR: ("https://ndownloader.figshare.com/files/10853306", ""),
    }  # fmt: skip


def test_the_first_variant_is_meant_where_none_is_named(tree):
    (task,) = birdsong_tasks(DataFolder(tree))
    assert task.variant == "hares_like"
    (fold,) = task.folds()
    assert (len(fold.train), len(fold.test)) == (12, 6)  # of three a stratum, one
    assert Counter((clip.source, clip.labels[0]) for clip in fold.test) == {
        (one.name, label): 1 for one in COLLECTIONS for label in LABELS
    }
    assert {clip.path for clip in (*fold.train, *fold.test)} == set(tree.rglob("*.wav"))
    assert {clip.id.split("/")[1]: clip.labels for clip in (*fold.train, *fold.test)}["64487"] == ("bird",)
    assert all(clip.group == clip.id for clip in fold.train)


@pytest.mark.parametrize("protocol", ["quick", "cached"])
@pytest.mark.parametrize(
    ("variant", "clips", "num_folds"),
    [
        ("hares_like", {"train": 12, "valid": 0, "test": 6}, 1),
        ("leave_one_dataset_out", {"train": 36, "valid": 0, "test": 18}, 3),
        ("user", {"train": 6, "valid": 0, "test": 2}, 1),
    ],
)
def test_the_toy_tree_is_evaluated_from_end_to_end(tree, tmp_path, protocol, variant, clips, num_folds):
    lines = [f"{64486 + k}.wav,train" for k in range(6)]
    lines += ["759808e5-f824-401e-9058,test", "759808e5-f824-401e-9059,test"]
    run = evaluated(tree, tmp_path, protocol, variant, lines)
    (result,) = run.scorecard.tasks
    assert result.clips == clips
    assert (result.variant, result.substitute) == (variant, variant != "user")
    official = OFFICIAL_CLIPS[variant].get("test", clips["test"])
    assert result.coverage == pytest.approx(clips["test"] / official)
    assert any("were published" in warning for warning in result.warnings) == (variant != "user")
    assert len(result.folds) == (num_folds if num_folds > 1 else 0)
    assert result.score == 1.0 or protocol == "cached"  # a high and a low tone; 20 steps are too few to tell


def merged_into_one_folder(root):
    (root / "wav").mkdir()
    for path in sorted(root.glob("*/wav/*.wav")):
        path.rename(root / "wav" / path.name)


def tables_beside_their_audio(root):
    for one in COLLECTIONS:
        (root / one.tables[0]).rename(root / one.archives[0].into / one.tables[0])


def tables_in_metadata(root):
    (root / "metadata").mkdir()
    for one in COLLECTIONS:
        (root / one.tables[0]).rename(root / "metadata" / one.tables[0])


def the_two_columns_of_2016(root):
    rows = [line.split(",") for line in (root / WARBLR).read_text().splitlines()]
    (root / WARBLR).unlink()
    (root / WARBLR_OF_2016).write_text("\n".join(f"{row[0]},{row[2]}" for row in rows))


def columns_in_another_order(root):
    rows = [line.split(",") for line in (root / WARBLR).read_text().splitlines()]
    (root / WARBLR).write_text("\n".join(f"{row[2]},{row[0]},{row[1]}" for row in rows))


def another_name_of_warblrb10k(root):
    text = (root / WARBLR).read_text()
    (root / WARBLR).write_text(text.replace(",warblrb10k,", ",warblrb10k_public,"))


def flac(root):
    for path in sorted(root.rglob("*.wav")):
        path.rename(path.with_suffix(".flac"))


@pytest.mark.parametrize(
    "change",
    [
        merged_into_one_folder, tables_beside_their_audio, tables_in_metadata, the_two_columns_of_2016,
        columns_in_another_order, another_name_of_warblrb10k, flac,
    ],
)  # fmt: skip
def test_every_likely_layout_gives_the_same_clips(copy, tree, change):
    change(copy)
    (found,), (expected,) = (folds_of(root, "hares_like") for root in (copy, tree))
    for split in ("train", "test"):
        mine, known = getattr(found, split), getattr(expected, split)
        assert [(clip.id, clip.labels) for clip in mine] == [(clip.id, clip.labels) for clip in known]
        assert all(clip.path.is_file() for clip in mine)


def test_the_tables_may_lie_elsewhere_and_are_named_by_their_folder_or_one_of_them(copy, tmp_path):
    elsewhere = tmp_path / "tables"
    elsewhere.mkdir()
    for one in COLLECTIONS:
        (copy / one.tables[0]).rename(elsewhere / one.tables[0])
    for labels in (elsewhere, elsewhere / WARBLR):
        assert len(folds_of(copy, "hares_like", labels)[0].test) == 6


def test_a_missing_recording_is_a_clip_that_is_expected_beside_the_others(copy):
    path = copy / "ff1010bird_wav" / "wav" / "64488.wav"
    path.unlink()
    (fold,) = folds_of(copy, "hares_like")
    assert [clip.path for clip in (*fold.train, *fold.test) if not clip.path.is_file()] == [path]


def test_a_collection_without_any_audio_is_told_apart_from_one_that_lacks_files(copy):
    shutil.rmtree(copy / "warblrb10k_public_wav")
    with pytest.raises(MissingDatasetError, match=r"no audio of Birdsong, collection warblrb10k, where it should be"):
        birdsong_tasks(DataFolder(copy))


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda one: one.name)
def test_a_missing_table_says_where_to_get_it(copy, collection):
    (copy / collection.tables[0]).unlink()
    with pytest.raises(MissingDatasetError, match=rf"{collection.tables[0]} is missing; .*dcase.community"):
        birdsong_tasks(DataFolder(copy))


def edited(name, old, new):
    def change(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return change


def swapped(root):
    shutil.copy(root / WARBLR, root / "ff1010bird_metadata_2018.csv")


def too_many(root):
    lines = ["itemid,hasbird", *(f"{k},1" for k in range(8_001))]
    (root / WARBLR).write_text("\n".join(lines))


def empty(root):
    (root / WARBLR).write_text("itemid,hasbird\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            edited("ff1010bird_metadata_2018.csv", "hasbird", "bird"),
            r"ff1010bird_metadata_2018.csv lacks the columns h",
        ),
        (edited("ff1010bird_metadata_2018.csv", "64487,ff1010bird,1", "64487,ff1010bird,2"), r"line 3: .* hasbird '2'"),
        (edited("ff1010bird_metadata_2018.csv", "64487,", "64486,"), r"line 3: item '64486' stands there twice"),
        (edited("ff1010bird_metadata_2018.csv", "64487,", ","), r"line 3: item '' has no name"),
        (edited("ff1010bird_metadata_2018.csv", "64487,ff1010bird,1", "64487"), r"line 3: expected 3 values"),
        (swapped, r"ff1010bird_metadata_2018.csv, line 2: .* 'warblrb10k'; expected 'ff1010bird'"),
        (too_many, r"holds 8,001 items; expected the 8,000 of warblrb10k"),
        (empty, r"holds 0 items"),
    ],
)
def test_another_table_is_refused_with_its_file_and_line(copy, change, says):
    change(copy)
    with pytest.raises(DatasetError, match=says) as refusal:
        birdsong_tasks(DataFolder(copy))
    assert not isinstance(refusal.value, MissingDatasetError)


def test_a_users_list_names_items_or_files_and_what_it_leaves_out_is_left_out(tree, tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(
        "split,file\ntrain,64486\ntrain,ff1010bird/64487.wav\nvalidation,64488.wav\n"
        "test,wav/759808e5-f824-401e-9058.wav\n"
    )
    (task,) = birdsong_tasks(DataFolder(tree, path, "user"))
    (fold,) = task.folds()
    assert [clip.id for clip in fold.train] == ["ff1010bird/64486", "ff1010bird/64487"]
    assert [clip.id for clip in fold.valid] == ["ff1010bird/64488"]
    assert [clip.id for clip in fold.test] == ["warblrb10k/759808e5-f824-401e-9058"]
    assert (task.substitute, dict(task.official_clips)) == (False, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, r"'user' of birdsong needs a list: --labels birdsong=FILE, a CSV with the columns file,split"),
        ("name,split\n64486,train\n", r"splits.csv lacks the columns file"),
        ("file,split\n64486,train\n99,test\n", r"splits.csv, line 3: '99' is no clip of birdsong"),
        ("file,split\n64486,train\n64486.wav,test\n", r"line 3: '64486.wav' stands there twice"),
        ("file,split\n64486,traim\n", r"line 2: '64486' has the split 'traim'; expected train,"),
        ("file,split\n64486,train\n", r"splits.csv gives no test clip"),
        ("file,split\n64486,test\n", r"splits.csv gives no train clip"),
    ],
)
def test_a_users_list_that_cannot_be_followed_is_refused(tree, tmp_path, text, says):
    path = tmp_path / "splits.csv"
    if text:
        path.write_text(text)
    with pytest.raises(DatasetError, match=says):
        birdsong_tasks(DataFolder(tree, path if text else None, "user"))


def test_a_list_too_short_to_be_divided_is_refused(copy):
    for one in COLLECTIONS:
        lines = (copy / one.tables[0]).read_text().splitlines()
        (copy / one.tables[0]).write_text("\n".join(lines[:3]))
    with pytest.raises(DatasetError, match="gives no test clip"):
        birdsong_tasks(DataFolder(copy))
