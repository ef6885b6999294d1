"""The beginnings of clips as small MP3 within the page, so that a page that is mailed can be heard.

By libsndfile. MP3, since every browser plays it, and Opus is hardly smaller at this size.
"""

import io
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import soundfile

from leveret.audio import AudioError, load
from leveret.progress import Reporter
from leveret.report.map_details import Sound
from leveret.text import number_of

EXCERPT_SECONDS = 5.0
SAMPLE_RATE = 16_000
"""Hz; what encoders hear."""
_COMPRESSION = 0.9  # of 0 to 1: some 24 kbit/s
_PREFIX = "data:audio/mpeg;base64,"


class ExcerptError(ValueError):
    """No excerpt can be made here."""


def excerpts(samples: Sequence[Sequence[Sound]], num_bytes: int, reporter: Reporter) -> dict[Sound, str]:
    """Data addresses of as many sounds as have room, the first of each sample, then the second of each, and so on.

    Sounds that cannot be read are left out.

    Args:
        samples: The sounds of each map, the most wanted first.
        num_bytes: Room for all addresses.

    Raises:
        ExcerptError: This libsndfile cannot write MP3.
    """
    if "MP3" not in soundfile.available_formats():
        raise ExcerptError(
            f"libsndfile {soundfile.__libsndfile_version__} cannot write MP3; install one from 1.1 on, or the wheel of "
            "soundfile, which brings its own"
        )
    wanted = list(_in_turn(samples))
    found: dict[Sound, str] = {}
    unreadable, used = 0, 0
    with reporter.stage("excerpts", num_bytes, "bytes") as advance:
        for sound in wanted:
            try:
                address = _PREFIX + b64encode(_excerpt(sound)).decode()
            except AudioError:
                unreadable += 1
                continue
            used += len(address)
            if used > num_bytes:
                break
            found[sound] = address
            advance(len(address))
    bad = f"; {number_of(unreadable, 'file')} could not be read" if unreadable else ""
    reporter.say(
        f"{len(found):,} of {number_of(len(wanted), 'clip')} can be heard, the first {EXCERPT_SECONDS:g} s of each{bad}"
    )
    return found


def _in_turn(samples: Iterable[Sequence[Sound]]) -> Iterator[Sound]:
    turns = (sound for turn in zip_longest(*samples) for sound in turn if sound is not None)
    yield from dict.fromkeys(turns)


def _excerpt(sound: Sound) -> bytes:
    wave = load(Path(sound.file), SAMPLE_RATE, sound.start, sound.end)[: round(EXCERPT_SECONDS * SAMPLE_RATE)]
    file = io.BytesIO()
    soundfile.write(
        file, wave.clip(-1, 1), SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION, bitrate_mode="VARIABLE",
    )  # fmt: skip
    return file.getvalue()
