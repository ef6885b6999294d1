"""Landmarks of a clip: pairs of spectral peaks, each a hash and a time, that lossy coding and cropping leave in place.

Source: the idea is that of Wang, "An industrial-strength audio search algorithm", ISMIR 2003: peaks of the spectrogram
survive what happens to a recording, and a pair of them with the time between says more than one peak.
Departures: the table holds the nearest few pairs of each peak, a query more, so that a peak that noise adds or coding
takes away costs few votes; a query is cut at four offsets within a hop, since a crop begins anywhere. A few votes may
be chance, so each alignment that they propose is checked by signs of the change of the spectrum, as in Haitsma and
Kalker, "A highly robust audio fingerprinting system", ISMIR 2002, over windows of 64 ms and differences over as long.
Shapes: N samples, T frames, F frequency bins, P peaks, L landmarks, S offsets within a hop.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SAMPLE_RATE = 8_000
"""Hz. Low bitrates cut off what lies higher, and telephone speech has no more."""
WINDOW_SAMPLES = 512
HOP_SAMPLES = 128
HOP_SECONDS = HOP_SAMPLES / SAMPLE_RATE
SHIFTS = 4
"""Offsets within a hop at which a query is cut."""
PAIRS_IN_TABLE = 3
PAIRS_IN_QUERY = 8
LONGEST_PAIR_FRAMES = 63
MIN_LANDMARKS, MIN_FRAMES = 20, 16
"""Fewer tell nothing; so many frames are 0.3 s."""

_BINS = (4, 252)  # below 60 Hz there is hum, and the last bins are where the resampler ends
_REACH_BINS, _REACH_FRAMES = 9, 6  # a peak is the largest value so far around it, in either direction
_FLOOR_DB = 60.0  # below the loudest value of the clip: dither, not sound
_SILENCE = 1e-5  # of full scale
_QUIET_DB = 35.0  # below the loudest band of the clip the signs are those of noise and codecs
_LAG_FRAMES = WINDOW_SAMPLES // HOP_SAMPLES
_EDGES = np.round(np.geomspace(10, _BINS[1], 34)).astype(np.int64)[:-1] - _BINS[0]
_FRAMES_AT_ONCE = 1 << 12


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What a clip is recognised by.

    Attributes:
        hashes: (L,) two frequencies and the frames between them.
        frames: (L,) when each pair begins, in hops.
        signs: (S, T, 4) 32 bits a frame: whether a band gained on the next higher one within 64 ms.
        loud: (S, T, 4) which of these bits are about something that can be heard.
        digest: Of the samples: two clips that share it hold the same audio.
        unchecked: Why nothing can be told of this clip; empty where something can.
    """

    hashes: NDArray[np.uint32]
    frames: NDArray[np.int32]
    signs: NDArray[np.uint8]
    loud: NDArray[np.uint8]
    digest: bytes
    unchecked: str = ""

    @property
    def num_frames(self) -> int:
        """T."""
        return int(self.signs.shape[1])


def table_landmarks(wave: NDArray[np.float32]) -> Landmarks:
    """Of a clip that is looked for.

    Args:
        wave: Mono, at SAMPLE_RATE.
    """
    return _landmarks(wave, (0,), PAIRS_IN_TABLE)


