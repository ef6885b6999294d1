"""Memory grows by the index and the vectors of a clip alone, however many clips there are.

Peak memory of real command lines at two sizes; the difference, a clip, is what is asserted. melstats has vectors of 960
bytes; `embed` holds them twice for a moment (the cache's pages and the result), the probe of `evaluate` three times.
"""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

VECTOR_BYTES = 240 * 4
INDEX_BYTES = 1_800  # a clip with its path, its labels, its row in the plan
NUM_FILES = 20  # distinct sounds
SPACING = 0.009  # seconds from span to span, each of 50 ms


def peak_bytes(where: Path, *words: object) -> int:
    environment = os.environ | {"LEVERET_HOME": str(where / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "leveret", *map(str, words)]
    with (where / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=where)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (where / "said.txt").read_text()
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def sound(number: int, seconds: float) -> bytes:
    """A tone of one of two pitches in noise."""
    time = np.arange(round(16_000 * seconds))
    wave = 0.2 * np.sin(time * (0.1 + 0.1 * (number % 2))) + 0.1 * np.random.default_rng(number).standard_normal(
        len(time)
    )
    file = io.BytesIO()
    soundfile.write(file, wave, 16_000, format="WAV")
    return file.getvalue()


def write_files(folder: Path, num_clips: int) -> Path:
    """So many wavs of 50 ms, a thousand a folder."""
    sounds = [sound(k, 0.05) for k in range(NUM_FILES)]
    for k in range(num_clips):
        below = folder / "sounds" / f"{k // 1000:03d}"
        if k % 1000 == 0:
            below.mkdir(parents=True)
        (below / f"{k % 1000:03d}.wav").write_bytes(sounds[k % NUM_FILES])
    return folder / "sounds"


def write_spans(folder: Path, num_clips: int) -> Path:
    """A manifest of spans of 50 ms of a few long files."""
    seconds = SPACING * num_clips / NUM_FILES + 1
    for k in range(NUM_FILES):
        (folder / f"{k:02d}.wav").write_bytes(sound(k, seconds))
    with (folder / "set.csv").open("w") as file:
        file.write("file,label,split,group,start,end\n")
        for k in range(num_clips):
            number, start = k % NUM_FILES, SPACING * (k // NUM_FILES)
            split = "test" if number < 8 else "train"
            file.write(f"{number:02d}.wav,{'ab'[number % 2]},{split},g{number},{start:.4f},{start + 0.05:.4f}\n")
    return folder / "set.csv"


def measure(tmp_path: Path, what: str, num_clips: int) -> int:
    where = tmp_path / f"{num_clips}"
    where.mkdir()
    if what == "embed":
        return peak_bytes(where, "embed", write_files(where, num_clips), "--encoder", "melstats", "-o", "v.parquet")
    words = ["evaluate", "--encoder", "melstats", "--tasks", f"manifest:{write_spans(where, num_clips)}"]
    return peak_bytes(where, *words, "--protocol", "quick", *(["--dry-run"] if what == "plan" else []))


BOUNDS = {"plan": INDEX_BYTES, "embed": INDEX_BYTES + 2 * VECTOR_BYTES, "evaluate": INDEX_BYTES + 3.5 * VECTOR_BYTES}


@pytest.mark.soak
@pytest.mark.parametrize("what", BOUNDS)
def test_two_hundred_thousand_clips_take_their_index_and_their_vectors(tmp_path, capsys, what):
    small, large = (measure(tmp_path, what, size) for size in (20_000, 200_000))
    growth = (large - small) / 180_000
    with capsys.disabled():
        sys.stdout.write(f"{what}: {small / 1e6:.0f} MB, {large / 1e6:.0f} MB, {growth:.0f} bytes a clip\n")
    assert growth < BOUNDS[what]
