"""TUT18: its own lists in, its three divisions out; what is missing, mixed or damaged is told."""

import shutil
from collections import Counter
from hashlib import sha1

import pytest
import soundfile
from tests.tasks.toy_environment import evaluated, tut18_tree

from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks.tut18 import FOLDER, LABELS, OFFICIAL_CLIPS, VARIANTS, read_fold, read_metadata, tut18_tasks


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return tut18_tree(tmp_path_factory.mktemp("data") / "tut18")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "tut18")


def fold_of(root, variant, labels=None):
    (fold,) = tut18_tasks(DataFolder(root, labels, variant))[0].folds()
    return fold


def ids(clips):
    return [clip.id for clip in clips]


@pytest.mark.real
def test_the_lists_are_read_in_the_format_of_the_archive(shared):
    meta = shared / "meta" / "tut18"
    assert read_metadata(meta / "meta.format_example.csv") == [
        ("audio/airport-barcelona-0-0-a.wav", "airport", "barcelona-0"),
        ("audio/street_pedestrian-stockholm-157-4779-a.wav", "street_pedestrian", "stockholm-157"),
    ]
    assert read_fold(meta / "fold1_train.format_example.txt") == [
        ("audio/airport-barcelona-0-0-a.wav", "airport"),
        ("audio/street_pedestrian-stockholm-157-4779-a.wav", "street_pedestrian"),
    ]


def test_of_8640_clips_252_a_scene_are_tested_those_whose_names_have_the_lowest_digests(tmp_path):
    names = [f"audio/{scene}-paris-{k // 9}-{k}-a.wav" for scene in LABELS for k in range(864)]
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    for name in names:
        scene, city, location, *_ = name.removeprefix("audio/").split("-")
        rows.append(f"{name}\t{scene}\t{city}-{location}\ta")
    (tmp_path / "audio").mkdir()
    (tmp_path / names[0]).touch()
    (tmp_path / "meta.csv").write_text("\n".join(rows))
    fold = fold_of(tmp_path, "hares_like")
    assert {"train": len(fold.train), "test": len(fold.test)} == OFFICIAL_CLIPS["hares_like"]
    assert set(Counter(clip.labels[0] for clip in fold.test).values()) == {252}
    ranked = sorted((name for name in names if "/tram-" in name), key=lambda name: sha1(name.encode()).hexdigest())
    assert {clip.id for clip in fold.test if clip.labels == ("tram",)} == set(ranked[:252])
    assert {clip.group for clip in fold.test} <= {f"paris-{k}" for k in range(96)}


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_the_protocol_is_that_of_appendix_a(tree, variant):
    (task,) = tut18_tasks(DataFolder(tree, variant=variant))
    assert (task.name, task.suite, task.domain, task.kind) == ("tut18", "hares", "environment", "single")
    assert (task.metric, task.head, task.batch, task.steps) == ("micro_f1", "linear", 64, 400_000)
    assert (task.crop_seconds, task.num_windows, task.whole_clip, task.mixed_passes) == (5.0, 0, False, 0)
    assert (len(task.labels), task.labels[0], task.labels[9]) == (10, "airport", "tram")
    assert sorted(task.labels) == list(task.labels)
    assert (task.variant, task.substitute, task.stands_for) == (variant, True, "tut18")
    assert task.official_clips == OFFICIAL_CLIPS[variant]


def test_the_notes_say_what_a_variant_means(tree):
    default, official = (tut18_tasks(DataFolder(tree, variant=variant))[0] for variant in ("", "official"))
    assert default.variant == "hares_like"
    assert "the paper's split is not public" in default.notes
    assert "share recording locations" in default.notes
    assert "without a location in both train and test; not the paper's split" in official.notes


