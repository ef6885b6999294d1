"""AudioSet: the real tables in, what is there of two million segments out; what is wrong is told with its line."""

import shutil
import tracemalloc

import pytest
from tests.tasks.toy_environment import AUDIOSET, audioset_tree, evaluated

from leveret.audio import window_starts
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError
from leveret.registry import look_up
from leveret.tasks.audioset import audioset_tasks
from leveret.tasks.audioset_segments import (
    BALANCED,
    EVAL,
    UNBALANCED,
    Segments,
    find_segments,
    read_labels,
    read_segments,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return audioset_tree(tmp_path_factory.mktemp("data") / "audioset")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "audioset")


def ids(clips):
    return [clip.id for clip in clips]


def there(split):
    return [name for name, _, seconds in AUDIOSET[split] if seconds]


@pytest.mark.real
def test_the_real_tables_give_the_published_counts_and_share_no_video(shared):
    meta = shared / "meta" / "audioset"
    names = read_labels(meta / "class_labels_indices.csv")
    assert len(names) == len(set(names.values())) == 527
    labels = list(names.values())
    assert (labels[0], labels[526]) == ("Speech", "Field recording")
    found, mentioned, positives = {}, {}, {}
    for split in (EVAL, BALANCED):
        rows = list(read_segments(meta / split.table, split, names))
        found[split] = [name for _, name, _ in rows]
        mentioned[split] = {label for _, _, chosen in rows for label in chosen}
        positives[split] = sum(len(chosen) for _, _, chosen in rows)
        assert rows[0][0] == 4  # three lines of header
    assert [len(rows) for rows in found.values()] == [20_371, 22_160]
    assert [len(set(rows)) for rows in found.values()] == [20_371, 22_160]
    assert list(positives.values()) == [51_804, 52_882]  # as the headers say
    assert not set(found[EVAL]) & set(found[BALANCED])
    assert mentioned[EVAL] == mentioned[BALANCED] == set(labels)
    assert [sum(name.startswith("-") for name in rows) for rows in found.values()] == [392, 459]
    assert found[EVAL][0] == "--4gqARaEJE"


@pytest.mark.real
def test_the_copy_with_column_names_without_a_hash_is_read_alike(shared, tmp_path):
    meta = shared / "meta" / "audioset"
    names = read_labels(meta / "class_labels_indices.csv")
    text = (meta / "eval_segments.csv").read_text()
    (tmp_path / "eval_segments.csv").write_text(text.replace("# YTID", "YTID"))
    rows = [list(read_segments(folder / "eval_segments.csv", EVAL, names)) for folder in (meta, tmp_path)]
    assert rows[0] == rows[1]


def test_the_protocol_is_that_of_appendix_a(tree):
    (task,) = audioset_tasks(DataFolder(tree))
    assert (task.name, task.suite, task.domain, task.kind) == ("audioset", "hares", "environment", "multi")
    assert (task.metric, task.head, task.batch, task.steps) == ("map", "mlp", 128, 200_000)
    assert (task.crop_seconds, task.num_windows, task.whole_clip, task.mixed_passes) == (3.0, 10, False, 10)
    assert window_starts(10.0, 3.0, num_windows=task.num_windows) == pytest.approx([7 * k / 9 for k in range(10)])
    assert (task.official_clips, task.substitute, task.stands_for) == ({"test": 20_371}, False, "audioset")
    assert (len(task.labels), task.labels[0], task.labels[526]) == (527, "Toy 0, of 527", "Toy 526, of 527")
    assert (EVAL.num_segments, BALANCED.num_segments, UNBALANCED.num_segments) == (20_371, 22_160, 2_041_789)
    assert sum(split.num_segments for split in (EVAL, BALANCED, UNBALANCED)) == 2_084_320


def test_the_published_files_are_the_four_tables_and_the_rest_is_said():
    for entry in (look_up("tasks", "audioset"), look_up("tasks", "audioset", "CORPORA")):
        assert all(archive.into == "csv" for archive in entry.archives)
        assert "Y<YouTube id>" in entry.how
    urls = [archive.urls[0] for archive in look_up("tasks", "audioset").archives]
    assert len(urls) == 4
    assert "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/unbalanced_train_segments.csv" in urls


def test_what_is_there_is_train_and_test_and_what_is_gone_is_no_clip(tree):
    (task,) = audioset_tasks(DataFolder(tree))
    (fold,) = task.folds()
    assert ids(fold.test) == there("eval_segments")
    assert ids(fold.train) == there("balanced_train_segments") + there("unbalanced_train_segments")
    assert list(fold.valid) == []
    for clip in (*fold.train, *fold.test):
        assert clip.path.name == f"Y{clip.id}.wav"
        assert clip.path.is_file()
        assert clip.group == clip.id
    assert fold.test[0].labels == ("Toy 0, of 527", "Toy 2, of 527")
    assert fold.train[3].path.parent.name == "unbalanced_train_segments_part00"
    assert ids(fold.train[-1:]) == ["unbalanced3"]
    assert "3 of 22,160 balanced and 3 of 2,041,789 unbalanced" in task.notes


