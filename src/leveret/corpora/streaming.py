"""Batches of random crops, read ahead by worker processes; each a pure function of seed and step.

Which clips, where they are cut, and what stands in for a clip that cannot be read depend on nothing else, so that a
resumed run, other numbers of workers and other shares of ranks see the same examples. Workers are processes: on two
cores they cut 0.8 times as many crops of FLAC in shards as threads do, and 1.2 times as many of small Opus and Vorbis
files; but the process that trains keeps its interpreter to itself, and a lost worker is noticed.
Shapes: B clips of this rank, V crops a clip, N samples.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

import leveret.distributed as distributed
from leveret.bad_files import BadFilePolicy
from leveret.corpora.corpus import CorpusError, TrainingCorpus
from leveret.corpora.cutting import CropShape, Cut, Example, Span
from leveret.corpora.order import Order
from leveret.corpora.reading import ReadAhead
from leveret.corpora.workers import Workers
from leveret.draws import Draws, of_batch
from leveret.pretext import CropBatch
from leveret.text import number_of

PIECE_CLIPS = 64
"""Neighbours in a shard that are read together."""
WINDOW_CLIPS = 8192
"""Of shards: clips that are shuffled together, over all lanes."""
TRIVIAL_SHARE = 0.1
"""More pairs of nearly the same crop than this are warned of."""
MOST_JOINED = 32
"""Clips of one group that are joined to one example, at most."""
_MOST_REPLACED = 32  # a corpus of which so many in a row are bad is refused before, unless any number may be
_EXAMPLES_A_JOB = 8

Join = Literal["none", "group"]


@dataclass
class _Part:
    """Some examples of a batch under way."""

    clips: NDArray[np.int64]
    places: NDArray[np.float64]
    partners: Sequence[Sequence[int]]
    job: Future[list[Cut]]


@dataclass
class _Ahead:
    """A batch under way."""

    draws: Draws
    parts: list[_Part]


class CropStream(Iterator[CropBatch]):
    """The batches of a run from some step on, without end; to be closed, or used in a `with`.

    Attributes:
        bad: Id of each clip that could not be read so far -> why.
        replaced: Examples in which another clip stood in.
        pairs: Pairs of crops so far.
        trivial: Of these, that overlapped by more than 80 %.
        padded: Examples whose clip was too short for the crop.
        examples: In all.
    """

    def __init__(
        self,
        corpus: TrainingCorpus,
        shape: CropShape,
        *,
        batch: int,
        seed: int,
        first_step: int,
        workers: int,
        join: Join,
        bad_files: BadFilePolicy,
        ahead: int,
    ) -> None:
        self.corpus, self.shape, self.seed, self.join, self.bad_files = corpus, shape, seed, join, bad_files
        self.order = _order(corpus, seed, batch)
        self.mine = distributed.even_share(batch)
        self.step, self.ahead = first_step, ahead
        self.bad: dict[str, str] = {}
        self.replaced = self.pairs = self.trivial = self.padded = self.examples = 0
        self._seconds = np.full(corpus.num_clips, np.nan)
        self._waiting: deque[_Ahead] = deque()
        self._reading = ReadAhead(corpus, PIECE_CLIPS)
        self._workers = Workers(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._workers.close()

    @property
    def trivial_share(self) -> float:
        """Of the pairs so far, those of nearly the same crop."""
        return self.trivial / self.pairs if self.pairs else 0.0

    @property
    def padded_share(self) -> float:
        """Of the examples so far, those with silence in place of what the clip lacks."""
        return self.padded / self.examples if self.examples else 0.0

    def warnings(self) -> list[str]:
        """What a log should say of the examples so far, one sentence each; empty where all is well."""
        found = []
        if self.trivial_share > TRIVIAL_SHARE:
            found.append(
                f"{self.trivial_share:.0%} of the pairs of crops overlap over 80 %, which makes them easy to match; "
                "take a shorter crop, or longer clips"
            )
        if self.bad:
            named = "\n".join(f"  {why}" for why in list(self.bad.values())[:100])
            found.append(
                f"{number_of(len(self.bad), 'clip')} cannot be used; others stood in {self.replaced} times:\n{named}"
            )
        return found

    def __next__(self) -> CropBatch:
        while len(self._waiting) <= self.ahead:
            self._waiting.append(self._begin(self.step))
            self.step += 1
        due = self._waiting.popleft()
        waves = np.empty((len(due.draws), self.shape.crops, self.shape.samples), np.float32)
        used: list[int] = []
        for part in due.parts:
            first = len(used)
            for k, cut in enumerate(part.job.result()):
                used.append(self._taken(cut, part, k, due.draws[first + k : first + k + 1], waves[first + k]))
        names = [self.corpus.clips[index].id for index in used]
        return CropBatch(torch.from_numpy(waves), due.draws, self.corpus.targets(used), names)

    def _begin(self, step: int) -> _Ahead:
        """Hand the examples of a step to the workers."""
        first, count = self.mine.start, self.mine.stop - self.mine.start
        draws = of_batch(self.seed, step, first, count)
        clips = self.order.clips(step, first, count)
        self._reading.advise(clips)
        places = draws.at("corpus").uniform("crops", self.shape.crops, 2)
        partners = self._partners(clips, draws)
        parts = []
        for at in range(0, count, _EXAMPLES_A_JOB):
            some = slice(at, at + _EXAMPLES_A_JOB)
            examples = [
                self._example(int(clip), mates, where)
                for clip, mates, where in zip(clips[some], partners[some], places[some], strict=True)
            ]
            job = self._workers.submit(examples, self.shape)
            parts.append(_Part(clips[some], places[some], partners[some], job))
        return _Ahead(draws, parts)

    def _taken(self, cut: Cut, part: _Part, k: int, draws: Draws, wave: NDArray[np.float32]) -> int:
        """Take up what a worker cut, or what stands in for it; the clip that it is of."""
        clip, mates = int(part.clips[k]), part.partners[k]
        self._learn(cut, [clip, *mates])
        attempt = 0
        while 0 in cut.bad:
            if attempt == _MOST_REPLACED:
                raise CorpusError(
                    f"{_MOST_REPLACED} clips in a row of {self.corpus.spec} cannot be read; the last: {cut.bad[0]}"
                )
            again = draws.at("corpus").uniform(f"stand-in/{attempt}")
            clip = int(again[0] * self.corpus.num_clips)
            (mates,) = self._partners(np.array([clip]), draws)
            (cut,) = self._workers.submit([self._example(clip, mates, part.places[k])], self.shape).result()
            self._learn(cut, [clip, *mates])
            attempt += 1
        wave[:] = cut.waves
        self.replaced += attempt > 0
        self.examples += 1
        self.padded += cut.padded
        self.trivial += cut.trivial
        self.pairs += self.shape.crops * (self.shape.crops - 1) // 2
        return clip

    def _example(self, clip: int, mates: Sequence[int], places: NDArray[np.float64]) -> Example:
        return Example([self._span(index) for index in (clip, *mates)], places)

    def _span(self, index: int) -> Span:
        known = float(self._seconds[index])
        return self.corpus.span(index, None if np.isnan(known) else known)

    def _learn(self, cut: Cut, clips: Sequence[int]) -> None:
        """Remember lengths, which saves a look at the header, and what is bad, of which there may be too much."""
        self._seconds[list(clips[: len(cut.seconds)])] = cut.seconds
        for number, why in cut.bad.items():
            self.bad[self.corpus.clips[clips[number]].id] = why
        if cut.bad:
            self.bad_files.check(self.bad, self.corpus.num_clips)

    def _partners(self, clips: NDArray[np.int64], draws: Draws) -> list[list[int]]:
        """For each clip, those of its group that may be joined to it, in a drawn order."""
        if self.join == "none":
            return [[] for _ in clips]
        found = []
        for clip, numbers in zip(clips, draws.at("corpus").uniform("joined", MOST_JOINED), strict=True):
            group = self.corpus.members_of_group(int(clip))
            drawn = group[(numbers * len(group)).astype(np.int64)].tolist()
            found.append([index for index in dict.fromkeys(drawn) if index != clip])
        return found


def crop_batches(
    corpus: TrainingCorpus,
    *,
    batch: int,
    crops: int,
    crop_samples: int,
    sample_rate: int,
    seed: int,
    first_step: int = 0,
    workers: int = 2,
    join: Join = "none",
    bad_files: BadFilePolicy = BadFilePolicy(),
    ahead: int = 2,
) -> CropStream:
    """This rank's part of every step's batch, from a step on, without end.

    Args:
        batch: Clips of a step, over all ranks.
        crops: V, of each clip.
        crop_samples: N of a crop; see `leveret.corpora.cutting` for what becomes of short clips.
        sample_rate: Hz.
        workers: Processes that read; 0 reads here, when a batch is asked for.
        join: "group" joins clips of one group, in a drawn order, where a clip is too short for the crop.
        bad_files: How many clips may be unreadable; another one, drawn for that place, stands in for each.
        ahead: Batches that are read ahead.

    Raises:
        CorpusError: All clips are shorter than the crop, or none can be read.
        TooManyBadFilesError: From the stream: more clips cannot be read than may be.
        WorkerError: From the stream: a worker died.
    """
    shape = CropShape(crops, crop_samples, sample_rate)
    lengths = corpus.lengths(max(1, workers))
    if join == "none" and lengths.longest < shape.seconds:
        raise CorpusError(
            f"all clips of {corpus.spec} are shorter than the crop of {shape.seconds:g} s (the longest of "
            f"{lengths.surveyed} has {lengths.longest:.2f} s, the median {lengths.median:.2f} s); give crop_seconds="
            f"{lengths.common_crop(shape.seconds):g}, or join the clips of a group"
        )
    return CropStream(
        corpus, shape, batch=batch, seed=seed, first_step=first_step, workers=workers, join=join, bad_files=bad_files,
        ahead=ahead,
    )  # fmt: skip


def _order(corpus: TrainingCorpus, seed: int, batch: int) -> Order:
    if corpus.shards is None:
        return Order.of_files(seed, batch, corpus.num_clips)
    order = Order(seed, batch, corpus.shards.pieces(PIECE_CLIPS), window=WINDOW_CLIPS)
    return Order(seed, batch, order.edges, window=max(2, WINDOW_CLIPS // order.lanes))
