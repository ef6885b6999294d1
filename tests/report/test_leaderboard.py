"""Rankings say what the scorecards say, mix no protocols, and give a place to whole means alone."""

import json

import pytest
from tests.report.test_page import HOSTILE, Page
from tests.report.toy_runs import hares, scored, single, write_run

from leveret.paper import published
from leveret.report.leaderboard import leaderboard, published_rows, rankings, size_class
from leveret.runs import find_runs

ROW = published()["sf_nfnet_f0_simclr"]


def rewritten(one, **parts):
    """The run with other facts in these parts of its scorecard."""
    path = one.folder / "scorecard.json"
    values = json.loads(path.read_text())
    for name, facts in parts.items():
        values[name] |= facts
    path.write_text(json.dumps(values))
    return find_runs(one.folder)[0]


def page_of(runs, rows=(), left_out=None, marks=None, trained_on=None, verified=False):
    return leaderboard(
        runs, rows, left_out=left_out or {}, marks=marks or {}, trained_on=trained_on or {}, verified=verified
    )


@pytest.fixture
def runs(tmp_path):
    """Two protocols, a whole HARES, one that lacks a task, and another suite."""
    return [
        write_run(tmp_path / "low", hares(0.25), encoder="low"),
        write_run(tmp_path / "part", hares(0.9, leave_out=["audioset"]), encoder="part"),
        write_run(tmp_path / "high", hares(0.5), encoder="high"),
        write_run(tmp_path / "other", hares(0.75), encoder="other", protocol="cached"),
        write_run(tmp_path / "mine", [scored(single(0.5))], encoder="mine"),
    ]


def test_protocols_and_suites_are_never_ranked_together(runs):
    found = [(one.protocol, one.suite, [place.name for place in one.places]) for one in rankings(runs, [], {}, {})]
    assert found == [
        ("quick", "hares", ["high", "low", "part"]), ("cached", "hares", ["other"]), ("quick", "mine", ["mine"])
    ]  # fmt: skip


def test_a_partial_mean_stands_below_and_is_no_number_to_sort_by(runs):
    places = rankings(runs, [], {}, {})[0].places
    assert [(place.shown["kind"], place.whole) for place in places] == [
        ("HARES", True), ("HARES", True), ("11 of 12", False)
    ]  # fmt: skip
    assert [place.cells[0]["text"] for place in places] == ["50.0", "25.0", "(90.0)"]
    assert [place.cells[0]["value"] for place in places] == ["0.500000", "0.250000", ""]
    assert places[2].title == "mean of 11 of the 12 tasks, partial"


def test_coverage_and_splits_of_ours_are_told_with_the_mean(tmp_path):
    results = [
        *hares(0.5, leave_out=["audioset", "tut18"]),
        scored(single(0.5), "audioset", suite="hares", domain="environment", coverage=0.84),
        scored(single(0.5), "tut18", suite="hares", domain="environment", substitute=True),
    ]
    (ranking,) = rankings([write_run(tmp_path / "run", results)], [ROW], {}, {})
    own = next(place for place in ranking.places if not place.published)
    assert own.title == own.shown["kind"] == "HARES*"
    assert "audioset: 84.0% of its test clips, list 555555555555" in own.coverage
    paper = next(place for place in ranking.places if place.published)
    assert [paper.cells[0]["grey"], own.cells[0]["grey"]] == [True, False]


def test_published_rows_stand_beside_hares_alone_with_their_parameters(runs):
    first, second, third = rankings(runs, published_rows(), {}, {})
    best = next(place for place in first.places if place.published)
    assert (best.name, best.parameters, best.speed, best.data) == ("SF NFNet-F0", 63e6, None, "AudioSet")
    assert best.cells[0]["text"] == "74.6"
    assert sum(place.published for place in second.places) == len(published_rows()) == 27
    assert not any(place.published for place in third.places)


