"""Where the test clips of a task lie among each other: their vectors on a plane, by PCA and then t-SNE.

Source: van der Maaten and Hinton, Visualizing data using t-SNE (2008), PCA first as there; scikit-learn's t-SNE.
A clip's vector is the mean of its windows, each dimension standardised, as the protocol `quick` has it.
Of a large test set a sample is shown, each class in its share: t-SNE's time grows faster than the number of clips, and
more points hide each other. The sample is drawn by a digest of each clip's id, so every encoder shows the same clips.
Shapes: M clips, n windows, D embedding.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from leveret.clips import Clip
from leveret.mapped import MappedRows
from leveret.parquet_files import whole_table
from leveret.predictions import RunError

NUM_CLIPS = 800
"""A second of one core; 2,000 clips would be three."""
NUM_STEPS = 500
"""Half of scikit-learn's: half the time, and neighbours are kept as well (trustworthiness 0.994 both, on 800 clips)."""
MIN_CLIPS = 5
"""Fewer have no shape."""
NUM_COMPONENTS = 50
PERPLEXITY = 30.0
SIDE = 65_535
"""A map is a square of this side."""
MAPS = "map"
"""Folder of the maps in a run folder."""
_SEED = 0


@dataclass(frozen=True)
class EmbeddingMap:
    """Test clips on a plane.

    Attributes:
        clip: Ids.
        position: (M, 2), x and y in 0 to SIDE, whole numbers.
        audio: File of each clip; once in a run folder, as seen from there.
        start: Seconds into the file where each clip begins.
        end: Seconds into the file where it ends; None is the end of the file.
        num_clips: Test clips with vectors, of which these are a sample.
        perplexity: Of the t-SNE.
        seconds: That it took.
    """

    clip: Sequence[str]
    position: NDArray[np.uint16]
    audio: Sequence[str]
    start: Sequence[float]
    end: Sequence[float | None]
    num_clips: int
    perplexity: float
    seconds: float


def embedding_map(
    clips: Sequence[Clip], rows_of: Mapping[str, NDArray[np.floating] | MappedRows]
) -> EmbeddingMap | None:
    """The map of those clips that have vectors; None where they are too few, or their vectors all alike.

    Args:
        rows_of: Clip id -> its windows (n, D).
    """
    started = time.monotonic()
    known = [clip for clip in clips if clip.id in rows_of]
    some = sample(known, NUM_CLIPS)
    if len(some) < MIN_CLIPS:
        return None
    means = []
    for clip in some:
        rows = rows_of[clip.id]
        means.append((rows.read() if isinstance(rows, MappedRows) else rows).mean(axis=0, dtype=np.float64))
    perplexity = min(PERPLEXITY, (len(some) - 1) / 3)
    plane = _plane(np.stack(means), perplexity)
    if plane is None:
        return None
    low, high = plane.min(axis=0), plane.max(axis=0)
    # one scale for both axes, the shorter one in the middle
    position = SIDE * (0.5 + (plane - (low + high) / 2) / (high - low).max())
    return EmbeddingMap(
        [clip.id for clip in some], np.rint(position).clip(0, SIDE).astype(np.uint16),
        [os.path.abspath(clip.path) for clip in some], [clip.start for clip in some], [clip.end for clip in some],
        len(known), perplexity, time.monotonic() - started,
    )  # fmt: skip


def sample(clips: Sequence[Clip], number: int) -> list[Clip]:
    """So many of the clips or all, each class (of tags the first one) in its share, a clip of each class first."""
    drawn = sorted(clips, key=lambda clip: sha256(clip.id.encode("utf-8", "backslashreplace")).digest())
    classes: dict[tuple[str, ...], list[Clip]] = defaultdict(list)
    for clip in drawn:
        classes[clip.labels[:1]].append(clip)
    places = {clip.id: k / len(some) for some in classes.values() for k, clip in enumerate(some)}
    return sorted(drawn, key=lambda clip: places[clip.id])[:number]


def _plane(vectors: NDArray[np.float64], perplexity: float) -> NDArray[np.float64] | None:
    """(M, D) to (M, 2)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    spread = vectors.std(axis=0)
    alive = spread > 1e-9 * np.abs(vectors).max(axis=0, initial=0.0)
    if not alive.any():
        return None
    vectors = ((vectors - vectors.mean(axis=0)) / np.where(alive, spread, 1.0))[:, alive]
    components = min(NUM_COMPONENTS, *vectors.shape)
    reduced = PCA(components, svd_solver="randomized", random_state=_SEED).fit_transform(vectors)
    start = np.zeros((len(vectors), 2))
    start[:, : min(2, components)] = 1e-4 * reduced[:, :2] / reduced[:, 0].std()
    tsne = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=_SEED)
    tsne.set_params(**{"max_iter" if "max_iter" in tsne.get_params() else "n_iter": NUM_STEPS})  # by scikit-learn 1.4
    return np.asarray(tsne.fit_transform(reduced.astype(np.float32)), dtype=np.float64)


def write_map(path: Path, found: EmbeddingMap, folder: Path) -> None:
    """Write as Parquet, atomically.

    Args:
        folder: The run folder: the files of the clips are written as seen from there, so that both can move together.
    """
    columns = {
        "clip": pa.array(found.clip, pa.string()),
        "x": pa.array(found.position[:, 0]),
        "y": pa.array(found.position[:, 1]),
        "audio": pa.array([_seen_from(folder, one) for one in found.audio], pa.string()),
        "start": pa.array(found.start, pa.float64()),
        "end": pa.array(found.end, pa.float64()),
    }
    about = {"num_clips": found.num_clips, "perplexity": found.perplexity, "seconds": found.seconds}
    table = pa.table(columns).replace_schema_metadata({"leveret": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".writing")
    parquet.write_table(table, partial, compression="zstd")
    partial.replace(path)


def _seen_from(folder: Path, file: str) -> str:
    """A name that is not UTF-8 stands in no result; what is written for it opens nothing."""
    return os.path.relpath(file, folder).encode("utf-8", "backslashreplace").decode()


def read_map(path: Path) -> EmbeddingMap | None:
    """What `write_map` wrote; None where there is no such file.

    Raises:
        RunError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        table = whole_table(path)
        about = json.loads(table.schema.metadata[b"leveret"])
        columns = {name: table[name].to_pylist() for name in ("clip", "audio", "start", "end")}
        position = np.stack([table[axis].to_numpy().astype(np.uint16) for axis in ("x", "y")], axis=1)
        return EmbeddingMap(
            position=position, num_clips=int(about["num_clips"]), perplexity=float(about["perplexity"]),
            seconds=float(about["seconds"]), **columns,
        )  # fmt: skip
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove it, and the page has no such map"
        ) from error
