"""Divisions of a dataset whose published division is not to be had: by rank, or by the list that a user brings.

Source: leveret's own. The paper divides Birdsong and TUT18 as Tagliasacchi et al. (2020) do; their lists lie in a
Google Drive folder that github.com/deepmind/slowfast_nfnets links to, and in no repository.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha1
from pathlib import PurePath

from leveret.clips import Clip, Fold
from leveret.manifests import SPLITS
from leveret.published_audio import DataFolder, DatasetError
from leveret.tasks.published_files import read_table

LISTS = "the folder that https://github.com/deepmind/slowfast_nfnets links to, rewritten as a table file,split"


def ranked_fold(clips: Sequence[Clip], strata: Sequence[str], test_share: float) -> Fold:
    """The same stratified random division everywhere: of a stratum, those whose ids have the lowest SHA-1 are tested.

    Args:
        strata: Name of each clip's stratum.
        test_share: Of each stratum, rounded to whole clips.
    """
    by_stratum: dict[str, list[Clip]] = defaultdict(list)
    for clip, stratum in zip(clips, strata, strict=True):
        by_stratum[stratum].append(clip)
    tested: set[str] = set()
    for members in by_stratum.values():
        ranked = sorted((clip.id for clip in members), key=lambda name: sha1(name.encode()).hexdigest())
        tested.update(ranked[: round(test_share * len(ranked))])
    return Fold([clip for clip in clips if clip.id not in tested], (), [clip for clip in clips if clip.id in tested])


def user_fold(folder: DataFolder, dataset: str, clips: Sequence[Clip]) -> Fold:
    """The division that a user's table `file,split` says; a file is named by its name, with or without its ending.

    Raises:
        DatasetError: No table was given, or it names a file that is none of the dataset's, a file twice, or a split
            that is none.
    """
    if folder.labels is None:
        raise DatasetError(
            f"the variant 'user' of {dataset} needs a list: --labels {dataset}=FILE, a CSV with the columns file,split "
            f"and the splits train and test; the paper's are in {LISTS}"
        )
    by_name = {PurePath(clip.id).stem: clip for clip in clips}
    split_of: dict[str, str] = {}
    for line, row in enumerate(read_table(folder.labels, ("file", "split"), LISTS), 2):
        where, name = f"{folder.labels}, line {line}", PurePath(row["file"]).stem
        if name not in by_name:
            raise DatasetError(
                f"{where}: {row['file']!r} is no clip of {dataset}, whose clips are called such as "
                f"{next(iter(by_name), '')!r}; correct the name, or remove the line"
            )
        if name in split_of:
            raise DatasetError(f"{where}: {row['file']!r} stands there twice; remove one of the lines")
        if row["split"] not in SPLITS:
            raise DatasetError(f"{where}: {row['file']!r} has the split {row['split']!r}; expected {', '.join(SPLITS)}")
        split_of[name] = SPLITS[row["split"]]
    parts: Mapping[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for name, clip in by_name.items():
        if name in split_of:
            parts[split_of[name]].append(clip)
    return Fold(parts["train"], parts["valid"], parts["test"])


def require_both(fold: Fold, where: str) -> Fold:
    """The same fold, which has something to train on and something to score.

    Args:
        where: The file or folder that says which clips there are.

    Raises:
        DatasetError: A split is empty.
    """
    for split in ("train", "test"):
        if not getattr(fold, split):
            raise DatasetError(f"{where} gives no {split} clip; at least one of train and of test is needed")
    return fold
