import numpy as np
import pytest
import soundfile

from leveret.corpora.cutting import CropShape, Example, Span, cut

RATE = 8000


@pytest.fixture
def ramp(tmp_path):
    """Writes a file whose samples say where they lie."""

    def write(name, seconds, begin=0.0):
        wave = (begin + np.arange(round(RATE * seconds)) / RATE / 100).astype(np.float32)
        soundfile.write(tmp_path / name, wave, RATE, subtype="FLOAT")
        return tmp_path / name

    return write


def places(*pairs):
    return np.array(pairs, dtype=np.float64)


def test_two_crops_of_a_long_clip_lie_where_they_were_drawn(ramp):
    found = cut(Example([Span(ramp("a.wav", 11.0))], places((0.1, 0.5), (0.9, 0.5))), CropShape(2, RATE, RATE))
    assert found.waves.shape == (2, RATE)
    np.testing.assert_allclose(found.waves[:, 0], [0.01, 0.09], atol=1e-6)
    assert (found.trivial, found.padded, list(found.seconds)) == (0, False, [11.0])


@pytest.mark.parametrize("distance", [0.02, 0.5])
def test_one_read_for_both_crops_gives_the_samples_of_two(ramp, distance):
    path = ramp("a.wav", 11.0)
    both = cut(Example([Span(path)], places((0.3, 0.0), (0.3 + distance, 0.0))), CropShape(2, RATE, RATE))
    one = [cut(Example([Span(path)], places((at, 0.0))), CropShape(1, RATE, RATE)) for at in (0.3, 0.3 + distance)]
    np.testing.assert_allclose(both.waves, np.concatenate([each.waves for each in one]), atol=1e-6)


def test_only_the_span_that_is_needed_is_decoded(ramp, monkeypatch):
    import leveret.corpora.cutting as cutting

    read = []
    whole = cutting.read_span
    monkeypatch.setattr(
        cutting, "read_span", lambda path, start, end, held: read.append(end - start) or whole(path, start, end, held)
    )
    cut(Example([Span(ramp("a.wav", 101.0))], places((0.0, 0.0), (1.0, 0.0))), CropShape(2, RATE, RATE))
    np.testing.assert_allclose(read, [1.0, 1.0])


def test_a_file_that_is_opened_for_its_length_is_read_without_opening_it_again(ramp, monkeypatch):
    import leveret.audio as audio

    opened = []
    real = audio._SoundFile
    monkeypatch.setattr(audio, "_SoundFile", lambda path: opened.append(path) or real(path))
    shape, where = CropShape(2, RATE, RATE), places((0.0, 0.0), (1.0, 0.0))
    first = cut(Example([Span(ramp("a.wav", 3.0))], where), shape)
    assert len(opened) == 1
    (seconds,) = first.seconds
    again = cut(Example([Span(ramp("a.wav", 3.0), seconds=seconds)], where), shape)
    np.testing.assert_array_equal(first.waves, again.waves)


def test_of_a_short_clip_pairs_take_six_tenths_and_the_silence_lies_on_both_sides(ramp):
    path = ramp("a.wav", 1.0, begin=0.5)
    found = cut(Example([Span(path)], places((0.0, 0.0), (1.0, 0.9999))), CropShape(2, RATE, RATE))
    assert found.padded
    assert [np.flatnonzero(wave)[[0, -1]].tolist() for wave in found.waves] == [[0, 4799], [3200, 7999]]
    np.testing.assert_allclose([found.waves[0, 0], found.waves[1, 3200]], [0.5, 0.504], atol=1e-5)


def test_a_single_crop_takes_the_whole_of_a_short_clip(ramp):
    found = cut(Example([Span(ramp("a.wav", 0.75, begin=0.5))], places((0.7, 0.0))), CropShape(1, RATE, RATE))
    assert np.count_nonzero(found.waves) == 6000


@pytest.mark.parametrize(("apart", "trivial"), [(0.019, 1), (0.021, 0)])
def test_crops_that_share_over_four_fifths_are_counted(ramp, apart, trivial):
    # 0.02 of the 10 s in which crops of 1 s may begin is a fifth of a crop
    example = Example([Span(ramp("a.wav", 11.0))], places((0.4, 0.0), (0.4 + apart, 0.0)))
    assert cut(example, CropShape(2, RATE, RATE)).trivial == trivial


def test_joined_clips_are_heard_one_after_another_as_far_as_the_crop_needs(ramp):
    spans = [Span(ramp("a.wav", 0.5, 0.1)), Span(ramp("b.wav", 0.5, 0.2)), Span(ramp("c.wav", 0.5, 0.3))]
    found = cut(Example(spans, places((0.0, 0.0))), CropShape(1, RATE, RATE))
    np.testing.assert_allclose(found.waves[0, [0, 3999, 4000, 7999]], [0.1, 0.105, 0.2, 0.205], atol=1e-4)
    assert list(found.seconds) == [0.5, 0.5]
    assert not found.padded


def test_joined_clips_fill_pairs_of_crops_too(ramp):
    spans = [Span(ramp(f"{k}.wav", 0.5, 0.1 * k)) for k in range(1, 6)]
    found = cut(Example(spans, places((0.0, 0.0), (1.0, 0.0))), CropShape(2, RATE, RATE))
    assert list(found.seconds) == [0.5] * 4  # 0.6 x 2 s
    assert not found.padded


def test_a_crop_of_two_scraps_is_silence(ramp):
    spans = [Span(ramp("a.wav", 0.03, 0.1)), Span(ramp("b.wav", 0.03, 0.2))]
    found = cut(Example(spans, places((0.5, 0.0))), CropShape(1, 250, RATE))  # 16 ms of each are no window of audio
    assert not found.bad
    assert not found.waves.any()


def test_a_partner_that_cannot_be_read_is_passed_over_and_named(ramp, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    spans = [Span(ramp("a.wav", 0.5, 0.1)), Span(tmp_path / "bad.wav"), Span(ramp("c.wav", 0.5, 0.3))]
    found = cut(Example(spans, places((0.0, 0.0))), CropShape(1, RATE, RATE))
    assert list(found.bad) == [1]
    np.testing.assert_allclose(found.waves[0, 4000], 0.3, atol=1e-4)


def test_a_partner_that_breaks_while_it_is_decoded_is_passed_over_too(ramp, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    broken = Span(tmp_path / "bad.wav", seconds=0.5)  # its length is known, so its header is not looked at
    spans = [Span(ramp("a.wav", 0.5, 0.1)), broken, Span(ramp("c.wav", 0.5, 0.3))]
    found = cut(Example(spans, places((0.0, 0.0))), CropShape(1, RATE, RATE))
    assert list(found.bad) == [1]
    np.testing.assert_allclose(found.waves[0, 4000], 0.3, atol=1e-4)


def test_a_clip_that_cannot_be_read_has_no_crops(tmp_path):
    found = cut(Example([Span(tmp_path / "none.wav")], places((0.0, 0.0))), CropShape(1, RATE, RATE))
    assert "does not exist" in found.bad[0]
    assert not found.waves.any()


def test_another_rate_is_resampled_to(ramp):
    found = cut(Example([Span(ramp("a.wav", 3.0))], places((0.5, 0.0))), CropShape(1, 16_000, 16_000))
    np.testing.assert_allclose(found.waves[0, 8000], 0.015, atol=1e-3)
