"""MagnaTagATune: the published partition from its table or its lists, tags in the published order."""

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tasks.toy_music import magnatagatune_lists, magnatagatune_tree

from leveret.audio import window_starts
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.dataroots import DataRoots
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.protocols import Protocol
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.runner import Compute
from leveret.tasks.magnatagatune import BROKEN, OFFICIAL_CLIPS, TAGS, magnatagatune_tasks, read_rows

LISTS = {"valid": "val_gt_mtt.tsv", "test": "test_gt_mtt.tsv"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return magnatagatune_tree(tmp_path_factory.mktemp("data") / "magnatagatune")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "magnatagatune")


@pytest.fixture(scope="session")
def published(shared):
    """The real lists, of which that of train is not there: id -> path, and split -> id -> marks."""
    folder = shared / "meta" / "magnatagatune"
    index = dict(line.split("\t") for line in (folder / "index_mtt.tsv").read_text().splitlines())
    marks = {
        split: {
            line.split("\t")[0]: json.loads(line.split("\t")[1]) for line in (folder / name).read_text().splitlines()
        }
        for split, name in LISTS.items()
    }
    return index, marks


@pytest.fixture(scope="session")
def real_table(published, tmp_path_factory):
    """An annotations_final.csv of all 25,863 real names; tags are real but for train, which has none."""
    index, marks = published
    known = {clip: row for part in marks.values() for clip, row in part.items()}
    path = tmp_path_factory.mktemp("mtt") / "annotations_final.csv"
    with path.open("w") as file:
        file.write("\t".join(f'"{name}"' for name in ("clip_id", *TAGS, "mp3_path")) + "\n")
        for clip, name in index.items():
            row = known.get(clip, [0.0] * 50)
            file.write("\t".join(f'"{value}"' for value in (clip, *map(int, row), name)) + "\n")
    return path


@pytest.mark.real
def test_the_rule_gives_the_published_counts_and_the_order_of_the_published_lists(real_table, published):
    _, marks = published
    parts = defaultdict(list)
    for row in read_rows(real_table):
        parts[row.split].append(row)
    assert {split: len(rows) for split, rows in parts.items()} == OFFICIAL_CLIPS
    assert sum(OFFICIAL_CLIPS.values()) == 25_860  # table 1: 26k
    for split, untagged in (("valid", 296), ("test", 997)):
        assert [str(row.clip_id) for row in parts[split]] == list(marks[split])
        assert [[float(tag in row.tags) for tag in TAGS] for row in parts[split]] == list(marks[split].values())
        assert sum(not row.tags for row in parts[split]) == untagged
    albums = {split: {row.album for row in rows} for split, rows in parts.items()}
    assert not albums["train"] & albums["valid"]
    assert not (albums["train"] | albums["valid"]) & albums["test"]
    assert len(set.union(*albums.values())) == 446
    artists = [{album.split("-")[0] for album in part} for part in albums.values()]
    assert len(set.union(*artists)) == 230
    assert sum(sum(artist in part for part in artists) > 1 for artist in set.union(*artists)) == 56


@pytest.mark.real
def test_the_lists_say_the_same_as_the_table(shared, published, real_table, tmp_path):
    index, marks = published
    for name in ("index_mtt.tsv", *LISTS.values()):
        shutil.copy(shared / "meta" / "magnatagatune" / name, tmp_path / name)
    rest = (clip for clip in index if int(clip) not in BROKEN and not any(clip in part for part in marks.values()))
    (tmp_path / "train_gt_mtt.tsv").write_text("".join(f"{clip}\t{[0.0] * 50}\n" for clip in rest))
    assert read_rows(tmp_path) == read_rows(tmp_path / "index_mtt.tsv") == read_rows(real_table)


@pytest.mark.real
def test_the_three_broken_clips_are_those_of_the_index_that_no_list_has(published):
    index, _ = published
    assert [index[str(clip)] for clip in sorted(BROKEN)] == [
        "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
        "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
        "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
    ]


@pytest.mark.real
def test_the_tags_stand_in_the_published_order(shared):
    folder = shared / "meta" / "magnatagatune"
    published = json.loads((folder / "output_labels_mtt.txt").read_text().split("=")[1].replace("'", '"'))
    assert list(TAGS) == published
    numbers = json.loads((folder / "classes_MagnaTT.json").read_text())
    assert [numbers[tag] for tag in TAGS] == list(range(1, 51))


