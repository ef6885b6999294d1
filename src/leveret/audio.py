"""Audio files become mono float32 waves at a wanted rate; windows over them.

Formats: what libsndfile reads (wav, flac, ogg, opus, mp3, aiff, ...), at any rate and channel count. Resampling is soxr
HQ, always after the down-mix: it is linear, so the order changes nothing but the cost. A path may go on below an
uncompressed tar archive (`shard.tar/name.flac`).
Shapes: N samples.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from leveret.machine import memory_bytes
from leveret.resampling import resample
from leveret.tars import Member, TarError, files_in, is_tar, member_of

AUDIO_VERSION = 3
"""Bumped by hand whenever the same file gives other samples; part of every cache key."""

MIN_SECONDS = 0.025
"""Shorter audio holds not even one analysis window and is refused."""

LOWEST_RATE = 1_000
"""Hz. Below it nothing is sound, and a damaged rate of 1 Hz would ask for 16,000 samples in place of each one."""

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".sph")
"""What a folder is searched for; a file named outright is tried whatever its ending."""

_FRAMES_AT_ONCE = 1 << 16  # what is decoded stays in the cache until it is mixed down
_PRE_ROLL_SECONDS = 2  # an mp3 frame may take 511 bytes out of those before it: 85 frames at 8 kbit/s, stereo, 24 kHz
_REMAINDER_SECONDS = 0.01
_ALWAYS_FITS = 1 << 28  # bytes; of longer waves it is looked up how much memory there is
_LENGTH_TOLERANCE_SECONDS = 0.05  # a lossy file's header may round its length; more than this is a truncated file
_MP3_TOLERANCE = 0.01  # of the length: without a tag that says it, it is told from the bytes, each frame's padding too
_MOST_FRAMES_PER_BYTE = 1 << 14  # flac, vorbis and opus write silence with up to some 6,000 frames a byte
# libsndfile shortens uncompressed audio to what is there and says so in its log only; a size near 2 or 4 GiB is no
# promise but what a program writes that streams and does not know the length yet
_CUT_SHORT = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_SIZE_UNKNOWN = (1 << 31) - (1 << 20)
Source = Path | Member  # a file by its path, or in a tar archive where its place is known already


class AudioError(ValueError):
    """A file that cannot be used as audio; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says."""

    frames: int
    sample_rate: int
    channels: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Length of the file."""
        return self.frames / self.sample_rate


def read_info(path: Source) -> AudioInfo:
    """The header of a file.

    Raises:
        AudioError: The file is missing, is not audio that libsndfile reads, is cut short, or holds no samples.
    """
    with opened(path) as (_, info):
        return info


def read_span(
    path: Source, start: float = 0.0, end: float | None = None, held: tuple[Any, AudioInfo] | None = None
) -> tuple[NDArray[np.float32], int]:
    """Mono samples of a span at the file's own rate, and that rate.

    Args:
        start: Seconds into the file.
        end: Seconds into the file; None is its end.
        held: The file, if it is open and nothing has been read of it yet; it stays open.

    Raises:
        AudioError: Unreadable, truncated, empty, out of the file's range, or not finite.
    """
    with nullcontext(held) if held else opened(path) as (file, info):
        begin, stop = span_frames(info, start, end, path)
        rate = info.sample_rate
        _require_memory(stop - begin, rate, path)
        # PCM_16 is read as it lies and scaled with the down-mix: five times faster than libsndfile's own conversion
        dtype = "int16" if file.subtype == "PCM_16" and file.format in ("WAV", "WAVEX") else "float32"
        weights = np.full(file.channels, (1 / 32768 if dtype == "int16" else 1.0) / file.channels, dtype=np.float32)
        wave = np.empty(stop - begin, dtype=np.float32)
        filled = 0
        is_mp3 = file.subtype.startswith("MPEG")
        early = min(begin, _PRE_ROLL_SECONDS * rate) if is_mp3 else 0
        # small pieces in the same place: memory fresh from the system costs more than reading into it
        piece = np.empty((min(_FRAMES_AT_ONCE, len(wave)), file.channels), dtype=dtype)
        floats = piece if dtype == "float32" else np.empty(piece.shape, np.float32)
        try:
            if begin > early:
                file.seek(begin - early)
            while early and len(block := file.read(min(len(piece), early), dtype, always_2d=True, out=piece)):
                early -= len(block)
            while filled < len(wave):
                block = file.read(min(len(piece), len(wave) - filled), dtype, always_2d=True, out=piece)
                if not len(block):
                    break
                if floats is not piece:
                    floats[: len(block)] = block
                with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
                    # a matrix product: numpy's mean over the short axis takes eighty times as long
                    np.matmul(floats[: len(block)], weights, out=wave[filled : filled + len(block)])
                filled += len(block)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            why = f"breaks off while it is decoded ({error}); copy or convert it again"
            raise AudioError(f"{_shown(path)} {why}") from error
    tolerance = max(_LENGTH_TOLERANCE_SECONDS * rate, _MP3_TOLERANCE * info.frames if is_mp3 else 0)
    if len(wave) - filled > tolerance or not filled:
        raise AudioError(
            f"{_shown(path)} is truncated: its header promises {len(wave) / rate:.3f} s, {filled / rate:.3f} s decode; "
            "copy or convert it again"
        )
    wave = wave[:filled]
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.dot(wave, wave) if dtype == "float32" else 0.0  # half the time of looking at each sample
    if not np.isfinite(energy):
        raise AudioError(
            f"{_shown(path)} holds NaN or infinite samples, or some near the end of float32; convert it again"
        )
    return wave, rate