def test_the_published_numbers_are_those_of_the_archive():
    assert OFFICIAL_CLIPS["official"] == {"train": 6_122, "test": 2_518}
    assert OFFICIAL_CLIPS["hares_like"] == {"train": 6_120, "test": 2_520}
    assert {sum(counts.values()) for counts in OFFICIAL_CLIPS.values() if counts} == {8_640}  # table 1: 8.6k
    archives = {archive.name.removeprefix(f"{FOLDER}."): archive for archive in look_up("tasks", "tut18").archives}
    assert list(archives) == ["doc.zip", "meta.zip", *(f"audio.{k}.zip" for k in range(1, 14))]
    assert archives["meta.zip"].checksum == "md5:e196065ee83c07af03a11a310364377d"
    assert archives["audio.13.zip"].num_bytes == 798_990_513
    assert archives["audio.7.zip"].urls == (
        "https://zenodo.org/record/1228142/files/TUT-urban-acoustic-scenes-2018-development.audio.7.zip",
    )
    assert len({archive.checksum for archive in archives.values()}) == 15


def test_the_toy_audio_is_binaural_48_khz_24_bit_and_its_groups_are_locations(tree):
    fold = fold_of(tree, "official")
    info = soundfile.info(fold.train[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (48_000, 2, "PCM_24")
    assert (fold.train[0].id, fold.train[0].group) == ("audio/airport-barcelona-0-0-a.wav", "barcelona-0")
    assert {clip.group.split("-")[0] for clip in fold.train} == {"barcelona"}
    assert {clip.group.split("-")[0] for clip in fold.test} == {"helsinki"}
    assert [clip.labels[0] for clip in fold.test] == list(LABELS)


@pytest.mark.parametrize("protocol", ["quick", "cached"])
@pytest.mark.parametrize(
    ("variant", "num_train", "num_test"), [("hares_like", 10, 10), ("official", 10, 10), ("user", 4, 2)]
)
def test_the_toy_tree_is_evaluated_from_end_to_end(tree, tmp_path, protocol, variant, num_train, num_test):
    places = [("barcelona", 0, "train"), ("helsinki", 1, "train"), ("barcelona", 2, "train"), ("helsinki", 3, "train")]
    lines = [f"{LABELS[k // 2]}-{city}-{k}-{k}-a.wav,{split}" for city, k, split in places]
    lines += [f"audio/{LABELS[2]}-barcelona-4-4-a.wav,test", f"{LABELS[2]}-helsinki-5-5-a,test"]
    run = evaluated(tree, tmp_path, protocol, variant, lines)
    (result,) = run.scorecard.tasks
    assert result.clips == {"train": num_train, "valid": 0, "test": num_test}
    assert (result.variant, result.substitute) == (variant, variant != "user")
    official = OFFICIAL_CLIPS[variant].get("test", num_test)
    assert result.coverage == pytest.approx(num_test / official)
    assert any("were published" in warning for warning in result.warnings) == (variant != "user")
    assert run.predictions("tut18").scores[0].shape == (num_test, 10)


def at_the_top(root):
    for path in sorted((root / FOLDER).iterdir()):
        path.rename(root / path.name)
    (root / FOLDER).rmdir()


def flac(root):
    for path in sorted(root.rglob("*.wav")):
        path.rename(path.with_suffix(".flac"))


@pytest.mark.parametrize("change", [at_the_top, flac])
@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_every_likely_layout_gives_the_same_clips(copy, tree, change, variant):
    change(copy)
    found, expected = (fold_of(root, variant) for root in (copy, tree))
    for split in ("train", "test"):
        assert ids(getattr(found, split)) == ids(getattr(expected, split))
        assert all(clip.path.is_file() for clip in getattr(found, split))


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_the_metadata_may_lie_elsewhere_and_is_named_by_its_folder_or_its_table(copy, tmp_path, variant):
    elsewhere = tmp_path / "tables"
    elsewhere.mkdir()
    for name in ("meta.csv", "evaluation_setup"):
        (copy / FOLDER / name).rename(elsewhere / name)
    for labels in (elsewhere, elsewhere / "meta.csv"):
        assert len(fold_of(copy, variant, labels).test) == 10


def test_a_missing_recording_is_a_clip_with_the_place_where_it_should_be(copy):
    path = copy / FOLDER / "audio" / "tram-barcelona-18-18-a.wav"
    path.unlink()
    assert [clip.path for clip in fold_of(copy, "official").train if not clip.path.is_file()] == [path]


def test_a_folder_without_the_audio_is_no_tut18(copy):
    shutil.rmtree(copy / FOLDER / "audio")
    with pytest.raises(MissingDatasetError, match=r"no audio of TUT18 where it should be: .*audio/airport-barcelona"):
        tut18_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    "name", ["meta.csv", "evaluation_setup/fold1_train.txt", "evaluation_setup/fold1_evaluate.txt"]
)
def test_a_missing_list_says_where_to_get_it(copy, name):
    (copy / FOLDER / name).unlink()
    with pytest.raises(MissingDatasetError, match=rf"{name} is missing; .*zenodo.org/record/1228142"):
        tut18_tasks(DataFolder(copy, variant="official"))


def edited(name, old, new):
    def change(root):
        path = root / FOLDER / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def of_another_year(root):
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    rows += [f"audio/{k}.wav\tbus\tlisbon-{k}\ta" for k in range(8_641)]
    (root / FOLDER / "meta.csv").write_text("\n".join(rows))


TRAIN, EVALUATE = "evaluation_setup/fold1_train.txt", "evaluation_setup/fold1_evaluate.txt"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edited("meta.csv", "scene_label", "scene"), r"meta.csv lacks the columns scene_label"),
        (
            edited("meta.csv", "\tbus\t", "\tship\t"),
            r"meta.csv, line 4: .* has scene_label 'ship'.*expected one of air",
        ),
        (edited("meta.csv", "\tbarcelona-2\t", "\t\t"), r"meta.csv, line 4: .* identifier ''; expected"),
        (edited("meta.csv", "helsinki-1-1-a.wav", "barcelona-0-0-a.wav"), r"meta.csv, line 3: .* stands there twice"),
        (of_another_year, r"meta.csv holds 8,641 clips; expected 8,640 \(TAU Urban Acoustic Scenes 2019"),
        (edited(TRAIN, "barcelona-2-2-a", "lisbon-2-2-a"), r"fold1_train.txt, line 2: .*lisbon.* is not in meta.csv"),
        (edited(TRAIN, "\tbus", "\tmetro"), r"fold1_train.txt, line 2: .* 'metro' has the scene 'bus' in meta.csv"),
        (edited(TRAIN, "\tbus", ""), r"fold1_train.txt, line 2: expected 2 values"),
        (
            edited(EVALUATE, "audio/bus-helsinki-3-3-a", "audio/bus-barcelona-2-2-a"),
            r"fold1_evaluate.txt, line 2: .* stands in fold1_train.txt already",
        ),
        (edited("meta.csv", "\thelsinki-3\t", "\tbarcelona-2\t"), r"share 1 locations, such as 'barcelona-2'"),
    ],
)
def test_lists_of_another_version_are_refused_with_their_line(copy, change, says):
    change(copy)
    with pytest.raises(DatasetError, match=says) as refusal:
        tut18_tasks(DataFolder(copy, variant="official"))
    assert not isinstance(refusal.value, MissingDatasetError)


def test_a_users_list_that_is_none_is_refused(tree, tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("file,split\nairport-lisbon-1-1-a.wav,train\n")
    with pytest.raises(DatasetError, match=r"splits.csv, line 2: 'airport-lisbon-1-1-a.wav' is no clip of tut18"):
        tut18_tasks(DataFolder(tree, path, "user"))
    with pytest.raises(DatasetError, match=r"'user' of tut18 needs a list: --labels tut18=FILE"):
        tut18_tasks(DataFolder(tree, variant="user"))
