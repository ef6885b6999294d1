import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret import audio, resampling
from leveret.audio import AudioError, find_audio, load, read_info, read_span, window_starts
from leveret.resampling import fit, resample

# ending, subtype, and the largest error that an int16 or float32 path may add to the float64 computation
PLAIN = [
    ("wav", "PCM_U8", 1e-6),
    ("wav", "PCM_16", 1e-6),
    ("wav", "PCM_24", 1e-6),
    ("wav", "PCM_32", 1e-6),
    ("wav", "FLOAT", 1e-6),
    ("wav", "DOUBLE", 1e-6),
    ("flac", "PCM_16", 1e-6),
    ("flac", "PCM_24", 1e-6),
    ("aiff", "PCM_16", 1e-6),
    ("w64", "PCM_16", 1e-6),
]
LOSSY = [("ogg", "VORBIS"), ("opus", "OPUS"), ("mp3", "MPEG_LAYER_III")]
FORMAT = {"opus": "OGG"}
FLOAT32 = 1e-6  # four float32 roundings of numbers up to one
HQ_NOT_VHQ = 5e-4  # the two filters differ in the last hundredths below Nyquist, where some of the noise of 0.01 lies


@pytest.fixture
def sounds(tmp_path):
    """Writes two tones and soft noise, different in each channel."""

    def write(name, subtype=None, rate=16_000, channels=1, seconds=0.5):
        time = np.arange(round(seconds * rate))[:, None] / rate
        pitch = np.linspace(200, 900, channels)
        noise = np.random.default_rng(0).normal(size=(len(time), channels))
        wave = 0.4 * np.sin(2 * math.pi * pitch * time) + 0.2 * np.sin(2 * math.pi * 3.1 * pitch * time) + 0.01 * noise
        path = tmp_path / name
        soundfile.write(path, wave, rate, subtype=subtype, format=FORMAT.get(path.suffix[1:]))
        return path

    return write


def in_float64(path, rate, quality="VHQ"):
    """An independent computation: libsndfile's float64, numpy's mean, soxr's best."""
    wave, old_rate = soundfile.read(path, dtype="float64", always_2d=True)
    return soxr.resample(wave.mean(axis=1), old_rate, rate, quality=quality)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(("ending", "subtype", "tolerance"), PLAIN)
def test_a_file_at_its_own_rate_is_the_mean_of_its_channels(sounds, ending, subtype, tolerance, channels):
    path = sounds(f"a.{ending}", subtype, channels=channels)
    found = load(path, 16_000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, in_float64(path, 16_000), rtol=0, atol=tolerance)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("ending", "subtype"), LOSSY)
def test_a_lossy_file_is_the_mean_of_its_channels(sounds, ending, subtype, channels):
    path = sounds(f"a.{ending}", subtype, channels=channels)
    np.testing.assert_allclose(load(path, 16_000), in_float64(path, 16_000), rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_the_wanted_one_as_in_float64(sounds, rate, channels):
    path = sounds("a.wav", "PCM_16", rate, channels)
    found = load(path, 16_000)
    assert len(found) == round(rate // 2 * 16_000 / rate)
    np.testing.assert_allclose(found, in_float64(path, 16_000, "HQ")[: len(found)], rtol=0, atol=FLOAT32)
    inner = slice(400, -400)  # at the ends the two filters see silence of another length
    best = in_float64(path, 16_000, "VHQ")[: len(found)]
    assert np.abs(found - best)[inner].max() < HQ_NOT_VHQ


@pytest.mark.parametrize("rate", [8_000, 32_000, 44_100, 96_000])
@pytest.mark.parametrize("num_samples", [399, 401, 1001, 12_345])
def test_the_length_after_resampling_is_the_rounded_share(rate, num_samples):
    wave = np.zeros(num_samples, np.float32)
    assert len(resample(wave, rate, 16_000)) == round(num_samples * 16_000 / rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("block", [1_000, 4_999])
def test_block_by_block_gives_what_one_go_gives(sounds, monkeypatch, rate, block):
    path = sounds("a.wav", "PCM_16", rate, channels=2)
    expected = load(path, 16_000)
    monkeypatch.setattr(resampling, "_BLOCK_FRAMES", block)
    found = load(path, 16_000)
    assert found.shape == expected.shape
    # the stream and the one-shot call of soxr cut their blocks elsewhere, so they round elsewhere
    np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize(("ending", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), *LOSSY])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.2), (0.1, 0.3), (0.25, None), (0.3001, 0.49)])
