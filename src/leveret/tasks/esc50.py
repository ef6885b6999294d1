"""ESC-50: 2,000 environmental sounds of 5 s in 50 classes, five official folds.

Source: paper, table 1 and appendix A: "10 epochs worth of augmented samples" for training, an SVM with C out of seven
values, "the first split to pick the optimal value", mean over all splits. Data: Piczak, ACM Multimedia 2015.
Layout: meta/esc50.csv and audio/FOLD-CLIP-TAKE-TARGET.wav, also inside ESC-50-master; or audio of any kind in any
folders, matched by stem with a copy of esc50.csv (`--labels esc50=FILE`).
Departures: the paper names no augmentation here; it is example mixing, its only one, with partners from the same
official fold, so that ten passes serve all five splits. C is chosen on the test fold of the first split, as the paper
says, which flatters the mean a little; the score with a C chosen inside each split's training folds stands beside it
(`nested_choice`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError
from leveret.tasks.published_files import audio_by_stem, first_folder, read_table, require_some

SOURCE = "https://github.com/karolpiczak/ESC-50 (about 600 MB, CC BY-NC 3.0)"
COLUMNS = ("filename", "fold", "target", "category", "src_file")
NUM_FOLDS, CLIPS_A_FOLD, NUM_CLASSES = 5, 400, 50
OFFICIAL_CLIPS = {"train": (NUM_FOLDS - 1) * NUM_FOLDS * CLIPS_A_FOLD, "test": NUM_FOLDS * CLIPS_A_FOLD}
MIXED_PASSES = 10
_NOTES = (
    "C is chosen on the test fold of split 1, as in the paper, and that fold counts in the mean; nested_choice is the "
    "score with C chosen inside the training folds"
)


class _Row(NamedTuple):
    filename: str
    fold: int
    target: int
    category: str
    src_file: str


@dataclass(frozen=True, kw_only=True)
class Esc50(Task):
    """The five official folds, each the test split once."""

    clips_of_fold: Sequence[Sequence[Clip]]

    def folds(self) -> Sequence[Fold]:
        """Split k tests on fold k."""
        return [
            Fold([clip for other in self.clips_of_fold if other is not test for clip in other], (), test)
            for test in self.clips_of_fold
        ]


def esc50_tasks(folder: DataFolder) -> list[Task]:
    """The one task of ESC-50.

    Raises:
        DatasetError: Metadata or audio is missing, or is not that of ESC-50.
    """
    rows, paths = _metadata(folder)
    names = {row.target: row.category for row in rows}
    labels = [names[target] for target in sorted(names)]
    clips: list[list[Clip]] = [[] for _ in range(NUM_FOLDS)]
    for row, path in zip(rows, paths, strict=True):
        # one recording on the original site is one group, also where its takes have other labels
        clips[row.fold - 1].append(Clip(row.filename, path, (row.category,), row.src_file))
    return [
        Esc50(
            name="esc50", domain="environment", kind="single", slots=(("", tuple(labels)),), metric="micro_f1",
            crop_seconds=5.0, head="svm", mixed_passes=MIXED_PASSES, tuned_on_first_fold=True, suite="hares",
            stands_for="esc50", notes=_NOTES, official_clips=OFFICIAL_CLIPS, clips_of_fold=clips,
        )
    ]  # fmt: skip


def read_metadata(path: Path) -> list[_Row]:
    """The rows of esc50.csv.

    Raises:
        DatasetError: Another header, a fold or target out of range, or labels that contradict each other.
    """
    try:
        rows = [
            _Row(row["filename"], int(row["fold"]), int(row["target"]), row["category"], row["src_file"])
            for row in read_table(path, COLUMNS, SOURCE)
        ]
    except ValueError as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} cannot be read ({error}); expected esc50.csv of {SOURCE}") from error
    for row in rows:
        if not (1 <= row.fold <= NUM_FOLDS and 0 <= row.target < NUM_CLASSES):
            raise DatasetError(
                f"{path}: {row.filename} has fold {row.fold} and target {row.target}; expected 1 to {NUM_FOLDS} and "
                f"0 to {NUM_CLASSES - 1}"
            )
    folds = Counter(row.fold for row in rows)
    if len(folds) < NUM_FOLDS:
        found = ", ".join(f"fold {fold}: {count}" for fold, count in sorted(folds.items()))
        raise DatasetError(f"{path} holds {found or 'no clips'}; expected {NUM_FOLDS} folds of {CLIPS_A_FOLD} clips")
    names = {row.target: row.category for row in rows}
    if any(names[row.target] != row.category for row in rows) or len(set(names.values())) < len(names):
        raise DatasetError(f"{path} does not pair each target from 0 to {NUM_CLASSES - 1} with one category")
    twice = [stem for stem, count in Counter(Path(row.filename).stem for row in rows).items() if count > 1]
    if twice:
        raise DatasetError(f"{path} names {len(twice)} clips twice, such as {twice[0]!r}")
    return rows


def _metadata(folder: DataFolder) -> tuple[list[_Row], list[Path]]:
    root = first_folder(folder, ("ESC-50-master",), ("meta",))
    rows = read_metadata(folder.labels or root / "meta" / "esc50.csv")
    below = root / "audio" if (root / "audio").is_dir() else root
    by_stem = audio_by_stem(below)
    paths = [by_stem.get(Path(row.filename).stem, below / row.filename) for row in rows]
    require_some(paths, "ESC-50", SOURCE)
    return rows, paths


TASKS = {
    "esc50": Dataset(
        name="esc50", title="ESC-50", source=SOURCE, licence="CC BY-NC 3.0", hours=2.8, num_bytes=645_000_000,
        tasks=("esc50",), make=esc50_tasks,
        # GitHub makes the archive anew now and then, so its checksum is no use: the 2,000 names are checked instead
        archives=(Archive("ESC-50-master.zip", ("https://github.com/karolpiczak/ESC-50/archive/master.zip",)),),
    )
}  # fmt: skip
