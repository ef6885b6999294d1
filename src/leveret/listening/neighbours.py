"""A folder of sounds with a vector for each: which of them sound alike, by cosine similarity.

Vectors come through the embedding cache as all vectors do: one a file, the mean over its windows of 10 s. The mean of
the folder is taken off: what all of its sounds have in common would make all of them alike.
Shapes: M files, D embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from leveret.audio import AudioError, find_audio, read_info
from leveret.bad_files import BadFilePolicy
from leveret.batches import CropRule
from leveret.clips import Clip
from leveret.embedding import clip_means, embed_files
from leveret.fresh_rows import fresh_rows
from leveret.manifests import WHOLE_CLIP_SECONDS
from leveret.progress import Reporter
from leveret.runner import Runner

ENOUGH_FOR_A_MEAN = 10
CROP = CropRule(seconds=WHOLE_CLIP_SECONDS, whole_clip=True)
LONGEST_SECONDS = 600.0
"""Of a clip that is asked about; what follows is not listened to."""


@dataclass(frozen=True)
class Sounds:
    """A folder.

    Attributes:
        folder: Resolved.
        paths: Of the files.
        names: Of the files, within the folder.
        mean: Of the folder (D,), zero where the files are too few to have one.
        vectors: float32 (M, D), less the mean, of length 1.
        skipped: Path -> why the file has no vector.
        runner: Embeds what is asked about.
    """

    folder: Path
    paths: Sequence[Path]
    names: Sequence[str]
    mean: NDArray[np.float32]
    vectors: NDArray[np.float32]
    skipped: Mapping[str, str]
    runner: Runner

    @classmethod
    def of_folder(cls, folder: Path, runner: Runner, reporter: Reporter | None = None) -> Self:
        """Every sound below a folder; links that lead out of it are left out, with a word.

        Raises:
            AudioError: There is no such folder, or no sound in it.
            TooManyBadFilesError: None of them can be read.
        """
        if not folder.is_dir():
            raise AudioError(f"no folder {str(folder)!r}; give a folder with audio files")
        root = folder.resolve()
        found = find_audio([folder])
        inside = [path for path in found if is_within(root, path)]
        kept = set(inside)
        outside = {
            str(path): f"{str(path)!r} is a link that leads out of the folder" for path in found if path not in kept
        }
        if not inside:
            raise AudioError(f"{str(folder)!r} has nothing but links that lead out of it; give the folder they lead to")
        _, rows = embed_files(inside, runner, CROP, policy=BadFilePolicy("skip"), reporter=reporter)
        paths = [clip.path for clip in rows.clips]
        X = clip_means(rows)
        mean = X.mean(0) if len(X) >= ENOUGH_FOR_A_MEAN else np.zeros_like(X[0])
        names = [str(path.relative_to(folder)) for path in paths]
        return cls(root, paths, names, mean, _of_length_one(X - mean), outside | dict(rows.bad), runner)

    def nearest(self, vector: NDArray[np.float32], num: int, but: int | None = None) -> list[tuple[int, float]]:
        """Numbers of the nearest files with their similarities, -1 to 1, the nearest first.

        Args:
            vector: (D,), as those of the folder.
            but: A file that is not asked for, because it is asked about.
        """
        similarity = self.vectors @ vector
        order = np.argsort(-similarity, kind="stable").tolist()
        return [(k, float(similarity[k])) for k in order if k != but][:num]

    def embed(self, content: bytes) -> NDArray[np.float32]:
        """The vector (D,) of a clip that is not of the folder, as those of the folder; it is kept nowhere.

        Raises:
            AudioError: It is no audio.
        """
        with TemporaryDirectory(prefix="leveret-listen-") as folder:
            path = Path(folder) / "clip"
            path.write_bytes(content)
            try:
                end = min(read_info(path).seconds, LONGEST_SECONDS)
                rows, bad = fresh_rows([Clip("clip", path, (), "", end=end)], CROP, self.runner)
            except AudioError as error:
                raise AudioError(str(error).replace(repr(str(path)), "the clip")) from error
            for why in bad.values():
                raise AudioError(why.replace(repr(str(path)), "the clip"))
        vector: NDArray[np.float32] = _of_length_one(rows["clip"].mean(0, keepdims=True) - self.mean)[0]
        return vector

    def map(self) -> NDArray[np.float32]:
        """A place in the plane for each file (M, 2), 0 to 1: the first two principal components."""
        if min(self.vectors.shape) < 2 or len(self.vectors) < 3:
            return np.full((len(self.vectors), 2), 0.5, np.float32)
        places = PCA(2, svd_solver="randomized", random_state=0).fit_transform(self.vectors)
        low, high = places.min(0), places.max(0)
        scaled: NDArray[np.float32] = ((places - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
        return scaled


def is_within(root: Path, path: Path) -> bool:
    """Whether what a path leads to, through whatever links, is a plain file below the root.

    Args:
        root: Resolved.
    """
    try:
        there = path.resolve(strict=True)
        return there.is_relative_to(root) and there.is_file()
    except (OSError, RuntimeError):  # gone, or a loop of links
        return False


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors / np.maximum(size, 1e-12)).astype(np.float32)
    return scaled
