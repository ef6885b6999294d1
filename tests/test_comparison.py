from dataclasses import replace

import numpy as np
import pytest

from leveret import paper
from leveret.bootstrap import holm, paired_comparison
from leveret.comparison import ComparisonError, compare, published_row
from leveret.metrics import METRICS
from leveret.predictions import Predictions
from leveret.registry import UnknownNameError
from leveret.results import Scorecard, TaskResult
from leveret.runs import RunWriter, find_runs

NUM_CLIPS = 40


def result(task="t", **changes):
    values = {
        "task": task, "suite": "mine", "domain": "speech", "stands_for": "", "kind": "single", "metric": "accuracy",
        "score": 0.5, "interval": (0.4, 0.6), "interval_groups": 20, "interval_wide": False, "metrics": {},
        "per_class": {}, "chance": 0.5, "majority": 0.5, "floor": None, "train_score": 0.9, "seeds": {}, "folds": [],
        "probe": {}, "clips": {}, "skipped": {}, "silent": [], "coverage": 1.0, "unscored_classes": [],
        "split_hash": "h", "notes": "", "seconds": 1.0,
    }  # fmt: skip
    return TaskResult(**values | changes)


def predictions(share_right, clips=range(NUM_CLIPS), vocabulary=("cat", "dog"), shift=0):
    """Clip k is a cat where k is even; the first clips are told rightly."""
    index = {name: k for k, name in enumerate(vocabulary)}
    labels = [("cat", "dog")[(k + shift) % 2] for k in clips]
    scores = np.zeros((len(labels), len(vocabulary)), np.float32)
    for row, label in enumerate(labels):
        right = row < share_right * len(labels)
        scores[row, index[label if right else {"cat": "dog", "dog": "cat"}[label]]] = 1
    ids, groups = [f"{k}.wav" for k in clips], [f"group {k // 2}" for k in clips]
    return Predictions(ids, groups, [(label,) for label in labels], {"": vocabulary}, [scores], "accuracy")


@pytest.fixture
def run(tmp_path):
    """Writes a run folder of (result, predictions) and reads it back."""

    def make(name, *found, protocol="quick"):
        writer = RunWriter(tmp_path / name, {"name": name})
        for key, (one, predicted) in enumerate(found):
            # as an evaluation does: the task's name, with a number for a second one
            same = sum(earlier.task == one.task for earlier, _ in found[:key])
            writer.add(one.task if not same else f"{one.task}-{same + 1}", one, predicted)
        card = Scorecard(encoder={"name": name}, protocol={"title": protocol}, tasks=[one for one, _ in found], run={})
        return find_runs(writer.finish(card, ""))[0]

    return make


def test_scores_are_over_the_clips_that_all_runs_share_in_whatever_order(run):
    order = [*range(39, 9, -1)]
    compared = compare([run("a", (result(), predictions(1.0))), run("b", (result(), predictions(0.5, order)))])
    (line,) = compared.tasks
    assert (line.task, line.num_clips, line.num_left_out) == ("t", 30, 10)
    assert [cell.score for cell in line.cells] == [1.0, 0.5]
    assert line.cells[1].difference == -0.5
    assert compared.columns == ["a", "b"]
    assert compared.notes == []


def test_tasks_stand_suite_by_suite_and_by_domain_as_the_means_do(run):
    domains = {"song": "music", "rain": "environment", "word": "speech"}
    found = [(result(name, domain=domain), predictions(0.5)) for name, domain in domains.items()]
    assert [task.task for task in compare([run("a", *found), run("b", *found)]).tasks] == ["rain", "word", "song"]


def test_the_first_run_has_no_difference_to_itself(run):
    (line,) = compare([run("a", (result(), predictions(0.75)))]).tasks
    assert line.cells[0].score == 0.75
    assert line.cells[0].difference is line.cells[0].p is None


def test_equal_runs_differ_by_nothing(run):
    found = [run(name, (result(), predictions(0.5))) for name in "ab"]
    cell = compare(found).tasks[0].cells[1]
    assert (cell.difference, cell.low, cell.high, cell.p) == (0, 0, 0, 1)


def test_p_values_are_paired_over_groups_and_corrected_over_the_whole_call(run):
    shares = {"a": (0.5, 0.6), "b": (0.9, 0.5), "c": (0.55, 1.0)}
    runs = [
        run(name, (result("t"), predictions(one)), (result("u"), predictions(two)))
        for name, (one, two) in shares.items()
    ]
    compared = compare(runs, resamples=200)
    raw = []
    for task in (0, 1):
        first = predictions(shares["a"][task])
        for name in "bc":
            other = predictions(shares[name][task])
            raw.append(
                paired_comparison(
                    "accuracy", other.scores[0], first.scores[0], first.targets(), np.array(first.group), 0, 200
                )
            )
    cells = [cell for line in compared.tasks for cell in line.cells[1:]]
    assert [cell.p for cell in cells] == holm([found.p for found in raw])
    assert [cell.difference for cell in cells] == [found.difference for found in raw]
    assert [(cell.low, cell.high) for cell in cells] == [(found.interval.low, found.interval.high) for found in raw]


