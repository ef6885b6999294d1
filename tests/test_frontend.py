"""The front end against an independent computation in float64, on real audio."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch

from leveret.frontend import LOG_MELS, STD_FLOOR, LogMel, LogMelConfig, mel_filters, standardise


def real_wave(files: list[Path], seconds: float) -> np.ndarray[Any, Any]:
    """The files behind one another until there is enough."""
    pieces, wanted, have = [], round(seconds * 16_000), 0
    for file in files:
        wave, rate = soundfile.read(file, dtype="float32")
        assert rate == 16_000
        assert wave.ndim == 1
        pieces.append(wave)
        have += len(wave)
        if have >= wanted:
            return np.concatenate(pieces)[:wanted]
    raise AssertionError(f"only {have / 16_000} s")


def librosas_filters(config: LogMelConfig) -> np.ndarray[Any, Any]:
    """librosa's own triangles with these settings, float64, (bins, F)."""
    low, high = config.low_hz, config.high_hz
    return librosa.filters.mel(
        sr=16_000, n_fft=512, n_mels=80, fmin=low, fmax=high, htk=True, norm=None, dtype=np.float64
    ).T


def filters_straight_in_mel(config: LogMelConfig) -> np.ndarray[Any, Any]:
    """The triangles on librosa's mel scale by interpolation, float64, (bins, F)."""
    corners = librosa.mel_frequencies(config.num_mels + 2, fmin=config.low_hz, fmax=config.high_hz, htk=True)
    corners_mel = librosa.hz_to_mel(corners, htk=True)
    bins_mel = librosa.hz_to_mel(librosa.fft_frequencies(sr=16_000, n_fft=512), htk=True)
    return np.stack([np.interp(bins_mel, corners_mel[m : m + 3], [0.0, 1.0, 0.0]) for m in range(config.num_mels)], 1)


def independent(wave: np.ndarray[Any, Any], config: LogMelConfig, filters: Any) -> np.ndarray[Any, Any]:
    """librosa's transform in float64; it centres a short window in its frame, so the wave is delayed by 56."""
    num_frames = -(-len(wave) // 160)
    delayed = np.pad(wave.astype(np.float64), (56, num_frames * 160 + 512 - len(wave)))
    spectrum = librosa.stft(delayed, n_fft=512, hop_length=160, win_length=400, center=False, dtype=np.complex128)
    mels = (np.abs(spectrum[:, :num_frames]).T ** config.power) @ filters
    return np.log1p(1e4 * mels) if config.compression == "log1p" else np.log(np.maximum(mels, 1e-6))


@pytest.mark.real
@pytest.mark.parametrize("seconds", [0.3, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("name", LOG_MELS)
def test_agrees_with_librosa_in_float64_on_real_audio(dev_audio: list[Path], seconds: float, name: str) -> None:
    config = LOG_MELS[name]
    wave = real_wave(dev_audio, seconds)
    ours = LogMel(config)(torch.from_numpy(wave)[None])
    assert ours.shape == (1, 1, round(100 * seconds), 80)
    expected = independent(wave, config, librosas_filters(config))
    np.testing.assert_allclose(ours[0, 0].numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", LOG_MELS)
def test_filters_straight_in_mel_have_librosas_corners(name: str) -> None:
    config = replace(LOG_MELS[name], slopes="mel")
    ours = mel_filters(config).numpy()
    np.testing.assert_allclose(ours, filters_straight_in_mel(config), rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours, librosas_filters(config), rtol=0, atol=4e-3)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(1, 1), (160, 1), (161, 2), (16_000, 100), (48_000, 300)])
def test_a_second_is_exactly_100_frames(num_samples: int, num_frames: int) -> None:
    log_mel = LogMel()
    assert log_mel(torch.zeros(2, num_samples)).shape == (2, 1, num_frames, 80)
    assert log_mel.num_frames(num_samples) == num_frames


def test_blocks_of_frames_give_what_one_block_gives() -> None:
    wave = 0.1 * torch.randn(3, 40_000, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel()
    torch.testing.assert_close(log_mel(wave), torch.cat([log_mel(one[None]) for one in wave]), rtol=0, atol=1e-5)


def test_a_gradient_reaches_the_wave() -> None:
    wave = (0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))).requires_grad_()
    mels = LogMel()(wave)
    with torch.no_grad():
        torch.testing.assert_close(mels, LogMel()(wave))
    mels.sum().backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()
    assert wave.grad.any()


def test_silence_is_the_floor_and_standardises_to_zero() -> None:
    for config, floor in ((LOG_MELS["leveret"], 0.0), (LOG_MELS["cola"], np.log(1e-6))):
        silence = LogMel(config)(torch.zeros(1, 1600))
        assert silence.unique().tolist() == pytest.approx([floor], rel=1e-6)
        assert not standardise(silence).any()


def test_standardise_is_by_example_over_time_and_frequency() -> None:
    features = torch.randn(3, 1, 20, 80, generator=torch.Generator().manual_seed(0))
    scaled = features * torch.tensor([1.0, 5.0, 0.1]).view(3, 1, 1, 1) + 7
    standardised = standardise(scaled)
    for one in standardised:
        assert one.mean().item() == pytest.approx(0, abs=1e-5)
        assert one.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    flat = standardise(features[:1] * 1e-9)
    assert flat.abs().max() <= 1e-9 * 5 / STD_FLOOR


def test_buffers_are_real_on_the_meta_device_and_not_in_the_state() -> None:
    with torch.device("meta"):
        log_mel = LogMel()
    assert torch.equal(log_mel.filters, LogMel().filters)
    assert not log_mel.state_dict()
