import numpy as np
import pytest

from leveret.stimuli import LOUD, band_noise, hard_sounds, noise, varied_sounds, with_energy


def test_noise_is_the_same_everywhere():
    # PCG64(2022).random_raw's first words, shifted and scaled by hand
    raw = np.random.PCG64(2022).random_raw(3)
    expected = [(int(word) >> 40) / 2**24 - 0.5 for word in raw]
    np.testing.assert_allclose(noise(2022, 3), expected, rtol=0, atol=1e-7)
    assert noise(1, 10_000).std() == pytest.approx(12**-0.5, rel=0.02)  # uniform over one


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_varied_sounds_are_loud_and_all_different(rate):
    sounds = varied_sounds(24, rate, 1.0)
    assert sounds.shape == (24, rate)
    assert sounds.dtype == np.float32
    assert (np.abs(sounds).max(1) < 1.1 * LOUD).all()
    spectra = np.abs(np.fft.rfft(sounds))
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    alike = spectra @ spectra.T - np.eye(24)
    assert alike.max() < 0.99


def test_hard_sounds_are_what_they_are_called():
    sounds = hard_sounds(16_000)
    assert {name: len(wave) for name, wave in sounds.items()} == dict.fromkeys(sounds, 16_000)
    assert not sounds["silence"].any()
    assert (np.abs(sounds["full scale"]) == 1).all()
    assert np.count_nonzero(sounds["a click"]) == 1
    assert np.ptp(sounds["DC"]) == 0 < sounds["DC"][0]
    assert 0 < np.abs(sounds["very quiet"]).max() <= 1e-5


def test_band_noise_stays_in_its_band():
    power = np.abs(np.fft.rfft(band_noise(2_000, 3_000, 16_000, 16_000))) ** 2
    assert power[2_000:3_000].sum() > 0.9999 * power.sum()
    assert not band_noise(9_000, 10_000, 16_000, 16_000).any()


def test_energy_is_where_it_is_asked_for():
    wave = with_energy(1_000, 900, 1_000)
    assert (np.abs(wave[900:]) == np.float32(LOUD)).all()
    assert np.abs(wave[:900]).max() < 0.001
    np.testing.assert_array_equal(wave[:900], with_energy(1_000, 0, 0)[:900])
