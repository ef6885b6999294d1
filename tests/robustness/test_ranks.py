"""Several processes under torchrun, of which one may be killed, give the bytes of one process.

The commands run as a person runs them; each process computes with one thread.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.processes import Started, free_port, ranks, with_home
from tests.tasks.toy_environment import audioset_tree

from leveret.runs import find_runs
from leveret.vectors import read_vectors

TORCHRUN = ("-m", "torch.distributed.run")
# counts what it embeds, and kills its process once when it is told to
ENCODER = """
import os, signal, torch
RANK, HERE = os.environ.get("RANK", "0"), os.path.dirname(__file__)
class Counting:
    sample_rate = 16000
    calls = 0
    def embed(self, wave):
        if wave.shape[1] < 16000:  # the fingerprint's waves are longer
            Counting.calls += 1
            order = os.path.join(HERE, f"kill-{RANK}")
            if Counting.calls == 3 and os.path.exists(order):
                os.unlink(order)
                os.kill(os.getpid(), signal.SIGKILL)
            with open(os.path.join(HERE, f"embedded-{RANK}"), "a") as file:
                file.write("." * len(wave))
        return torch.stack([wave.mean(1), wave.std(1), wave.abs().amax(1), wave[:, 0]], 1)
"""


def start(home: Path, *words: object) -> Started:
    return Started(words, with_home(home))


def run(home: Path, *words: object) -> tuple[str, str]:
    return start(home, *words).ended_well()


def stored(home: Path) -> dict[str, bytes]:
    """The bytes of every store's rows."""
    return {path.parent.name: path.read_bytes() for path in (home / "embeddings").glob("??/*/rows.bin")}


def without_time(card: dict[str, object]) -> dict[str, object]:
    """A scorecard without what differs from run to run."""
    plain = json.loads(json.dumps(card))
    plain.pop("run")
    for task in plain["tasks"]:
        task.pop("seconds")
    return plain


@pytest.fixture
def dev_manifest(shared, tmp_path):
    """Six classes of real clips of five seconds."""
    source = shared / "data" / "dev" / "manifest.csv"
    with source.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "env_esc50"]
    labels = sorted({row["label"] for row in rows})[:6]
    lines = ["file,label,split,group"]
    for label in labels:
        for split in ("train", "test"):
            some = [row for row in rows if (row["label"], row["split"]) == (label, split)][:4]
            lines += [f"{source.parent / row['file']},{label},{split},{row['group']}" for row in some]
    path = tmp_path / "dev.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def counting(tmp_path):
    path = tmp_path / "counting.py"
    path.write_text(ENCODER)
    return path


@pytest.mark.real
def test_two_ranks_give_the_bytes_and_the_scorecard_of_one_process(dev_manifest, tmp_path):
    words = ("-m", "leveret", "evaluate", "--encoder", "melstats", "slowfast_nfnet_tiny", "--batch-size", "5")
    words += ("--tasks", f"manifest:{dev_manifest}", "--crop", "2", "--steps", "300", "--save-probes", "-o")
    run(tmp_path / "home-1", *words, tmp_path / "runs-1")
    out, said = run(tmp_path / "home-2", *TORCHRUN, "--nproc-per-node", "2", *words, tmp_path / "runs-2")
    assert stored(tmp_path / "home-1") == stored(tmp_path / "home-2")
    assert len(stored(tmp_path / "home-1")) == 4
    same_runs(tmp_path / "runs-1", tmp_path / "runs-2", 2)
    assert out.count("protocol cached@300") == 1, "rank 0 alone talks"
    assert said.count("plan:") == 1


def same_runs(one: Path, two: Path, num_runs: int) -> None:
    """Scorecards, predictions and probes of one process and of two."""
    pairs = list(
        zip(*(sorted(find_runs(folder), key=lambda run: run.folder.name) for folder in (one, two)), strict=True)
    )
    assert len(pairs) == num_runs
    for alone, together in pairs:
        cards = [json.loads((run.folder / "scorecard.json").read_text()) for run in (alone, together)]
        assert without_time(cards[0]) == without_time(cards[1])
        assert [card["run"]["processes"] for card in cards] == [1, 2]
        for part in ("predictions", "probes"):
            names = sorted(path.name for path in (alone.folder / part).iterdir())
            assert names == sorted(path.name for path in (together.folder / part).iterdir())
        for path in (alone.folder / "predictions").iterdir():
            assert path.read_bytes() == (together.folder / "predictions" / path.name).read_bytes()


# as where a task has more than two million crops
STREAMING = """
import sys
from leveret import workload
workload.CROPS_EMBEDDED_ONCE, workload.TRAIN_CLIPS_SCORED = 0, 10
from leveret.cli import main
sys.exit(main())
"""


@pytest.fixture
def streaming(tmp_path):
    path = tmp_path / "streaming.py"
    path.write_text(STREAMING)
    return path


def paper_words(manifest: Path, *encoders: str) -> tuple[object, ...]:
    words = ("evaluate", "--encoder", *encoders, "--protocol", "paper", "--steps", "2", "--seeds", "2")
    words += ("--no-embedding-map", "--crop", "0.25", "--batch-size", "7")
    return (*words, "--tasks", f"manifest:{manifest}")


