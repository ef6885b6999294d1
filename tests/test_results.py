import json
from dataclasses import MISSING, fields, replace

import pytest

from leveret import paper
from leveret.results import HARES_TASKS, SCHEMA_VERSION, ResultError, Scorecard, TaskResult, domain_means, in_order

ROUNDING = 0.05 + 1e-9  # the paper prints one decimal


def result(task="t", score=0.5, **changes):
    values = {
        "task": task, "suite": "mine", "domain": "speech", "stands_for": "", "kind": "single", "metric": "accuracy",
        "score": score, "interval": (0.4, 0.6), "interval_groups": 20, "interval_wide": False,
        "metrics": {"accuracy": score}, "per_class": {"a": 0.5, "b": None}, "chance": 0.1, "majority": 0.5,
        "floor": None, "train_score": 0.9, "seeds": {"0": score}, "folds": [], "probe": {"class": "Linear"},
        "clips": {"train": 4, "valid": 0, "test": 2}, "skipped": {}, "silent": [], "coverage": 1.0,
        "unscored_classes": ["b"], "split_hash": "0" * 64, "notes": "", "seconds": 1.5,
    }  # fmt: skip
    return TaskResult(**values | changes)


def card(*results):
    return Scorecard(
        encoder={"name": "e", "parameters": None}, protocol={"title": "quick"}, tasks=list(results), run={"seconds": 3}
    )


def hares(row, **changes):
    """The twelve results of a row of the paper."""
    found = paper.published()[row]
    return [
        result(name, found.scores[name] / 100, suite="hares", domain=task.domain, **changes)
        for name, task in paper.tasks().items()
    ]


COMPLETE = [name for name, row in paper.published().items() if row.complete and row.averages["hares"] is not None]


def test_a_scorecard_survives_json():
    before = card(result("a", folds=[0.4, 0.6]), result("é\n", 0.25, suite="other", floor=0.3, skipped={"c": "why"}))
    text = before.to_json()
    assert text.isascii()
    assert Scorecard.from_json(text) == before


def test_the_means_stand_in_the_file_for_readers_without_leveret():
    written = json.loads(card(result("a", 0.2), result("b", 0.4, domain="music")).to_json())
    assert written["schema_version"] == SCHEMA_VERSION
    assert written["summaries"]["mine"] == {
        "title": "mean of 2 tasks",
        "mean": pytest.approx(0.3),
        "domains": {"speech": 0.2, "music": 0.4},
        "num_tasks": 2,
        "notes": [],
    }


def test_a_later_schema_asks_for_an_upgrade_and_names_the_file():
    text = json.dumps(json.loads(card(result()).to_json()) | {"schema_version": SCHEMA_VERSION + 1})
    with pytest.raises(ResultError, match=r"run/scorecard\.json has schema version 2, .* up to 1; upgrade"):
        Scorecard.from_json(text, "run/scorecard.json")


def test_fields_that_a_later_release_added_are_passed_over():
    values = json.loads(card(result()).to_json())
    values["tasks"][0]["new"] = 1
    assert Scorecard.from_json(json.dumps(values)) == card(result())


def test_fields_that_an_earlier_release_did_not_have_take_their_defaults():
    values = json.loads(card(result()).to_json())
    del values["tasks"][0]["contamination"]
    assert Scorecard.from_json(json.dumps(values)).tasks[0].contamination == "unchecked"


REQUIRED = [one.name for one in fields(TaskResult) if one.default is MISSING and one.default_factory is MISSING]


@pytest.mark.parametrize("field", REQUIRED)
def test_a_result_without_one_of_its_fields_is_refused(field):
    values = json.loads(card(result()).to_json())
    del values["tasks"][0][field]
    with pytest.raises(ResultError, match=field):
        Scorecard.from_json(json.dumps(values))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", "null", "{}", '{"schema_version": "one"}', '{"schema_version": 1, "tasks": ["a"]}',
        '{"schema_version": 1, "tasks": 3}', '{"schema_version": 1, "tasks": [{"interval": null}]}',
    ],
)  # fmt: skip
def test_what_is_no_scorecard_is_refused_by_name(text):
    with pytest.raises(ResultError, match=r"here\.json is not a leveret scorecard"):
        Scorecard.from_json(text, "here.json")


def test_a_score_that_is_no_number_cannot_be_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        card(result(score=float("nan"))).to_json()


def test_the_names_of_the_twelve_tasks_are_those_of_the_paper():
    assert set(HARES_TASKS) == set(paper.tasks())


@pytest.mark.parametrize("row", COMPLETE)
def test_hares_and_the_domain_means_are_those_that_the_paper_prints(row):
    printed = paper.published()[row].averages
    summary = card(*hares(row)).summaries()["hares"]
    assert (summary.title, summary.num_tasks) == ("HARES", 12)
    # the scores of the columns are rounded themselves, so their mean may be off by another half digit
    assert 100 * summary.mean == pytest.approx(printed["hares"], abs=2 * ROUNDING)
    for domain, mean in summary.domains.items():
        if printed[domain] is not None:
            assert 100 * mean == pytest.approx(printed[domain], abs=2 * ROUNDING)


