"""Folders in HEAR's layout, as heareval reads them."""

import json
import logging

import pytest

from leveret.tasks.hear_tasks import hear_tasks, read_vocabulary
from leveret.tasks.suite_settings import SuiteError

METADATA = {
    "task_name": "esc50", "version": "v2.0.0", "embedding_type": "scene", "prediction_type": "multiclass",
    "split_mode": "trainvaltest", "sample_duration": 5, "evaluation": ["top1_acc", "mAP", "d_prime"],
    "splits": ["train", "valid", "test"],
}  # fmt: skip
FOLDS = {"split_mode": "presplit_kfold", "splits": [f"fold{k:02d}" for k in range(4)], "nfolds": 4}


@pytest.fixture
def folder(tmp_path):
    """Writes hear/NAME; gives its path. The audio is not looked at by the task."""

    def write(name="esc50-v2.0.0-full", rates=(16000,), vocabulary="idx,label\n0,dog\n1,cat\n", labels=None, **changes):
        task = tmp_path / "hear" / name
        metadata = METADATA | changes
        for split in metadata["splits"] or ():
            for rate in rates:
                (task / str(rate) / split).mkdir(parents=True)
            files = {f"{split}{k}.wav": ["dog" if k else "cat"] for k in range(2)}
            (task / f"{split}.json").write_text(json.dumps(labels if labels is not None else files))
        (task / "task_metadata.json").write_text(json.dumps(metadata))
        (task / "labelvocabulary.csv").write_text(vocabulary)
        return task

    return write


def test_a_task_has_hears_splits_labels_and_score(folder):
    (task,) = hear_tasks(str(folder()))
    assert (task.name, task.suite, task.domain, task.kind) == (
        "esc50-v2.0.0-full",
        "hear/hear",
        "environment",
        "single",
    )
    assert (task.metric, task.labels, task.crop_seconds, task.whole_clip) == ("accuracy", ("dog", "cat"), 5.0, True)
    (fold,) = task.folds()
    assert [clip.id for clip in fold.train] == ["train/train0.wav", "train/train1.wav"]
    assert [clip.labels for clip in fold.valid] == [("cat",), ("dog",)]
    assert fold.test[0].path.parts[-3:] == ("16000", "test", "test0.wav")
    assert "not computed: HEAR's mAP, d_prime" in task.notes


def test_the_highest_rate_that_has_all_splits_is_read(folder):
    path = folder(rates=(16000, 48000, 22050))
    (path / "96000" / "train").mkdir(parents=True)
    (task,) = hear_tasks(str(path))
    assert task.folds()[0].test[0].path.parts[-3] == "48000"
    assert "at 48000 Hz" in task.notes


def test_folds_are_scored_as_heareval_scores_them(folder):
    (task,) = hear_tasks(str(folder(**FOLDS)))
    folds = task.folds()
    split_of = [
        [sorted({clip.id.split("/")[0] for clip in part}) for part in (f.train, f.valid, f.test)] for f in folds
    ]
    assert split_of[0] == [["fold02", "fold03"], ["fold01"], ["fold00"]]
    assert split_of[3] == [["fold01", "fold02"], ["fold00"], ["fold03"]]


@pytest.mark.parametrize(
    ("kind", "evaluation", "metric", "says"),
    [
        ("multiclass", ["pitch_acc", "chroma_acc"], "accuracy", "not computed: HEAR's chroma_acc"),
        ("multiclass", ["mAP", "top1_acc"], "accuracy", "HEAR's mAP, of which mAP is its main score"),
        ("multilabel", ["mAP"], "map", "under leveret's probe"),
    ],
)
def test_the_first_score_that_leveret_has_is_the_metric_and_the_rest_is_told(folder, kind, evaluation, metric, says):
    (task,) = hear_tasks(str(folder(prediction_type=kind, evaluation=evaluation)))
    assert task.metric == metric
    assert says in task.notes


def test_a_multilabel_clip_may_have_no_label_and_numbers_are_text(folder):
    vocabulary = "idx,label\n1,61\n0,60\n"
    path = folder(prediction_type="multilabel", evaluation=["mAP"], vocabulary=vocabulary, labels={"a.wav": [60, 61]})
    (path / "test.json").write_text('{"b.wav": []}')
    (task,) = hear_tasks(str(path))
    assert task.labels == ("60", "61")
    assert [clip.labels for clip in (*task.folds()[0].train, *task.folds()[0].test)] == [("60", "61"), ()]


def test_a_folder_of_tasks_gives_all_its_scene_tasks_and_names_the_event_tasks(folder, caplog):
    first = folder()
    folder("dcase-full", embedding_type="event")
    folder("gtzan-full", task_name="tfds_gtzan", sample_duration=None)
    with caplog.at_level(logging.WARNING, "leveret"):
        tasks = hear_tasks(str(first.parent))
    assert [(task.name, task.domain) for task in tasks] == [
        ("esc50-v2.0.0-full", "environment"), ("gtzan-full", "music"),
    ]  # fmt: skip
    assert {task.suite for task in tasks} == {"hear/hear"}
    assert "1 event tasks of the folder skipped: 'dcase-full'" in caplog.text
    assert all("1 event tasks of the folder skipped: 'dcase-full'" in task.notes for task in tasks)
    assert "crop = whole clip up to 60 s" in tasks[1].notes


