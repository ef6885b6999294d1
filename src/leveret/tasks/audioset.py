"""AudioSet: 10 s of 2,084,320 YouTube videos, each with some of 527 labels; what still exists of them.

Source: paper, table 1 ("around 1.9 million samples") and appendix A: an MLP "with 512 hidden units", "crops of 3
seconds", "example mixing to audio samples during training", "the scores of 10 overlapped and equally spaced 3-second
clips", "batch size of 128 for 200k steps". Data: Gemmeke et al., ICASSP 2017.
Layout: the tables {eval,balanced_train,unbalanced_train}_segments.csv and class_labels_indices.csv at the top or in
csv/ or metadata/ (or in another folder, `--labels audioset=FOLDER`). Audio as the PANNs authors keep it,
audios/{eval_segments,balanced_train_segments}/YID.wav and audios/unbalanced_train_segments/*_partNN/YID.wav; or a
folder a split of a name like it (eval, bal_train, unbal_train), at the top or in audios, audio, data or wav; in any
format, with or without the Y.
Splits: train is balanced and unbalanced, test is eval. Nobody has all of it: a segment whose audio is not there is no
clip, and the coverage of the 20,371 of eval says how many were scored.
Groups: the YouTube id.
Departures: under `cached` the mixed crops are ten a clip, embedded once. Clips that other benchmarks test on (DCASE
2017) are kept, which the PANNs authors left out; the paper does not say that it left any out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, Corpus, DataFolder, Dataset, MissingDatasetError
from leveret.tasks.audioset_segments import (
    BALANCED,
    EVAL,
    LABEL_TABLE,
    TABLES,
    UNBALANCED,
    Segments,
    Split,
    find_segments,
    has_audio_folder,
    read_labels,
)
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import first_file, metadata_folder

SOURCE = (
    "https://research.google.com/audioset (the tables, CC BY 4.0; the audio is on YouTube, and a copy of part of it, "
    "2.5 TB, at https://huggingface.co/datasets/agkphysics/AudioSet)"
)
OFFICIAL_CLIPS = {"test": EVAL.num_segments}
MIXED_PASSES = 10
_TITLE, _LICENCE = "AudioSet", "tables CC BY 4.0, audio its uploaders'"
_HOW = (
    "the audio belongs to its uploaders and must be fetched from YouTube, or from somebody's copy; put it into "
    "audios/eval_segments, audios/balanced_train_segments and audios/unbalanced_train_segments, each file called "
    "Y<YouTube id>, in any format"
)


def audioset_tasks(folder: DataFolder) -> list[Task]:
    """The one task of AudioSet.

    Raises:
        DatasetError: A table is missing or is not that of AudioSet, or no audio of train or of eval is there.
    """
    names = read_labels(_table(folder, LABEL_TABLE))
    test = Segments()
    if not find_segments(folder.root, EVAL, _table(folder, EVAL.table), names, {}, test):
        raise _no_audio(folder, [EVAL])
    train, counts = _train(folder, names, {clip.id: EVAL.table for clip in test})
    return [
        DividedTask(
            name="audioset", domain="environment", kind="multi", slots=(("", tuple(names.values())),), metric="map",
            crop_seconds=3.0, head="mlp", batch=128, steps=200_000, mixed_passes=MIXED_PASSES, num_windows=10,
            takes_kept_head=True, suite="hares", stands_for="audioset", official_clips=OFFICIAL_CLIPS,
            parts=[Fold(train, (), test)],
            notes=(
                f"train is what is there of AudioSet: {counts[BALANCED]:,} of {BALANCED.num_segments:,} balanced and "
                f"{counts[UNBALANCED]:,} of {UNBALANCED.num_segments:,} unbalanced segments; the paper had about "
                "1.9 million"
            ),
        )
    ]  # fmt: skip


def audioset_clips(folder: DataFolder) -> Sequence[Clip]:
    """The train segments whose audio is there, balanced and unbalanced.

    Raises:
        DatasetError: As `audioset_tasks`; the eval segments need not be there.
    """
    train, _ = _train(folder, read_labels(_table(folder, LABEL_TABLE)), {})
    return train


def audioset_labels(folder: DataFolder) -> tuple[str, ...]:
    """The display names of the 527 labels, in the order of their indices.

    Raises:
        DatasetError: The table is missing or is not that of AudioSet.
    """
    return tuple(read_labels(_table(folder, LABEL_TABLE)).values())


def _train(
    folder: DataFolder, names: Mapping[str, str], elsewhere: Mapping[str, str]
) -> tuple[Segments, dict[Split, int]]:
    """The train segments and how many are of which table; of one that neither has a table nor audio there are none."""
    train, counts = Segments(), dict.fromkeys((BALANCED, UNBALANCED), 0)
    elsewhere = dict(elsewhere)
    for split in counts:
        table = _table(folder, split.table)
        if table.is_file() or has_audio_folder(folder.root, split):
            counts[split] = find_segments(folder.root, split, table, names, elsewhere, train)
            if split is BALANCED:  # the small table comes first, so that the ids of the large one need not be held
                elsewhere |= {clip.id: split.table for clip in train}
    if not train:
        raise _no_audio(folder, list(counts))
    return train, counts


def _table(folder: DataFolder, name: str) -> Path:
    base = metadata_folder(folder)
    return first_file([base, base / "csv", base / "metadata"], [name])


def _no_audio(folder: DataFolder, splits: Sequence[Split]) -> MissingDatasetError:
    places = " or ".join(f"audios/{split.folders[0]}" for split in splits)
    tables = " and ".join(split.table for split in splits)
    return MissingDatasetError(
        f"no audio of AudioSet's {tables} below {folder.root}: expected files Y<YouTube id>.wav, or of another format, "
        f"in {places}, or in a folder {' or '.join(name for split in splits for name in split.folders[1:])}; it is to "
        f"be had from {SOURCE}"
    )


TASKS = {
    "audioset": Dataset(
        name="audioset", title=_TITLE, source=SOURCE, licence=_LICENCE, hours=5_790.0, num_bytes=2_460_000_000_000,
        tasks=("audioset",), make=audioset_tasks, how=_HOW,
        # sizes and checksums of the tables are not published; their headers say how many lines there are
        archives=tuple(
            Archive(name, (TABLES + name,), into="csv")
            for name in (LABEL_TABLE, EVAL.table, BALANCED.table, UNBALANCED.table)
        ),
    )
}  # fmt: skip

CORPORA = {
    "audioset": Corpus(
        name="audioset", title=_TITLE, source=SOURCE, licence=_LICENCE, hours=5_730.0, num_bytes=2_460_000_000_000,
        archives=tuple(
            Archive(name, (TABLES + name,), into="csv") for name in (LABEL_TABLE, BALANCED.table, UNBALANCED.table)
        ),
        how=_HOW, clips=audioset_clips, labels=audioset_labels,
    )
}  # fmt: skip