def test_different_protocols_are_refused(run):
    runs = [run("a", (result(), predictions(1))), run("b", (result(), predictions(1)), protocol="cached@100")]
    with pytest.raises(ComparisonError, match="cached@100, quick"):
        compare(runs)


def test_runs_without_a_common_task_are_refused_with_what_they_have(run):
    with pytest.raises(ComparisonError, match="t of mine; u of mine"):
        compare([run("a", (result("t"), predictions(1))), run("b", (result("u"), predictions(1)))])


def test_a_task_that_one_run_lacks_is_noted(run):
    both = [(result("t"), predictions(1)), (result("u"), predictions(1))]
    compared = compare([run("a", *both), run("b", both[0])])
    assert [line.task for line in compared.tasks] == ["t"]
    assert compared.notes == ["u of mine is not in every run"]


def test_tasks_of_one_name_are_told_apart_by_their_suite(run):
    here, there = result("t", suite="here"), result("t", suite="there")
    one = run("a", (here, predictions(1.0)), (there, predictions(0.5)))
    two = run("b", (there, predictions(0.25)), (here, predictions(0.75)))
    scores = {line.task: [cell.score for cell in line.cells] for line in compare([one, two]).tasks}
    assert scores == {"t": [1.0, 0.75], "t-2": [0.5, 0.25]}


def test_different_splits_are_noted_and_the_shared_clips_scored(run):
    one = run("a", (result(), predictions(1.0, range(20))))
    two = run("b", (result(split_hash="other"), predictions(1.0, range(10, 40))))
    compared = compare([one, two])
    assert compared.tasks[0].num_clips == 10
    assert "different splits" in compared.notes[0]


def test_runs_that_share_no_clip_are_noted(run):
    one, two = run("a", (result(), predictions(1, range(5)))), run("b", (result(), predictions(1, range(5, 9))))
    compared = compare([one, two])
    assert compared.tasks == []
    assert "share no test clip" in compared.notes[0]


@pytest.mark.parametrize(
    "other",
    [
        (result(), predictions(1.0, vocabulary=("bird", "cat", "dog"))),
        (result(), predictions(1.0, vocabulary=("dog", "cat"))),
        (result(), predictions(1.0, shift=1)),
    ],
    ids=["a class more", "another order", "other labels"],
)
def test_scores_that_mean_something_else_are_not_compared(run, other):
    compared = compare([run("a", (result(), predictions(1.0))), run("b", other)])
    assert compared.tasks == []
    assert "not compared" in compared.notes[-1]


def test_tags_and_slots_are_compared_by_their_own_metrics(run):
    rng = np.random.default_rng(0)
    ids, groups = [str(k) for k in range(12)], [str(k) for k in range(12)]
    tags = [("x", "y")[: k % 3] for k in range(12)]
    pairs = [(("on", "off")[k % 2], ("tv", "lamp")[k % 3 == 0]) for k in range(12)]
    found = {}
    for name in "ab":
        scores = [rng.normal(size=(12, 2)).astype(np.float32) for _ in range(3)]
        found[name] = [
            (result("tags", metric="map"), Predictions(ids, groups, tags, {"": ("x", "y")}, scores[:1], "map")),
            (
                result("slots", metric="exact_match"),
                Predictions(ids, groups, pairs, {"s": ("off", "on"), "t": ("lamp", "tv")}, scores[1:], "exact_match"),
            ),
        ]
    compared = compare([run(name, *found[name]) for name in "ab"], resamples=50)
    for line, k in zip(compared.tasks, (0, 1), strict=True):
        expected = [
            METRICS[line.metric](predicted.for_metric(), predicted.targets())
            for predicted in (found[name][k][1] for name in "ab")
        ]
        assert [cell.score for cell in line.cells] == expected


def test_published_rows_stand_beside_hares_tasks_only(run):
    row = published_row("paper:sf_nfnet_f0_simclr")
    hares = (result("esc50", suite="hares"), predictions(0.5))
    proxy = (result("esc50", suite="dev"), predictions(0.5))
    compared = compare([run("a", hares, proxy)], [row])
    assert compared.columns == ["a", row.name]
    cells = [line.cells[1] for line in compared.tasks]
    assert [cell.score for cell in cells] == [pytest.approx(row.scores["esc50"] / 100), None]
    assert cells[0].p is None