def test_the_protocol_is_that_of_appendix_a(tree):
    (task,) = magnatagatune_tasks(DataFolder(tree))
    assert (task.name, task.stands_for, task.suite, task.domain) == ("magnatagatune", "magnatagatune", "hares", "music")
    assert (task.kind, task.metric, task.head, len(task.labels)) == ("multi", "map", "linear", 50)
    assert (task.crop_seconds, task.batch, task.steps, task.mixed_passes) == (3.0, 128, 20_000, 0)
    assert (task.whole_clip, task.num_windows, task.substitute) == (False, 0, False)
    assert task.official_clips == {"train": 18_706, "valid": 1_825, "test": 5_329}
    # consecutive ones that cover 29 s: nine of 3 s, and the last moved back to end with the clip
    assert window_starts(29.0, 3.0) == [*(3.0 * k for k in range(9)), 26.0]


def test_the_published_files_are_three_pieces_and_a_table():
    dataset = look_up("tasks", "magnatagatune")
    assert [(archive.name, archive.part_of) for archive in dataset.archives] == [
        ("mp3.zip.001", "mp3.zip"), ("mp3.zip.002", "mp3.zip"), ("mp3.zip.003", "mp3.zip"),
        ("annotations_final.csv", ""),
    ]  # fmt: skip


def test_the_tree_of_the_archive_gives_its_splits_in_groups_of_albums(tree):
    (task,) = magnatagatune_tasks(DataFolder(tree))
    (fold,) = task.folds()
    assert [len(part) for part in (fold.train, fold.valid, fold.test)] == [3, 2, 3]
    assert not any("117-146" in clip.id for clip in fold.train)  # the broken one
    first = fold.test[0]
    assert first.id == "f/american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria-0-29.mp3"
    assert (first.group, first.labels) == ("american_bach_soloists-j_s__bach_solo_cantatas", ("classical", "violin"))
    assert [clip.labels for clip in fold.test] == [("classical", "violin"), ("harpsichord",), ()]
    assert len({clip.group for clip in fold.valid}) == 1


def test_the_lists_and_the_table_make_the_same_task(tree, tmp_path):
    (by_table,) = magnatagatune_tasks(DataFolder(tree))
    lists = magnatagatune_lists(tmp_path / "lists")
    for labels in (lists, lists / "index_mtt.tsv"):
        (by_lists,) = magnatagatune_tasks(DataFolder(tree, labels))
        assert by_lists == by_table
    (copied,) = magnatagatune_tasks(DataFolder(tree, shutil.copy(tree / "annotations_final.csv", tmp_path / "a.csv")))
    assert copied == by_table


def test_lists_beside_the_audio_do_without_the_table(copy):
    (copy / "annotations_final.csv").unlink()
    magnatagatune_lists(copy)
    assert len(magnatagatune_tasks(DataFolder(copy))[0].folds()[0].test) == 3


def test_audio_may_lie_in_a_folder_mp3_and_in_another_format(copy):
    (copy / "mp3").mkdir()
    for folder in "0123456789abcdef":
        (copy / folder).rename(copy / "mp3" / folder)
    for path in list(copy.glob("mp3/*/*.mp3")):
        path.rename(path.with_suffix(".flac"))
    (fold,) = magnatagatune_tasks(DataFolder(copy))[0].folds()
    assert all(clip.path.is_file() and clip.path.suffix == ".flac" for clip in fold.test)


@pytest.mark.parametrize("protocol", ["quick", "cached"])
def test_toy_tags_are_told_apart_end_to_end(tree, tmp_path, protocol):
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", floor=False,
        data=DataRoots(root=tree.parent),
        protocol=Protocol(name=protocol, steps=3000 if protocol == "cached" else None, check_rates=False),
    )  # fmt: skip
    (run,) = evaluate("melstats", "magnatagatune", protocol, config=config)
    (result,) = run.scorecard.tasks
    assert result.score > 0.8
    assert result.clips == {"train": 3, "valid": 2 if protocol == "quick" else 0, "test": 3}
    assert result.coverage == pytest.approx(3 / 5329)
    assert run.predictions("magnatagatune").scores[0].shape == (3, 50)


