"""Test clips of tasks in a corpus: by the ids of recordings, by equal samples, by fingerprints.

The test clips are held as a table; the corpus streams past it, so that memory grows with the test splits alone.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leveret.audio import AudioError, load
from leveret.clips import Clip, list_digest, scored_clips
from leveret.contracts import Task
from leveret.corpora.opening import open_corpus
from leveret.dataroots import DataRoots
from leveret.datasets.duplicates import Piece, piece
from leveret.datasets.names import corpora
from leveret.loading import datasets, folder_of, load_tasks
from leveret.manifests import read_files
from leveret.overlap.fingerprint import HOP_SAMPLES, SAMPLE_RATE, Landmarks, query_landmarks, table_landmarks
from leveret.overlap.ids import FREESOUND, YOUTUBE, recording_ids
from leveret.overlap.index import Index, Match
from leveret.overlap.report import FINGERPRINT, SAME_SAMPLES, OverlapError, OverlapReport, Shared, TaskOverlap
from leveret.progress import Reporter
from leveret.registry import entries, unknown_name
from leveret.results import HARES
from leveret.stimuli import noise

_AT_ONCE = 1024
_STRETCH_SECONDS, _OVERLAP_SECONDS = 120.0, 10.0
_PROBE_LATE_SAMPLES = HOP_SAMPLES // 2 + 1
_PROBE_NOISE_DB = 20.0
_NUM_EXAMPLES = 20
_UNLIKE_ITSELF = "noise or a steady tone: even a copy with noise 20 dB below it would not be recognised"


@dataclass(frozen=True)
class Pretraining:
    """What is trained on.

    Attributes:
        spec: As the user named it.
        parts: Clips with the name of the published dataset that they belong to, if any.
    """

    spec: str
    parts: Sequence[tuple[str, Sequence[Clip]]]

    def __iter__(self) -> Iterator[tuple[str, Clip]]:
        """Owner and clip of all."""
        return ((owner, clip) for owner, clips in self.parts for clip in clips)

    def __len__(self) -> int:
        """Number of clips."""
        return sum(len(clips) for _, clips in self.parts)


def pretraining(spec: str, data: DataRoots) -> Pretraining:
    """What a word names: a corpus, all audio of a folder or of a table, or the clips that a task trains on.

    Raises:
        DatasetError: It is not there, or not as published.
        ValueError: There is no such thing, or it cannot be read.
    """
    name, _, rest = spec.partition(":")
    if (corpus := corpora().get(name)) is not None:
        return Pretraining(spec, [(name, corpus.clips(folder_of(corpus, data, rest)))])
    path = Path(os.path.expanduser(spec))
    if path.is_dir():
        return Pretraining(spec, [("", open_corpus(spec).clips)])
    if path.is_file() and path.suffix in (".csv", ".parquet"):
        return Pretraining(spec, [("", read_files(path))])
    tasks = [task for dataset in datasets().values() for task in dataset.tasks]
    if name not in (known := dict.fromkeys([*corpora(), HARES, *entries("tasks"), *tasks])):
        raise unknown_name("corpus, task, folder or table", spec, known)
    parts: dict[Piece, tuple[str, Clip]] = {}
    for task in load_tasks([spec], data=data):
        for fold in task.folds():
            for clip in fold.train:
                parts.setdefault(piece(clip), (_owner(task), clip))
    owners = dict.fromkeys(owner for owner, _ in parts.values())
    return Pretraining(spec, [(owner, [clip for of, clip in parts.values() if of == owner]) for owner in owners])


def find_overlap(trained: Pretraining, tasks: Sequence[Task], threads: int, reporter: Reporter) -> OverlapReport:
    """Look for the test clips of all tasks.

    Raises:
        OverlapError: There is nothing to look for, or nothing to look in.
    """
    tests = [scored_clips(task.folds()) for task in tasks]
    wanted = list({piece(clip): clip for clips in tests for clip in clips}.values())
    if not wanted or not len(trained):
        raise OverlapError(
            f"{trained.spec} has {len(trained):,} clips and the tasks have {len(wanted):,} test clips; both need some"
        )
    by_id: dict[tuple[str, str], list[tuple[Piece, bool]]] = {}
    for task, clips in zip(tasks, tests, strict=True):
        for clip in clips:
            for one in recording_ids(clip, _owner(task)):
                by_id.setdefault((one.kind, one.name), []).append((piece(clip), one.sure))
    with ThreadPoolExecutor(threads) as pool:
        looked_for = _looked_for(wanted, pool, reporter)
        found, unchecked, examples, digest = _searched(trained, looked_for, by_id, pool, reporter)
    reports = [_of_task(task, clips, found, looked_for.unchecked) for task, clips in zip(tasks, tests, strict=True)]
    return OverlapReport(trained.spec, len(trained), digest, unchecked, examples, reports)


def _owner(task: Task) -> str:
    """The published task that it is; one that only stands for it has ids of its own."""
    return task.name if task.suite == HARES else ""


@dataclass(frozen=True)
class _LookedFor:
    """The test clips, ready to be recognised; `pieces` are numbered as in the index."""

    pieces: Sequence[Piece]
    index: Index
    by_samples: Mapping[bytes, Sequence[int]]
    unchecked: Mapping[Piece, str]


@dataclass(frozen=True)
class _Searched:
    """What one clip of the corpus holds."""

    matches: Sequence[Match]
    digest: bytes
    unchecked: str


class _Best:
    """The best match of each test clip and means, and how many there are."""

    def __init__(self) -> None:
        self.of: dict[tuple[Piece, str], Shared] = {}

    def add(self, where: Piece, found: Shared) -> None:
        last = self.of.get((where, found.means))
        if last is not None:
            better = found if (found.score or 0.0) > (last.score or 0.0) else last
            found = replace(better, others=last.others + 1)
        self.of[where, found.means] = found

    def first(self, where: Piece) -> Shared | None:
        """By the surest means."""
        means = (SAME_SAMPLES, FINGERPRINT, YOUTUBE, FREESOUND)
        return next((found for one in means if (found := self.of.get((where, one))) is not None), None)


def _looked_for(clips: Sequence[Clip], pool: ThreadPoolExecutor, reporter: Reporter) -> _LookedFor:
    by_samples: dict[bytes, list[int]] = {}
    unchecked: dict[Piece, str] = {}

    def landmarks() -> Iterator[Landmarks]:
        with reporter.stage("test clips", len(clips), "clips") as advance:
            for first in range(0, len(clips), _AT_ONCE):  # a thread pool remembers every call that it was given
                some = clips[first : first + _AT_ONCE]
                for number, (clip, one) in enumerate(zip(some, pool.map(_remembered, some), strict=True), first):
                    if one.unchecked:
                        unchecked[piece(clip)] = one.unchecked
                    if one.digest:
                        by_samples.setdefault(one.digest, []).append(number)
                    advance(1)
                    yield one

    index = Index(landmarks())
    return _LookedFor([piece(clip) for clip in clips], index, by_samples, unchecked)


def _searched(
    trained: Pretraining,
    wanted: _LookedFor,
    by_id: Mapping[tuple[str, str], Sequence[tuple[Piece, bool]]],
    pool: ThreadPoolExecutor,
    reporter: Reporter,
) -> tuple[_Best, dict[str, int], dict[str, str], str]:
    best, reasons, examples, total = _Best(), Counter[str](), dict[str, str](), 0
    stream = iter(trained)
    with reporter.stage(f"searching {trained.spec}", len(trained), "clips") as advance:
        while some := list(islice(stream, _AT_ONCE)):
            results = pool.map(lambda pair: _search(pair[1], wanted.index), some)
            for (owner, clip), one in zip(some, results, strict=True):
                # a sum does not depend on the order
                total += int.from_bytes(sha256(clip.id.encode("utf-8", "surrogateescape")).digest(), "big")
                for kind, name, sure in recording_ids(clip, owner):
                    for where, also_sure in by_id.get((kind, name), ()):
                        if sure or also_sure:  # two files of one name are not one video
                            best.add(where, Shared("", clip.id, kind, None, None))
                for number in wanted.by_samples.get(one.digest, ()):
                    best.add(wanted.pieces[number], Shared("", clip.id, SAME_SAMPLES, 0.0, 1.0))
                for match in one.matches:
                    shared = Shared("", clip.id, FINGERPRINT, round(match.offset_seconds, 3), round(match.agreement, 3))
                    best.add(wanted.pieces[match.clip], shared)
                if one.unchecked:
                    reasons[one.unchecked.partition(":")[0]] += 1
                    if len(examples) < _NUM_EXAMPLES:
                        examples[clip.id] = one.unchecked
                advance(1)
    return best, dict(sorted(reasons.items())), examples, f"{total % 2**256:064x}"


def _of_task(task: Task, clips: Sequence[Clip], best: _Best, unchecked: Mapping[Piece, str]) -> TaskOverlap:
    found = {clip.id: replace(one, clip=clip.id) for clip in clips if (one := best.first(piece(clip))) is not None}
    left = {
        clip.id: reason for clip in clips if clip.id not in found and (reason := unchecked.get(piece(clip))) is not None
    }
    return TaskOverlap(
        task.name, task.suite, len(clips), list_digest(clips), [found[key] for key in sorted(found)],
        dict(sorted(left.items())),
    )  # fmt: skip


def _remembered(clip: Clip) -> Landmarks:
    """Landmarks of a test clip; unchecked where it could not be read, or a copy could not be told from others."""
    try:
        wave = load(clip.path, SAMPLE_RATE, clip.start, clip.end)
    except AudioError as error:
        return replace(table_landmarks(np.zeros(0, np.float32)), digest=b"", unchecked=f"unreadable: {error}")
    found = table_landmarks(wave)
    if not wave.any():
        return replace(found, digest=b"")  # all silence is the same samples
    if not found.unchecked and not Index([found]).matches(query_landmarks(_copy(wave))):
        return replace(found, unchecked=_UNLIKE_ITSELF)
    return found


def _copy(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """The wave a little later, with noise."""
    level = float(np.sqrt(np.mean(wave**2, dtype=np.float64))) * 10 ** (-_PROBE_NOISE_DB / 20)
    return wave[_PROBE_LATE_SAMPLES:] + noise(0, len(wave))[_PROBE_LATE_SAMPLES:] * np.float32(level * np.sqrt(12))


def _search(clip: Clip, index: Index) -> _Searched:
    try:
        wave = load(clip.path, SAMPLE_RATE, clip.start, clip.end)
    except AudioError as error:
        return _Searched([], b"", f"unreadable: {error}")
    best: dict[int, Match] = {}
    digest, reasons = b"", []
    size, step = round(_STRETCH_SECONDS * SAMPLE_RATE), round((_STRETCH_SECONDS - _OVERLAP_SECONDS) * SAMPLE_RATE)
    for first in range(0, max(1, len(wave) - size + step), step):  # the spectrograms of an hour would take gigabytes
        query = query_landmarks(wave[first : first + size])
        digest = query.digest if len(wave) <= size else b""
        reasons.append(query.unchecked)
        for match in index.matches(query):
            if match.clip not in best or match.votes > best[match.clip].votes:
                best[match.clip] = replace(match, offset_seconds=match.offset_seconds + first / SAMPLE_RATE)
    return _Searched(list(best.values()), digest, reasons[0] if all(reasons) else "")
