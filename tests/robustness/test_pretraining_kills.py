"""kill -9 of pretraining, workers and ranks included: the losses are those of an undisturbed run."""

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.processes import Started, free_port, with_home

from leveret.training_log import read_log

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
ENCODERS = {"cpc": "bidir_cpc_tiny", "wav2vec2": "wav2vec2_tiny", "byola": "byola_cnn_dataset_tiny"}
CROPS = {"cpc": "0.5", "wav2vec2": "0.5"}
SETTINGS = {"simclr": ["hidden=[16]"], "byola": ["hidden=32", "out_dim=16", "memory=48"], "cola": ["out_dim=32"]}


@pytest.fixture
def labelled(tmp_path):
    """A table of forty clips, half of them high."""
    lines = ["file,label,split"]
    for k in range(40):
        pitch = 300 * (1 + k % 2)
        wave = 0.1 * np.sin(pitch * np.arange(16_000) / 2500) + 0.02 * np.random.default_rng(k).standard_normal(16_000)
        soundfile.write(tmp_path / f"{k}.wav", wave, 16_000)
        lines.append(f"{k}.wav,{['low', 'high'][k % 2]},train")
    path = tmp_path / "clips.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def command(objective, data, folder, *more):
    words = ["-m", "leveret", "pretrain", "--objective", objective, "--data", data, "-o", folder, "--batch", "32"]
    words += [
        "--encoder",
        ENCODERS.get(objective, "nfnet_tiny"),
        "--crop-seconds",
        CROPS.get(objective, "0.25"),
        "--log-every",
        "1",
    ]
    words += ["--rate", "1e-3", "--no-digests", "--workers", "1", "--track", "none", "--device", "cpu", *more]
    return [*words, *(["--setting", *SETTINGS[objective]] if objective in SETTINGS else [])]


def start(home, *words):
    return Started(words, with_home(home))


def finish(process):
    """What it wrote to its error output."""
    return process.ended_well()[1]


def logged(folder):
    log = folder / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def kill_when(process, folder, lines, pid=None):
    """After so many lines of the log, and a moment more."""
    while logged(folder) < lines:
        assert process.returncode is None, process.communicate()[1]
        time.sleep(0.005)
    time.sleep(random.Random(lines).uniform(0, 0.2))
    os.kill(process.pid if pid is None else pid(), signal.SIGKILL)


def losses(folder):
    lines = read_log(folder)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


@pytest.mark.soak
@pytest.mark.parametrize("objective", ["simclr", "supervised", "byola", "cola", "cpc", "wav2vec2"])
def test_killed_three_times_in_fifty_steps(labelled, tmp_path, objective):
    more = ("--steps", "50", "--checkpoint-every", "7")
    finish(start(tmp_path, *command(objective, labelled, tmp_path / "whole", *more)))
    words = command(objective, labelled, tmp_path / "killed", *more)
    for after in sorted(random.Random(objective).sample(range(2, 47), 3)):
        process = start(tmp_path, *words)
        kill_when(process, tmp_path / "killed", after)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(start(tmp_path, *words))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 50


def child_of_rank(rank, *agents):
    """The process that one of the agents started for a rank; Linux alone has /proc."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            environment = (folder / "environ").read_bytes()
        except OSError:  # it ended, or is somebody else's
            continue
        if int(parent) in {agent.pid for agent in agents} and b"\0RANK=%d\0" % rank in b"\0" + environment:
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.soak), 1])
def test_a_run_goes_on_when_a_rank_is_killed_and_started_again(labelled, tmp_path, rank):
    more = ("--steps", "20", "--checkpoint-every", "4", "--json")
    finish(start(tmp_path, *command("simclr", labelled, tmp_path / "one", *more)))
    words = (*TORCHRUN, "--max-restarts", "1", *command("simclr", labelled, tmp_path / "two", *more))
    agent = start(tmp_path, *words)
    kill_when(agent, tmp_path / "two", 6, lambda: child_of_rank(rank, agent))
    out, said = agent.ended_well()
    assert json.loads(out)["step"] == 20
    assert "goes on after step " in said
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(two) == 20
    assert two[:3] == pytest.approx(one[:3], abs=2e-6)
    assert two == pytest.approx(one, rel=1e-2), "rounding grows from step to step"


def rendezvous(more=()):
    """The words of an agent on each of two hosts."""
    words = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1")
    return (
        *words,
        "--rdzv-backend",
        "c10d",
        "--rdzv-id",
        "hares",
        "--rdzv-endpoint",
        f"localhost:{free_port()}",
        *more,
    )


@pytest.mark.soak
def test_two_hosts_train_as_two_processes_of_one(labelled, tone_manifest, tmp_path):
    more = ("--steps", "5", "--checkpoint-every", "4")
    finish(start(tmp_path, *TORCHRUN, *command("simclr", labelled, tmp_path / "one", *more)))
    # rank 0 probes alone, which the other host waits for
    probed = ("--probe-tasks", f"manifest:{tone_manifest(num_clips=20)}", "--probe-every", "4")
    words = (*rendezvous(), *command("simclr", labelled, tmp_path / "two", *more, *probed))
    agents = [start(tmp_path, *words) for _ in range(2)]
    said = [finish(agent) for agent in agents]
    assert sum("probe after step 4: tones " in one for one in said) == 1, "rank 0 alone talks"
    lines = read_log(tmp_path / "two")
    assert [line["loss"] for line in lines if "loss" in line] == losses(tmp_path / "one")
    assert [line["step"] for line in lines if "probe/tones" in line] == [0, 4, 5]
    machine = json.loads((tmp_path / "two" / "config.json").read_text())["machine"]
    assert machine == {"processes": 2, "device": "cpu"}


@pytest.mark.soak
def test_two_hosts_go_on_from_the_last_state_when_the_rank_of_one_is_killed(labelled, tmp_path):
    more = ("--steps", "40", "--checkpoint-every", "3")
    words = (*rendezvous(("--max-restarts", "1")), *command("simclr", labelled, tmp_path / "run", *more))
    agents = [start(tmp_path, *words) for _ in range(2)]
    kill_when(agents[0], tmp_path / "run", 5, lambda: child_of_rank(1, *agents))
    said = "".join(finish(agent) for agent in agents)
    assert "goes on after step " in said
    assert len(losses(tmp_path / "run")) == 40
