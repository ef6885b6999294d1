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

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from leveret.audio import SUFFIXES
from leveret.clips import Clip, Fold
from leveret.contracts import DataFolder, Dataset, DatasetError, Task

SOURCE = "https://github.com/karolpiczak/ESC-50 (about 600 MB, CC BY-NC 3.0)"
COLUMNS = ("filename", "fold", "target", "category", "src_file")
NUM_FOLDS, CLIPS_A_FOLD, NUM_CLASSES = 5, 400, 50
MIXED_PASSES = 10
_MOST_NAMED = 5
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
    labels = [""] * NUM_CLASSES
    for row in rows:
        labels[row.target] = row.category
    clips: list[list[Clip]] = [[] for _ in range(NUM_FOLDS)]
    for row in rows:
        # one recording on the original site is one group, also where its takes have other labels
        clips[row.fold - 1].append(Clip(row.filename, paths[Path(row.filename).stem], (row.category,), row.src_file))
    return [
        Esc50(
            name="esc50", domain="environment", kind="single", slots=(("", tuple(labels)),), metric="micro_f1",
            crop_seconds=5.0, head="svm", mixed_passes=MIXED_PASSES, tuned_on_first_fold=True, suite="hares",
            stands_for="esc50", notes=_NOTES, clips_of_fold=clips,
        )
    ]  # fmt: skip


def read_metadata(path: Path) -> list[_Row]:
    """The rows of esc50.csv, checked against what was published.

    Raises:
        DatasetError: Another header, another number of clips in a fold or class, or labels that contradict each other.
    """
    if not path.is_file():
        raise DatasetError(f"no ESC-50 here: {path} is missing; it is to be had from {SOURCE}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise DatasetError(f"{path} lacks the columns {', '.join(missing)}; expected esc50.csv of {SOURCE}")
            rows = [
                _Row(row["filename"], int(row["fold"]), int(row["target"]), row["category"], row["src_file"])
                for row in reader
            ]
    except (ValueError, TypeError, csv.Error) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} cannot be read ({error}); expected esc50.csv of {SOURCE}") from error
    folds = Counter(row.fold for row in rows)
    if folds != dict.fromkeys(range(1, NUM_FOLDS + 1), CLIPS_A_FOLD):
        found = ", ".join(f"fold {fold}: {count}" for fold, count in sorted(folds.items()))
        raise DatasetError(f"{path} holds {found or 'no clips'}; expected {NUM_FOLDS} folds of {CLIPS_A_FOLD} clips")
    names = {row.target: row.category for row in rows}
    if set(names) != set(range(NUM_CLASSES)) or any(names[row.target] != row.category for row in rows):
        raise DatasetError(f"{path} does not pair each target from 0 to {NUM_CLASSES - 1} with one category")
    twice = [stem for stem, count in Counter(Path(row.filename).stem for row in rows).items() if count > 1]
    if twice:
        raise DatasetError(f"{path} names {len(twice)} clips twice, such as {twice[0]!r}")
    return rows


def _metadata(folder: DataFolder) -> tuple[list[_Row], dict[str, Path]]:
    root = folder.root
    if not (root / "meta").is_dir() and (root / "ESC-50-master").is_dir():
        root /= "ESC-50-master"
    rows = read_metadata(folder.labels or root / "meta" / "esc50.csv")
    below = root / "audio" if (root / "audio").is_dir() else root
    paths: dict[str, Path] = {}
    for path in sorted(below.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            paths.setdefault(path.stem, path)
    absent = [row.filename for row in rows if Path(row.filename).stem not in paths]
    if absent:
        shown = ", ".join(absent[:_MOST_NAMED]) + (", ..." if len(absent) > _MOST_NAMED else "")
        raise DatasetError(
            f"{below} lacks {len(absent)} of the {len(rows)} clips of ESC-50 ({shown}); "
            f"copy the archive again, from {SOURCE}"
        )
    return rows, paths


TASKS = {"esc50": Dataset("esc50", "ESC-50", SOURCE, esc50_tasks)}
