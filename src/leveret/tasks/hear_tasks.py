"""HEAR 2021 tasks: `hear-tasks:DIR` reads folders in the layout that heareval reads, with their splits and metrics.

Layout: DIR/TASK/{task_metadata.json, labelvocabulary.csv, SPLIT.json, RATE/SPLIT/*.wav}; DIR may be one such folder.
Splits are train, valid and test, or folds; a fold is scored by a probe of all others but the next, which is its
validation split. An optional leveret.json, written by `leveret data export`, says what these files cannot.
Source: heareval 2021.1.3 (embeddings/task_embeddings.py, predictions/task_predictions.py, score.py).
Departures: the probe and its protocol are leveret's, so a score here is not one of the HEAR leaderboard. Event tasks,
which need an embedding every few milliseconds, are refused, or skipped where a folder holds other tasks too.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from leveret.clips import Clip
from leveret.contracts import Kind, Task
from leveret.tasks.suite_settings import SETTINGS, SuiteError, SuiteTask, read_object, say, task_folders, unique_names

METADATA, VOCABULARY, SIDECAR = "task_metadata.json", "labelvocabulary.csv", "leveret.json"
KINDS: Mapping[str, Kind] = {"multiclass": "single", "multilabel": "multi"}
# HEAR's name of a score -> leveret's; pitch_acc is accuracy under another name
METRICS: Mapping[Kind, Mapping[str, str]] = {
    "single": {"top1_acc": "accuracy", "pitch_acc": "accuracy"},
    "multi": {"mAP": "map"},
}
FOLD_MODES = ("presplit_kfold", "new_split_kfold")
DOMAINS = {
    "beijing_opera": "music", "beehive_states": "environment", "coughvid": "environment", "esc50": "environment",
    "fsd50k": "environment", "gunshot_triangulation": "environment", "libricount": "speech",
    "mridangam_stroke": "music", "mridangam_tonic": "music", "nsynth_pitch": "music", "speech_commands": "speech",
    "tfds_crema_d": "speech", "tfds_gtzan": "music", "tfds_gtzan_music_speech": "other",
    "vocal_imitation": "environment", "vox_lingua_top10": "speech",
}  # fmt: skip
"""Of the tasks of HEAR 2021, leveret's reading of them; a name counts where the metadata's begins with it."""


def hear_tasks(path: str) -> list[Task]:
    """The scene tasks of a folder in HEAR's layout.

    Args:
        path: What follows `hear-tasks:`, the folder of one task or of several.

    Raises:
        SuiteError: A file is missing or wrong, or there is no scene task.
    """
    collection, folders = task_folders("hear-tasks", path, lambda folder: (folder / METADATA).is_file(), METADATA)
    metadata = {folder: read_object(folder / METADATA) for folder in folders}
    events = [folder.name for folder in folders if metadata[folder].get("embedding_type") == "event"]
    if len(events) == len(folders):
        raise SuiteError(
            f"{', '.join(map(repr, events))}: event tasks, which need an embedding every few milliseconds; leveret "
            "embeds clips, so only tasks with embedding_type 'scene' can be scored; evaluate these with heareval"
        )
    skipped = f"{len(events)} event tasks of the folder skipped: {', '.join(map(repr, events))}" if events else ""
    if skipped:
        say(f"hear-tasks: {skipped} (leveret embeds clips, not moments)")
    scenes = [folder for folder in folders if folder.name not in events]
    return unique_names(_task(folder, metadata[folder], f"hear/{collection}", skipped) for folder in scenes)


def _task(folder: Path, metadata: Mapping[str, Any], suite: str, skipped: str) -> SuiteTask:
    where = folder / METADATA
    _choice(where, metadata, "embedding_type", ("scene",))
    kind = KINDS[_choice(where, metadata, "prediction_type", tuple(KINDS))]
    mode = _choice(where, metadata, "split_mode", ("trainvaltest", *FOLD_MODES))
    splits = ["train", "valid", "test"] if mode == "trainvaltest" else metadata.get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) and _plain(name) for name in splits):
        raise SuiteError(f"{where}: splits={splits!r}; expected a list of the names of the folds")
    metric, notes = _metric(where, kind, metadata.get("evaluation"))
    domain = domain_of(str(metadata.get("task_name", "")), DOMAINS)
    settings = {"metric": metric, "crop_seconds": metadata.get("sample_duration")}
    settings |= {"domain": domain} if domain else {}
    said, about = _sidecar(folder / SIDECAR)
    labels = read_vocabulary(folder / VOCABULARY)
    rate = _sample_rate(folder, splits)
    parts = {split: _clips(folder, split, rate, kind, labels, about) for split in splits}
    files = {clip.id: clip.path.name for clips in parts.values() for clip in clips}
    return SuiteTask(
        folder, folder.name, suite, kind, labels, parts, files, {**settings, **said},
        "given" if mode == "trainvaltest" else "next",
        [f"HEAR's files at {rate} Hz under leveret's probe, not heareval's", *notes, *filter(None, [skipped])],
    )  # fmt: skip


def _sidecar(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The settings of the task, and file name -> what is known of the clip; both empty where there is no such file."""
    values = read_object(path, ("format", "task", "clips")) if path.exists() else {}
    said, clips = values.get("task", {}), values.get("clips", {})
    if (
        not isinstance(said, dict)
        or not isinstance(clips, dict)
        or not all(isinstance(v, dict) for v in clips.values())
    ):
        raise SuiteError(
            f"{str(path)!r}: expected objects under 'task' and 'clips'; remove it or export the task again"
        )
    unknown = [key for key in said if key not in SETTINGS]
    if unknown:
        raise SuiteError(f"{str(path)!r} has the unknown setting {unknown[0]!r}; known: {', '.join(SETTINGS)}")
    return said, clips


