"""LogMel: a wave becomes a raw log-mel spectrogram, exactly 100 frames for each second; and its standardisation.

Source: paper, section 3 ("16 kHz, 80 mels, 25 ms window, 10 ms hop") and appendix C (standardise each spectrogram by
its own mean and standard deviation). What those leave open is taken from the same group's released front end
(deepmind/brave): periodic Hann, FFT 512, magnitude, HTK mel without area normalisation over 80-7600 Hz,
log(1 + 1e4 x), frames padded at the end.
Shapes: B batch, N samples, T = ceil(N / hop) frames, F mel bins.
Departures: brave's window is 20 ms; the paper's 25 ms stands. The sides of the triangles are straight in hertz, as in
librosa and most PyTorch front ends, where tf.signal's are straight in mel (`slopes="mel"`). The option `cola` is
google-research/cola's: 60-7800 Hz, power, log(max(x, 1e-6)).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FRONTEND_VERSION = 4
"""Bumped by hand whenever the same wave gives other features; part of every cache key."""

STD_FLOOR = 1e-5
_FRAMES_AT_ONCE = 128  # on a CPU: 1.4 MB from the window to the mels, which stay in the second-level cache or near it
_FRAMES_AT_ONCE_ELSEWHERE = 65_536


@dataclass(frozen=True, kw_only=True)
class LogMelConfig:
    """What the spectrogram is made of; the defaults are leveret's reading of the paper.

    Attributes:
        sample_rate: Hz.
        window_samples: Length of the periodic Hann window.
        hop_samples: Step from frame to frame.
        fft_samples: The window is zero-padded to this at its end.
        num_mels: F.
        low_hz: Lower edge of the first triangle.
        high_hz: Upper edge of the last triangle.
        power: Exponent of the magnitude, 1 or 2.
        compression: "log1p" is log(1 + 1e4 x), "log" is log(max(x, 1e-6)).
        slopes: The scale on which the triangles' sides are straight: "hertz" as in librosa, "mel" as in tf.signal.
    """

    sample_rate: int = 16_000
    window_samples: int = 400
    hop_samples: int = 160
    fft_samples: int = 512
    num_mels: int = 80
    low_hz: float = 80.0
    high_hz: float = 7600.0
    power: Literal[1, 2] = 1
    compression: Literal["log1p", "log"] = "log1p"
    slopes: Literal["hertz", "mel"] = "hertz"


LOG_MELS = {
    "leveret": LogMelConfig(),
    "cola": LogMelConfig(low_hz=60.0, high_hz=7800.0, power=2, compression="log"),
}


def hz_to_mel(hz: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """HTK mel: 1127 ln(1 + hz / 700)."""
    return 1127.0 * torch.log1p(hz / 700.0)


def mel_to_hz(mel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The inverse of `hz_to_mel`."""
    return 700.0 * torch.expm1(mel / 1127.0)