def test_parameters_speed_machine_and_data_are_those_of_the_runs_own_facts(tmp_path):
    run = rewritten(
        write_run(tmp_path / "run", [scored(single(0.5))]),
        encoder={"parameters": 4_200_000, "pretraining": {"data": "manifest:birds.csv"}},
        run={"embedding": {"audio_seconds": 90.0, "seconds": 2.0}, "torch_threads": 2, "dtype": "bfloat16"},
    )
    ((place,),) = [one.places for one in rankings([run], [], {run.folder: "verified"}, {})]
    assert (place.parameters, place.speed, place.machine) == (4.2e6, 45.0, "cpu, 2 threads, bfloat16")
    assert (place.data, place.mark, place.shown["parameters"]) == ("manifest:birds.csv", "verified", "4.2 M")
    ((place,),) = [one.places for one in rankings([run], [], {}, {"melstats": "birds"})]
    assert (place.data, place.mark) == ("birds", "")


def test_a_file_that_was_trained_on_is_shown_without_its_folders(tmp_path):
    about = {"pretraining": {"data": "/far/away/all.csv"}}
    run = rewritten(write_run(tmp_path / "run", hares(0.5)), encoder=about)
    assert '<td class="fact text"><span title="/far/away/all.csv">all.csv</span></td>' in page_of([run])


@pytest.mark.parametrize(
    ("encoder", "facts", "data", "parameters"),
    [
        ({"origin": "random weights, seed 0"}, {}, "none", 1_423_616),
        ({"origin": "no weights", "parameters": 0}, {}, "none", 0),
        ({"origin": "pkg adapter", "parameters": 0}, {}, "not recorded", None),
        ({"parameters": "many", "pretraining": "much"}, {"embedding": {"audio_seconds": "x"}}, "not recorded", None),
        ({"parameters": -3}, {"embedding": {"audio_seconds": 1.0, "seconds": 0.0}}, "not recorded", None),
        ({"parameters": None}, {"embedding": [1]}, "not recorded", None),
    ],
)
def test_what_a_run_does_not_tell_or_tells_wrongly_is_not_known(tmp_path, encoder, facts, data, parameters):
    run = rewritten(write_run(tmp_path / "run", [scored(single(0.5))]), encoder=encoder, run=facts)
    ((place,),) = [one.places for one in rankings([run], [], {}, {})]
    assert (place.data, place.parameters, place.speed) == (data, parameters, None)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [(None, ""), (0, "under 10 M"), (10e6, "under 10 M"), (63e6, "50 to 100 M"), (3e9, "over 100 M")],
)
def test_sizes_have_names(parameters, name):
    assert size_class(parameters) == name


def test_the_page_has_the_numbers_the_filters_and_what_was_left_out(runs):
    parsed = Page(page_of(runs, [ROW], left_out={"runs/broken": "no good"}))
    assert parsed.row("high")[:4] == ["50.0HARES", "1.4 M", "", "not recorded"]
    selects = [attributes["name"] for tag, attributes in parsed.tags if tag == "select"]
    assert selects == ["ranking", "domain", "size", "data"]
    drawn = parsed.data["rankings"][0]
    means = {place["name"]: place["means"] for place in drawn}
    assert means["high"] == {"": 50.0, "environment": 50.0, "speech": 50.0, "music": 50.0}
    assert means["part"] == {"speech": 90.0, "music": 90.0}
    assert means["SF NFNet-F0"][""] == 74.6
    text = page_of(runs, left_out={"runs/broken": "no good"})
    assert "1 run folder." in text
    assert "<code>runs/broken</code> no good" in text


def test_a_leaderboard_asks_nothing_of_the_outside_and_hostile_names_are_inert(tmp_path):
    run = rewritten(
        write_run(tmp_path / "run", [scored(single(0.5), HOSTILE, suite=HOSTILE)], encoder=HOSTILE, protocol=HOSTILE),
        encoder={"pretraining": {"data": HOSTILE}},
        run={"device": HOSTILE, "embedding": {"audio_seconds": 1.0, "seconds": 1.0}},
    )
    text = page_of([run], left_out={HOSTILE: HOSTILE})
    parsed = Page(text)
    assert [tag for tag, _ in parsed.tags if tag in ("img", "iframe", "object", "base")] == []
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert text.count("</script") == 2
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "https:" not in text
    assert "http:" not in text
    assert parsed.data["rankings"][0][0]["name"].startswith("</script>")
