"""A small copy of a dataset: its audio as 16 kHz mono FLAC under the same names, its tables as they are.

The copy scores as the original does but for the rounding to 16 bits, and for what they cut off: evaluation mixes down
and resamples in the same way. Readers of datasets find a file in another format by its stem.
Departures: a lossy file may decode beyond full scale, and so may a resampled one; 16 bits end there. Of ESC-50 as Ogg
Vorbis it is 527 of 2,000 files, and melstats under `quick` goes from 41.3 to 41.8, all but 0.1 of it by the cutting.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copy2

import numpy as np
import soundfile

from leveret.archives import is_archive
from leveret.audio import SUFFIXES, AudioError, load, read_info
from leveret.home import require_space
from leveret.progress import Reporter
from leveret.published_audio import DatasetError
from leveret.suites.exporting import FULL_SCALE, to_int16

SAMPLE_RATE = 16_000
BYTES_A_SECOND = 22_000
"""Of 16 kHz mono FLAC, for the estimate: 16 bits, packed to about two thirds."""
_PROBED = 50
_AT_ONCE = 1024


@dataclass(frozen=True)
class Prepared:
    """What a copy holds.

    Attributes:
        folder: The copy.
        num_audio: Audio files in it.
        num_kept: Of these, that an earlier call had made.
        num_others: Other files, copied as they are.
        clipped: Files of which something was cut off at full scale.
        bad: File -> why it is not in the copy.
        left_out: Archives, which nothing reads.
    """

    folder: Path
    num_audio: int
    num_kept: int
    num_others: int
    clipped: int
    bad: Mapping[str, str]
    left_out: Sequence[str]


def prepare(source: Path, folder: Path, threads: int, reporter: Reporter) -> Prepared:
    """Copy a dataset; what an earlier call made of a file that did not change since is kept.

    Raises:
        DatasetError: One folder lies in the other, or there is no audio.
        OSError: The disk is full.
    """
    here, there = source.resolve(), folder.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise DatasetError(f"{folder} and {source} lie in each other; name a folder elsewhere for the copy")
    audio: dict[Path, Path] = {}
    others: list[Path] = []
    bad: dict[str, str] = {}
    left_out: list[str] = []
    for path in _files(source):
        if path.suffix.lower() not in SUFFIXES:
            (left_out.append(str(path)) if is_archive(path.name) else others.append(path))
            continue
        target = folder / path.relative_to(source).with_suffix(".flac")
        if target in audio:
            bad[str(path)] = f"{str(path)!r} has the name of {audio[target].name!r} in another format; remove one"
        else:
            audio[target] = path
    if not audio:
        raise DatasetError(f"no audio below {source}; expected {', '.join(SUFFIXES)} files")
    folder.mkdir(parents=True, exist_ok=True)
    waiting = {target: path for target, path in audio.items() if not _made(path, target)}
    _require_space(folder, list(waiting.values()))
    for path in others:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy2(path, target)
    clipped = 0
    with ThreadPoolExecutor(threads) as pool, reporter.stage("converting", len(waiting), "files") as advance:
        jobs = list(waiting.items())
        for first in range(0, len(jobs), _AT_ONCE):  # a thread pool remembers every call that it was given
            some = jobs[first : first + _AT_ONCE]
            for (_, path), result in zip(some, pool.map(_convert, some), strict=True):
                advance(1)
                if isinstance(result, str):
                    bad[str(path)] = result
                else:
                    clipped += result
    num_made = len(audio) - sum(str(path) in bad for path in audio.values())
    return Prepared(folder, num_made, len(audio) - len(waiting), len(others), clipped, bad, left_out)


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(here) / name for name in sorted(names) if (Path(here) / name).is_file())


def _made(path: Path, target: Path) -> bool:
    """Whether the target was made of the file as it is now: it has the file's time."""
    return target.is_file() and target.stat().st_mtime_ns == path.stat().st_mtime_ns


def _convert(job: tuple[Path, Path]) -> bool | str:
    """Write one file, whole or not at all: whether it was clipped, or why it cannot be read."""
    target, path = job
    try:
        wave = load(path, SAMPLE_RATE)
    except AudioError as error:
        target.unlink(missing_ok=True)  # what was made of it before it broke
        return str(error)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        soundfile.write(part, to_int16(wave), SAMPLE_RATE, "PCM_16", format="FLAC")
        times = path.stat()
        os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    # a wave of 16 bits reaches -1, and one of these is no loss
    return bool(np.any(wave * FULL_SCALE > FULL_SCALE - 0.5) or np.any(wave < -1.0 - 0.5 / FULL_SCALE))


def _require_space(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse what will not fit, by the length of some files."""
    if not paths:
        return
    lengths = []
    for path in paths[:: max(1, len(paths) // _PROBED)]:
        try:
            lengths.append(read_info(path).seconds)
        except AudioError:
            continue  # told when its turn comes
    if lengths:
        require_space(folder, round(sum(lengths) / len(lengths) * len(paths) * BYTES_A_SECOND), f"a copy in {folder}")
