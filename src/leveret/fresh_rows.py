"""Rows of a few clips past the cache: decoded and embedded now, and kept nowhere.

Shapes: R rows, D embedding.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leveret.batches import CropRule, plan_rows, read_batches
from leveret.clips import Clip
from leveret.runner import Runner, vectors_of_batch


def fresh_rows(
    clips: Sequence[Clip], crop: CropRule, runner: Runner
) -> tuple[dict[str, NDArray[np.float32]], Mapping[str, str]]:
    """Clip id -> its rows (R, D) in the order of their windows; and of clips that have none, why."""
    threads = runner.compute.num_threads()
    plan = plan_rows(clips, crop, threads)
    rows = np.zeros((plan.num_rows, runner.width), np.float32)
    bad = dict(plan.bad)
    spans = runner.network.batches(plan)
    for batch in read_batches(plan, spans, [runner.loaded.encoder.sample_rate], threads):
        bad |= {plan.clips[plan.clip[row]].id: why for row, why in batch.bad.items()}
        (rows[batch.first : batch.first + batch.num_rows],) = vectors_of_batch([runner], batch)
    order = np.lexsort((plan.start, plan.clip))
    edges = np.searchsorted(plan.clip[order], np.arange(len(plan.clips) + 1))
    found = {clip.id: rows[order[edges[k] : edges[k + 1]]] for k, clip in enumerate(plan.clips)}
    return {name: one for name, one in found.items() if name not in bad}, bad
