"""The log of a run: whole lines only, cut back at a restart, the same numbers to the trackers."""

import sys
from types import ModuleType

import pytest

from leveret.progress import Reporter
from leveret.training_log import TrainingLog, open_trackers, read_log


class Heard(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class Curves:
    def __init__(self):
        self.points, self.closed = [], False

    def write(self, step, numbers):
        self.points.append((step, dict(numbers)))

    def close(self):
        self.closed = True


def test_lines_come_back_in_order_and_numbers_exactly(tmp_path):
    curves = Curves()
    log = TrainingLog(tmp_path, 0, [curves])
    log.write(1, {"loss": 0.1 + 0.2, "share_of_peak": None})
    log.write(2, {"loss": 1e-300})
    log.close()
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path)] == [(1, 0.1 + 0.2), (2, 1e-300)]
    assert curves.points == [(1, {"loss": 0.1 + 0.2}), (2, {"loss": 1e-300})], "what is not known is no point"
    assert curves.closed


def test_a_restart_cuts_off_what_came_after_its_state_and_what_a_kill_left(tmp_path):
    log = TrainingLog(tmp_path, 0, [])
    for step in (1, 2, 3):
        log.write(step, {"loss": float(step)})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    TrainingLog(tmp_path, 2, []).write(3, {"loss": 30.0})
    assert [line["loss"] for line in read_log(tmp_path)] == [1.0, 2.0, 30.0]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_without_tensorboard_auto_says_so_and_asking_for_it_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.training_log.find_spec", lambda name: None)
    heard = Heard()
    assert open_trackers(tmp_path, 0, "auto", heard) == []
    assert "no TensorBoard here, so curves are in log.jsonl alone" in heard.lines[0]
    assert open_trackers(tmp_path, 0, "none", heard) == []
    for wanted in ("tensorboard", "wandb"):
        with pytest.raises(ValueError, match=f"{wanted} is asked for and not installed"):
            open_trackers(tmp_path, 0, wanted, heard)


@pytest.fixture
def installed(monkeypatch):
    """Stand-ins for both packages, which note what they are told."""
    told = []

    class Writer:
        def __init__(self, folder, purge_step):
            told.append(("writer", folder, purge_step))

        def add_scalar(self, name, value, step):
            told.append((name, value, step))

        def close(self):
            told.append("closed")

    class Run:
        id = "abc"

        def log(self, numbers, step):
            told.append((numbers, step))

        def finish(self):
            told.append("finished")

    tensorboard, wandb = ModuleType("torch.utils.tensorboard"), ModuleType("wandb")
    tensorboard.SummaryWriter = Writer
    wandb.init = lambda **options: told.append(options) or Run()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", tensorboard)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr("leveret.training_log.find_spec", lambda name: True)
    return told


@pytest.mark.parametrize("track", ["auto", "tensorboard"])
def test_tensorboard_gets_each_number_and_hides_later_points(installed, tmp_path, track):
    log = TrainingLog(tmp_path, 7, open_trackers(tmp_path, 7, track, Reporter()))
    log.write(8, {"loss": 0.5, "rate": 0.1})
    log.close()
    assert installed == [
        ("writer", str(tmp_path / "tensorboard"), 8), ("loss", 0.5, 8), ("rate", 0.1, 8), "closed",
    ]  # fmt: skip


def test_wandb_goes_on_with_the_same_run(installed, tmp_path):
    for step in (1, 2):
        log = TrainingLog(tmp_path, step - 1, open_trackers(tmp_path, step - 1, "wandb", Reporter()))
        log.write(step, {"loss": 0.5})
        log.close()
    first, second = (told for told in installed if isinstance(told, dict))
    assert (first["id"], second["id"], second["resume"]) == (None, "abc", "allow")
    assert installed.count(({"loss": 0.5}, 2)) == 1
    assert installed.count("finished") == 2
