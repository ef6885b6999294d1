"""Clips in shards are trained on in memory that grows by a row of the index each, and not by what was read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leveret.clips import Clip
from leveret.corpora.corpus import TrainingCorpus
from leveret.corpora.packing import pack
from leveret.progress import Reporter

INDEX_BYTES = 400  # a row of the index, and what an epoch's order holds of it
SCRIPT = """
import resource, sys
from pathlib import Path
from leveret.corpora.opening import open_corpus
from leveret.corpora.streaming import crop_batches
folder, steps = sys.argv[1], int(sys.argv[2])
corpus = open_corpus(folder)
now = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
with crop_batches(corpus, batch=256, crops=2, crop_samples=400, sample_rate=16000, seed=0, workers=0) as stream:
    for step in range(10):
        next(stream)
    early = now()
    for step in range(steps):
        next(stream)
    print(early, now())
"""


def packed(where: Path, num_clips: int) -> Path:
    """So many spans of 50 ms of one file, in shards."""
    where.mkdir(parents=True)
    soundfile.write(where / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(160_000), 16_000)
    starts = np.linspace(0, 9.9, num_clips)
    clips = [
        Clip(f"a@{k}", where / "a.wav", ("x",), f"g{k % 100}", "", float(at), float(at) + 0.05)
        for k, at in enumerate(starts)
    ]
    corpus = TrainingCorpus("spans", clips, ("x", "y"))
    pack(corpus, where / "shards", sample_rate=16_000, shard_bytes=2e6, threads=2, reporter=Reporter())
    return where / "shards"


def used(folder: Path, steps: int) -> tuple[int, int]:
    """Bytes after some steps, and after many more."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(steps)], capture_output=True, text=True, check=True
    )
    early, late = map(int, run.stdout.split())
    return early, late


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.soak
def test_an_epoch_of_a_hundred_thousand_clips_is_read_in_flat_memory(tmp_path, capsys):
    (small, _), (early, late) = used(packed(tmp_path / "few", 10_000), 1), used(packed(tmp_path / "many", 100_000), 400)
    with capsys.disabled():
        sys.stdout.write(f"{small / 1e6:.0f} MB, {early / 1e6:.0f} MB, after an epoch {late / 1e6:.0f} MB\n")
    assert (early - small) / 90_000 < INDEX_BYTES
    assert late - early < 20e6
