"""From vectors in memory or on disk to scores a clip: what is read whole, what part by part, and how rows are averaged.

Source: paper, appendix A: scores averaged over the windows of a clip.
Shapes: S seeds, R rows, M clips, K classes, D embedding.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leveret.clips import Clip
from leveret.contracts import FittedProbe, Kind, Probe
from leveret.disk_rows import DiskRows
from leveret.machine import memory_bytes
from leveret.mapped import MappedRows

ENOUGH_CLIPS = 20_000
"""Training clips that are scored where the vectors stay on disk."""

_ROWS_AT_ONCE = 16_384
_SHARE_OF_MEMORY = 0.25
_SHARE_OF_GPU = 0.5
_COPIES_OF_A_STANDARDISER = 3  # as they are, standardised, and a part of either while it works


def at_hand(X: NDArray[Any] | MappedRows, probe: Probe | None, device: torch.device) -> torch.Tensor | DiskRows:
    """Vectors for a probe: in memory, or on disk where they are too many and the probe can take them from there.

    Args:
        probe: None where they are only scored, part by part.

    Raises:
        ValueError: The probe needs all of them in memory, which does not hold them.
    """
    if not isinstance(X, MappedRows):
        return torch.from_numpy(X).to(device)
    rows = DiskRows(X, device)
    if X.nbytes <= _most_in_memory(device):
        return rows.read()
    if probe is None or getattr(probe, "from_disk", False):
        return rows
    needed = _COPIES_OF_A_STANDARDISER * 4 * len(X) * X.shape[1]
    if needed > memory_bytes():
        raise ValueError(
            f"the probe {type(probe).__name__} needs all {len(X):,} vectors in memory at once, {needed / 1e9:.3g} GB "
            f"of the {memory_bytes() / 1e9:.3g} GB here; `--protocol cached` with linear or mlp reads them from disk"
        )
    return rows.read()


def enough(
    clips: Sequence[Clip], X: torch.Tensor | DiskRows, counts: NDArray[np.int64]
) -> tuple[Sequence[Clip], torch.Tensor | DiskRows, NDArray[np.int64]]:
    """Training clips that are scored: all, or of vectors on disk enough to tell by, evenly spaced."""
    step = -(-len(clips) // ENOUGH_CLIPS)
    if isinstance(X, torch.Tensor) or step == 1:
        return clips, X, counts
    first = np.cumsum(counts) - counts
    rows = np.concatenate([np.arange(first[k], first[k] + counts[k]) for k in range(0, len(clips), step)])
    return clips[::step], DiskRows(X.rows[rows], X.device), counts[::step]


def clip_scores(
    fitted: FittedProbe, X: torch.Tensor | DiskRows, counts: NDArray[np.int64], kind: Kind, average: str
) -> NDArray[np.float32]:
    """Mean over the rows of each clip, (S, M, K); vectors on disk are read part by part.

    Args:
        counts: Rows of each clip, which lie together.
        average: What is averaged: "logits" (decision values), or "probabilities".
    """
    if isinstance(X, DiskRows):
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(_ROWS_AT_ONCE, ends[-1], _ROWS_AT_ONCE))
        edges = [0, *np.unique(cuts[cuts > 0]).tolist(), len(counts)]
        parts = [
            clip_scores(fitted, X[int(ends[a] - counts[a]) : int(ends[b - 1])].read(), counts[a:b], kind, average)
            for a, b in pairwise(edges)
            if b > a
        ]
        return np.concatenate(parts, axis=1)
    rows = fitted.scores(X).float()
    if average == "probabilities":
        rows = rows.sigmoid() if kind == "multi" else rows.softmax(-1)
    return _mean_per_clip(rows.cpu().numpy(), counts)


def _mean_per_clip(scores: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """(S, R, K) -> (S, M, K)."""
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return (np.add.reduceat(scores, first, axis=1) / counts[None, :, None]).astype(np.float32)


def _most_in_memory(device: torch.device) -> int:
    """Bytes of vectors up to which they are read whole, since every draw is then faster."""
    most = int(_SHARE_OF_MEMORY * memory_bytes())
    if device.type == "cuda":
        return min(most, int(_SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]))
    return most
