import json
import os
from dataclasses import replace

import numpy as np
import pytest

from leveret.predictions import Predictions, RunError, read_predictions, write_predictions
from leveret.results import ResultError, Scorecard, TaskResult
from leveret.runs import RunWriter, check_place, find_runs, task_keys

CONFIG = {"encoder": {"digest": "abc"}, "seeds": (0, 1)}


def result(task="t", score=0.5):
    return TaskResult(
        task=task, suite="mine", domain="speech", stands_for="", kind="single", metric="accuracy", score=score,
        interval=(0.4, 0.6), interval_groups=20, interval_wide=False, metrics={}, per_class={}, chance=0.5,
        majority=0.5, floor=None, train_score=0.9, seeds={"0": score}, folds=[], probe={}, clips={}, skipped={},
        silent=[], coverage=1.0, unscored_classes=[], split_hash="h", notes="", seconds=1.0,
    )  # fmt: skip


def card(*results, finished=""):
    return Scorecard(encoder={"name": "e"}, protocol={"title": "quick"}, tasks=results, run={"finished": finished})


SINGLE = Predictions(
    ["a.wav", "b\n.wav", "c.wav"], ["g", "g", "h"], [("cat",), ("dog",), ("cat",)], {"": ("cat", "dog")},
    [np.array([[1.5, 0], [0, 2], [0.1, 0.2]], np.float32)], "accuracy",
)  # fmt: skip
MULTI = Predictions(
    ["a", "b", "c"], ["g", "g", "h"], [("x", "z"), (), ("y",)], {"": ("x", "y", "z")},
    [np.arange(9, dtype=np.float32).reshape(3, 3)], "map",
)  # fmt: skip
SLOTS = Predictions(
    ["a", "b"], ["g", "h"], [("on", "lamp"), ("off", "door")],
    {"action": ("off", "on"), "thing": ("door", "lamp", "tv")},
    [np.array([[0, 1], [1, 0]], np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)], "exact_match",
)  # fmt: skip


FOLDED = replace(SINGLE, fold=[0, 1, 1])


@pytest.mark.parametrize("before", [SINGLE, MULTI, SLOTS, FOLDED], ids=["single", "multi", "slots", "folded"])
def test_predictions_come_back_as_they_were(tmp_path, before):
    write_predictions(tmp_path / "t.parquet", before)
    found = read_predictions(tmp_path / "t.parquet")
    assert [found.clip, found.group, found.metric] == [before.clip, before.group, before.metric]
    assert list(found.fold) == list(before.fold)
    assert [tuple(labels) for labels in found.labels] == list(before.labels)
    assert {slot: tuple(names) for slot, names in found.vocabulary.items()} == before.vocabulary
    assert len(found.scores) == len(before.scores)
    for there, here in zip(found.scores, before.scores, strict=True):
        assert there.dtype == np.float32
        np.testing.assert_array_equal(there, here)
    np.testing.assert_array_equal(found.targets(), before.targets())
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_the_score_is_the_mean_over_folds():
    assert SINGLE.score() == pytest.approx(2 / 3)
    assert FOLDED.score() == pytest.approx((1 + 1 / 2) / 2)
    assert FOLDED.take(np.array([2, 0])).score() == pytest.approx((0 + 1) / 2)


def test_targets_are_as_the_metrics_take_them():
    assert SINGLE.targets().tolist() == [0, 1, 0]
    assert MULTI.targets().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert SLOTS.targets().tolist() == [[1, 1], [0, 0]]
    assert isinstance(SLOTS.for_metric(), list)
    assert SINGLE.for_metric() is SINGLE.scores[0]


def test_clips_can_be_taken_in_any_order():
    taken = MULTI.take(np.array([2, 0]))
    assert (taken.clip, taken.group, taken.labels) == (["c", "a"], ["h", "g"], [("y",), ("x", "z")])
    assert taken.scores[0].tolist() == [[6, 7, 8], [0, 1, 2]]
    assert taken.targets().tolist() == [[0, 1, 0], [1, 0, 1]]


