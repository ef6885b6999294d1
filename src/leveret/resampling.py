"""Mono waves at another rate or of another length.

Shapes: N samples.
"""

import numpy as np
from numpy.typing import NDArray

from leveret.interrupts import uninterrupted

with uninterrupted():  # soxr's extension cannot hand on a Ctrl-C that comes in the middle: it would abort the process
    import soxr

_BLOCK_FRAMES = 1 << 22  # longer waves are resampled block by block


def resample(wave: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """The wave at another rate, round(N * new_rate / rate) samples long."""
    if rate == new_rate:
        return wave
    if len(wave) <= _BLOCK_FRAMES:
        # soxr rounds half a sample up where Python rounds it to even
        return fit(soxr.resample(wave, rate, new_rate, quality="HQ"), round(len(wave) * new_rate / rate))
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    starts = range(0, len(wave), _BLOCK_FRAMES)
    blocks = [
        stream.resample_chunk(wave[at : at + _BLOCK_FRAMES], last=at + _BLOCK_FRAMES >= len(wave)) for at in starts
    ]
    return fit(np.concatenate(blocks), round(len(wave) * new_rate / rate))


def fit(wave: NDArray[np.float32], num_samples: int) -> NDArray[np.float32]:
    """Cut, or padded with zeros at the end, to that many samples."""
    if len(wave) >= num_samples:
        return wave[:num_samples]
    return np.pad(wave, (0, num_samples - len(wave)))
