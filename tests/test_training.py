"""The loop: what it logs and keeps, exact resumes, stops, probes, several ranks, and what it refuses."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from tests.processes import Started, ranks

from leveret import training
from leveret.checkpoint import load_checkpoint
from leveret.journal import append
from leveret.optim import learning_rate
from leveret.progress import Reporter
from leveret.registry import look_up
from leveret.training import NonFiniteLossError
from leveret.training_folder import RunFolderError, TrainingData
from leveret.training_log import read_log

TOY = Path(__file__).with_name("toy_pretraining.py")


class Heard(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def losses(folder):
    return [line["loss"] for line in read_log(folder)]


def state_names(folder):
    return sorted(path.name for path in (folder / "states").iterdir())


def test_a_run_logs_every_step_and_leaves_a_checkpoint(toy, tmp_path):
    heard = Heard()
    data = TrainingData(about={"digest": "d", "num_clips": 8}, file_digests=["ab" * 32, "cd" * 32])
    done = toy.toy_run(tmp_path / "run", data=data, reporter=heard)
    assert (done.step, done.stopped_by) == (8, None)
    lines = read_log(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["rate"] for line in lines] == [learning_rate(step, 8, 3e-3, 2) for step in range(8)]
    assert lines[-1]["loss"] < 0.95 * lines[0]["loss"]
    assert {"gradient_norm", "alignment", "crops_per_second", "share_of_peak", "memory_bytes"} < set(lines[0])
    assert state_names(tmp_path / "run") == [f"step-{step:09d}.safetensors" for step in (3, 6, 8)]
    found = load_checkpoint(done.checkpoint)
    assert (found.name, found.config) == ("nfnet_tiny", look_up("encoders", "nfnet_tiny"))
    assert (found.extra["step"], found.extra["objective"], found.extra["weights"]) == (8, "toy", "last")
    assert found.extra["pretraining"] == toy.toy_config().as_json()
    assert found.extra["data"] == {"digest": "d", "num_clips": 8}
    assert found.beside["objective.head"].shape == (16, 64)
    assert bytes(found.beside["training_files"][1].tolist()).hex() == "cd" * 32
    assert not any(line for line in heard.lines if "goes on" in line)


def test_a_finished_run_is_not_done_again(toy, tmp_path):
    toy.toy_run(tmp_path)
    content = (tmp_path / "checkpoint.safetensors").read_bytes()
    assert toy.toy_run(tmp_path).step == 8
    assert len(read_log(tmp_path)) == 8
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == content


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(toy, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        toy.toy_run(tmp_path / name, toy.toy_config(seed=seed, steps=3))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"ema_decay": 0.9}])
def test_a_run_killed_at_random_moments_has_the_losses_of_an_undisturbed_one(toy, tmp_path, settings):
    settings = settings | {"steps": 50, "checkpoint_every": 7, "log_every": 1}
    toy.toy_run(tmp_path / "whole", toy.toy_config(**settings))
    moments = random.Random(6)
    words = [TOY, tmp_path / "killed", json.dumps(settings)]
    log, kills = tmp_path / "killed" / "log.jsonl", 0
    for after in sorted(moments.sample(range(3, 45), 3)):
        process = Started(words)
        while process.returncode is None and not (log.exists() and log.read_bytes().count(b"\n") >= after):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))  # in the middle of a step, a state or a line
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 3
    out, _ = Started(words).ended_well()
    assert json.loads(out)["step"] == 50
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert [line["step"] for line in read_log(tmp_path / "killed")] == list(range(1, 51))
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "killed"))
    expected = other.encoder.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in one.encoder.state_dict().items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_state_and_the_run_goes_on_exactly(toy, tmp_path, number):
    toy.toy_run(tmp_path / "whole")
    before = signal.getsignal(number)

    def interrupting(encoder, step):
        if step == 4:
            os.kill(os.getpid(), number)
        return {}

    done = toy.toy_run(tmp_path / "run", toy.toy_config(probe_every=1), probe=interrupting)
    assert (done.step, done.stopped_by) == (5, number)
    assert signal.getsignal(number) == before
    assert load_checkpoint(done.checkpoint).extra["step"] == 5
    heard = Heard()
    done = toy.toy_run(tmp_path / "run", toy.toy_config(probe_every=0), reporter=heard)
    assert (done.step, done.stopped_by) == (8, None)
    assert heard.lines[0] == f"{tmp_path / 'run'} goes on after step 5 of 8"
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_a_torn_state_costs_the_steps_since_the_one_before(toy, tmp_path):
    toy.toy_run(tmp_path)
    expected = losses(tmp_path)
    last = tmp_path / "states" / "step-000000008.safetensors"
    last.write_bytes(last.read_bytes()[:5000])
    heard = Heard()
    toy.toy_run(tmp_path, reporter=heard)
    assert "step-000000008.safetensors is not a safetensors file, or is cut short" in heard.lines[0]
    assert "goes on after step 6 of 8" in heard.lines[1]
    assert losses(tmp_path) == expected


def test_micro_batches_and_recomputation_give_the_same_losses(toy, tmp_path):
    # rounding grows from step to step: three steps stay below 1e-5
    toy.toy_run(tmp_path / "plain", toy.toy_config(steps=3))
    toy.toy_run(tmp_path / "small", toy.toy_config(steps=3, micro_batch=3, recompute=True))
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)


def test_memory_is_not_filled_before_it_is_written(toy, tmp_path):
    found = []

    def facts():
        found.append(
            (torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory)
        )
        return {}

    toy.toy_run(tmp_path / "run", toy.toy_config(steps=1), facts=facts)
    assert found == [(True, False)]
    assert torch.utils.deterministic.fill_uninitialized_memory is True, "as it was before"


def test_bfloat16_trains(toy, tmp_path):
    done = toy.toy_run(tmp_path, toy.toy_config(dtype="bfloat16"))
    assert losses(tmp_path)[-1] < 0.95 * losses(tmp_path)[0]
    assert {tensor.dtype for tensor in load_checkpoint(done.checkpoint).encoder.state_dict().values()} == {
        torch.float32
    }


def test_compiled_is_what_objectives_call_of_the_encoder(toy, tmp_path, monkeypatch):
    # the tests' own checks of shapes cannot be compiled, so only what would be is looked at
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled.append(function.__name__) or function)
    toy.toy_run(tmp_path, toy.toy_config(steps=2, compile=True))
    assert compiled == ["network", "hidden"]


def test_a_non_finite_loss_stops_with_its_step_and_clip_and_keeps_the_state(toy, tmp_path):
    with pytest.raises(NonFiniteLossError) as caught:
        toy.toy_run(tmp_path, bad_step=4)
    said = str(caught.value)
    assert "the loss (nan) is not finite at step 5 of clips with non-finite samples or features (clip1.wav)" in said
    assert "The state before it is step-000000003.safetensors" in said
    assert (tmp_path / "non-finite-step-5.txt").read_text() == "clip1.wav\n"
    assert state_names(tmp_path) == ["step-000000003.safetensors"]
    assert len(read_log(tmp_path)) == 4


def test_a_loss_that_no_clip_is_to_blame_for_names_all_clips(toy, tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"not finite at step .* clip0.wav, clip1.wav, .*, \.\.\.; all are"):
        toy.toy_run(tmp_path, toy.toy_config(rate=1e30, warmup_steps=0))


def test_a_probe_sees_the_encoder_that_is_kept_and_its_scores_are_logged(toy, tmp_path):
    seen = []

    def probe(encoder, step):
        assert not encoder.training
        seen.append((step, {name: tensor.clone() for name, tensor in encoder.state_dict().items()}))
        with torch.no_grad():
            next(encoder.parameters()).zero_()  # nobody else's
        return {"tones": step / 100}

    done = toy.toy_run(tmp_path, toy.toy_config(probe_every=5, log_every=4, ema_decay=0.5), probe=probe)
    assert [step for step, _ in seen] == [0, 5, 8]
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines] == [0, 4, 5, 8, 8]
    assert [line.get("tones") for line in lines] == [0.0, None, 0.05, None, 0.08]
    assert ["loss" in line for line in lines] == [False, True, False, True, False]
    kept = load_checkpoint(done.checkpoint)
    assert kept.extra["weights"] == "moving average, decay 0.5"
    assert all(torch.equal(tensor, seen[-1][1][name]) for name, tensor in kept.encoder.state_dict().items())


def test_a_probe_that_draws_and_dawdles_leaves_losses_generator_and_throughput_alone(toy, tmp_path):
    def drawing(encoder, step):
        torch.rand(1000)
        time.sleep(0.5)
        return {"drawn": torch.rand(()).item()}

    torch.manual_seed(3)
    toy.toy_run(tmp_path / "alone")
    expected = torch.rand(3)
    torch.manual_seed(3)
    toy.toy_run(tmp_path / "probed", toy.toy_config(probe_every=2), probe=drawing)
    assert torch.equal(torch.rand(3), expected)
    trained = [line for line in read_log(tmp_path / "probed") if "loss" in line]
    assert [line["loss"] for line in trained] == losses(tmp_path / "alone")
    assert min(line["crops_per_second"] for line in trained) > 32, "the half second of a probe would make it less"


def test_the_probe_before_the_first_step_is_logged_once_and_a_run_that_stops_waits_for_none(toy, tmp_path):
    steps = []

    def interrupting(encoder, step):
        steps.append(step)
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        if len(steps) == 1:
            raise KeyboardInterrupt  # as if killed before there was a state
        return {"tones": 0.5}

    config = toy.toy_config(probe_every=1)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(KeyboardInterrupt):
        toy.toy_run(tmp_path, config, probe=interrupting)
    append(tmp_path / "log.jsonl", {"step": 0, "tones": 0.4})
    assert toy.toy_run(tmp_path, config, probe=interrupting).step == 3
    assert steps == [0, 0, 1, 2], "none after step 3, which was the last for now"
    assert [(line["step"], line["tones"]) for line in read_log(tmp_path) if "tones" in line] == [
        (0, 0.5), (1, 0.5), (2, 0.5)
    ]  # fmt: skip


def test_a_run_killed_in_its_last_probe_makes_it_when_it_is_started_again(toy, tmp_path):
    steps = []

    def killed(encoder, step):
        steps.append(step)
        if steps == [0, 4, 8]:
            raise KeyboardInterrupt
        return {"tones": 0.5}

    config = toy.toy_config(probe_every=4)
    with pytest.raises(KeyboardInterrupt):
        toy.toy_run(tmp_path, config, probe=killed)
    for _ in range(2):
        assert toy.toy_run(tmp_path, config, probe=killed).step == 8
    assert steps == [0, 4, 8, 8], "once more, and then it is there"
    assert [line["step"] for line in read_log(tmp_path) if "tones" in line] == [0, 4, 8]


def test_a_run_killed_between_its_last_checkpoint_and_state_ends_with_both(toy, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    for name in ("export", "save_state"):
        folder = tmp_path / name
        toy.toy_run(folder / "whole")
        with monkeypatch.context() as patch:
            written = getattr(training, name)
            patch.setattr(training, name, lambda *given, written=written: (killed if 8 in given else written)(*given))
            with pytest.raises(KeyboardInterrupt):
                toy.toy_run(folder / "killed")
        toy.toy_run(folder / "killed")
        assert load_checkpoint(folder / "killed" / "checkpoint.safetensors").extra["step"] == 8
        assert losses(folder / "killed") == losses(folder / "whole")


def test_the_average_lags_behind_the_weights(toy, tmp_path):
    for name, decay in (("last", None), ("average", 0.9)):
        toy.toy_run(tmp_path / name, toy.toy_config(ema_decay=decay))
    assert losses(tmp_path / "last") == losses(tmp_path / "average")
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in ("last", "average"))
    assert not torch.equal(one.encoder.stream.stem[0].weight, other.encoder.stream.stem[0].weight)


def test_a_folder_of_another_run_is_refused_and_rounding_is_said(toy, tmp_path):
    toy.toy_run(tmp_path, toy.toy_config(steps=6))
    with pytest.raises(RunFolderError, match=r"holds another run \(encoder was \"nfnet_tiny\" and is \"resnet_tiny"):
        toy.toy_run(tmp_path, toy.toy_config(steps=6, encoder="resnet_tiny"))
    wider = toy.ToyConfig(width=8)
    with pytest.raises(RunFolderError, match=r"\(objective_config\.width was 16 and is 8\)"):
        toy.toy_run(tmp_path, replace(toy.toy_config(steps=6), objective_config=wider))
    with pytest.raises(RunFolderError, match="digest was null and is"):
        toy.toy_run(tmp_path, toy.toy_config(steps=6), data=TrainingData(about={"digest": "other"}))
    heard = Heard()
    toy.toy_run(tmp_path, toy.toy_config(steps=6, micro_batch=2, keep=1), reporter=heard)
    assert heard.lines[0].startswith("note: micro_batch was null and is 2: the run goes on with the same data")
    (tmp_path / "config.json").write_text('{"version": 1}')
    with pytest.raises(RunFolderError, match="holds no pretraining run"):
        toy.toy_run(tmp_path, toy.toy_config(steps=6))


def test_a_folder_that_another_process_works_in_is_refused(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.training_folder._LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / ".lock"), pytest.raises(RunFolderError, match="another process is at work in"):
        toy.toy_run(tmp_path)


def test_batch_norm_with_micro_batches_is_refused_before_anything_starts(toy, tmp_path):
    with pytest.raises(ValueError, match="resnet_tiny has batch norm"):
        toy.toy_run(tmp_path, toy.toy_config(encoder="resnet_tiny", micro_batch=4))
    done = toy.toy_run(tmp_path, toy.toy_config(encoder="resnet_tiny", micro_batch=4, allow_batch_norm=True, steps=2))
    assert done.step == 2


def test_an_encoder_without_parameters_is_refused(toy, tmp_path):
    with pytest.raises(ValueError, match="melstats has nothing to train"):
        toy.toy_run(tmp_path, toy.toy_config(encoder="melstats"))


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_and_either_goes_on_from_the_other(toy, tmp_path):
    settings = {"steps": 6, "micro_batch": 2, "checkpoint_every": 3}
    toy.toy_run(tmp_path / "one", toy.toy_config(**settings))
    ranks([TOY, tmp_path / "two", json.dumps(settings)])
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert two[:3] == pytest.approx(one[:3], abs=1e-6)
    assert two == pytest.approx(one, abs=1e-4), "rounding grows from step to step"
    assert [line["alignment"] for line in read_log(tmp_path / "two")] == pytest.approx(
        [line["alignment"] for line in read_log(tmp_path / "one")], abs=1e-4
    )
    (tmp_path / "two" / "states" / "step-000000006.safetensors").unlink()
    heard = Heard()
    toy.toy_run(tmp_path / "two", toy.toy_config(**settings), reporter=heard)
    assert heard.lines[0].startswith("note: processes was 2 and is 1: the run goes on")
    assert losses(tmp_path / "two")[3:] == pytest.approx(two[3:], abs=1e-5)


def test_a_batch_that_cannot_be_shared_out_is_refused(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("leveret.distributed._world", __import__("leveret.distributed").distributed.World(0, 3))
    with pytest.raises(ValueError, match="batch=8 cannot be shared out evenly to 3 processes"):
        toy.toy_run(tmp_path)
