import csv
import json

import pytest

from leveret.manifests import ManifestError
from leveret.tasks.manifest import manifest_tasks

COUNTS = {  # shared/data/README.md: classes, then clips of train, valid and test
    "env_esc50": (50, 1200, 400, 400),
    "env_bird": (2, 191, 64, 73),
    "env_scene": (12, 562, 127, 219),
    "env_tagging_proxy": (56, 1200, 400, 400),
    "speech_kws_ar": (40, 1440, 480, 480),
    "speech_digits_en": (10, 750, 250, 500),
    "speech_intent_proxy_ar": (6, 1440, 480, 480),
    "speech_language": (6, 900, 240, 481),
    "speech_speaker_ar": (30, 1680, 240, 480),
    "speech_speaker_en": (10, 50, 10, 40),
    "music_instrument": (15, 1094, 206, 400),
    "music_pitch": (49, 1056, 97, 196),
    "music_tagging_proxy": (42, 1094, 206, 400),
}


@pytest.fixture
def manifest(tmp_path):
    """Writes set/labels.csv and its settings; gives what follows `manifest:`."""

    def write(rows, settings=None):
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (folder / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        if settings is not None:
            (folder / "labels.tasks.json").write_text(json.dumps(settings))
        return str(folder / "labels.csv")

    return write


def rows(*labels):
    """Each label once in train and once in test."""
    return [
        {"file": f"{split}{k}.wav", "label": label, "split": split}
        for split in ("train", "test")
        for k, label in enumerate(labels)
    ]


def test_whatever_was_guessed_stands_in_the_notes(manifest):
    (task,) = manifest_tasks(manifest(rows("cat", "dog")))
    assert task.notes == (
        "taken as one label a clip (no label holds a |), domain other, "
        "whole clips, those over 10 s in windows of 10 s, each file its own group (no column group)"
    )
    assert task.remarks == (task.notes,)
    assert (task.name, task.suite, task.domain, task.metric) == ("labels", "set/labels", "other", "accuracy")
    assert (task.whole_clip, task.crop_seconds, task.labels) == (True, 10.0, ("cat", "dog"))


def test_what_was_said_is_taken_and_not_called_a_guess(manifest):
    said = {
        "domain": "speech", "kind": "single", "metric": "macro_f1", "crop_seconds": 3, "stands_for": "VoxForge",
        "notes": "read aloud",
    }  # fmt: skip
    (task,) = manifest_tasks(manifest(rows("a|b", "c"), {"labels": said}))
    assert (task.domain, task.kind, task.metric, task.stands_for) == ("speech", "single", "macro_f1", "VoxForge")
    assert (task.whole_clip, task.crop_seconds) == (False, 3.0)
    assert (task.labels, task.notes) == (("a|b", "c"), "read aloud; taken as each file its own group (no column group)")
    grouped = [{**row, "group": row["file"]} for row in rows("a|b", "c")]
    (task,) = manifest_tasks(manifest(grouped, {"labels": said}))
    assert (task.notes, task.remarks) == ("read aloud", ())


def test_a_crop_of_null_is_the_whole_clip_and_no_guess(manifest):
    (task,) = manifest_tasks(manifest(rows("a", "b"), {"labels": {"crop_seconds": None, "domain": "music"}}))
    assert task.whole_clip
    assert "crop" not in task.notes


@pytest.mark.parametrize(
    ("labels", "kind", "metric", "vocabulary"),
    [(["a", "b"], "single", "accuracy", ("a", "b")), (["b|a", "c", ""], "multi", "map", ("a", "b", "c"))],
)
def test_the_kind_and_its_metric_follow_from_the_labels(manifest, labels, kind, metric, vocabulary):
    (task,) = manifest_tasks(manifest(rows(*labels)))
    assert (task.kind, task.metric, task.labels) == (kind, metric, vocabulary)


def test_slots_have_a_vocabulary_each_in_the_order_of_the_columns(manifest):
    table = [
        {"file": f"{k}.wav", "label:object": o, "label:action": a, "split": s}
        for k, (o, a, s) in enumerate([("lamp", "on", "train"), ("door", "off", "train"), ("lamp", "off", "test")])
    ]
    (task,) = manifest_tasks(manifest(table))
    assert task.slots == (("object", ("door", "lamp")), ("action", ("off", "on")))
    assert (task.kind, task.metric) == ("slots", "exact_match")
    assert [clip.labels for clip in task.folds()[0].test] == [("lamp", "off")]


def test_folds_become_cross_validation_in_natural_order(manifest):
    table = [{"file": f"{k}.wav", "label": "ab"[k % 2], "fold": f"{k % 10 + 1}"} for k in range(20)]
    (task,) = manifest_tasks(manifest(table))
    folds = task.folds()
    assert [sorted(clip.id for clip in fold.test) for fold in folds[:2]] == [["0.wav", "10.wav"], ["1.wav", "11.wav"]]
    assert [clip.id for clip in folds[9].test] == ["9.wav", "19.wav"]  # fold 10 is after fold 9
    for fold in folds:
        assert len(fold.train) == 18
        assert not fold.valid
        assert not {clip.id for clip in fold.train} & {clip.id for clip in fold.test}


def test_a_suite_can_be_named(manifest):
    (task,) = manifest_tasks(manifest(rows("a", "b")), suite="mine")
    assert task.suite == "mine"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"domain": "sounds"}, "domain='sounds'; expected environment, speech, music, other"),
        ({"domain": None}, "domain=None"),
        ({"domain": ["music"]}, "domain="),
        ({"metric": "map"}, "metric='map'; expected accuracy, micro_f1, macro_f1"),
        ({"kind": "multi", "metric": "accuracy"}, "metric='accuracy'; expected map"),
        ({"kind": "tags"}, "kind='tags'; expected single, multi, slots"),
        ({"kind": "slots"}, "label:SLOT"),
        ({"crop_seconds": 0}, "crop_seconds=0"),
        ({"crop_seconds": 61}, "crop_seconds=61"),
        ({"crop_seconds": "3"}, "crop_seconds='3'"),
        ({"crop_seconds": True}, "crop_seconds=True"),
        ({"crop_seconds": float("nan")}, "crop_seconds=nan"),
        ({"notes": ["a"]}, "notes="),
        ({"stands_for": 3}, "stands_for=3"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_what_was_expected(manifest, settings, complaint):
    with pytest.raises(ManifestError) as caught:
        manifest_tasks(manifest(rows("a", "b"), {"labels": settings}))
    assert complaint in str(caught.value)


def test_a_manifest_without_a_path_is_refused():
    with pytest.raises(ManifestError, match=r"manifest:data/labels\.csv"):
        manifest_tasks("")


@pytest.mark.real
def test_the_development_manifest_has_the_tasks_and_counts_of_its_readme(shared):
    tasks = manifest_tasks(str(shared / "data" / "dev" / "manifest.csv"))
    found = {}
    for task in tasks:
        (fold,) = task.folds()
        found[task.name] = (len(task.labels), len(fold.train), len(fold.valid), len(fold.test))
        assert not [remark for remark in task.remarks if "taken as" in remark]
    assert found == COUNTS
    assert {task.name: task.kind for task in tasks if task.kind != "single"} == {
        "env_tagging_proxy": "multi",
        "music_tagging_proxy": "multi",
    }