def mel_filters(config: LogMelConfig) -> Float[Tensor, "bins F"]:
    """Triangles that peak at 1, their corners equally spaced in mel; float64.

    Sides straight in hertz are librosa.filters.mel(htk=True, norm=None), straight in mel
    tf.signal.linear_to_mel_weight_matrix; the two are at most 0.004 apart.
    """
    lowest, highest = hz_to_mel(torch.tensor([config.low_hz, config.high_hz], dtype=torch.float64)).tolist()
    corners = torch.linspace(lowest, highest, config.num_mels + 2, dtype=torch.float64)
    bins = torch.arange(config.fft_samples // 2 + 1, dtype=torch.float64) * (config.sample_rate / config.fft_samples)
    if config.slopes == "mel":
        bins = hz_to_mel(bins)
    else:
        corners = mel_to_hz(corners)
    rising = (bins[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins[:, None]) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp_min(0)


class LogMel(nn.Module):
    """Wave to raw log-mel; no parameters, filters that follow the module to its device."""

    filters: Tensor

    def __init__(self, config: LogMelConfig = LOG_MELS["leveret"]) -> None:
        super().__init__()
        self.config = config
        with torch.device("cpu"):  # real numbers even where the encoder is built on the meta device
            filters = mel_filters(config)
            if config.compression == "log1p":
                filters *= 1e4  # so that no pass over the mels is needed for it
            filters = filters.float()
            # bins that no triangle reaches take no part in root and product
            self.bins = _reached(filters)
            filters = filters[self.bins].contiguous()
            self.bands = [(_reached(filters[:, mels]), mels) for mels in _thirds(config.num_mels)]
        self.register_buffer("filters", filters, persistent=False)
        for number, (bins, mels) in enumerate(self.bands):
            self.register_buffer(f"filters_{number}", filters[bins, mels].contiguous(), persistent=False)

    def num_frames(self, num_samples: int) -> int:
        """T for a wave of N samples: its end is padded, so one second is exactly 100 frames."""
        return -(-num_samples // self.config.hop_samples)

    def forward(self, wave: Float[Tensor, "B N"]) -> Float[Tensor, "B 1 T F"]:
        """Raw log-mel of each wave, float32; the transform is in float64.

        A float32 transform errs by 6e-8 of the loudest bin in every bin, so in a quiet mel beside a loud one by up to
        8e-3 after the logarithm.

        Args:
            wave: Mono audio at `config.sample_rate`, nominally in [-1, 1].
        """
        hop, width = self.config.hop_samples, self.config.window_samples
        B, N = wave.shape
        num_frames = self.num_frames(N)
        # All waves lie in one row, each with room for its last window, so that frame after frame is a view of it; the
        # frames that reach from one wave into the next are dropped at the end.
        per_wave = num_frames - 1 + -(-width // hop)
        row = wave.new_empty(B, per_wave * hop)
        row[:, :N] = wave
        row[:, N:] = 0
        frames = row.flatten().unfold(0, width, hop)
        dtype = torch.float32 if wave.device.type == "mps" else torch.float64  # mps has no float64
        window = torch.hann_window(width, dtype=dtype, device=wave.device)
        if (torch.is_grad_enabled() and wave.requires_grad) or torch.compiler.is_compiling():
            padded = F.pad(frames * window, (0, self.config.fft_samples - width))
            squares = torch.view_as_real(torch.fft.rfft(padded)).square()[:, self.bins]
            energy = squares.sum(-1).clamp_min(1e-30).float()  # the root has no slope at zero
            magnitude = energy.sqrt() if self.config.power == 1 else energy
            mels = self._compressed(magnitude @ self.filters.float())
            mels = F.pad(mels, (0, 0, 0, B * per_wave - len(frames)))
        else:
            mels = self._block_by_block(frames, window, B * per_wave)
        return mels.view(B, 1, per_wave, -1)[:, :, :num_frames].contiguous()

    def _block_by_block(
        self, frames: Float[Tensor, "n width"], window: Float[Tensor, "width"], num_rows: int
    ) -> Float[Tensor, "{num_rows} F"]:
        """Log-mels of each frame through scratch memory that stays in the cache; rows beyond the frames are not set."""
        at_once = _FRAMES_AT_ONCE if frames.device.type == "cpu" else _FRAMES_AT_ONCE_ELSEWHERE
        at_once, width = min(at_once, len(frames)), len(window)
        block = window.new_empty(at_once, self.config.fft_samples)
        block[:, width:] = 0  # and stays so: rfft(n=...) pads at several times the cost of the transform
        squares = frames.new_empty(at_once, len(self.filters), 2)
        energy = frames.new_empty(at_once, len(self.filters))
        mels = frames.new_empty(num_rows, self.config.num_mels)
        for first in range(0, len(frames), at_once):
            some = frames[first : first + at_once]
            if first == 0 or len(some) < at_once:
                # the views are made once, and anew for the last, shorter block: each costs as much as a small operation
                block, squares, energy = block[: len(some)], squares[: len(some)], energy[: len(some)]
                filled, real, imaginary = block[:, :width], squares[..., 0], squares[..., 1]
                bands = [
                    (energy[:, bins], columns, self.get_buffer(f"filters_{number}"))
                    for number, (bins, columns) in enumerate(self.bands)
                ]
            found = mels[first : first + len(some)]
            # each cast is a copy of its own: an operation that casts on its way makes one too, somewhere cold
            filled.copy_(some).mul_(window)
            squares.copy_(torch.view_as_real(torch.fft.rfft(block))[:, self.bins]).square_()
            # the sum of two slices is many times as fast as a sum over the short axis
            torch.add(real, imaginary, out=energy)
            if self.config.power == 1:
                energy.sqrt_()
            for part, columns, filters in bands:
                torch.mm(part, filters, out=found[:, columns])
            self._compressed(found)
        return mels

    def _compressed(self, mels: Tensor) -> Tensor:
        """In place; called for each block, so no shape is checked."""
        return mels.log1p_() if self.config.compression == "log1p" else mels.clamp_min_(1e-6).log_()


def _reached(filters: Float[Tensor, "bins F"]) -> slice:
    """From the first to the last bin that one of the triangles reaches."""
    used = torch.nonzero(filters.any(1)).squeeze(1)
    return slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)


def _thirds(num_mels: int) -> list[slice]:
    """Three runs of mels: low mels look at few bins, so a product a run takes a third of one over all bins."""
    edges = [num_mels * part // 3 for part in range(4)]
    return [slice(first, stop) for first, stop in pairwise(edges) if first < stop]


def standardise(features: Float[Tensor, "B 1 T F"]) -> Float[Tensor, "B 1 T F"]:
    """Each example by its own mean and biased standard deviation over T x F, floored at 1e-5 (appendix C)."""
    std, mean = torch.std_mean(features.float(), dim=(1, 2, 3), correction=0, keepdim=True)
    return (features - mean) / std.clamp_min(STD_FLOOR)


class DatasetNorm(nn.Module):
    """Standardises by one mean and deviation of a whole training set, which pretraining finds; else changes nothing."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def forward(self, features: Float[Tensor, "B 1 T F"]) -> Float[Tensor, "B 1 T F"]:
        """In float32."""
        return (features.float() - self.mean) / self.std

    def undone(self, x: Float[Tensor, "B 1 T F"]) -> Float[Tensor, "B 1 T F"]:
        """Raw features that `forward` makes into these."""
        return x * self.std + self.mean
