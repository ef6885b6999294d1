"""knn: the k nearest training clips vote; nothing is trained, so it tells what a space holds without a read-out.

Source: leveret's own; weighted nearest neighbours by cosine similarity as in arXiv:1805.01978, section 3.4.
Shapes: r rows scored at once, R training rows, M training clips, D embedding, K classes.
Departures: neighbours are clips and not rows: a clip is as near as its nearest row, so it votes once whatever its
number of windows. A vote weighs (1 + cosine) / 2, so that none is negative.

k is chosen on `valid`, or on a fifth of train held out in whole groups, never of a clip's own windows; all of train
votes in the result. Memory is bounded by blocks, whatever the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from leveret.contracts import Progress, Table
from leveret.probes.holdout import clip_means, clip_score, hold_out, surely_better
from leveret.probes.scaling import check_finite
from leveret.probes.tensors import FLOATS, check_tensor

USUAL_K = 10
K_GRID = (1, 3, 5, 10, 20, 50, 100, 200)
MAX_CHOOSING_CLIPS = 4_000  # more of them choose no better, and each is compared with every row of train

_ROWS_AT_ONCE = 1_024
_TRAIN_ROWS_AT_ONCE = 8_192  # at least one clip's, however long it is


class Neighbours(NamedTuple):
    """The nearest training clips of some rows, nearest first."""

    weights: Float[Tensor, "r k"]
    clips: Int[Tensor, "r k"]


@dataclass(frozen=True)
class KnnReadout:
    """Training vectors that vote.

    Attributes:
        X: Training vectors, float32 or float16.
        rows: Index of each row's clip, ascending.
        targets: Class index of each clip, or 0/1 for each clip and class.
        k: Clips that vote.
    """

    kind: ClassVar[str] = "knn"

    X: Float[Tensor, "R D"]
    rows: Int[Tensor, "R"]
    targets: Int[Tensor, "M"] | Float[Tensor, "M K"]
    num_classes: int
    k: int
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Table, k: int, facts: dict[str, Any] | None = None) -> Self:
        """All clips of a table vote.

        Raises:
            ValueError: A vector is not finite.
        """
        check_finite(table.vectors)
        return cls(table.vectors, table.rows, table.targets, table.num_classes, min(k, table.num_clips), facts or {})

    @torch.no_grad()
    def scores(self, X: Float[Tensor, "R D"]) -> Float[Tensor, "1 R K"]:
        """Mean weight of the votes for each class, on the device of the training vectors."""
        found = torch.empty(1, len(X), self.num_classes, device=self.X.device)
        for first in range(0, len(X), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            found[0, part] = self.votes(self.neighbours(X[part], self.k), [self.k])[self.k]
        return found

    def neighbours(self, X: Float[Tensor, "r D"], k: int) -> Neighbours:
        """The k nearest training clips of each row."""
        queries = F.normalize(X.to(self.X.device).float(), dim=1)
        best = Neighbours(queries.new_empty(len(X), 0), self.rows.new_empty(len(X), 0))
        for first, stop in self._blocks():
            cosine = queries @ F.normalize(self.X[first:stop].float(), dim=1).T  # (r, rows of the block)
            clips, place = torch.unique_consecutive(self.rows[first:stop], return_inverse=True)
            if len(clips) < stop - first:
                nearest = cosine.new_full((len(X), len(clips)), -2.0)
                cosine = nearest.scatter_reduce_(1, place.expand_as(cosine), cosine, "amax")
            weights = torch.cat([best.weights, 0.5 + 0.5 * cosine.clamp_(-1, 1)], 1)
            candidates = torch.cat([best.clips, clips.expand(len(X), -1)], 1)
            kept, place = weights.topk(min(k, weights.shape[1]), dim=1)
            best = Neighbours(kept, candidates.gather(1, place))
        return best

    def votes(self, neighbours: Neighbours, sizes: list[int]) -> dict[int, Float[Tensor, "r K"]]:
        """Mean weight of the votes for each class, for several k, ascending, in one pass over the neighbours."""
        total = neighbours.weights.new_zeros(len(neighbours.clips), self.num_classes)
        found: dict[int, Tensor] = {}
        counted = 0
        for k in sizes:
            for place in range(counted, min(k, neighbours.clips.shape[1])):
                labels, weight = self.targets[neighbours.clips[:, place]], neighbours.weights[:, place, None]
                if labels.ndim == 1:
                    total.scatter_add_(1, labels[:, None], weight)
                else:
                    total.addcmul_(labels.float(), weight)
            counted = min(k, neighbours.clips.shape[1])
            found[k] = total / counted
        return found

    def _blocks(self) -> list[tuple[int, int]]:
        """Spans of rows that hold whole clips."""
        ends = torch.bincount(self.rows.cpu()).cumsum(0)
        blocks, first = [], 0
        while first < len(self.rows):
            place = int(torch.searchsorted(ends, first + _TRAIN_ROWS_AT_ONCE, right=True)) - 1
            stop = int(ends[max(place, 0)])
            if stop <= first:  # the next clip alone is longer than a block
                stop = int(ends[place + 1])
            blocks.append((first, stop))
            first = stop
        return blocks

    def tensors(self) -> dict[str, Tensor]:
        """The training vectors with their clips and classes, and k."""
        return {"X": self.X, "rows": self.rows, "targets": self.targets, "k": torch.tensor(self.k)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], embed_dim: int, num_classes: int) -> Self:
        """The read-out whose tensors these are.

        Raises:
            ValueError: One is missing, of another shape or type, or points outside of another.
        """
        X = check_tensor(tensors, "X", (None, embed_dim), (*FLOATS, torch.float16))
        rows = check_tensor(tensors, "rows", (len(X),), (torch.int64,))
        multilabel = "targets" in tensors and tensors["targets"].ndim == 2
        shape = (None, num_classes) if multilabel else (None,)
        targets = check_tensor(tensors, "targets", shape, FLOATS if multilabel else (torch.int64,))
        k = int(check_tensor(tensors, "k", (), (torch.int64,)))
        steps = rows.diff()
        if int(rows[0]) != 0 or int(rows[-1]) != len(targets) - 1 or bool(((steps < 0) | (steps > 1)).any()):
            raise ValueError(f"the tensor 'rows' does not count the {len(targets)} clips up; expected 0, 0, 1, ...")
        if not multilabel and not 0 <= int(targets.min()) <= int(targets.max()) < num_classes:
            raise ValueError(f"the tensor 'targets' names classes beyond the {num_classes} that there are")
        if not 1 <= k <= len(targets):
            raise ValueError(f"k is {k}; expected 1 to {len(targets)}, the number of training clips")
        return cls(X, rows, targets, num_classes, k)


@dataclass(frozen=True, kw_only=True)
class KnnProbe:
    """Nearest neighbours by cosine similarity.

    Facts: "k"; "grid", {k as text: score}; "chosen_on", "valid", "groups" or "clips" (the last two: what the held-out
    fifth was cut by) or None where there was nothing to choose; "chosen_score".

    Attributes:
        grid: Values of k, ascending; with a single one nothing is held out.
        usual: The k that stands unless another one is surely better on the held-out clips, as the usual C of logistic.
    """

    logits: ClassVar[bool] = False

    grid: tuple[int, ...] = K_GRID
    usual: int = USUAL_K

    def fit(self, train: Table, valid: Table | None, progress: Progress | None = None) -> KnnReadout:
        """All of `train` votes, with the k that scores best on `valid` or on a held-out fifth.

        Raises:
            ValueError: A vector is not finite.
        """
        notify = progress or (lambda share: None)
        facts: dict[str, Any] = {"k": min(self.grid[0], train.num_clips), "grid": {}, "chosen_on": None}
        facts["chosen_score"] = None
        if len(self.grid) > 1 and valid is not None:
            facts |= self._choose(train, valid, notify) | {"chosen_on": "valid"}
        elif len(self.grid) > 1 and train.num_clips > 1:
            division = hold_out(train)
            facts |= self._choose(train.take(division.kept), train.take(_some(division.held)), notify)
            facts["chosen_on"] = division.unit
        notify(1.0)
        return KnnReadout.of(train, facts["k"], facts)

    def _choose(self, kept: Table, held: Table, notify: Progress) -> dict[str, Any]:
        voters = KnnReadout.of(kept, 1)
        sizes = [k for k in self.grid if k <= kept.num_clips] or [kept.num_clips]
        blocks: dict[int, list[Tensor]] = {k: [] for k in sizes}
        for first in range(0, len(held.vectors), _ROWS_AT_ONCE):
            nearest = voters.neighbours(held.vectors[first : first + _ROWS_AT_ONCE], sizes[-1])
            for k, votes in voters.votes(nearest, sizes).items():
                blocks[k].append(votes)
            notify(min(1.0, (first + _ROWS_AT_ONCE) / len(held.vectors)) * 0.95)
        means = {k: clip_means(torch.cat(votes), held.rows, held.num_clips) for k, votes in blocks.items()}
        by_k = {k: clip_score(of_k, held) for k, of_k in means.items()}
        best = max(by_k, key=by_k.__getitem__)  # the first of equals: the fewest
        usual = max((k for k in sizes if k <= self.usual), default=sizes[0])
        if not surely_better(means[best], means[usual], held):
            best = usual
        return {"k": best, "grid": {str(k): value for k, value in by_k.items()}, "chosen_score": by_k[best]}


def _some(clips: Int[Tensor, "m"]) -> Int[Tensor, "n"]:
    """At most MAX_CHOOSING_CLIPS of them, evenly spread."""
    if len(clips) <= MAX_CHOOSING_CLIPS:
        return clips
    return clips[torch.linspace(0, len(clips) - 1, MAX_CHOOSING_CLIPS, device=clips.device).long()]


PROBES = {"knn": KnnProbe()}
READOUTS = {"knn": KnnReadout}