def test_a_span_is_the_slice_of_the_whole(sounds, ending, subtype, start, end):
    path = sounds(f"a.{ending}", subtype, channels=2)
    whole, rate = read_span(path)
    found, _ = read_span(path, start, end)
    expected = whole[round(start * rate) : None if end is None else round(end * rate)]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT32)


def test_an_end_within_the_rounding_of_the_file_is_its_end(sounds):
    path = sounds("a.wav")
    assert len(load(path, 16_000, 0.1, 0.52)) == 6_400


@pytest.mark.parametrize(("start", "end"), [(0.5, None), (0.6, 0.7), (0.0, 0.6), (-0.1, 0.2)])
def test_a_span_out_of_the_file_is_refused_with_its_length(sounds, start, end):
    with pytest.raises(AudioError, match=r"is 0\.500 s long, but the span is"):
        load(sounds("a.wav"), 16_000, start, end)


def test_the_header_tells_length_rate_and_channels(sounds):
    info = read_info(sounds("a.flac", "PCM_24", 44_100, 2))
    assert (info.frames, info.sample_rate, info.channels, info.subtype) == (22_050, 44_100, 2, "PCM_24")
    assert info.seconds == 0.5


def refusals(path):
    """What header and samples are refused with."""
    found = []
    for read in (read_info, read_span):
        try:
            read(path)
        except AudioError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty (0 bytes)"),
        (b"these are words, not sound\n" * 50, "is not audio that libsndfile reads"),
        (b"RIFF", "is not audio that libsndfile reads"),
        (bytes(4096), "is not audio that libsndfile reads"),
    ],
    ids=["0 bytes", "text", "4 bytes", "zeros"],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.raw", "noending"])
def test_what_is_not_audio_is_refused_by_name(tmp_path, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content)
    found = refusals(path)
    assert len(found) == 2
    for message in found:
        assert complaint in message
        assert repr(str(path)) in message


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    assert all("is a folder" in message for message in refusals(tmp_path))
    assert all("does not exist" in message for message in refusals(tmp_path / "none.wav"))
    assert len(refusals(tmp_path)) == len(refusals(tmp_path / "none.wav")) == 2


def test_a_name_that_is_no_text_is_refused(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16_000)
    (tmp_path / "a.wav").rename(path)
    found = refusals(path)
    assert len(found) == 2
    assert all("not UTF-8" in message and message.isascii() for message in found)


def test_a_zero_byte_in_a_name_never_opens_the_file_before_it(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16_000)
    assert [message.count("cannot be read") for message in refusals(tmp_path / "a.wav\0.flac")] == [1, 1]


def test_a_name_that_is_too_long_for_the_system_is_refused(tmp_path):
    assert [message.count("cannot be read") for message in refusals(tmp_path / f"{'x' * 300}.wav")] == [1, 1]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert [message.count("is a pipe or a device") for message in refusals(tmp_path / "a.wav")] == [1, 1]


@pytest.mark.parametrize("rate", [1, 10, 999])
def test_a_damaged_rate_takes_no_memory(sounds, rate):
    path = sounds("a.wav", "PCM_16")
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)
    assert [message.count(f"has a rate of {rate} Hz") for message in refusals(path)] == [1, 1]


def test_a_wave_that_memory_cannot_hold_is_refused_before_it_is_asked_for(sounds, monkeypatch):
    path = sounds("a.wav", "PCM_16")
    monkeypatch.setattr(audio, "_ALWAYS_FITS", 0)
    assert len(load(path, 16_000)) == 8_000
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 15}.get)
    with pytest.raises(
        AudioError, match=r"is 0\.0 h long by its header and would take 0\.0 GB .*; cut it, or name spans"
    ):
        load(path, 16_000)
    assert len(load(path, 16_000, 0.1, 0.2)) == 1_600


def test_terminal_codes_in_a_name_are_escaped(tmp_path):
    (message, _) = refusals(tmp_path / "\x1b[2J\n.wav")
    assert message.isprintable()


def test_a_file_without_samples_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16_000)
    assert all("0 frames" in message for message in refusals(tmp_path / "a.wav"))


