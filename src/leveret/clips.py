"""Clips and folds: what is labelled audio, before any audio is read.

A clip is a file, or a span of one, with its labels and its group. Nothing here needs torch.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled piece of audio.

    Attributes:
        id: Unique in its task and stable between machines: the path as the dataset writes it, and the span if any.
        path: Where the file lies on this machine.
        labels: Names out of the task's vocabulary; for slots one name a slot, in the order of the slots.
        group: Speaker, recording, instrument, album: what resampling and hold-outs keep together.
        source: Where it came from, free text.
        start: Seconds into the file where the clip begins.
        end: Seconds into the file where it ends; None is the end of the file.
    """

    id: str
    path: Path
    labels: tuple[str, ...]
    group: str
    source: str = ""
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """A division of a task's clips; `valid` may be empty."""

    train: Sequence[Clip]
    valid: Sequence[Clip]
    test: Sequence[Clip]


def split_hash(folds: Iterable[Fold]) -> str:
    """Digest of which clip is where with which labels, independent of where the files lie and of their order."""
    digest = sha256()
    for number, fold in enumerate(folds):
        for name in ("train", "valid", "test"):
            for clip in sorted(getattr(fold, name), key=lambda clip: clip.id):
                digest.update(f"{number}\0{name}\0{clip.id}\0{'|'.join(clip.labels)}\0{clip.group}\n".encode())
    return digest.hexdigest()


def scored_clips(folds: Iterable[Fold]) -> list[Clip]:
    """The test clips of all folds, each once."""
    return list({clip.id: clip for fold in folds for clip in fold.test}.values())


def list_digest(clips: Sequence[Clip]) -> str:
    """Digest of ids, labels and groups, independent of where the files lie and of their order."""
    return split_hash([Fold((), (), clips)])


def partitions(folds: Sequence[Fold]) -> list[list[Clip]]:
    """Clips grouped by the splits they stand in, so that no clip is embedded twice for several folds."""
    places: dict[str, list[tuple[int, str]]] = defaultdict(list)
    clips: dict[str, Clip] = {}
    for number, fold in enumerate(folds):
        for split in ("train", "valid", "test"):
            for clip in getattr(fold, split):
                places[clip.id].append((number, split))
                clips[clip.id] = clip
    parts: dict[tuple[tuple[int, str], ...], list[Clip]] = defaultdict(list)
    for clip_id, where in places.items():
        parts[tuple(where)].append(clips[clip_id])
    return list(parts.values())