def query_landmarks(wave: NDArray[np.float32]) -> Landmarks:
    """Of a clip in which others are looked for: more pairs, and from four offsets within a hop.

    Args:
        wave: Mono, at SAMPLE_RATE.
    """
    return _landmarks(wave, tuple(k * HOP_SAMPLES // SHIFTS for k in range(SHIFTS)), PAIRS_IN_QUERY)


def _landmarks(wave: NDArray[np.float32], shifts: tuple[int, ...], num_pairs: int) -> Landmarks:
    levels = [_decibels(wave[shift:]) for shift in shifts]
    num_frames = min(map(len, levels))
    signs, loud = zip(*(_signs(level[:num_frames]) for level in levels), strict=True)
    pairs = [_pairs(*peaks(level), num_pairs) for level in levels]
    # the offsets agree on most pairs: each counts once
    keys = np.unique(
        np.concatenate(
            [frames.astype(np.uint64) << np.uint64(32) | hashes for hashes, frames in pairs], dtype=np.uint64
        )
    )
    hashes, frames = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32), (keys >> np.uint64(32)).astype(np.int32)
    reason = ""
    if float(np.abs(wave).max(initial=0.0)) < _SILENCE:
        reason = "silent"
        hashes, frames = hashes[:0], frames[:0]  # of equal values each is the largest around
    elif num_frames < MIN_FRAMES or len(hashes) < MIN_LANDMARKS:
        reason = (
            f"too short or too even: {len(hashes)} landmarks in {len(wave) / SAMPLE_RATE:.2f} s, {MIN_LANDMARKS} "
            f"in {MIN_FRAMES * HOP_SECONDS:.2f} s are needed"
        )
    digest = blake2b(wave.tobytes(), digest_size=16).digest()
    return Landmarks(hashes, frames, np.stack(signs), np.stack(loud), digest, reason)


def peaks(level: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Frames and bins of the spectrogram's local maxima, by frame.

    Args:
        level: (T, F) in dB.

    Returns:
        Two arrays (P,).
    """
    around = _largest_around(level)
    frames, bins = np.nonzero((level == around) & (level > level.max(initial=-np.inf) - _FLOOR_DB))
    return frames.astype(np.int32), bins.astype(np.int32)


def _decibels(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(wave) < WINDOW_SAMPLES:
        return np.zeros((0, _BINS[1] - _BINS[0]), np.float32)
    cut = sliding_window_view(wave, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    blocks = []
    for first in range(0, len(cut), _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(cut[first : first + _FRAMES_AT_ONCE] * window, axis=1)[:, slice(*_BINS)]
        blocks.append((10 * np.log10(spectrum.real**2 + spectrum.imag**2 + 1e-20)).astype(np.float32))
    return np.concatenate(blocks)


def _signs(level: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bits of each frame, and which of them are loud enough to be compared."""
    if len(level) <= _LAG_FRAMES:
        return np.zeros((len(level), 4), np.uint8), np.zeros((len(level), 4), np.uint8)
    power = np.exp(level * np.float32(np.log(10) / 10))
    bands = 10 * np.log10(np.add.reduceat(power, _EDGES, axis=1) + 1e-20)  # (T, 33)
    slope = bands[:, :-1] - bands[:, 1:]
    gained = np.zeros(slope.shape, np.bool_)
    gained[:-_LAG_FRAMES] = slope[_LAG_FRAMES:] > slope[:-_LAG_FRAMES]
    # of two bands one must be heard, at the one time or the other
    heard = np.maximum(bands[:, :-1], bands[:, 1:])
    heard[:-_LAG_FRAMES] = np.maximum(heard[_LAG_FRAMES:], heard[:-_LAG_FRAMES])
    loud = heard > heard.max() - _QUIET_DB
    loud[-_LAG_FRAMES:] = False
    return np.packbits(gained, axis=1), np.packbits(loud, axis=1)


def _largest_around(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest value in the rectangle around each."""
    for axis, reach in ((0, _REACH_FRAMES), (1, _REACH_BINS)):
        level = np.moveaxis(level, axis, 0)
        padded = np.pad(level, ((reach, reach), (0, 0)), constant_values=-np.inf)
        width, wanted = 1, 2 * reach + 1
        while width < wanted:  # the maximum of two overlapping stretches is that of both together
            step = min(width, wanted - width)
            padded = np.maximum(padded[:-step], padded[step:])
            width += step
        level = np.moveaxis(padded, 0, axis)
    return level


def _pairs(
    frames: NDArray[np.int32], bins: NDArray[np.int32], num_pairs: int
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Each peak with the next ones after it, as hash and frame."""
    hashes, starts = [], []
    taken = np.zeros(len(frames), np.int32)
    # peaks of one frame are no pair, so more steps than pairs are needed to find enough
    for step in range(1, 4 * num_pairs):
        apart = frames[step:] - frames[:-step]
        here = np.nonzero((apart >= 1) & (apart <= LONGEST_PAIR_FRAMES) & (taken[: len(apart)] < num_pairs))[0]
        if not len(here):
            continue
        taken[here] += 1
        low, high = bins[here].astype(np.uint32), bins[here + step].astype(np.uint32)
        hashes.append(low << np.uint32(14) | high << np.uint32(6) | apart[here].astype(np.uint32))
        starts.append(frames[here])
    if not hashes:
        return np.zeros(0, np.uint32), np.zeros(0, np.int32)
    return np.concatenate(hashes), np.concatenate(starts)
