"""Fluent Speech Commands: 30,043 spoken commands of 97 speakers, each an action, an object and a location.

Source: paper, table 1 and appendix A: three sets of logits, "correct only if all three slots are predicted correctly",
crops of 3 s, the mean score over consecutive 3 s. Data: Lugosch et al., arXiv:1904.03670.
Layout: data/{train,valid,test}_data.csv and wavs/speakers/SPEAKER/NAME.wav, also inside
fluent_speech_commands_dataset; the three tables may lie elsewhere (`--labels fluent_speech_commands=FOLDER`).
Labels: of each slot in alphabetical order. Tables that write `none_object` and `none_location` for `none` are read too.
Groups: the speaker, who is in one split only.
Departures: none. Six of seven test clips are shorter than the 3 s that they are padded to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import (
    as_stored,
    first_folder,
    metadata_folder,
    read_table,
    require_some,
    require_unique,
)

SOURCE = (
    "https://huggingface.co/datasets/leo19941227/fluent_speech_commands (1.55 GB, Fluent Speech Commands Public "
    "License, academic use)"
)
SLOTS = (
    ("action", ("activate", "bring", "change language", "deactivate", "decrease", "increase")),
    (
        "object",
        (
            "Chinese", "English", "German", "Korean", "heat", "juice", "lamp", "lights", "music", "newspaper", "none",
            "shoes", "socks", "volume",
        ),
    ),
    ("location", ("bedroom", "kitchen", "none", "washroom")),
)  # fmt: skip
OFFICIAL_CLIPS = {"train": 23_132, "valid": 3_118, "test": 3_793}
COLUMNS = ("path", "speakerId", "action", "object", "location")
_OTHER_NAMES = {"none_object": "none", "none_location": "none"}


def fluent_tasks(folder: DataFolder) -> list[Task]:
    """The one task of Fluent Speech Commands.

    Raises:
        DatasetError: A table or all audio is missing, or they are not the published ones.
    """
    root = first_folder(folder, ("fluent_speech_commands_dataset",), ("data", "wavs"))
    tables = metadata_folder(replace(folder, root=root / "data"))
    parts = {split: read_split(tables / f"{split}_data.csv", split) for split in OFFICIAL_CLIPS}
    _require_apart(tables, parts)
    rows = [row for part in parts.values() for row in part]
    paths = as_stored([root / row["path"] for row in rows])
    require_some(paths, "Fluent Speech Commands", SOURCE)
    path_of = dict(zip((row["path"] for row in rows), paths, strict=True))

    def clips(split: str) -> list[Clip]:
        return [
            Clip(row["path"], path_of[row["path"]], tuple(row[slot] for slot, _ in SLOTS), row["speakerId"])
            for row in parts[split]
        ]

    return [
        DividedTask(
            name="fluent_speech_commands", domain="speech", kind="slots", slots=SLOTS, metric="exact_match",
            crop_seconds=3.0, suite="hares", stands_for="fluent_speech_commands", official_clips=OFFICIAL_CLIPS,
            parts=[Fold(clips("train"), clips("valid"), clips("test"))],
        )
    ]  # fmt: skip


def read_split(path: Path, split: str) -> list[Mapping[str, str]]:
    """The rows of one table, `none` written as such.

    Raises:
        DatasetError: Another header, a label that is none of the slot's, a path of another layout, or too many rows.
    """
    rows: list[Mapping[str, str]] = [
        {key: _OTHER_NAMES.get(row[key], row[key]) for key in COLUMNS} for row in read_table(path, COLUMNS, SOURCE)
    ]
    for number, row in enumerate(rows, 2):
        for slot, labels in SLOTS:
            if row[slot] not in labels:
                raise DatasetError(
                    f"{path}, line {number}: {slot} {row[slot]!r}; expected one of {', '.join(labels)}: take the file "
                    f"of {SOURCE}"
                )
        if row["path"].split("/")[:-1] != ["wavs", "speakers", row["speakerId"]]:
            raise DatasetError(
                f"{path}, line {number}: path {row['path']!r} of speaker {row['speakerId']!r}; expected "
                f"wavs/speakers/SPEAKER/NAME.wav: take the file of {SOURCE}"
            )
    require_unique((row["path"] for row in rows), path)
    if not 0 < len(rows) <= OFFICIAL_CLIPS[split]:
        raise DatasetError(
            f"{path} has {len(rows):,} rows; expected {OFFICIAL_CLIPS[split]:,}, the {split} split of {SOURCE}"
        )
    return rows


def _require_apart(tables: Path, parts: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
    """Refuse other splits of the same commands: in the published ones a speaker stands in one only."""
    split_of: dict[str, str] = {}
    for split, rows in parts.items():
        for speaker in dict.fromkeys(row["speakerId"] for row in rows):
            if split_of.setdefault(speaker, split) != split:
                raise DatasetError(
                    f"{tables}: speaker {speaker!r} is in {split_of[speaker]} and in {split}; the published splits "
                    f"share no speaker, so these are others: take the files of {SOURCE}"
                )


TASKS = {
    "fluent_speech_commands": Dataset(
        name="fluent_speech_commands", title="Fluent Speech Commands", source=SOURCE,
        licence="Fluent Speech Commands Public License (academic use)", hours=19, num_bytes=1_550_000_000,
        tasks=("fluent_speech_commands",), make=fluent_tasks,
        # the authors' own server is gone, and no checksum was ever published: the three tables are checked instead
        archives=(
            Archive(
                "fluent.tar.gz",
                ("https://huggingface.co/datasets/leo19941227/fluent_speech_commands/resolve/main/fluent.tar.gz",),
            ),
        ),
    )
}  # fmt: skip
