"""The suite `hares`: all twelve tasks on toy trees under each protocol; what is missing is named; no mean is HARES."""

import pytest
from tests.tasks.toy_hares import TREES

from leveret import loading, paper, workload
from leveret.bad_files import BadFilePolicy
from leveret.cli import main
from leveret.commands import compare as compare_command
from leveret.commands import scores
from leveret.dataroots import DataRoots
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.loading import datasets, find_tasks
from leveret.protocols import Protocol
from leveret.published_audio import MissingDatasetError
from leveret.results import HARES_TASKS
from leveret.runner import Compute

APPENDIX_A = {
    # crop in seconds, read-out, batch, steps, metric, kind
    "audioset": (3.0, "mlp", 128, 200_000, "map", "multi"),
    "birdsong": (1.0, "linear", 64, 400_000, "micro_f1", "single"),
    "tut18": (5.0, "linear", 64, 400_000, "micro_f1", "single"),
    "esc50": (5.0, "svm", None, None, "micro_f1", "single"),
    "speech_commands_v1": (1.0, "linear", 64, 400_000, "micro_f1", "single"),
    "speech_commands_v2": (1.0, "linear", 64, 400_000, "micro_f1", "single"),
    "voxforge": (3.0, "linear", 64, 400_000, "micro_f1", "single"),
    "voxceleb": (3.0, "linear", 64, 400_000, "micro_f1", "single"),
    "fluent_speech_commands": (3.0, "linear", 64, 400_000, "exact_match", "slots"),
    "nsynth_pitch": (1.0, "linear", 64, 400_000, "micro_f1", "single"),
    "nsynth_instrument": (4.0, "linear", 64, 400_000, "micro_f1", "single"),
    "magnatagatune": (3.0, "linear", 128, 20_000, "map", "multi"),
}
"""A second copy of the paper's appendix A."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("hares")
    for name, make in TREES.items():
        make(root / name)
    return root


def test_the_datasets_make_the_twelve_tasks_of_the_paper():
    assert set(datasets()) == set(TREES)
    assert {task for dataset in datasets().values() for task in dataset.tasks} == set(paper.tasks()) == set(HARES_TASKS)


def test_every_number_of_appendix_a(root):
    tasks = find_tasks(["hares"], data=DataRoots(root=root)).tasks
    assert [task.name for task in tasks] == list(HARES_TASKS)
    for task in tasks:
        crop, head, batch, steps, metric, kind = APPENDIX_A[task.name]
        assert (task.crop_seconds, task.head, task.metric, task.kind) == (crop, head, metric, kind), task.name
        assert task.domain == paper.tasks()[task.name].domain
        if batch is not None:
            assert (task.batch, task.steps) == (batch, steps), task.name
        assert (task.mixed_passes > 0) == (task.name in ("audioset", "esc50"))
        assert task.num_windows == {"audioset": 10, "nsynth_pitch": 4}.get(task.name, 0)
        assert not task.whole_clip
        assert task.suite == "hares"


@pytest.mark.parametrize("protocol", ["quick", pytest.param("cached", marks=pytest.mark.soak), "paper"])
def test_all_twelve_run_and_their_mean_is_not_called_hares(root, tmp_path, monkeypatch, protocol):
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 500)  # so that of few clips too some tasks embed as they draw
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path, floor=False, data=DataRoots(root=root),
        protocol=Protocol(name=protocol, steps={"cached": 10, "paper": 2}.get(protocol), check_rates=False),
        policy=BadFilePolicy("skip"),
    )  # fmt: skip
    (run,) = evaluate("melstats", "hares", protocol, config=config)
    assert [result.task for result in run.scorecard.tasks] == list(HARES_TASKS)
    assert all(0 <= result.score <= 1 for result in run.scorecard.tasks)
    crops = [result.probe["crops"] for result in run.scorecard.tasks if result.probe.get("crops")]
    assert {one["embedded"] for one in crops} == ({"once", "as drawn"} if protocol == "paper" else set())
    summary = run.scorecard.summaries()["hares"]
    # of every published test set a few clips only
    assert summary.title == "mean of 12 of the 12 tasks, partial"
    assert any(note.startswith("nsynth_pitch: ") for note in summary.notes)


def test_of_three_datasets_three_scores_nine_lines_of_what_is_missing_and_no_hares(root, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("LEVERET_DATA", raising=False)
    for name in ("esc50", "tut18", "magnatagatune"):
        (tmp_path / name).symlink_to(root / name)
    words = ["evaluate", "--encoder", "melstats", "--tasks", "hares", "--data", str(tmp_path), "--protocol", "quick"]
    assert main([*words, "--no-floor", "-o", str(tmp_path / "runs"), "--bad-files", "skip"]) == 0
    lines = capsys.readouterr().out.splitlines()
    missing = [line.split(":")[0].split()[-1] for line in lines if line.startswith("  missing ")]
    assert sorted(missing) == sorted(set(HARES_TASKS) - {"esc50", "tut18", "magnatagatune"})
    assert all("it is to be had from" in line for line in lines if line.startswith("  missing "))
    scored = [line.split()[0] for line in lines if line.split() and line.split()[0] in HARES_TASKS]
    assert scored == ["tut18", "esc50", "magnatagatune"]
    assert any(line.startswith("mean of 3 of the 12 tasks, partial") for line in lines)
    assert not any(line.startswith(("HARES ", "HARES*")) for line in lines)


def test_of_what_is_missing_nothing_is_asked_for_twice(root, tmp_path, monkeypatch):
    (tmp_path / "esc50").symlink_to(root / "esc50")
    asked = []
    folder_of = loading.folder_of
    monkeypatch.setattr(loading, "folder_of", lambda one, *rest: (asked.append(one.name), folder_of(one, *rest))[1])
    assert len(find_tasks(["hares"], data=DataRoots(root=tmp_path)).missing) == 11
    # of a dataset with several tasks each may do without an archive of the others
    several = sum(1 + len(dataset.tasks) for dataset in datasets().values() if len(dataset.tasks) > 1)
    assert len(asked) == several + sum(len(dataset.tasks) == 1 for dataset in datasets().values())


def test_the_papers_scores_of_other_clips_are_grey_and_so_are_their_means(root, tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(scores, "print_table", lambda title, columns, rows, **more: shown.update(rows=rows, **more))
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path, floor=False, data=DataRoots(root=root),
        protocol=Protocol(name="quick"), policy=BadFilePolicy("skip"), only=("tut18", "esc50", "nsynth_pitch"),
    )  # fmt: skip
    runs = evaluate("melstats", "hares", "quick", config=config)
    scores.show_runs(runs)
    grey = [shown["rows"][row][0] for row, _ in shown["grey"]]
    assert grey == ["tut18", "mean environment", "mean of 3 of the 12 tasks, partial"]
    assert {column for _, column in shown["grey"]} == {len(shown["rows"][0]) - 1}
    beside = {row[0]: row[-1] for row in shown["rows"]}
    # `compare` says the same of the same row
    monkeypatch.setattr(compare_command, "print_table", scores.print_table)
    assert main(["compare", str(runs[0].folder), f"{paper.PREFIX}{paper.BEST}"]) == 0
    assert {row[0]: row[-1] for row in shown["rows"]} == beside
    assert [shown["rows"][row][0] for row, _ in shown["grey"]] == grey


def test_where_nothing_is_there_every_source_is_named(tmp_path):
    with pytest.raises(MissingDatasetError, match="none of the twelve HARES tasks is there") as found:
        find_tasks(["hares"], data=DataRoots(root=tmp_path))
    assert all(dataset.source in str(found.value) for dataset in datasets().values())


def test_where_all_that_is_to_be_kept_is_missing_its_source_alone_is_named(root, tmp_path):
    (tmp_path / "esc50").symlink_to(root / "esc50")
    with pytest.raises(MissingDatasetError, match="no TUT") as found:
        find_tasks(["hares"], ["tut18"], data=DataRoots(root=tmp_path))
    assert "VoxForge" not in str(found.value)


def test_one_task_of_a_dataset_goes_by_its_own_name(root):
    data = DataRoots(root=root)
    assert [task.name for task in find_tasks(["nsynth_pitch"], data=data).tasks] == ["nsynth_pitch"]
    assert {task.name for task in find_tasks(["nsynth"], data=data).tasks} == {"nsynth_pitch", "nsynth_instrument"}
