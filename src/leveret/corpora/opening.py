"""A word becomes a corpus: published audio, a folder, a table, shards, or the clips that a task trains on.

audioset, librispeech[:PATH]     published audio to pretrain on, below --data
recordings/                      audio at any depth, without labels
shards/                          tar shards: with an index, labels and all; without, the audio in them
manifest:FILE or FILE.csv        the train rows of a table; labels where it has any
task:esc50, task:manifest:FILE   the training clips of a task, with its labels

A clip that is validated or scored on in any task or fold is not trained on. Where that leaves nothing, as in cross-
validation over all clips, the training clips of all folds are taken, and it is said.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from leveret.audio import AudioError, find_audio
from leveret.clips import Clip
from leveret.contracts import Task
from leveret.corpora.corpus import CorpusError, TrainingCorpus
from leveret.dataroots import DataRoots
from leveret.datasets.names import corpora
from leveret.loading import load_tasks
from leveret.manifests import read_training
from leveret.registry import unknown_name
from leveret.shards import INDEX, open_shards

TASK, MANIFEST = "task", "manifest"
_TABLES = (".csv", ".parquet")
_FORMS = ("FOLDER", "FILE.csv", "task:NAME")


def open_corpus(spec: str, data: DataRoots = DataRoots()) -> TrainingCorpus:
    """What is trained on.

    Args:
        data: Where published audio lies.

    Raises:
        CorpusError: It is not there or empty, or its labels do not fit.
        ShardError: Shards are missing, cut or damaged.
        DatasetError: Published audio is not there, or not as it was published.
        ManifestError: The table is wrong.
        UnknownNameError: The word means nothing.
    """
    name, _, rest = spec.partition(":")
    path = Path(os.path.expanduser(rest if name == MANIFEST else spec))
    if name == TASK:
        return _of_tasks(spec, load_tasks([rest], data=data))
    if (known := corpora().get(name)) is not None:
        folder = data.folder(known, rest)
        labels = known.labels(folder) if known.labels is not None else ()
        return TrainingCorpus(spec, known.clips(folder), labels)
    if path.is_dir():
        return _of_folder(spec, path)
    if name == MANIFEST or path.suffix in _TABLES:
        clips = read_training(path)
        return TrainingCorpus(spec, clips, tuple(sorted({label for clip in clips for label in clip.labels})))
    if os.sep in spec:
        raise CorpusError(f"no folder {path}; expected one with audio files or tar shards in it, or a table FILE.csv")
    raise unknown_name("corpus", spec, [*corpora(), *_FORMS])


def _of_folder(spec: str, folder: Path) -> TrainingCorpus:
    if (folder / INDEX).is_file():
        index = open_shards(folder)
        return TrainingCorpus(spec, index, index.facts.labels)
    # with an archive beside them, loose files would be a second copy of what is in it
    places = sorted(folder.rglob("*.tar")) or [folder]
    try:
        files = find_audio(places)
    except AudioError as error:
        raise CorpusError(f"no audio below {folder} ({error}); expected audio files, or tar shards of them") from error
    names = [(file, file.relative_to(folder)) for file in files]
    return TrainingCorpus(spec, [Clip(str(name), file, (), str(name.parent)) for file, name in names])


def _of_tasks(spec: str, tasks: Sequence[Task]) -> TrainingCorpus:
    """The clips that tasks train on; those of several tasks keep their labels apart by the task's name."""
    several = len(tasks) > 1
    trained: dict[tuple[Path, float, float | None], Clip] = {}
    held: set[Path] = set()
    for task in tasks:
        for fold in task.folds():
            held.update(clip.path for part in (fold.valid, fold.test) for clip in part)
            for clip in fold.train:
                place = (clip.path, clip.start, clip.end)
                known = trained[place].labels if place in trained else ()
                trained[place] = replace(clip, labels=tuple(dict.fromkeys([*known, *_named(task, clip, several)])))
    labels = tuple(_full(task, slot, label, several) for task in tasks for slot, some in task.slots for label in some)
    if unknown := {label for clip in trained.values() for label in clip.labels} - set(labels):
        raise CorpusError(f"{spec} has clips with the label {min(unknown)!r}, which is not in the vocabulary of a task")
    free = [clip for clip in trained.values() if clip.path not in held]
    left_out = len(trained) - len(free)
    notes = [
        f"{left_out:,} of {len(trained):,} training clips of {spec} are left out: another task or fold scores them"
    ]
    if trained and not free:
        free = list(trained.values())
        notes = [
            f"every clip of {spec} is scored on in some fold (cross-validation): all {len(free):,} are trained on, and "
            "no score on it counts afterwards"
        ]
    return TrainingCorpus(spec, free, labels, tuple(notes) if left_out else ())


def _full(task: Task, slot: str, label: str, several: bool) -> str:
    return ":".join([*([task.name] if several else []), *([slot] if slot else []), label])


def _named(task: Task, clip: Clip, several: bool) -> list[str]:
    slots = [slot for slot, _ in task.slots]
    of = slots if task.kind == "slots" else slots * len(clip.labels)
    return [_full(task, slot, label, several) for slot, label in zip(of, clip.labels, strict=True)]