def load(path: Source, sample_rate: int, start: float = 0.0, end: float | None = None) -> NDArray[np.float32]:
    """A span of a file as a mono wave (N,) at `sample_rate`, nominally in [-1, 1].

    Args:
        start: Seconds into the file.
        end: Seconds into the file; None is its end.

    Raises:
        AudioError: As `read_span`.
    """
    return resample(*read_span(path, start, end), sample_rate)


def span_frames(info: AudioInfo, start: float, end: float | None, path: Source) -> tuple[int, int]:
    """First and past-the-last frame of a span, checked against the file.

    Raises:
        AudioError: The span is out of the file, or shorter than MIN_SECONDS.
    """
    begin = round(start * info.sample_rate)
    stop = info.frames if end is None else min(round(end * info.sample_rate), info.frames)
    tolerance = _LENGTH_TOLERANCE_SECONDS * info.sample_rate
    if begin < 0 or begin >= info.frames or (end is not None and end * info.sample_rate > info.frames + tolerance):
        raise AudioError(
            f"{_shown(path)} is {info.seconds:.3f} s long, but the span is {start} to {end} s; correct start and end"
        )
    if stop - begin < MIN_SECONDS * info.sample_rate:
        raise AudioError(
            f"{_shown(path)} is too short: {1000 * (stop - begin) / info.sample_rate:.1f} ms, at least "
            f"{1000 * MIN_SECONDS:.0f} ms (one analysis window) are needed; leave it out"
        )
    return begin, stop


def find_audio(inputs: str | Path | Sequence[str | Path], *, missing_too: bool = False) -> list[Path]:
    """Files named outright, audio files below folders and in tar archives, and what glob patterns match of all.

    Each once; sorted, but for archives, whose files come in the order in which they lie.

    Args:
        missing_too: A file that is named and not there is among them where others are there, for its reader to refuse
            or to count; so is a link below a folder that leads nowhere. Otherwise the name is an error, and the link
            left out.

    Raises:
        AudioError: A name that is nothing of these, or nothing found at all.
    """
    found: dict[str, Path] = {}
    missing: dict[str, AudioError] = {}
    for name in [inputs] if isinstance(inputs, str | Path) else inputs:
        # not Path.expanduser, which fails on a file that is called ~x.wav
        path = Path(os.path.expanduser(name))
        try:
            matches = _matches(path, missing_too)
        except AudioError as error:
            # a folder or a pattern may stand for thousands, so a slip in it is no bad file
            if not missing_too or path.suffix.lower() not in SUFFIXES or any(letter in str(path) for letter in "*?"):
                raise
            matches = [path]
            missing.setdefault(os.path.abspath(path), error)
        for match in matches:
            found.setdefault(os.path.abspath(match), match)
    if not found:
        raise AudioError("no audio files were given; name files, folders or glob patterns")
    if len(missing) == len(found):
        raise next(iter(missing.values()))
    return list(found.values())


def _matches(path: Path, missing_too: bool) -> list[Path]:
    outright = os.path.exists(path) or _member(path) is not None  # Path.exists fails on a name that is too long
    named = [path] if outright else sorted(Path(match) for match in glob(str(path), recursive=True))
    matches = [match for one in named for match in _audio_at(one, missing_too)]
    if not matches:
        raise AudioError(f"no audio at {_shown(path)}: expected a file, a folder with audio files, or a glob pattern")
    return matches


def _audio_at(path: Path, missing_too: bool) -> list[Path]:
    if path.is_dir():
        found = [one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES]
        return sorted(one for one in found if one.is_file() or (missing_too and one.is_symlink() and not one.exists()))
    if not is_tar(path):
        return [path]
    try:
        return files_in(path, SUFFIXES)
    except OSError as error:
        raise AudioError(f"{_shown(path)} cannot be read: {error}") from error


