"""The same audio under two names: by the decoded samples, so that a copy in another lossless format is found too.

Equal audio has equal length, and an equal moment in its middle; only what agrees in both is decoded whole.
"""

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from leveret.audio import AudioError, read_span
from leveret.clips import Clip
from leveret.datasets.subjects import Parts
from leveret.progress import Reporter

MOMENT_SECONDS = 0.25
_AT_ONCE = 4096

Piece = tuple[Path, float, float | None]
"""A file, and the span of it."""


@dataclass(frozen=True)
class Duplicate:
    """One piece of audio on both sides of a split.

    Attributes:
        task: Whose split.
        clips: Part and id of each clip.
        silent: Whether all its samples are zero.
    """

    task: str
    clips: tuple[tuple[str, str], ...]
    silent: bool


@dataclass(frozen=True)
class Sound:
    """What a span of a file holds: its samples as a digest, whatever lossless format they are stored in."""

    digest: str
    silent: bool


def duplicates(
    parts: Sequence[Parts],
    clips: Sequence[Clip],
    seconds: Sequence[float],
    threads: int,
    reporter: Reporter,
    decode: bool = False,
) -> tuple[list[Duplicate], dict[str, str]]:
    """What stands on both sides of a split, and the files that broke while they were decoded, with the reason.

    Args:
        clips: The readable ones, each piece of audio once.
        seconds: Length of each.
        decode: Decode all of them whole, not only where it may be needed.
    """
    places = [{piece(clip): part for part, some in one.clips.items() for clip in some} for one in parts]
    broken: dict[str, str] = {}
    chosen = list(zip(clips, seconds, strict=True))
    if not decode:
        chosen = _divided(places, chosen, [length for _, length in chosen])
        sounds = _sounds([_moment(*one) for one in chosen], threads, reporter, "comparing", broken)
        keys = [None if sound is None else (length, sound) for (_, length), sound in zip(chosen, sounds, strict=True)]
        chosen = _divided(places, chosen, keys)
    sounds = _sounds([clip for clip, _ in chosen], threads, reporter, "decoding", broken)
    groups: dict[Sound, list[Clip]] = {}
    for (clip, _), sound in zip(chosen, sounds, strict=True):
        if sound is not None:
            groups.setdefault(sound, []).append(clip)
    names = [{piece(clip): clip.id for some in one.clips.values() for clip in some} for one in parts]
    found = []
    for one, place, name in zip(parts, places, names, strict=True):
        for sound, same in groups.items():
            mine = [(place[key], name[key]) for clip in same if (key := piece(clip)) in place]
            if len({part for part, _ in mine}) > 1:
                found.append(Duplicate(one.name, tuple(sorted(mine)), sound.silent))
    return found, broken


def listen(clip: Clip) -> Sound:
    """Decode a clip.

    Raises:
        AudioError: It cannot be.
    """
    wave, rate = read_span(clip.path, clip.start, clip.end)
    return Sound(sha256(f"{rate} {len(wave)} ".encode() + wave.tobytes()).hexdigest(), not wave.any())


def piece(clip: Clip) -> Piece:
    """What two clips share that are the same audio in the same file."""
    return clip.path, clip.start, clip.end


def _moment(clip: Clip, seconds: float) -> Clip:
    """The middle of a clip."""
    if seconds <= MOMENT_SECONDS:
        return clip
    start = clip.start + (seconds - MOMENT_SECONDS) / 2
    return Clip(clip.id, clip.path, (), "", start=start, end=start + MOMENT_SECONDS)


def _divided(
    places: Sequence[dict[Piece, str]], clips: Sequence[tuple[Clip, float]], keys: Sequence[Hashable]
) -> list[tuple[Clip, float]]:
    """The clips whose key, if any, some clip of another part has too."""
    groups: dict[Hashable, list[tuple[Clip, float]]] = {}
    for one, key in zip(clips, keys, strict=True):
        if key is not None:
            groups.setdefault(key, []).append(one)
    return [
        one
        for same in groups.values()
        if len(same) > 1
        and any(len({place[key] for clip, _ in same if (key := piece(clip)) in place}) > 1 for place in places)
        for one in same
    ]


def _sounds(
    clips: Sequence[Clip], threads: int, reporter: Reporter, label: str, broken: dict[str, str]
) -> list[Sound | None]:
    """What each clip holds; None for one that cannot be decoded, which goes to `broken`."""
    found: list[Sound | None] = []
    with ThreadPoolExecutor(threads) as pool, reporter.stage(label, len(clips), "clips") as advance:
        for first in range(0, len(clips), _AT_ONCE):  # a thread pool remembers every call that it was given
            some = clips[first : first + _AT_ONCE]
            for clip, sound in zip(some, pool.map(_heard, some), strict=True):
                if isinstance(sound, str):
                    broken[str(clip.path)] = sound
                found.append(None if isinstance(sound, str) else sound)
                advance(1)
    return found


def _heard(clip: Clip) -> Sound | str:
    try:
        return listen(clip)
    except AudioError as error:
        return str(error)
