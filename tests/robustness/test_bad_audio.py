"""Whatever a file holds: a finite wave of the length that its header promises, or one AudioError that names it."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leveret.audio import AudioError, load, read_info

QUICK = settings(
    max_examples=400, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
SOAK = settings(QUICK, max_examples=20_000)

RATE = 16_000
TOLERANCE_SECONDS = 0.05  # what a lossy file's header may round

# ending, libsndfile's format, subtypes, rates, most channels
FORMATS = [
    ("wav", "WAV", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"), (8_000, 44_100), 6),
    ("wav", "WAV", ("IMA_ADPCM", "MS_ADPCM", "GSM610"), (8_000, 22_050), 1),
    ("wav", "WAVEX", ("PCM_16", "FLOAT"), (16_000, 96_000), 8),
    ("wav", "RF64", ("PCM_16", "PCM_24"), (16_000, 48_000), 2),
    ("flac", "FLAC", ("PCM_S8", "PCM_16", "PCM_24"), (11_025, 48_000, 96_000), 6),
    ("ogg", "OGG", ("VORBIS",), (16_000, 44_100), 2),
    ("opus", "OGG", ("OPUS",), (16_000, 48_000), 2),
    ("mp3", "MP3", ("MPEG_LAYER_III",), (16_000, 44_100), 2),
    ("aiff", "AIFF", ("PCM_16", "PCM_24", "FLOAT"), (8_000, 44_100), 3),
    ("au", "AU", ("PCM_16", "FLOAT", "ULAW"), (8_000, 44_100), 2),
    ("caf", "CAF", ("PCM_16", "FLOAT", "ALAC_16"), (16_000, 44_100), 2),
    ("w64", "W64", ("PCM_16", "DOUBLE"), (16_000,), 2),
    ("sph", "NIST", ("PCM_16",), (16_000,), 1),
]
CONTENTS = ("sound", "silence", "full scale", "nan", "infinite", "huge")


@dataclass(frozen=True)
class Made:
    """How a file is made and then harmed; `harm` holds (what, where as a share of the file, with what bytes)."""

    format: tuple[str, str, str, int, int]
    frames: int
    content: str
    ending: str
    harm: tuple[tuple[str, float, bytes], ...]


@st.composite
def made_files(draw):
    ending, format, subtypes, rates, most_channels = draw(st.sampled_from(FORMATS))
    subtype, rate = draw(st.sampled_from(subtypes)), draw(st.sampled_from(rates))
    channels = draw(st.integers(1, most_channels))
    frames = draw(st.sampled_from([0, 1, round(0.003 * rate), round(0.025 * rate), rate // 10, rate // 2]))
    harms = st.tuples(
        st.sampled_from(["cut", "flip", "claim", "head", "append", "zeros"]), st.floats(0, 1), st.binary(max_size=8)
    )
    return Made(
        (ending, format, subtype, rate, channels),
        frames,
        draw(st.sampled_from(CONTENTS)),
        draw(st.sampled_from([ending, ending, ending, "wav", "mp3", "flac", "raw", "txt"])),
        tuple(draw(st.lists(harms, max_size=3))),
    )


@lru_cache(maxsize=2000)
def encoded(folder: Path, format: tuple[str, str, str, int, int], frames: int, content: str) -> bytes:
    ending, name, subtype, rate, channels = format
    rng = np.random.default_rng(frames)
    wave = 0.3 * np.sin(np.arange(frames) * 0.2)[:, None] + 0.05 * rng.standard_normal((frames, channels))
    if content != "sound" and frames:
        value = {"silence": 0, "full scale": 1, "nan": np.nan, "infinite": np.inf, "huge": 3e38}[content]
        wave[frames // 2 if content in ("nan", "infinite") else slice(None)] = value
    if subtype not in ("FLOAT", "DOUBLE"):
        wave = np.clip(np.nan_to_num(wave), -1, 1)
    path = folder / f"made.{ending}"
    soundfile.write(path, wave, rate, subtype=subtype, format=name)
    return path.read_bytes()


def harmed(content: bytes, harm: tuple[tuple[str, float, bytes], ...]) -> bytes:
    made = bytearray(content)
    for what, share, with_bytes in harm:
        at = int(share * len(made))
        if what == "cut":
            del made[at:]
        elif what == "append":
            made += with_bytes
        elif what == "zeros":
            made[at : at + 64] = bytes(len(made[at : at + 64]))
        elif what == "flip":
            for k, value in enumerate(with_bytes):
                if made:
                    made[(at + 37 * k) % len(made)] ^= value
        elif what == "head" and made:  # most of what can go wrong stands in the first bytes
            made[int(share * min(len(made) - 1, 100))] ^= (with_bytes or b"\x80")[0]
        elif what == "claim":
            place = int(share * min(len(made), 100))
            claim = [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), struct.pack("<I", 1)]
            made[place : place + 4] = claim[len(with_bytes) % len(claim)][: len(made[place : place + 4])]
    return bytes(made)


def tried(read, path: Path, *rest):
    """What is read, or the error that names the file."""
    try:
        return read(path, *rest)
    except AudioError as error:
        return error


def check(path: Path) -> bool:
    """Whether the file is audio; everything else about it is asserted."""
    info, wave = tried(read_info, path), tried(load, path, RATE)
    for found in (info, wave):
        assert not isinstance(found, AudioError) or repr(str(path)) in str(found)
    if isinstance(wave, AudioError):
        return False
    assert not isinstance(info, AudioError), "what is no audio was read"
    assert wave.dtype == np.float32
    assert wave.ndim == 1
    assert np.isfinite(wave).all()
    assert abs(len(wave) - info.seconds * RATE) <= TOLERANCE_SECONDS * RATE + 1
    return True


def write_and_check(folder: Path, made: Made) -> None:
    path = folder / f"a.{made.ending}"
    path.write_bytes(harmed(encoded(folder, made.format, made.frames, made.content), made.harm))
    usable = check(path)
    if not made.harm and made.ending == made.format[0]:
        enough = made.frames >= 0.025 * made.format[3]
        fine = made.content in ("sound", "silence", "full scale") or made.format[2] not in ("FLOAT", "DOUBLE")
        lossless = made.format[1] not in ("OGG", "MP3") and not made.format[2].endswith(("ADPCM", "GSM610"))
        assert usable == (enough and fine) or not lossless, "codecs with blocks round the length of very short files up"


@QUICK
@given(made=made_files())
def test_a_file_is_a_wave_of_the_promised_length_or_one_error_that_names_it(tmp_path, made):
    write_and_check(tmp_path, made)


@pytest.mark.soak
@SOAK
@given(made=made_files())
def test_twenty_thousand_files_are_waves_or_errors(tmp_path, made):
    write_and_check(tmp_path, made)


@settings(QUICK, max_examples=150)
@given(
    content=st.binary(max_size=300), magic=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd"])
)
def test_random_bytes_are_an_error_that_names_the_file_or_a_wave(tmp_path, content, magic):
    path = tmp_path / "a.wav"
    path.write_bytes(magic + content)
    check(path)