def test_the_means_of_hares_tasks_stand_below_them_and_beside_the_papers(run):
    row = published_row("paper:sf_nfnet_f0_simclr")
    tasks = {
        "esc50": ("environment", 1.0, False),
        "tut18": ("environment", 0.5, True),
        "voxceleb": ("speech", 0.75, False),
    }
    found = [
        (result(name, suite="hares", domain=domain, substitute=substitute), predictions(score))
        for name, (domain, score, substitute) in tasks.items()
    ]
    compared = compare([run("a", *found, (result("mine"), predictions(0.25)))], [row])
    means = {line.task: [cell.score for cell in line.cells] for line in compared.means}
    of_row = {name: row.scores[name] / 100 for name in tasks}
    assert means == {
        "mean environment": [0.75, pytest.approx((of_row["esc50"] + of_row["tut18"]) / 2)],
        "mean speech": [0.75, pytest.approx(of_row["voxceleb"])],
        "mean of 3 of the 12 tasks, partial": [pytest.approx(0.75), pytest.approx(sum(of_row.values()) / 3)],
    }
    # what the paper scored on another split is marked, and every mean over it
    assert {line.task: line.cells[1].other_clips for line in (*compared.tasks, *compared.means)} == {
        "esc50": False, "tut18": True, "voxceleb": False, "mine": False,
        "mean environment": True, "mean speech": False, "mean of 3 of the 12 tasks, partial": True,
    }  # fmt: skip


def test_other_suites_have_no_means(run):
    assert compare([run("a", (result(), predictions(1.0)))]).means == []


def test_a_score_that_the_paper_does_not_print_is_left_out(run):
    row = next(row for row in paper.published().values() if not row.complete)
    task = next(task for task, score in row.scores.items() if score is None)
    compared = compare([run("a", (result(task, suite="hares"), predictions(0.5)))], [row])
    assert compared.tasks[0].cells[1].score is None


def test_an_unknown_row_gets_the_nearest():
    assert published_row("sf_nfnet_f0_simclr") == published_row("paper:sf_nfnet_f0_simclr")
    with pytest.raises(UnknownNameError, match=r"Did you mean .*'paper:sf_nfnet_f0_simclr'"):
        published_row("paper:sf_nfnet_f0_simclear")


def test_however_many_comparisons_there_are_a_clear_difference_is_found(run):
    tasks = [f"t{k}" for k in range(13)]
    runs = [
        run(name, *((result(task), predictions(share)) for task in tasks))
        for name, share in {"a": 0.0, "b": 1.0, "c": 1.0}.items()
    ]
    # of 26, a thousand resamples would make the smallest p 26 x 2 / 1001, above 0.05
    found = [cell.p for line in compare(runs).tasks for cell in line.cells[1:]]
    assert found == pytest.approx([26 * 2 / 2601] * 26)


def test_a_classifier_of_pretraining_beside_a_probe_is_noted(run):
    kept = run("kept", (result(head="pretraining"), predictions(1.0)))
    probed, other = (run(name, (result(), predictions(0.5))) for name in ("probed", "other"))
    assert compare([kept, probed]).notes == ["t: kept: its own classifier; the others: a probe trained on the task"]
    assert compare([probed, other]).notes == compare([kept]).notes == []


def test_runs_of_the_same_folds_are_compared_by_the_mean_over_them(run):
    folds = [0] * 10 + [1] * 30
    first, second = (replace(predictions(share), fold=folds) for share in (1.0, 0.5))
    (line,) = compare([run("a", (result(), first)), run("b", (result(), second))]).tasks
    # the first half of all clips is right: all of the first fold, a third of the second
    assert [cell.score for cell in line.cells] == pytest.approx([1, 2 / 3])
    assert line.cells[1].difference == pytest.approx(-1 / 3)
    (pooled,) = compare([run("c", (result(), first)), run("d", (result(), replace(second, fold=folds[::-1])))]).tasks
    assert [cell.score for cell in pooled.cells] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"seeds": {"0": 0.4, "1": 0.6}}, {}, "t: of a the first seed alone, whose predictions are kept"),
        ({"audio_hash": "1"}, {"audio_hash": "2"}, "different bytes"),
        ({"audio_hash": "1"}, {"audio_hash": ""}, None),
    ],
)
def test_what_makes_two_scores_less_alike_than_they_look_is_noted(run, one, other, said):
    made = [run("a", (result(**one), predictions(1.0))), run("b", (result(**other), predictions(0.5)))]
    notes = compare(made).notes
    assert (len(notes) == 1 and said in notes[0]) if said else not notes


def test_differences_over_few_groups_are_noted_and_prove_little(run):
    alone = [replace(predictions(share), group=["ann"] * NUM_CLIPS) for share in (1.0, 0.5)]
    compared = compare([run("a", (result(), alone[0])), run("b", (result(), alone[1]))])
    assert compared.notes == ["t: differences over 1 group only"]
    assert compared.tasks[0].cells[1].p == 1