def _clips(
    folder: Path, split: str, rate: int, kind: Kind, labels: Sequence[str], about: Mapping[str, Any]
) -> list[Clip]:
    path, known, clips = folder / f"{split}.json", set(labels), []
    for file, names in read_object(path).items():
        if not _plain(file):
            raise SuiteError(f"{path}: {file!r} is no plain file name; expected names of wav files in {rate}/{split}")
        if not isinstance(names, list) or (kind == "single" and len(names) != 1):
            expected = "a list of one label" if kind == "single" else "a list of labels"
            raise SuiteError(f"{path}: {file!r} has the labels {names!r}; expected {expected}")
        texts = tuple(dict.fromkeys(str(name) for name in names))
        for text in texts:
            if text not in known:
                raise SuiteError(
                    f"{path}: {file!r} has the label {text!r}, which {VOCABULARY} does not have; add it there"
                )
        one = about.get(file, {})
        clip_id = str(one.get("id", f"{split}/{file}"))
        clips.append(
            Clip(
                clip_id, folder / str(rate) / split / file, texts, str(one.get("group", clip_id)),
                str(one.get("source", "")),
            )
        )  # fmt: skip
    return clips


def read_vocabulary(path: Path) -> list[str]:
    """The labels of a labelvocabulary.csv in the order of their idx.

    Raises:
        SuiteError: No such file, or its idx are not 0, 1, 2, ...
    """
    if not path.is_file():
        raise SuiteError(f"no file {str(path)!r}; the task needs it, so copy it there")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SuiteError(f"{str(path)!r} is not a UTF-8 CSV file ({error}); copy it again") from error
    if not rows or not {"idx", "label"} <= rows[0].keys():
        raise SuiteError(f"{str(path)!r}: expected the columns idx and label, and a row a class")
    labels = {row["idx"]: row["label"] or "" for row in rows}
    wanted = [str(k) for k in range(len(rows))]
    if set(labels) != set(wanted) or len(set(labels.values())) < len(rows):
        raise SuiteError(
            f"{str(path)!r}: expected idx 0 to {len(rows) - 1} once each, with {len(rows)} different labels"
        )
    return [labels[k] for k in wanted]


def domain_of(name: str, known: Mapping[str, str]) -> str:
    """The domain of the longest known name that this one begins with; empty where there is none."""
    matches = [key for key in known if name.startswith(key)]
    return known[max(matches, key=len)] if matches else ""


def _metric(where: Path, kind: Kind, evaluation: Any) -> tuple[str, list[str]]:
    """The first of HEAR's scores that leveret has, and what became of the others."""
    if not isinstance(evaluation, list) or not evaluation or not all(isinstance(name, str) for name in evaluation):
        raise SuiteError(f"{where}: evaluation={evaluation!r}; expected a list of scores, such as ['top1_acc']")
    chosen = next((name for name in evaluation if name in METRICS[kind]), None)
    if chosen is None:
        raise SuiteError(
            f"{where}: evaluation={evaluation!r} of a {kind}-label task; leveret has {', '.join(METRICS[kind])}"
        )
    others = [name for name in evaluation if name != chosen]
    note = f"not computed: HEAR's {', '.join(others)}" if others else ""
    if evaluation[0] != chosen:
        note += f", of which {evaluation[0]} is its main score"
    return METRICS[kind][chosen], [note] if note else []


def _sample_rate(folder: Path, splits: Sequence[str]) -> int:
    """The highest rate that all splits are there at: encoders of any rate are served best by it."""
    found = [below for below in folder.iterdir() if below.is_dir() and below.name.isascii() and below.name.isdigit()]
    rates = [int(below.name) for below in found if all((below / split).is_dir() for split in splits)]
    if not rates:
        there = ", ".join(sorted(f"{below.name}/" for below in found)) or "no such folder"
        raise SuiteError(
            f"no audio in {str(folder)!r}: expected RATE/SPLIT/*.wav, such as 48000/{splits[0]}, for all of "
            f"{', '.join(splits)}; found {there}"
        )
    return max(rates)


def _choice(where: Path, metadata: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
    if metadata.get(key) not in known:
        raise SuiteError(f"{where}: {key}={metadata.get(key)!r}; expected {' or '.join(map(repr, known))}")
    return cast(str, metadata[key])


def _plain(name: str) -> bool:
    """No path, no parent, no hidden file."""
    return bool(name) and not name.startswith(".") and not any(letter in name for letter in "/\\\0")


TASKS = {"hear-tasks": hear_tasks}