def spoil(manifest: Path) -> None:
    """One clip has a good header and no samples that are numbers; it is drawn, and is none of those whose windows are
    embedded, which are every second one."""
    bad = manifest.parent / "audio" / "001.wav"
    wave, rate = soundfile.read(bad)
    soundfile.write(bad, np.full_like(wave, np.nan), rate, subtype="FLOAT")


def test_two_ranks_draw_the_crops_of_one_process(tone_manifest, streaming, tmp_path):
    (tmp_path / "data").mkdir()
    audioset_tree(tmp_path / "data" / "audioset")  # its examples are mixed, of a manifest they are not
    spoil(manifest := tone_manifest())
    words = (
        streaming,
        *paper_words(manifest, "melstats", "slowfast_nfnet_tiny"),
        "audioset",
        "--data",
        tmp_path / "data",
    )
    words += ("--bad-files", "skip", "--save-probes", "-o")
    run(tmp_path / "home-1", *words, tmp_path / "runs-1")
    (out, said), (other_out, _) = ranks((*words, tmp_path / "runs-2"), with_home(tmp_path / "home-2"))
    assert stored(tmp_path / "home-1") == stored(tmp_path / "home-2")
    same_runs(tmp_path / "runs-1", tmp_path / "runs-2", 2)
    for one in find_runs(tmp_path / "runs-2"):
        tones, audioset = one.scorecard.tasks
        assert tones.probe["crops"] == {"from": 20 * 16, "embedded": "as drawn"}
        assert audioset.probe["crops"]["embedded"] == "as drawn"
        assert list(tones.skipped) == ["audio/001.wav"]
    assert out.count("protocol paper@2") == 1
    assert not other_out, "rank 0 alone talks"
    assert "are embedded as they are drawn" in said


def test_a_clip_that_breaks_off_while_it_is_drawn_ends_the_rank_that_waits_too(tone_manifest, streaming, tmp_path):
    spoil(manifest := tone_manifest())
    # one encoder is one probe, which one rank trains
    words = (*TORCHRUN, "--nproc-per-node", "2", streaming, *paper_words(manifest, "melstats"), "-o", tmp_path / "runs")
    process = start(tmp_path / "home", *words)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "1 of 20 clips cannot be used" in said
    assert "001.wav' holds NaN" in said
    assert not list((tmp_path / "runs").glob("*/scorecard.json"))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [pytest.param(0, marks=pytest.mark.soak), 1])
def test_a_rank_that_is_killed_and_started_again_loses_a_piece_at_most(tone_manifest, counting, tmp_path, killed):
    manifest = tone_manifest(num_clips=120, splits="train test")
    words = ("-m", "leveret", "embed", manifest.parent / "audio", "--encoder", f"py:{counting}:Counting")
    words += ("--batch-size", "4", "-o")
    run(tmp_path / "home-1", *words, tmp_path / "1.parquet")
    alone = (tmp_path / "embedded-0").read_text()
    (tmp_path / "embedded-0").unlink()
    order = tmp_path / f"kill-{killed}"
    order.touch()
    torchrun = (*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "1")
    run(tmp_path / "home-2", *torchrun, *words, tmp_path / "2.parquet")
    assert not order.exists()
    assert stored(tmp_path / "home-1") == stored(tmp_path / "home-2")
    np.testing.assert_array_equal(
        read_vectors(tmp_path / "1.parquet").vector, read_vectors(tmp_path / "2.parquet").vector
    )
    together = [(tmp_path / f"embedded-{rank}").read_text() for rank in range(2)]
    assert all(together)
    # the other rank may have been stopped between a batch's vectors and its line in the journal
    assert len(alone) <= sum(map(len, together)) <= len(alone) + 4
    (journal,) = (tmp_path / "home-2").rglob("journal*.jsonl")
    assert journal.name == "journal.jsonl"


@pytest.mark.slow
@pytest.mark.parametrize("share_home", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_two_hosts_give_the_bytes_of_one_process_where_they_share_the_cache_folder(
    tone_manifest, counting, tmp_path, share_home
):
    manifest = tone_manifest(num_clips=40, splits="train test")
    words = ("-m", "leveret", "embed", manifest.parent / "audio", "--encoder", f"py:{counting}:Counting")
    words += ("--batch-size", "4", "-o", tmp_path / "v.npz")
    torchrun = (*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "hares")
    torchrun += ("--rdzv-endpoint", f"127.0.0.1:{free_port()}")
    homes = [tmp_path / f"home-{k if not share_home else 0}" for k in range(2)]
    agents = [start(home, *torchrun, *words) for home in homes]
    said = "".join(agent.communicate(timeout=120)[1] for agent in agents)
    if not share_home:
        assert any(agent.returncode for agent in agents)
        assert "processes on several machines need one cache folder: set LEVERET_HOME" in said
        assert not (tmp_path / "v.npz").exists()
        return
    assert [agent.returncode for agent in agents] == [0, 0], said
    together = [(tmp_path / f"embedded-{rank}").read_text() for rank in range(2)]
    assert sum(map(len, together)) == 40
    run(tmp_path / "home-alone", *words)
    assert stored(tmp_path / "home-alone") == stored(homes[0])
