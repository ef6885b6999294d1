from dataclasses import replace

import numpy as np
import pytest
from tests.report.toy_runs import scored, single, slots, tags

from leveret.prediction_scores import scores_of
from leveret.verifying.checks import Check, check_fold_scores, check_scores, faults

HALVES = [[f"clips/{k}.wav" for k in range(20)], [f"clips/{k}.wav" for k in range(20, 40)]]


def result_of(predictions, **changes):
    """The result that an evaluation would have written."""
    found = scores_of(predictions, changes.get("score", predictions.score()))
    return scored(predictions, **found | changes)[0]


@pytest.mark.parametrize("predictions", [single(0.5), tags(0), slots(1)])
def test_a_result_of_each_kind_follows_from_its_predictions(predictions):
    check = check_scores("farm", result_of(predictions), predictions)
    assert (check.state, check.said) == ("passed", "score, interval and classes follow from the predictions")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"clips": {"train": 80, "test": 41}}, "41 test clips, 40 predictions"),
        ({"metric": "map"}, "the metric is map, that of the predictions accuracy"),
        ({"metrics": {"accuracy": 0.9, "macro_f1": 0.5}}, "accuracy is 0.9, the predictions give 0.5"),
        ({"seeds": {}}, "the score is not the mean over the seeds"),
        ({"folds": [0.1, 0.2]}, "the score is not the mean over the folds"),
        ({"chance": 0.1}, "chance is 0.100000, the predictions give 0.250000"),
    ],
)
def test_what_does_not_follow_is_named(changes, says):
    check = check_scores("farm", result_of(single(0.5), **changes), single(0.5))
    assert check.state == "failed"
    assert says in check.said


def test_a_clip_that_stands_twice_is_named():
    twice = single(0.5).take(np.array([*range(39), 0]))
    assert "a clip stands twice" in check_scores("farm", result_of(twice), twice).said


def test_seeds_whose_predictions_are_not_kept_are_told():
    check = check_scores("farm", result_of(single(0.5), seeds={"0": 0.5, "1": 0.7}, score=0.6), single(0.5))
    assert check.state == "passed"
    assert "of 2 seeds, only the first one's predictions are kept" in check.said


def test_folds_are_scored_by_their_own_clips():
    # of single(0.5) the first half is right and the second wrong
    assert check_fold_scores(result_of(single(0.5), folds=[1.0, 0.0]), single(0.5), HALVES) == []
    wrong = check_fold_scores(result_of(single(0.5), folds=[0.5, 0.5]), single(0.5), HALVES)
    assert wrong[0] == "fold 1 has the score 0.5000, its predictions give another"
    assert len(wrong) == 2


def test_what_failed_comes_before_what_was_not_checked_and_a_note_decides_nothing():
    checks = [
        Check("data", "a", "not checked", "gone"), Check("code", "", "noted", "other"),
        Check("encoder", "", "failed", "another"), Check("scores", "a", "passed", "well"),
    ]  # fmt: skip
    assert faults(checks) == ["encoder: another", "a: data: gone"]


def test_a_fold_that_the_data_do_not_have_is_named():
    folded = replace(single(0.5), fold=[0] * 20 + [1] * 20)
    result = result_of(folded, folds=[1.0, 0.0], seeds={"0": 0.5})
    assert check_fold_scores(result, folded, HALVES) == []
    moved = replace(folded, fold=[0] * 19 + [1] * 21)
    assert "clips/19.wav is no test clip of fold 2" in check_fold_scores(result, moved, HALVES)[0]
    assert check_scores("farm", result, moved).state == "failed"


def test_the_interval_of_a_run_of_before_folds_were_kept_passes():
    interval = scores_of(single(0.5), 0.5)["interval"]
    older = result_of(single(0.5), seeds={"0": 0.5, "1": 0.7}, score=0.6, interval=interval)
    assert check_scores("farm", older, single(0.5)).state == "passed"