def test_three_milliseconds_are_refused_and_a_window_is_not(sounds):
    with pytest.raises(AudioError, match=r"too short: 3\.0 ms, at least 25 ms"):
        load(sounds("a.wav", seconds=0.003), 16_000)
    assert len(load(sounds("b.wav", seconds=0.025), 16_000)) == 400


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    wave = np.zeros(1_600, np.float32)
    wave[800] = value
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        load(tmp_path / "a.wav", 16_000)


@pytest.mark.parametrize(
    ("ending", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("aiff", "PCM_16"), ("au", "PCM_16"), *LOSSY[2:]]
)
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_file_that_was_cut_is_refused_as_truncated(sounds, ending, subtype, share):
    path = sounds(f"a.{ending}", subtype, seconds=2.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(AudioError, match=r"is truncated: its header promises 2\.\d+ s"):
        load(path, 16_000)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_flac_that_was_cut_is_refused(sounds, share):
    path = sounds("a.flac", seconds=2.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(AudioError, match=r"breaks off|truncated"):
        load(path, 16_000)


def test_a_wav_that_was_streamed_without_knowing_its_length_is_read(sounds):
    path = sounds("a.wav", "PCM_16")
    content = bytearray(path.read_bytes())
    expected = load(path, 16_000)
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    np.testing.assert_array_equal(load(path, 16_000), expected)


def test_a_flac_that_does_not_know_its_length_is_refused_and_takes_no_memory(sounds):
    path = sounds("a.flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO's 36 bits of total samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    found = refusals(path)
    assert len(found) == 2
    assert all("does not say how long it is" in message for message in found)


@pytest.mark.parametrize(("ending", "subtype"), [("flac", "PCM_16"), *LOSSY])
def test_a_long_silence_is_not_taken_for_a_header_that_lies(tmp_path, ending, subtype):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, np.zeros(48_000 * 20), 48_000, subtype=subtype, format=FORMAT.get(ending))
    assert read_info(path).seconds == pytest.approx(20, abs=0.1)


def test_damage_in_the_middle_is_an_audio_error_or_samples_and_nothing_else(sounds):
    rng = np.random.default_rng(0)
    for ending, subtype in [("flac", "PCM_16"), *LOSSY]:
        path = sounds(f"a.{ending}", subtype)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(5):
            bad = whole.copy()
            bad[rng.integers(len(bad), size=20)] ^= 255
            path.write_bytes(bad.tobytes())
            try:
                assert np.isfinite(load(path, 16_000)).all()
            except AudioError:
                continue


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_folder_is_searched_for_audio_in_order_and_nothing_else(tmp_path):
    names = ["b/2.wav", "b/1.FLAC", "a.mp3", "b/c/d.opus"]
    for name in [*names, "readme.txt", "a.mp3.part", "labels.csv"]:
        touch(tmp_path / name)
    (tmp_path / "folder.wav").mkdir()
    assert find_audio([tmp_path]) == [tmp_path / name for name in ("a.mp3", "b/1.FLAC", "b/2.wav", "b/c/d.opus")]


def test_a_file_named_outright_is_taken_whatever_its_ending(tmp_path):
    assert find_audio([touch(tmp_path / "sound.bin")]) == [tmp_path / "sound.bin"]


def test_a_file_that_is_found_twice_is_taken_once(tmp_path, monkeypatch):
    path = touch(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    again = ["a.wav", tmp_path, str(tmp_path / "*.wav"), f"../{tmp_path.name}/a.wav", "./a.wav"]
    assert find_audio([path, *again]) == [path]


def test_a_pattern_finds_files_and_looks_into_folders(tmp_path):
    for name in ("a1.wav", "a2.wav", "b1.wav", "a3/x.wav", "a3/notes.txt"):
        touch(tmp_path / name)
    assert find_audio([str(tmp_path / "a*")]) == [tmp_path / name for name in ("a1.wav", "a2.wav", "a3/x.wav")]
    assert find_audio([str(tmp_path / "**" / "x.wav")]) == [tmp_path / "a3/x.wav"]


@pytest.mark.parametrize("name", ["a[1].wav", "what?.wav", "all*.wav"])
def test_a_name_with_the_letters_of_a_pattern_is_a_name_where_it_exists(tmp_path, name):
    touch(tmp_path / "a1.wav")
    assert find_audio([touch(tmp_path / name)]) == [tmp_path / name]


def test_a_name_that_begins_like_the_folder_of_an_unknown_user_is_a_name(tmp_path, monkeypatch):
    touch(tmp_path / "~nobody-of-that-name.wav")
    monkeypatch.chdir(tmp_path)
    assert find_audio(["~nobody-of-that-name.wav"]) == [Path("~nobody-of-that-name.wav")]


def test_nothing_found_is_an_error_that_names_the_input(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("none.wav", "*.wav", "empty"):
        with pytest.raises(AudioError, match="no audio at") as caught:
            find_audio([tmp_path / name])
        assert name in str(caught.value)
    with pytest.raises(AudioError, match="no audio files were given"):
        find_audio([])


def test_a_named_file_or_link_that_leads_nowhere_is_found_where_others_are(tmp_path):
    there = touch(tmp_path / "a" / "1.wav")
    link = tmp_path / "a" / "2.wav"
    link.symlink_to(tmp_path / "gone.wav")
    names = [tmp_path / "none.wav", tmp_path / f"{'x' * 300}.wav", tmp_path / "a"]
    assert find_audio(names, missing_too=True) == [*names[:2], there, link]
    for slip in ("folder", "a*.wav", "no*/1.wav", "none.bin"):
        with pytest.raises(AudioError, match="no audio at"):
            find_audio([there, tmp_path / slip], missing_too=True)


def test_who_does_not_ask_for_missing_files_gets_none(tmp_path):
    there = touch(tmp_path / "a" / "1.wav")
    (tmp_path / "a" / "2.wav").symlink_to(tmp_path / "gone.wav")
    assert find_audio([tmp_path / "a"]) == [there]
    with pytest.raises(AudioError, match=r"no audio at .*none\.wav"):
        find_audio([there, tmp_path / "none.wav"])


def test_fit_cuts_and_pads_at_the_end():
    wave = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(fit(wave, 2), [1, 2])
    np.testing.assert_array_equal(fit(wave, 5), [1, 2, 3, 0, 0])
    np.testing.assert_array_equal(fit(wave[:0], 2), [0, 0])


@pytest.mark.parametrize(
    ("seconds", "window", "hop", "expected"),
    [
        (10.0, 3.0, None, [0, 3, 6, 7]),
        (9.0, 3.0, None, [0, 3, 6]),
        (9.0000001, 3.0, None, [0, 3, 6]),
        (8.9999999, 3.0, None, [0, 3, 6]),
        (3.0, 3.0, None, [0]),
        (80_001 / 16_000, 5.0, None, [0]),  # a resampler's odd sample
        (5.02, 5.0, None, [0, 0.02]),
        (2.0, 3.0, None, [0]),
        (5.0, 3.0, 1.0, [0, 1, 2]),
        (5.5, 3.0, 1.0, [0, 1, 2, 2.5]),
        (0.3, 0.1, None, [0, 0.1, 0.2]),
    ],
)
def test_windows_of_clips_whose_answer_is_known(seconds, window, hop, expected):
    assert window_starts(seconds, window, hop) == pytest.approx(expected, abs=1e-5)


spans = st.floats(0.025, 100).map(lambda value: round(value, 4))


@settings(max_examples=300, deadline=None)
@given(seconds=spans, window=st.floats(0.1, 20).map(lambda value: round(value, 4)), overlap=st.sampled_from([1, 2, 5]))
def test_windows_cover_the_clip_and_the_last_ends_with_it(seconds, window, overlap):
    half_a_sample = 1.1e-5  # at 48 kHz
    remainder = 0.01 + 1e-9  # what the rule leaves out: less than a hop of the front end
    hop = None if overlap == 1 else window / overlap
    starts = window_starts(seconds, window, hop)
    assert starts[0] == 0
    if seconds <= window:
        assert starts == [0.0]
        return
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= (hop or window) + half_a_sample).all()  # no gap
    np.testing.assert_allclose(steps[:-1], hop or window, atol=1e-9)  # and only the last may overlap more
    assert -half_a_sample <= seconds - (starts[-1] + window) <= remainder
    assert max(starts) < seconds


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 200), window=st.integers(1, 480_000), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_a_clip_of_whole_windows_has_just_so_many(count, window, rate):
    starts = window_starts(count * window / rate, window / rate)
    assert len(starts) == (count if window > 1 else len(starts))
    assert [round(start * rate) for start in starts] == [k * window for k in range(len(starts))]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (10.0, [7 * k / 9 for k in range(10)]),  # AudioSet's ten windows of 3 s, which overlap
        (3.0, [0.0]),
        (1.2, [0.0]),
        (4.0, [k / 9 for k in range(10)]),
    ],
)
def test_equally_spaced_windows_begin_and_end_with_the_clip(seconds, expected):
    assert window_starts(seconds, 3.0, num_windows=10) == pytest.approx(expected)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".flac"])