@pytest.mark.parametrize("protocol", ["quick", "cached"])
def test_the_toy_tree_is_evaluated_from_end_to_end(tree, tmp_path, protocol):
    run = evaluated(tree, tmp_path, protocol)
    (result,) = run.scorecard.tasks
    assert result.clips == {"train": 6, "valid": 0, "test": 4}
    assert result.coverage == pytest.approx(4 / 20_371)
    assert "4 test clips, 20,371 were published" in result.warnings
    assert len(result.unscored_classes) == 524
    assert run.predictions("audioset").scores[0].shape == (4, 527)
    assert 0 < result.score <= 1


def flac_without_y(root):
    for path in sorted((root / "audios").rglob("*.wav")):
        path.rename(path.with_name(path.stem[1:] + ".flac"))


def folders_of_the_hugging_face_copy(root):
    (root / "audio").mkdir()
    for name, short in (("eval", "eval"), ("balanced_train", "bal_train"), ("unbalanced_train", "unbal_train")):
        (root / "audios" / f"{name}_segments").rename(root / "audio" / short)


def flat_folders_at_the_top(root):
    for split in AUDIOSET:
        (root / split).mkdir()
        for path in sorted((root / "audios" / split).rglob("*.wav")):
            path.rename(root / split / path.name)
    shutil.rmtree(root / "audios")


def tables_at_the_top(root):
    for path in sorted((root / "metadata").iterdir()):
        path.rename(root / path.name)


def tables_in_csv(root):
    (root / "metadata").rename(root / "csv")


def a_link_that_leads_back(root):
    (root / "audios" / "eval_segments" / "again").symlink_to(root / "audios" / "eval_segments")


@pytest.mark.parametrize(
    "change",
    [
        flac_without_y, folders_of_the_hugging_face_copy, flat_folders_at_the_top, tables_at_the_top, tables_in_csv,
        a_link_that_leads_back,
    ],
)  # fmt: skip
def test_every_likely_layout_gives_the_same_clips(copy, tree, change):
    change(copy)
    found, expected = (audioset_tasks(DataFolder(root))[0].folds()[0] for root in (copy, tree))
    for split in ("train", "test"):
        mine, known = getattr(found, split), getattr(expected, split)
        assert [(clip.id, clip.labels) for clip in mine] == [(clip.id, clip.labels) for clip in known]
        assert all(clip.path.is_file() for clip in mine)


def test_tables_may_lie_elsewhere_and_are_named_by_their_folder_or_one_of_them(copy, tmp_path):
    elsewhere = tmp_path / "tables"
    (copy / "metadata").rename(elsewhere)
    for labels in (elsewhere, elsewhere / "eval_segments.csv"):
        (task,) = audioset_tasks(DataFolder(copy, labels))
        assert ids(task.folds()[0].test) == there("eval_segments")


def test_of_two_copies_of_a_segment_always_the_same_is_taken(copy):
    wav = copy / "audios" / "eval_segments" / "Yabcdefghijk.wav"
    shutil.copy(wav, wav.with_name("abcdefghijk.flac"))
    (copy / "eval").mkdir()
    shutil.copy(wav, copy / "eval" / "abcdefghijk.wav")
    (task,) = audioset_tasks(DataFolder(copy))
    assert task.folds()[0].test[-1].path == wav


def test_without_the_unbalanced_segments_the_task_says_so(copy):
    shutil.rmtree(copy / "audios" / "unbalanced_train_segments")
    (copy / "metadata" / "unbalanced_train_segments.csv").unlink()
    (task,) = audioset_tasks(DataFolder(copy))
    assert ids(task.folds()[0].train) == there("balanced_train_segments")
    assert "0 of 2,041,789 unbalanced" in task.notes


def test_the_corpus_is_the_train_segments_and_needs_no_others(copy):
    shutil.rmtree(copy / "audios" / "eval_segments")
    (copy / "metadata" / "eval_segments.csv").unlink()
    corpus = look_up("tasks", "audioset", "CORPORA")
    clips = corpus.clips(DataFolder(copy))
    assert {label for clip in clips for label in clip.labels} < set(corpus.labels(DataFolder(copy)))
    assert len(corpus.labels(DataFolder(copy))) == 527
    assert ids(clips) == there("balanced_train_segments") + there("unbalanced_train_segments")
    assert clips[-1].labels == ("Toy 526, of 527",)


