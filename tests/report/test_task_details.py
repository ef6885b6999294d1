import numpy as np
import pytest
from tests.report.toy_runs import CLASSES, NUM_CLIPS, single, slots, tags

from leveret.predictions import Predictions
from leveret.report import task_details as room
from leveret.report.task_details import MATRIX_CLASSES, task_details


def test_clips_taken_for_another_class_are_counted_by_pair():
    details = task_details(single(0.5))
    (slot,) = details.confusions
    # the second half is taken for the next class: five clips of each
    assert sorted(slot.counts) == sorted([(k, k, 5) for k in range(4)] + [(k, (k + 1) % 4, 5) for k in range(4)])
    assert sorted(slot.pairs) == [(k, (k + 1) % 4, 5, 10) for k in range(4)]
    assert (details.num_confused, details.num_clips) == (20, NUM_CLIPS)


def test_the_most_confused_clip_is_the_one_with_the_largest_margin():
    details = task_details(single(0.5))
    assert len(details.clips) == room.NUM_CLIPS
    first = details.clips[0]
    assert (first.clip, list(first.true), list(first.predicted)) == ("clips/39.wav", [CLASSES[3]], [CLASSES[0]])
    assert first.margin == 1 + 39 / 64
    margins = [clip.margin for clip in details.clips]
    assert margins == sorted(margins, reverse=True)


def test_nothing_is_confused_where_all_is_right():
    details = task_details(single(1.0))
    assert details.clips == []
    assert details.confusions[0].pairs == []


def test_a_matrix_too_large_to_be_read_is_left_out_and_its_pairs_stay():
    classes = tuple(f"class {k}" for k in range(MATRIX_CLASSES + 1))
    (slot,) = task_details(single(0.5, classes)).confusions
    assert slot.counts is None
    assert len(slot.pairs) == 15


def test_a_false_tag_above_every_true_one_is_a_confusion():
    found = tags(0)
    details = task_details(found)
    truth, scores = found.targets() > 0, found.scores[0]
    worse = [scores[k][~truth[k]].max() - scores[k][truth[k]].max() for k in range(NUM_CLIPS)]
    assert details.confusions == []
    assert details.num_confused == sum(margin > 0 for margin in worse)
    assert details.clips[0].margin == pytest.approx(max(worse))
    assert details.clips[0].clip == found.clip[int(np.argmax(worse))]
    assert details.clips[0].predicted[0] not in details.clips[0].true


def test_clips_without_a_true_tag_or_with_all_of_them_cannot_be_confused():
    scores = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 1.0]], np.float32)
    found = Predictions(["a", "b", "c"], ["a", "b", "c"], [(), ("x", "y"), ("y",)], {"": ("x", "y")}, [scores], "map")
    details = task_details(found)
    assert (details.num_confused, details.num_clips) == (1, 1)
    assert [(clip.clip, clip.predicted) for clip in details.clips] == [("c", ["x"])]


def test_slots_have_a_confusion_each_and_a_clip_is_wrong_where_one_slot_is():
    found = slots(0)
    details = task_details(found)
    assert [slot.slot for slot in details.confusions] == ["action", "object"]
    predicted = np.stack([scores.argmax(axis=1) for scores in found.scores], axis=1)
    assert details.num_confused == (predicted != found.targets()).any(axis=1).sum()
    assert all(len(clip.predicted) == 2 for clip in details.clips)


def test_of_equal_scores_the_first_one_is_the_prediction_as_in_the_metric():
    scores = np.zeros((2, 2), np.float32)
    found = Predictions(["a", "b"], ["a", "b"], [("x",), ("y",)], {"": ("x", "y")}, [scores], "accuracy")
    details = task_details(found)
    assert details.num_confused == 1
    assert details.clips[0].margin == 0