def test_of_a_half_copied_archive_the_missing_files_are_counted_and_named(copy, tmp_path):
    for folder in ("0", "b"):
        shutil.rmtree(copy / folder)
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", data=DataRoots(root=copy.parent),
        floor=False,
    )  # fmt: skip
    with pytest.raises(TooManyBadFilesError, match=r"2 of 8(.*\n)*.*hands_upon_black_earth-priestess-04"):
        evaluate("melstats", "magnatagatune", "quick", config=config)
    shutil.rmtree(copy / "e")
    (copy / "0").mkdir()
    shutil.copy(
        next(copy.glob("f/*.mp3")), copy / "0" / "american_baroque-dances_and_suites_of_rameau-01-gavotte-0-29.mp3"
    )
    (run,) = evaluate("melstats", "magnatagatune", "quick", config=replace(config, policy=BadFilePolicy("skip")))
    assert sorted(Path(clip).parent.name for clip in run.scorecard.tasks[0].skipped) == ["b", "e"]


def test_a_folder_of_something_else_says_what_was_expected(tmp_path):
    with pytest.raises(
        MissingDatasetError, match=r"annotations_final.csv is missing, and so is .*index_mtt.tsv; either"
    ):
        magnatagatune_tasks(DataFolder(tmp_path))


def test_tables_without_any_audio_are_no_dataset(copy):
    for path in copy.glob("*/*.mp3"):
        path.unlink()
    with pytest.raises(MissingDatasetError, match=r"no audio of MagnaTagATune where it should be: .*-aria|bwv54"):
        magnatagatune_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('"mp3_path"', '"path"', 1), "lacks the columns mp3_path"),
        (lambda text: text.replace('"harpsichord"', '"harpsicord"', 1), "lacks the columns harpsichord: its first"),
        (lambda text: text.replace('"', "").replace("\t", ","), "lacks the columns clip_id, guitar"),
        (lambda text: text.replace('"1"', '"2"', 1), r"clip 2 has '2' for 'classical'; expected 0 or 1"),
        (lambda text: text.replace('"2"', '"two"', 1), "has the clip id 'two'; expected a number"),
        (lambda text: text.replace('"6"', '"2"', 1), r"1 ids stand twice, such as 2"),
        (
            lambda text: text.replace("f/american", "g/american", 1),
            r"has the path 'g/american.*expected X/ARTIST",
        ),
        (lambda text: text.replace("f/american", "f/../../american", 1), r"has the path 'f/../../american"),
        (lambda text: text.rsplit("\t", 1)[0] + "\n", r"expected 190 values"),
        (lambda text: "".join(text.splitlines(keepends=True)[:1]), r"name no train clips among their 0"),
        (lambda text: "".join(text.splitlines(keepends=True)[:5]), r"name no train clips among their 4"),
        (lambda text: "", r"lacks the columns clip_id"),
    ],
)
def test_another_table_is_refused(copy, change, says):
    path = copy / "annotations_final.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetError, match=says):
        magnatagatune_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (
            "val_gt_mtt.tsv",
            lambda text: text.replace("14\t", "2\t", 1),
            r"val_gt_mtt.tsv has clip 2 \(f/.*is test",
        ),
        ("val_gt_mtt.tsv", lambda text: text.replace("14\t", "15\t", 1), r"names clip 15, which .*index_mtt.tsv lacks"),
        ("test_gt_mtt.tsv", lambda text: text.replace("0.0, ", "", 1), r"clip 2 has the tags .*list of 50 times"),
        ("test_gt_mtt.tsv", lambda text: text.replace("1.0", "0.5", 1), r"clip 2 has the tags .*expected a list"),
        ("test_gt_mtt.tsv", lambda text: text.replace("1.0", "{}", 1), r"expected a list of 50 times 0.0 or 1.0"),
        ("test_gt_mtt.tsv", lambda text: text.replace("[", "", 1), r"expected a list of 50 times"),
        ("index_mtt.tsv", lambda text: text.replace("\t", "\t/data/", 1), r"index_mtt.tsv has the path '/data/f"),
        ("index_mtt.tsv", lambda text: text.replace("\t", ",", 1), r"index_mtt.tsv, line 1: expected 2 values"),
    ],
)
def test_other_lists_are_refused(tree, tmp_path, name, change, says):
    lists = magnatagatune_lists(tmp_path / "lists")
    (lists / name).write_text(change((lists / name).read_text()))
    with pytest.raises(DatasetError, match=says):
        magnatagatune_tasks(DataFolder(tree, lists))


def test_a_missing_list_is_named(tree, tmp_path):
    lists = magnatagatune_lists(tmp_path / "lists")
    (lists / "train_gt_mtt.tsv").unlink()
    with pytest.raises(MissingDatasetError, match=r"train_gt_mtt.tsv is missing"):
        magnatagatune_tasks(DataFolder(tree, lists))