def test_a_span_of_a_compressed_file_is_that_span_of_the_whole(tmp_path, rate, suffix):
    generator = np.random.default_rng(rate)
    loudness = np.repeat(generator.uniform(0.001, 0.5, 60), rate // 10)  # quiet and loud frames share their bits
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, loudness * generator.standard_normal(len(loudness)) / 3, rate)
    at_once, _ = soundfile.read(path, dtype="float32")
    whole, _ = read_span(path)
    np.testing.assert_allclose(whole, at_once, atol=1e-5)
    for start in (*generator.integers(1, 5 * rate, 20).tolist(), 1):
        span, _ = read_span(path, start / rate, (start + 3000) / rate)
        np.testing.assert_allclose(span, at_once[start : start + 3000], atol=1e-4)


MP3 = [("CONSTANT", 0.99), ("CONSTANT", 0.6), ("VARIABLE", 0.2), ("VARIABLE", 0.9), ("AVERAGE", 0.9)]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
@pytest.mark.parametrize(("mode", "level"), MP3)
def test_mp3_in_pieces_and_spans_is_what_one_go_decodes(tmp_path, monkeypatch, rate, channels, mode, level):
    monkeypatch.setattr(audio, "_FRAMES_AT_ONCE", 5_000)
    generator = np.random.default_rng(rate)
    # frames of silence leave their bits to those after it, over up to two seconds
    loud = np.repeat(np.tile([0.0, 1.0, 0.0], 4), rate // 2)[:, None]
    path = tmp_path / "a.mp3"
    wave = loud * generator.normal(0, 0.1, (len(loud), channels))
    soundfile.write(path, wave, rate, bitrate_mode=mode, compression_level=level)
    at_once = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    whole, _ = read_span(path, 0.0, len(at_once) / rate)
    np.testing.assert_allclose(whole, at_once, rtol=0, atol=FLOAT32)
    for start in (1, *generator.integers(1, 5 * rate, 12).tolist()):
        span, _ = read_span(path, start / rate, start / rate + 0.5)
        np.testing.assert_allclose(span, at_once[start : start + len(span)], rtol=0, atol=FLOAT32)
        assert len(span) == rate // 2


@pytest.mark.real
def test_a_span_of_real_audio_as_mp3_is_that_span_of_the_whole(dev_audio, tmp_path):
    wave = np.concatenate([load(path, 16_000) for path in dev_audio])[: 60 * 16_000]
    soundfile.write(tmp_path / "a.mp3", wave, 16_000)
    at_once, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    for start in np.random.default_rng(0).integers(0, len(wave) - 16_000, 30).tolist():
        span, _ = read_span(tmp_path / "a.mp3", start / 16_000, (start + 16_000) / 16_000)
        np.testing.assert_allclose(span, at_once[start : start + 16_000], rtol=0, atol=FLOAT32)


def test_an_mp3_without_a_tag_that_says_its_length_is_no_truncated_one(tmp_path):
    wave = np.random.default_rng(0).normal(0, 0.1, 12 * 44_100)
    soundfile.write(tmp_path / "a.mp3", wave, 44_100, bitrate_mode="CONSTANT", compression_level=0.99)
    promised = read_info(tmp_path / "a.mp3").frames
    found, _ = read_span(tmp_path / "a.mp3")
    assert promised - len(found) > 0.05 * 44_100, "the header promises more than other files may"
    assert len(found) >= len(wave)
    soundfile.write(tmp_path / "b.mp3", wave, 44_100)  # with the tag
    content = (tmp_path / "b.mp3").read_bytes()
    (tmp_path / "b.mp3").write_bytes(content[: int(0.97 * len(content))])
    with pytest.raises(AudioError, match="truncated"):
        read_span(tmp_path / "b.mp3")