def test_a_finished_run_is_whole_and_can_be_found(tmp_path):
    writer = RunWriter(tmp_path / "run", CONFIG)
    writer.add("t", result(), SINGLE)
    folder = writer.finish(card(result()), "said\n")
    assert folder == tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "log.txt", "predictions", "scorecard.json"]
    assert json.loads((folder / "config.json").read_text()) == {"encoder": {"digest": "abc"}, "seeds": [0, 1]}
    assert (folder / "log.txt").read_text() == "said\n"
    (run,) = find_runs(tmp_path)
    assert run.folder == folder
    assert run.scorecard.tasks == [result()]
    assert list(run.predictions("t").clip) == SINGLE.clip
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_of_the_same_config_is_taken_up_after_a_crash(tmp_path):
    crashed = RunWriter(tmp_path / "first", CONFIG)
    crashed.add("t", result("t", 0.25), SINGLE)
    del crashed  # the lock of a dead process is free
    writer = RunWriter(tmp_path / "second", CONFIG)
    assert writer.finished() == {"t": result("t", 0.25)}
    writer.add("u", result("u"), MULTI)
    assert writer.finish(card(result("t", 0.25), result("u")), "") == tmp_path / "first"
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_folder_that_no_run_could_be_put_in_is_refused(tmp_path, monkeypatch):
    check_place(tmp_path / "new" / "runs")
    (tmp_path / "runs.csv").write_text("a")
    (tmp_path / "gone").symlink_to(tmp_path / "none")
    for folder in ("runs.csv", "runs.csv/deeper", "gone"):
        with pytest.raises(
            ValueError, match=f"{folder.split('/')[0]} is no folder; expected one to put run folders in"
        ):
            check_place(tmp_path / folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root everything can be written
    with pytest.raises(ValueError, match=r"cannot be written in; give another one for the runs than .*/new/runs"):
        check_place(tmp_path / "new" / "runs")


def test_a_run_of_another_config_is_left_alone(tmp_path):
    crashed = RunWriter(tmp_path / "run", CONFIG)
    crashed.add("t", result(), SINGLE)
    writer = RunWriter(tmp_path / "run", {**CONFIG, "seeds": (0,)})
    assert writer.finished() == {}
    assert writer.finish(card(), "") == tmp_path / "run-2"
    assert crashed.finished() == {"t": result()}


def test_predictions_without_a_result_do_not_count_as_finished(tmp_path):
    crashed = RunWriter(tmp_path / "run", CONFIG)
    write_predictions(crashed.partial / "predictions" / "t.parquet", SINGLE)
    del crashed
    assert RunWriter(tmp_path / "run", CONFIG).finished() == {}


@pytest.mark.parametrize("step", ["scorecard.json", "log.txt", "rename"])
def test_a_run_that_is_killed_while_it_finishes_loses_no_task(tmp_path, monkeypatch, step):
    crashed = RunWriter(tmp_path / "run", CONFIG)
    crashed.add("t", result(), SINGLE)

    class KilledError(Exception):
        pass

    def killed(path, target):
        if step in (target.name, "rename"):
            raise KilledError
        return original(path, target)

    with monkeypatch.context() as patch:
        name = "rename" if step == "rename" else "replace"
        original = getattr(type(tmp_path), name)
        patch.setattr(type(tmp_path), name, killed)
        with pytest.raises(KilledError):
            crashed.finish(card(result()), "")
    with pytest.raises(RunError):
        find_runs(tmp_path)
    crashed._held.release()  # the lock of a dead process is free
    writer = RunWriter(tmp_path / "run", CONFIG)
    assert writer.finished() == {"t": result()}
    writer.add("u", result("u"), MULTI)
    writer.finish(card(result(), result("u")), "")
    (run,) = find_runs(tmp_path)
    assert len(run.scorecard.tasks) == 2


def test_a_run_that_is_still_at_work_is_not_taken_up(tmp_path):
    live = RunWriter(tmp_path / "run", CONFIG)
    live.add("t", result(), SINGLE)
    other = RunWriter(tmp_path / "run", CONFIG)
    assert other.finished() == {}
    assert other.partial != live.partial
    assert {live.finish(card(result()), "").name, other.finish(card(), "").name} == {"run", "run-2"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2"]


def test_the_same_name_twice_gets_a_number(tmp_path):
    names = [RunWriter(tmp_path / "run", CONFIG).finish(card(), "").name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_something_else_whose_name_ends_alike_is_left_alone(tmp_path, content):
    (tmp_path / "download.partial").mkdir()
    (tmp_path / "file.partial").write_text("half a file")
    if content is not None:
        (tmp_path / "download.partial" / "config.json").write_text(content)
    assert RunWriter(tmp_path / "run", CONFIG).finish(card(), "").name == "run"
    assert (tmp_path / "download.partial").exists()


def test_giving_up_keeps_what_was_finished_and_nothing_else(tmp_path):
    empty = RunWriter(tmp_path / "empty", CONFIG)
    empty.abandon()
    empty.abandon()
    half = RunWriter(tmp_path / "half", CONFIG)
    half.add("t", result(), SINGLE)
    half.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["half.partial"]
    done = RunWriter(tmp_path / "half", CONFIG)
    done.finish(card(result()), "")
    done.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


def test_runs_are_found_oldest_first_and_unfinished_ones_are_not(tmp_path):
    for name, finished in (("b", "2024-01-02"), ("a", "2024-01-03"), ("c/d", "2024-01-01")):
        RunWriter(tmp_path / name, {"name": name}).finish(card(finished=finished), "")
    crashed = RunWriter(tmp_path / "crashed", CONFIG)
    (crashed.partial / "scorecard.json").write_text(card().to_json())
    assert [run.folder.name for run in find_runs(tmp_path)] == ["d", "b", "a"]
    assert [run.folder.name for run in find_runs(tmp_path / "a")] == ["a"]
    for nothing in (tmp_path / "none", crashed.partial):
        with pytest.raises(RunError, match="leveret evaluate"):
            find_runs(nothing)


def test_a_scorecard_that_cannot_be_read_is_named(tmp_path):
    folder = RunWriter(tmp_path / "run", CONFIG).finish(card(), "")
    (folder / "scorecard.json").write_text("{")
    with pytest.raises(ResultError, match=r"run/scorecard\.json"):
        find_runs(tmp_path)


@pytest.mark.parametrize(
    ("tasks", "keys"),
    [
        (["esc50", "birds"], ["esc50", "birds"]),
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a", "a", "a-2"], ["a", "a-2", "a-2-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["A", "a"], ["A", "a-2"]),
        (["../../etc/x", "a b", "a/b", ""], ["______etc_x", "a_b", "a_b-2", "task"]),
        ([".", "\x1b[2J"], ["_", "__2J"]),
    ],
)
def test_keys_are_safe_file_names_and_different(tasks, keys):
    assert list(task_keys([("suite", task) for task in tasks])) == keys


@pytest.mark.parametrize("letter", ["x", "ü", "語", "𐐀"])
def test_a_long_name_fits_into_a_file_name(tmp_path, letter):
    (key,) = task_keys([("s", letter * 300)])
    writer = RunWriter(tmp_path / "run", CONFIG)
    writer.add(key, result(), SINGLE)
    assert list(writer.finished()) == [key]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"task": 3}'])
def test_a_damaged_result_of_an_unfinished_run_is_done_again(tmp_path, content):
    writer = RunWriter(tmp_path / "run", CONFIG)
    writer.add("t", result(), SINGLE)
    writer.add("u", result("u"), SINGLE)
    (writer.partial / "results" / "t.json").write_bytes(content)
    assert list(writer.finished()) == ["u"]
    writer.abandon()


@pytest.mark.parametrize("harm", ["missing", "cut", "other"])
def test_damaged_predictions_are_named(tmp_path, harm):
    path = tmp_path / "t.parquet"
    write_predictions(path, SINGLE)
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30] if harm == "cut" else b"PAR1")
    with pytest.raises(RunError, match=r"t\.parquet is missing or damaged"):
        read_predictions(path)