def test_the_collections_name_is_the_suites(folder):
    path = folder()
    path.parent.rename(path.parents[1] / "tasks")
    (path.parents[1] / "hear-2021.0.6").mkdir()
    (path.parents[1] / "tasks").rename(path.parents[1] / "hear-2021.0.6" / "tasks")
    (task,) = hear_tasks(str(path.parents[1] / "hear-2021.0.6" / "tasks"))
    assert task.suite == "hear/hear-2021.0.6"


def test_an_event_task_alone_is_refused_by_name(folder):
    with pytest.raises(SuiteError, match=r"'maestro': event tasks.*heareval"):
        hear_tasks(str(folder("maestro", embedding_type="event")))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"embedding_type": "frame"}, "embedding_type='frame'; expected 'scene'"),
        ({"prediction_type": "regression"}, "prediction_type='regression'; expected 'multiclass' or 'multilabel'"),
        ({"split_mode": "random"}, "split_mode='random'"),
        ({"split_mode": "presplit_kfold", "splits": ["fold00", "fold01"]}, r"2 fold\(s\)"),
        ({"split_mode": "presplit_kfold", "splits": ["../x"]}, "splits="),
        ({"evaluation": []}, r"evaluation=\[\]; expected a list"),
        ({"evaluation": ["aucroc"]}, "leveret has top1_acc, pitch_acc"),
        ({"sample_duration": -1}, "crop_seconds=-1"),
        ({"sample_duration": float("nan")}, "crop_seconds=nan"),
        ({"vocabulary": "idx,label\n0,dog\n2,cat\n"}, "expected idx 0 to 1"),
        ({"vocabulary": "idx,label\n0,dog\n1,dog\n"}, "2 different labels"),
        ({"vocabulary": "label\ndog\n"}, "columns idx and label"),
        ({"vocabulary": "idx,label\n0,dog\n"}, "which labelvocabulary.csv does not have"),
        ({"labels": {"a.wav": ["bird"]}}, "label 'bird', which labelvocabulary.csv does not have"),
        ({"labels": {"a.wav": []}}, "expected a list of one label"),
        ({"labels": {"a.wav": ["dog", "cat"]}}, "expected a list of one label"),
        ({"labels": {"a.wav": "dog"}}, "expected a list of one label"),
        ({"labels": {"../../etc/passwd": ["dog"]}}, "no plain file name"),
        ({"labels": {}}, "has no train clips"),
        ({"labels": ["dog"]}, "expected a JSON object"),
        ({"rates": ()}, r"expected RATE/SPLIT/\*.wav.*no such folder"),
    ],
)
def test_a_folder_that_makes_no_sense_is_one_clear_error(folder, changes, complaint):
    if changes.get("rates") == ():
        path = folder(rates=(16000,))
        for below in (path / "16000").iterdir():
            below.rmdir()
        (path / "16000").rmdir()
    else:
        path = folder(**changes)
    with pytest.raises(SuiteError, match=complaint):
        hear_tasks(str(path))


@pytest.mark.parametrize("file", ["train.json", "labelvocabulary.csv"])
def test_a_missing_file_is_named(folder, file):
    path = folder()
    (path / file).unlink()
    with pytest.raises(SuiteError, match=rf"no file '.*{file}'; the task needs it"):
        hear_tasks(str(path))


@pytest.mark.parametrize("file", ["train.json", "task_metadata.json", "leveret.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_not_json_is_named(folder, file, content):
    path = folder()
    (path / file).write_bytes(content)
    with pytest.raises(SuiteError, match=rf"{file}' is not JSON"):
        hear_tasks(str(path))


@pytest.mark.parametrize(
    ("sidecar", "complaint"),
    [
        ({"task": {"domain": "sounds"}}, "domain='sounds'; expected environment"),
        ({"task": {"metric": "map"}}, "metric='map'; expected accuracy"),
        ({"task": {"division": "none"}}, "division='none'"),
        ({"task": {"whole_clip": 1}}, "whole_clip=1"),
        ({"task": {"notes": 1}}, "notes=1"),
        ({"task": {"crop": 1}}, "unknown setting 'crop'"),
        ({"tasks": {}}, "Did you mean 'task'"),
        ({"task": []}, "expected objects under 'task' and 'clips'"),
        ({"clips": {"a": 1}}, "expected objects under 'task' and 'clips'"),
    ],
)
def test_a_sidecar_that_makes_no_sense_is_refused(folder, sidecar, complaint):
    path = folder()
    (path / "leveret.json").write_text(json.dumps(sidecar))
    with pytest.raises(SuiteError, match=complaint):
        hear_tasks(str(path))


@pytest.mark.parametrize(
    ("path", "complaint"), [("", "hear-tasks: needs a folder"), ("none", "no folder 'none'"), (".", "no task at")]
)
def test_a_folder_without_tasks_says_what_was_expected(tmp_path, monkeypatch, path, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match=complaint):
        hear_tasks(path)


def test_a_vocabulary_may_hold_commas_and_line_ends(tmp_path):
    (tmp_path / "v.csv").write_text('idx,label\n0,"a, b"\n1,"c\nd"\n')
    assert read_vocabulary(tmp_path / "v.csv") == ["a, b", "c\nd"]
