from statistics import fmean

import pytest
from tests.report.toy_runs import hares, scored, single, write_run

from leveret.paper import published
from leveret.report.score_table import default_rows, score_tables
from leveret.results import HARES_TASKS
from leveret.text import percent

ROW = published()["sf_nfnet_f0_simclr"]


def values(line):
    return [score.value for score in line.scores]


def test_each_protocol_and_each_suite_has_a_table_of_its_own(tmp_path):
    both = [scored(single(0.5), "a"), scored(single(0.75), "b", suite="other")]
    runs = [
        write_run(tmp_path / "one", both),
        write_run(tmp_path / "two", both, protocol="cached@100"),
        write_run(tmp_path / "three", both[:1], encoder="third"),
    ]
    tables = score_tables(runs, [])
    assert [(one.protocol, one.suite, [column.name for column in one.columns]) for one in tables] == [
        ("quick", "mine", ["melstats", "third"]),
        ("quick", "other", ["melstats"]),
        ("cached@100", "mine", ["melstats"]),
        ("cached@100", "other", ["melstats"]),
    ]
    assert [values(line) for one in tables for line in one.lines] == [[0.5, 0.5], [0.75], [0.5], [0.75]]


def test_hares_stands_in_the_order_of_table_4_beside_the_papers_own_averages(tmp_path):
    run = write_run(tmp_path / "run", hares(0.5)[::-1])
    (one,) = score_tables([run], [ROW])
    assert [line.task for line in one.lines] == list(HARES_TASKS)
    assert [domain.domain for domain in one.domains] == ["environment", "speech", "music"]
    assert [percent(domain.mean.scores[1].value) for domain in one.domains] == ["75.8", "77.2", "68.6"]
    assert one.overall.title == "HARES"
    assert values(one.overall) == [0.5, 0.746]
    assert one.notes == []
    assert [line.scores[1].value for line in one.lines] == [ROW.scores[task] / 100 for task in HARES_TASKS]


def test_a_mean_stands_only_where_an_encoder_has_every_task_of_it(tmp_path):
    runs = [
        write_run(tmp_path / "whole", hares(0.5)),
        write_run(tmp_path / "part", hares(0.75, leave_out=["voxceleb"]), encoder="part"),
    ]
    (one,) = score_tables(runs, [ROW])
    assert [values(domain.mean)[:2] for domain in one.domains] == [[0.5, 0.75], [0.5, None], [0.5, 0.75]]
    assert one.overall.title == "HARES"
    assert values(one.overall) == [0.5, None, 0.746]
    assert one.overall.scores[1].note == "mean of 11 of the 12 tasks, partial: 75.0"


def test_a_partial_suite_is_called_partial_and_the_paper_averaged_over_the_same_tasks(tmp_path):
    run = write_run(tmp_path / "run", hares(0.5, leave_out=["voxceleb", "tut18"]))
    (one,) = score_tables([run], [ROW])
    assert one.overall.title == "mean of 10 of the 12 tasks, partial"
    kept = [ROW.scores[task] / 100 for task in HARES_TASKS if task not in ("voxceleb", "tut18")]
    assert values(one.overall) == [0.5, pytest.approx(fmean(kept))]


def test_what_the_paper_scored_on_another_split_is_greyed_and_every_mean_over_it(tmp_path):
    found = [
        *hares(0.5, leave_out=["birdsong"]),
        scored(single(0.5), "birdsong", suite="hares", substitute=True),
    ]
    (one,) = score_tables([write_run(tmp_path / "run", found)], [ROW])
    greyed = [line.task for line in one.lines if line.scores[1].other_clips]
    assert greyed == ["birdsong"]
    assert not any(line.scores[0].other_clips for line in one.lines)
    assert [domain.mean.scores[1].other_clips for domain in one.domains] == [True, False, False]
    assert one.overall.title == "HARES*"
    assert one.overall.scores[1].other_clips
    assert one.notes == ["birdsong: a split of ours, since the paper's was never published"]


def test_the_best_of_two_or_more_runs_is_marked_and_the_paper_never(tmp_path):
    runs = [write_run(tmp_path / name, hares(share), encoder=name) for name, share in (("a", 0.25), ("b", 0.5))]
    (one,) = score_tables(runs, [ROW])
    assert [score.best for score in one.lines[0].scores] == [False, True, False]
    (alone,) = score_tables(runs[:1], [ROW])
    assert not any(score.best for score in alone.lines[0].scores)


def test_the_papers_rows_are_the_complete_ones_of_table_4_the_best_first():
    assert [row.name for row in default_rows()] == [
        "sf_nfnet_f0_simclr", "sf_resnet50_simclr", "bidir_cpc_audioset", "byola_audioset", "cnn14_supervised",
        "wav2vec2_librispeech",
    ]  # fmt: skip
