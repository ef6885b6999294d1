"""Made sounds to examine encoders with: the same samples on every platform and in every version.

Shapes: N samples, S sounds.
"""

import numpy as np
from numpy.typing import NDArray

LOUD = 0.3


def noise(seed: int, num_samples: int) -> NDArray[np.float32]:
    """White noise, uniform in [-0.5, 0.5)."""
    # raw PCG64 bits are the same on every platform; numpy's distributions are not promised to be
    raw = np.random.PCG64(seed).random_raw(num_samples)
    return (raw >> 40).astype(np.float32) * np.float32(2**-24) - np.float32(0.5)


def varied_sounds(count: int, sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Sounds (S, N) that any useful encoder tells apart: chirps, harmonic tones, noise bursts, coloured noise, in turn.

    The pitch, the rhythm or the colour differs from each to the next of its kind.
    """
    num_samples = round(seconds * sample_rate)
    time = np.arange(num_samples) / sample_rate
    highest = 0.45 * sample_rate
    sounds = np.empty((count, num_samples), np.float32)
    for k in range(count):
        turn = k // 4
        low = min(110.0 * 2 ** (turn / 3), highest / 8)
        if k % 4 == 0:
            top = min(8 * low, highest)
            wave = np.sin(2 * np.pi * (low * time + (top - low) * time**2 / (2 * seconds)))
        elif k % 4 == 1:
            partials = [n for n in range(1, 9) if n * low < highest]
            wave = sum((np.sin(2 * np.pi * n * low * time) / n for n in partials), np.zeros(num_samples))
            wave = wave * np.exp(-2.0 * time / seconds)
        elif k % 4 == 2:
            bursts = (time * (3 + 2 * turn)) % 1 < 0.4
            wave = 2 * noise(k, num_samples) * bursts
        else:
            wave = np.convolve(noise(k, num_samples), np.ones(2 ** (1 + turn % 6)), mode="same")
        sounds[k] = LOUD * wave / max(float(np.abs(wave).max()), 1e-9) + 0.001 * noise(1000 + k, num_samples)
    return sounds


def hard_sounds(sample_rate: int, seconds: float = 1.0) -> dict[str, NDArray[np.float32]]:
    """Sounds (N,) on which a logarithm, a division or an overflow goes wrong."""
    num_samples = round(seconds * sample_rate)
    click = np.zeros(num_samples, np.float32)
    click[num_samples // 2] = 1.0
    square = np.where((np.arange(num_samples) * 200 // sample_rate) % 2 == 0, 1.0, -1.0)
    return {
        "silence": np.zeros(num_samples, np.float32),
        "full scale": square.astype(np.float32),
        "a click": click,
        "DC": np.full(num_samples, 0.5, np.float32),
        "very quiet": np.float32(1e-5) * noise(1, num_samples),
    }


def band_noise(low: float, high: float, sample_rate: int, num_samples: int) -> NDArray[np.float32]:
    """Noise (N,) between two frequencies in Hz and nothing elsewhere."""
    spectrum = np.fft.rfft(noise(2, num_samples))
    frequency = np.fft.rfftfreq(num_samples, 1 / sample_rate)
    spectrum[(frequency < low) | (frequency >= high)] = 0
    wave = np.fft.irfft(spectrum, num_samples)
    return (LOUD * wave / max(float(np.abs(wave).max()), 1e-9)).astype(np.float32)


def with_energy(num_samples: int, first: int, stop: int) -> NDArray[np.float32]:
    """Very quiet noise (N,) that is loud between two samples."""
    wave = np.float32(0.001) * noise(3, num_samples)
    wave[first:stop] = LOUD * np.where(noise(4, stop - first) < 0, -1, 1)
    return wave