PARTIAL = "mean of 12 of the 12 tasks, partial"


@pytest.mark.parametrize("missing", [1, 5])
def test_fewer_than_twelve_tasks_are_partial(missing):
    summary = card(*hares(COMPLETE[0])[missing:]).summaries()["hares"]
    assert (summary.title, summary.num_tasks) == (f"mean of {12 - missing} of the 12 tasks, partial", 12 - missing)


@pytest.mark.parametrize(
    ("task", "coverage", "title"),
    [
        ("esc50", 0.95, "HARES"),
        ("esc50", 0.94, PARTIAL),
        ("audioset", 0.80, "HARES"),
        ("audioset", 0.79, PARTIAL),
    ],
)
def test_a_test_set_that_is_not_covered_makes_it_partial(task, coverage, title):
    results = [replace(r, coverage=coverage) if r.task == task else r for r in hares(COMPLETE[0])]
    assert card(*results).summaries()["hares"].title == title


def test_a_split_of_ours_makes_it_starred_and_is_named():
    results = [replace(r, substitute=r.task in ("tut18", "birdsong")) for r in hares(COMPLETE[0])]
    summary = card(*results).summaries()["hares"]
    assert summary.title == "HARES*"
    assert [note.split(":")[0] for note in summary.notes] == ["birdsong", "tut18"]


def test_hares_says_how_much_of_a_shrunken_test_set_was_scored():
    results = [replace(r, coverage=0.841) if r.task == "audioset" else r for r in hares(COMPLETE[0])]
    summary = card(*results).summaries()["hares"]
    assert (summary.title, summary.notes) == ("HARES", [f"audioset: 84.1% of its test clips, list {'0' * 12}"])


def test_the_same_tasks_of_another_suite_are_not_hares():
    results = [replace(r, suite="mine") for r in hares(COMPLETE[0])]
    assert card(*results).summaries()["mine"].title == "mean of 12 tasks"


def test_suites_are_never_averaged_together():
    summaries = card(result("a", 0.2), result("a", 0.8, suite="other"), result("b", 0.4)).summaries()
    assert {suite: summary.mean for suite, summary in summaries.items()} == pytest.approx({"mine": 0.3, "other": 0.8})
    assert summaries["other"].title == "mean of 1 task"


def test_two_tasks_of_one_name_both_count():
    summary = card(result("a", 0.2), result("a", 0.8)).summaries()["mine"]
    assert (summary.mean, summary.num_tasks) == (pytest.approx(0.5), 2)


def test_tables_list_suite_by_suite_and_domains_in_the_order_of_the_means():
    domains = [("mine", "music"), ("other", "music"), ("mine", "speech"), ("mine", "music"), ("mine", "environment")]
    found = [result(str(k), suite=suite, domain=domain) for k, (suite, domain) in enumerate(domains)]
    assert in_order(found) == [4, 2, 0, 3, 1]


def test_domains_are_in_the_order_of_the_paper_and_only_those_there_are():
    found = domain_means([result(score=0.2, domain="music"), result(score=0.5, domain="environment")])
    assert list(found.items()) == [("environment", 0.5), ("music", 0.2)]


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"probe": {"under_fitted": {"gain": 0.041, "factor": 10.0}}}, "under-fitted: +4.1 at 10x the rate"),
        ({"skipped": {"c": "x"}, "coverage": 0.975}, "1 clip skipped, 97.5% of the test clips scored"),
        ({"silent": ["a", "b"]}, "2 clips are silent"),
        ({"silent": ["a"]}, "1 clip is silent"),
        ({"interval_wide": True, "interval_groups": 4}, "interval over 4 groups only"),
        ({"interval_wide": True, "interval_groups": 1}, "interval over 1 group only"),
        ({"floor": 0.6}, "below the melstats floor of 60.0"),
        ({"chance": 0.5}, "not above chance (50.0)"),
        ({"chance": 0.5, "floor": 0.6}, "not above chance (50.0)"),
    ],
)
def test_what_a_reader_must_know_is_said(changes, warning):
    assert result(**changes).warnings == [warning]


def test_a_sound_result_has_no_warnings():
    assert result(floor=0.5).warnings == []


def test_clips_met_in_training_are_named_the_first_three_in_the_warning_and_all_in_the_file():
    found = result(contamination="5 clips", contaminated=list("abcde"), head="pretraining", train_score=None)
    assert found.warnings == ["test clips met in training: 5 clips: a, b, c and 2 more"]
    again = Scorecard.from_json(card(found).to_json()).tasks[0]
    assert (list(again.contaminated), again.head, again.train_score) == (list("abcde"), "pretraining", None)
    assert result(contamination="1 clip", contaminated=["a"]).warnings == ["test clips met in training: 1 clip: a"]
