"""Test clips whose files a checkpoint was trained on, by the digests that pretraining keeps in it.

A file counts whole, whatever span of it was trained on, and only byte for byte: the same audio in another format is
found by `leveret data overlap`. Digests of files are remembered, so test clips that are embedded are not read again.
Shapes: n files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leveret.checkpoint import TRAINING_FILES, Checkpoint, CheckpointError
from leveret.clips import Clip
from leveret.content import content_digests
from leveret.overlap.report import Contamination

_DIGEST_BYTES = 32


def trained_files(checkpoint: Checkpoint | None, spec: str) -> NDArray[Any] | None:
    """Sha256 of each file that a checkpoint was trained on (n,), 32 bytes each; None where none are kept.

    Raises:
        CheckpointError: What stands in their place are no digests.
    """
    kept = None if checkpoint is None else checkpoint.beside.get(TRAINING_FILES)
    if kept is None:
        return None
    if kept.dtype != torch.uint8 or kept.ndim != 2 or kept.shape[1] != _DIGEST_BYTES or not len(kept):
        raise CheckpointError(
            f"the digests of training files in {spec} are {tuple(kept.shape)} of {kept.dtype}; expected one row of "
            f"{_DIGEST_BYTES} bytes a file"
        )
    return np.ascontiguousarray(kept.numpy()).view(f"S{_DIGEST_BYTES}").ravel()


def digests_of(clips: Sequence[Clip], threads: int) -> list[bytes]:
    """Sha256 of the file of each clip; empty for one that cannot be read. Under torchrun all ranks call it."""
    return [bytes.fromhex(digest) for digest in content_digests([clip.path for clip in clips], threads)]


def met_in_training(clips: Sequence[Clip], digests: Sequence[bytes], trained: NDArray[Any]) -> Contamination:
    """The test clips among them.

    Args:
        digests: Of the file of each clip, empty for one that cannot be read.
        trained: What `trained_files` gave.
    """
    known = np.array(digests, dtype=trained.dtype)  # an unreadable one becomes 32 zeros, the digest of no file
    found = np.isin(known, trained)
    unread = sum(not digest for digest in digests)
    left = f"{unread:,} of {len(clips):,} test clips" if unread else ""
    met = [clip.id for clip, same, digest in zip(clips, found.tolist(), digests, strict=True) if same and digest]
    return Contamination(True, tuple(met), left) if unread < len(clips) else Contamination()
