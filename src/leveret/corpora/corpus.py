"""A corpus: clips to train on, their labels, and the identity of both.

Clips are made when asked for, so that two million of them need not be held as objects.
Shapes: M clips, B of them, K labels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from leveret.audio import AudioError
from leveret.clips import Clip
from leveret.content import content_digests, file_sha256
from leveret.corpora.cutting import SHARE_OF_SHORT, Span, span_seconds
from leveret.draws import Draws
from leveret.shards import INDEX, ShardIndex

SURVEYED = 512
"""Headers that are read to know how long the clips of a corpus are."""


class CorpusError(ValueError):
    """A corpus that cannot be trained on; the message says why and what to do."""


@dataclass(frozen=True)
class Lengths:
    """How long the clips of a corpus are, by a sample of them.

    Attributes:
        median: Seconds.
        longest: Seconds.
        surveyed: Clips that were looked at, unreadable ones left out.
    """

    median: float
    longest: float
    surveyed: int

    def common_crop(self, seconds: float) -> float:
        """One shorter crop for all where clips are short: 0.6 of the median clip at most, in hundredths of a second.

        At small scale it is better than silence in half of the examples, whose amount would tell clips apart.

        Args:
            seconds: The crop that is wanted; clips long enough get it.
        """
        return min(seconds, max(1, int(100 * SHARE_OF_SHORT * self.median)) / 100)


@dataclass(frozen=True, eq=False)
class TrainingCorpus:
    """Clips to train on.

    Attributes:
        spec: As the user named them.
        clips: In an order that is the same on every machine.
        labels: Vocabulary in the order of the target columns, empty without labels.
        notes: What a user should read before training: what was left out, and why.
    """

    spec: str
    clips: Sequence[Clip]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def num_clips(self) -> int:
        """M."""
        return len(self.clips)

    @property
    def shards(self) -> ShardIndex | None:
        """The shards that the clips lie in; None for separate files."""
        return self.clips if isinstance(self.clips, ShardIndex) else None

    def __post_init__(self) -> None:
        if not len(self.clips):
            raise CorpusError(f"no clips in {self.spec}; expected audio to train on")

    @cached_property
    def digest(self) -> str:
        """Of ids, labels and groups in their order, wherever the files lie: a run goes on with the same list only."""
        if self.shards is not None:
            return file_sha256(self.shards.folder / INDEX)
        digest = sha256("\0".join(self.labels).encode())
        for clip in self.clips:
            digest.update(f"\n{clip.id}\0{'|'.join(clip.labels)}\0{clip.group}".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def content_digests(self, threads: int) -> list[str]:
        """Sha256 of each file's bytes, each once, sorted: to be met with those of test clips.

        A file counts whole, whatever span of it is trained on; one that cannot be read is left out. Of shards it is
        the files that were packed.
        """
        if self.shards is not None:
            return self.shards.source_digests()
        return sorted(set(content_digests(list({clip.path: None for clip in self.clips}), threads)) - {""})

    def span(self, index: int, seconds: float | None = None) -> Span:
        """Where the audio of a clip lies.

        Args:
            seconds: Its length, if it was looked up already.
        """
        if self.shards is not None:
            return Span(self.shards.member(index), seconds=float(self.shards.seconds[index]))
        clip = self.clips[index]
        return Span(clip.path, clip.start, clip.end, seconds)

    def targets(self, indices: Sequence[int]) -> Float[Tensor, "B K"] | None:
        """0 or 1 for each label of these clips; None without labels."""
        if not self.labels:
            return None
        found = torch.zeros(len(indices), len(self.labels))
        for row, index in enumerate(indices):
            for label in self.clips[index].labels:
                found[row, self._column[label]] = 1.0
        return found

    def lengths(self, threads: int) -> Lengths:
        """How long the clips are, by a sample that is the same in every run.

        Raises:
            CorpusError: None of the sample can be read.
        """
        keys = Draws(0, 0, np.arange(self.num_clips, dtype=np.int64), "survey").keys()
        chosen = np.sort(np.argsort(keys, kind="stable")[:SURVEYED])
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda index: _seconds_or_why(self.span(int(index))), chosen))
        seconds = [one for one in found if isinstance(one, float)]
        if not seconds:
            raise CorpusError(f"none of {len(found)} clips of {self.spec} can be read; the first: {found[0]}")
        return Lengths(float(np.median(seconds)), max(seconds), len(seconds))

    def members_of_group(self, index: int) -> NDArray[np.int64]:
        """The clips of a clip's group, itself too."""
        of, order, edges = self._groups
        return order[edges[of[index]] : edges[of[index] + 1]]

    @cached_property
    def _column(self) -> dict[str, int]:
        return {label: k for k, label in enumerate(self.labels)}

    @cached_property
    def _groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Number of each clip's group, the clips sorted by it, and where each group begins among them."""
        number: dict[str, int] = {}
        of = np.fromiter((number.setdefault(clip.group, len(number)) for clip in self.clips), np.int64, self.num_clips)
        edges = np.concatenate([[0], np.cumsum(np.bincount(of))]).astype(np.int64)
        return of, np.argsort(of, kind="stable"), edges


def _seconds_or_why(span: Span) -> float | str:
    try:
        return span_seconds(span)
    except AudioError as error:
        return str(error)
