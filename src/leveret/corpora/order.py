"""Which clip stands at which place of which step: a pure function of the seed, so that a resumed run needs no state.

Every epoch is a permutation. Clips in separate files are permuted freely. Clips in shards are read in pieces, runs of
neighbours: the pieces are permuted, laid in one line, and the line is cut into lanes of equal length; each lane feeds
its own, always the same part of the global batch, and is shuffled within a window of a few pieces. So a rank, whose
part of the batch is consecutive, reads its own pieces front to back, while a batch holds clips of every lane; the
number of ranks changes nothing in it. Fewer clips than there are lanes sit an epoch out, others in each.
Shapes: M clips.
"""

from dataclasses import dataclass, field
from math import gcd

import numpy as np
from numpy.typing import NDArray

from leveret.draws import Draws

MOST_LANES = 64
PIECES_A_LANE = 4
"""A lane needs so many pieces, or it would hold the same neighbours in every epoch."""
_EPOCHS_HELD = 2  # a batch may lie across a border


@dataclass(frozen=True)
class Order:
    """The order of all epochs.

    Attributes:
        seed: Of the run.
        batch: Clips of a step, over all ranks.
        edges: First clip of each piece, and M at last.
        window: Clips that a lane shuffles together.
    """

    seed: int
    batch: int
    edges: NDArray[np.int64]
    window: int = 1
    lines: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of_files(cls, seed: int, batch: int, num_clips: int) -> "Order":
        """Of clips that lie in separate files."""
        return cls(seed, batch, np.arange(num_clips + 1, dtype=np.int64))

    @property
    def num_clips(self) -> int:
        """M."""
        return int(self.edges[-1])

    @property
    def lanes(self) -> int:
        """Parts of the batch that are fed each by its own pieces."""
        if self.window == 1:
            return 1
        lanes = gcd(self.batch, MOST_LANES)
        while lanes > 1 and lanes * PIECES_A_LANE > len(self.edges) - 1:
            lanes //= 2
        return lanes

    @property
    def epoch_clips(self) -> int:
        """Clips of an epoch: all but the remainder by the lanes."""
        return self.num_clips // self.lanes * self.lanes

    def clips(self, step: int, first: int, count: int) -> NDArray[np.int64]:
        """The clips of `count` consecutive examples of a step's global batch."""
        lanes = self.lanes
        width, length = self.batch // lanes, self.num_clips // lanes
        lane, place = np.divmod(np.arange(first, first + count, dtype=np.int64), width)
        epoch, at = np.divmod(step * width + place, length)
        found = np.empty(count, dtype=np.int64)
        for one in np.unique(epoch):
            chosen = epoch == one
            found[chosen] = self._line(int(one))[lane[chosen] * length + at[chosen]]
        return found

    def _line(self, epoch: int) -> NDArray[np.int64]:
        """All clips, lane after lane, as an epoch reads them."""
        if epoch not in self.lines:
            for old in sorted(self.lines)[: 1 - _EPOCHS_HELD]:
                del self.lines[old]
            self.lines[epoch] = self._permuted(epoch)
        return self.lines[epoch]

    def _permuted(self, epoch: int) -> NDArray[np.int64]:
        pieces = _keys(self.seed, epoch, "pieces", len(self.edges) - 1)
        order = np.argsort(pieces, kind="stable")
        if self.window == 1:
            return order
        sizes = np.diff(self.edges)[order]
        inside = np.arange(self.num_clips) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        line = np.repeat(self.edges[:-1][order], sizes) + inside
        lane, at = np.divmod(np.arange(self.num_clips), self.num_clips // self.lanes)
        window = lane * (1 + self.num_clips) + at // self.window
        shuffled = np.lexsort((_keys(self.seed, epoch, "clips", self.num_clips)[line], window))
        return np.asarray(line[shuffled])


def _keys(seed: int, epoch: int, place: str, count: int) -> NDArray[np.uint64]:
    return Draws(seed, epoch, np.arange(count, dtype=np.int64), "order").keys(place)