def window_starts(seconds: float, window: float, hop: float | None = None, num_windows: int = 0) -> list[float]:
    """Where the windows over a clip begin: one each hop, and the last one ends with the clip.

    Source: paper, appendix A: "consecutive non-overlapped subclips that cover the whole clip"; on AudioSet ten equally
    spaced overlapping ones.
    Departures: the paper does not say what becomes of a remainder; here the last window is moved back to end with it.
    A remainder shorter than a hop of the front end is left out: a codec's or a resampler's odd sample at the end of a
    clip of 5 s would make a second window of nearly the same 5 s.

    Args:
        seconds: Length of the clip; one shorter than the window still has one window.
        window: Seconds.
        hop: Seconds from window to window; None is the window's own length.
        num_windows: In place of a hop: so many, equally spaced, the first at the beginning and the last at the end.
    """
    if num_windows:
        spare = seconds - window
        if spare <= _REMAINDER_SECONDS or num_windows == 1:
            return [0.0]
        return [spare * k / (num_windows - 1) for k in range(num_windows)]
    hop = hop or window
    # half a sample at 48 kHz: 3.0000001 windows are three, not four
    num_full = int((seconds - window + 1e-5) // hop) + 1 if seconds >= window else 0
    starts = [float(k * hop) for k in range(max(num_full, 0))]
    if not starts:
        return [0.0]
    if starts[-1] + window < seconds - _REMAINDER_SECONDS:
        starts.append(seconds - window)
    return starts


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on: soundfile itself seeks after each read, and libmpg123 then lacks what came before."""

    def seekable(self) -> bool:
        return False


@contextmanager
def opened(path: Source) -> Iterator[tuple[Any, AudioInfo]]:
    """The open file with what its header says; raises what `read_info` does."""
    member = path if isinstance(path, Member) else _member(path)
    if isinstance(path, Path) and member is None:
        _require_file(path)
    with ExitStack() as held:
        try:
            str(path).encode()  # such a name can be opened in an archive, but stands in no result
            size = member.size if member else os.stat(str(path)).st_size
            file = held.enter_context(_SoundFile(held.enter_context(member.open()) if member else str(path)))
        except UnicodeEncodeError as error:
            raise AudioError(f"{_shown(path)} has a name that is not UTF-8; rename it") from error
        except TarError as error:
            raise AudioError(f"{_shown(path)} cannot be read: {error}") from error
        # TypeError: soundfile wants to be told the format of a file that is called .raw
        except (soundfile.LibsndfileError, OSError, TypeError) as error:
            why = f"is not audio that libsndfile reads ({error}); convert it to wav, flac, ogg, opus or mp3"
            raise AudioError(f"{_shown(path)} {why}") from error
        yield file, _info(file, path, size)


def _member(path: Path) -> Member | None:
    try:
        member = member_of(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise AudioError(f"{_shown(path)} cannot be read: {error}") from error
    if member is not None and member.size == 0:
        raise AudioError(f"{_shown(path)} is empty (0 bytes)")
    return member


def _require_file(path: Path) -> None:
    """Refuse what is no plain file with bytes in it: libsndfile would wait for a pipe, and cut a name off at a zero."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise AudioError(f"{_shown(path)} does not exist") from error
    except (OSError, ValueError) as error:  # too long, a zero byte in it, no permission, a loop of links
        raise AudioError(f"{_shown(path)} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if S_ISDIR(status.st_mode):
        raise AudioError(f"{_shown(path)} is a folder; name a file")
    if not S_ISREG(status.st_mode):
        raise AudioError(f"{_shown(path)} is a pipe or a device; name a file")
    if status.st_size == 0:
        raise AudioError(f"{_shown(path)} is empty (0 bytes)")


def _info(file: Any, path: Source, num_bytes: int) -> AudioInfo:
    """What an open file's header says, where that can be true."""
    if file.frames <= 0:
        raise AudioError(f"{_shown(path)} is empty: its header says {file.frames} frames")
    if file.frames > _MOST_FRAMES_PER_BYTE * num_bytes:
        raise AudioError(
            f"{_shown(path)} does not say how long it is, or says more than its bytes can hold; decode and encode it "
            "again (a flac that was written to a pipe is like this)"
        )
    info = AudioInfo(file.frames, file.samplerate, file.channels, file.subtype)
    if info.sample_rate < LOWEST_RATE:
        raise AudioError(
            f"{_shown(path)} has a rate of {info.sample_rate} Hz; expected {LOWEST_RATE} or more: correct its header"
        )
    cut = _CUT_SHORT.search(file.extra_info)
    if cut and int(cut[2]) < int(cut[1]) < _SIZE_UNKNOWN:
        promised = info.seconds * int(cut[1]) / max(1, int(cut[2]))
        if promised - info.seconds > _LENGTH_TOLERANCE_SECONDS:
            raise AudioError(
                f"{_shown(path)} is truncated: its header promises {promised:.3f} s, {info.seconds:.3f} s are there; "
                "copy or convert it again"
            )
    return info


def _require_memory(num_frames: int, rate: int, path: Source) -> None:
    """Refuse a wave that half the machine's memory does not hold: the system would kill the process without a word."""
    needed = 4 * num_frames
    if needed >= _ALWAYS_FITS and needed > (there := memory_bytes()) / 2:
        raise AudioError(
            f"{_shown(path)} is {num_frames / rate / 3600:.1f} h long by its header and would take "
            f"{needed / 1e9:.1f} GB of the {there / 1e9:.1f} GB of memory; cut it, or name spans of it in a manifest"
        )


def _shown(path: Source) -> str:
    return repr(str(path))  # terminal codes and newlines in a hostile name are printed escaped
