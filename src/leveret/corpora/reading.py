"""Pieces of shards are asked of the disk before their clips are: it reads them in one go, in its own time.

Nothing is held here; what was read waits in the system's page cache, where the workers find it.
"""

import os
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from leveret.corpora.corpus import TrainingCorpus

_REMEMBERED = 4096  # pieces that were asked for lately


class ReadAhead:
    """Tells the system which runs of bytes of which shards are wanted soon; without shards it does nothing."""

    def __init__(self, corpus: TrainingCorpus, piece_clips: int) -> None:
        self.shards = corpus.shards
        self.edges = np.empty(0, np.int64) if self.shards is None else self.shards.pieces(piece_clips)
        self.asked: OrderedDict[int, None] = OrderedDict()

    def advise(self, clips: NDArray[np.int64]) -> None:
        """The pieces of these clips are wanted; those that were asked for lately are not asked for again."""
        if self.shards is None or not hasattr(os, "posix_fadvise"):
            return
        for piece in np.unique(np.searchsorted(self.edges, clips, side="right") - 1).tolist():
            if piece in self.asked:
                self.asked.move_to_end(piece)
                continue
            self.asked[piece] = None
            if len(self.asked) > _REMEMBERED:
                self.asked.popitem(last=False)
            first = self.shards.member(int(self.edges[piece]))
            last = self.shards.member(int(self.edges[piece + 1]) - 1)
            descriptor = os.open(first.archive, os.O_RDONLY)
            try:
                length = last.offset + last.size - first.offset
                os.posix_fadvise(descriptor, first.offset, length, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)
