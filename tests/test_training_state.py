"""States: all of a learner and back, the newest whole one, and what becomes of damaged and unwritable ones."""

import resource
import shutil

import pytest
import torch

from leveret.progress import Reporter
from leveret.training import build_learner
from leveret.training_folder import TrainingData
from leveret.training_state import TrainingStateError, load_state, newest_state, save_state, state_files

CPU = torch.device("cpu")
RUN = {"config": "a"}
RATE = 1e-3


class Heard(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def learner(toy):
    """Makes learners; each has made a step from its own gradients."""

    def make(seed=0, **settings):
        made = build_learner(toy.toy_config(seed=seed, ema_decay=0.9, **settings), TrainingData(), CPU)
        for parameter in made.objective.parameters():
            parameter.grad = torch.randn_like(parameter)
        with torch.no_grad():
            made.optimizer.step(RATE)
        made.average.update_parameters(made.objective)
        made.objective.after_step(0)
        return made

    return make


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_everything_comes_back(learner, tmp_path):
    one, other = learner(1), learner(2)
    path = save_state(tmp_path / "states", 7, one, RUN, keep=2)
    assert load_state(path, other, RUN) == 7
    expected, found = one.tensors(), other.tensors()
    assert found.keys() == expected.keys()
    for part in ("objective.seen", "optimizer.exp_avg.projector.0.weight", "average.n_averaged"):
        assert part in expected
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []


def test_the_next_step_is_the_same_bit_for_bit(learner, tmp_path):
    one, other = learner(1), learner(2)
    load_state(save_state(tmp_path, 1, one, RUN, keep=1), other, RUN)
    for made in (one, other):
        for number, parameter in enumerate(made.objective.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * number)
        with torch.no_grad():
            made.optimizer.step(RATE)
        made.average.update_parameters(made.objective)
    found = other.tensors()
    assert all(torch.equal(tensor, found[name]) for name, tensor in one.tensors().items())


def test_the_last_ones_are_kept(learner, tmp_path):
    made = learner()
    for step in (5, 10, 100):
        save_state(tmp_path, step, made, RUN, keep=2)
    assert [path.name for path in state_files(tmp_path)] == [
        "step-000000100.safetensors", "step-000000010.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["cut", "empty", "bit in a tensor", "bit in the header"])
def test_a_damaged_state_is_told_and_the_one_before_it_is_used(learner, tmp_path, damage):
    made = learner()
    save_state(tmp_path, 5, made, RUN, keep=3)
    last = save_state(tmp_path, 10, made, RUN, keep=3)
    content = last.read_bytes()
    if damage == "cut":
        last.write_bytes(content[:-100])
    elif damage == "empty":
        last.write_bytes(b"")
    else:
        flip(last, -4 if damage == "bit in a tensor" else content.index(rb"\"step\": 10") + 9)
    heard = Heard()
    assert newest_state(tmp_path, heard).name == "step-000000005.safetensors"
    (line,) = heard.lines
    assert "step-000000010.safetensors" in line
    assert line.endswith("the state before it is used")
    state_files(tmp_path)[1].unlink()
    with pytest.raises(TrainingStateError, match=r"no state in .* is whole"):
        newest_state(tmp_path, heard)


def test_no_state_is_none(tmp_path):
    assert newest_state(tmp_path / "not there", Reporter()) is None


def test_the_state_of_another_run_or_network_is_refused(learner, toy, tmp_path):
    path = save_state(tmp_path, 5, learner(), RUN, keep=3)
    with pytest.raises(TrainingStateError, match="state of another run: its config is a, not b; name another folder"):
        load_state(path, learner(), {"config": "b"})
    other = learner(encoder="resnet_tiny")
    with pytest.raises(TrainingStateError, match="does not fit this leveret's network"):
        load_state(path, other, RUN)


def test_a_full_disk_is_told_and_leaves_the_older_state(learner, tmp_path):
    made = learner()
    first = save_state(tmp_path, 5, made, RUN, keep=1)
    content = first.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # no file may grow beyond half a state: the disk is full in the middle of it
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        with pytest.raises(OSError, match=r"step-000000010.safetensors cannot be written .* Free some space"):
            save_state(tmp_path, 10, made, RUN, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert first.read_bytes() == content
    assert newest_state(tmp_path, Reporter()) == first


def test_a_killed_writers_partial_file_is_no_state(learner, tmp_path):
    made = learner()
    whole = save_state(tmp_path, 5, made, RUN, keep=1)
    shutil.copy(whole, tmp_path / ".step-000000010.safetensors.123.partial")
    assert state_files(tmp_path) == [whole]
