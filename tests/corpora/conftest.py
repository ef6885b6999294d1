"""A small folder of clips of several lengths, and a manifest of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def recordings(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of 8 kHz wavs, ramps that tell where in a file a sample lies."""

    def write(name: str = "recordings", seconds: tuple[float, ...] = (2.0,) * 12, groups: int = 3) -> Path:
        for k, length in enumerate(seconds):
            folder = tmp_path / name / f"speaker{k % groups}"
            folder.mkdir(parents=True, exist_ok=True)
            num_samples = round(8000 * length)
            wave = (0.05 * (k + 1) / len(seconds) + 0.9 * np.arange(num_samples) / 32_000).astype(np.float32)
            soundfile.write(folder / f"{k:03d}.wav", wave, 8000, subtype="FLOAT")
        return tmp_path / name

    return write