def edited(name, old, new, count=1):
    def change(root):
        path = root / "metadata" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, count))

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edited("eval_segments.csv", "num_segs=5", "num_segs=6"), r"eval_segments.csv holds 5 segments, but .* says 6"),
        (edited("eval_segments.csv", "/m/toy002", "/m/other"), r"line 4: '--4gqARaEJE' has the label '/m/other', none"),
        (edited("eval_segments.csv", "# YTID", "# ID"), r"eval_segments.csv, line 4: '--4gq.*; expected two lines"),
        (edited("eval_segments.csv", "# Segments", "Segments"), r"eval_segments.csv, line 1: 'Segments csv created"),
        (edited("eval_segments.csv", "30.000, 34.000", "34.000, 30.000"), r"line 4: '--4gqARaEJE, 34.000.* no segment"),
        (edited("eval_segments.csv", "30.000, ", ""), r"line 4: .* is no segment; expected YTID"),
        (edited("eval_segments.csv", "30.000", "soon"), r"line 4: .* is no segment"),
        (edited("eval_segments.csv", '/m/toy002"', '/m/toy002" x'), r"eval_segments.csv cannot be read"),
        (edited("eval_segments.csv", "Yxxxxxxxxxx", "abcdefghijk"), r"line 8: 'abcdefghijk' stands there twice"),
        (
            edited("balanced_train_segments.csv", "--PJHxphWEs", "--4gqARaEJE"),
            r"balanced_train_segments.csv, line 4: '--4gqARaEJE' stands in eval_segments.csv too",
        ),
        (
            edited("unbalanced_train_segments.csv", "unbalanced2", "Ybalanced-1"),
            r"unbalanced_train_segments.csv, line 5: 'Ybalanced-1' stands in balanced_train_segments.csv too",
        ),
        (edited("class_labels_indices.csv", "index,mid", "number,mid"), r"class_labels_indices.csv lacks the columns"),
        (edited("class_labels_indices.csv", "\n526,", "\n527,"), r"line 528: index '527'.*; expected index 526"),
        (edited("class_labels_indices.csv", "/m/toy003", "/m/toy002"), r"line 5: index '3'.* stands there twice"),
        (
            edited("class_labels_indices.csv", '526,/m/toy526,"Toy 526, of 527"\n', ""),
            r"holds 526 labels; expected 527",
        ),
    ],
)  # fmt: skip
def test_another_table_is_refused_with_its_file_and_line(copy, change, says):
    change(copy)
    with pytest.raises(DatasetError, match=says) as refusal:
        audioset_tasks(DataFolder(copy))
    assert not isinstance(refusal.value, MissingDatasetError)


def test_a_table_with_more_segments_than_were_published_is_another(tree):
    names = read_labels(tree / "metadata" / "class_labels_indices.csv")
    table = tree / "metadata" / "eval_segments.csv"
    with pytest.raises(DatasetError, match=r"holds 5 segments; expected 4: this is another table, or another version"):
        list(read_segments(table, EVAL._replace(num_segments=4), names))


@pytest.mark.parametrize("name", ["class_labels_indices.csv", "eval_segments.csv", "unbalanced_train_segments.csv"])
def test_a_missing_table_says_where_to_get_it(copy, name):
    (copy / "metadata" / name).unlink()
    with pytest.raises(MissingDatasetError, match=rf"{name} is missing; .*storage.googleapis.com/us_audioset/.*{name}"):
        audioset_tasks(DataFolder(copy))


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (["eval_segments"], r"no audio of AudioSet's eval_segments.csv below .* in audios/eval_segments"),
        (["balanced_train_segments", "unbalanced_train_segments"], r"no audio of AudioSet's balanced_train_segments"),
    ],
)
def test_a_folder_without_the_audio_of_a_split_is_no_audioset(copy, gone, says):
    for name in gone:
        shutil.rmtree(copy / "audios" / name)
    with pytest.raises(MissingDatasetError, match=says):
        audioset_tasks(DataFolder(copy))


def test_segments_are_held_in_little_memory(tmp_path):
    """Two million take 170 MB, and 370 while they are looked for; as objects they would take 1,100."""
    count = 20_000
    folder = tmp_path / "audios" / "eval_segments"
    folder.mkdir(parents=True)
    lines = [f"# num_segs={count}", "# YTID, start_seconds, end_seconds, positive_labels"]
    for number in range(count):
        (folder / f"Y{number:011d}.wav").touch()
        lines.append(f'{number:011d}, 0.000, 10.000, "/m/a"')
    table = tmp_path / "eval_segments.csv"
    table.write_text("\n".join(lines))
    found = Segments()
    tracemalloc.start()
    try:
        assert find_segments(tmp_path, EVAL, table, {"/m/a": "A"}, {}, found) == count
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 110 * count
    assert peak < 300 * count
    assert found[count - 1].path == folder / f"Y{count - 1:011d}.wav"
