"""NSynth: 305,979 notes of 4 s; which of 11 families an instrument is of, and which of 128 MIDI pitches it plays.

Source: paper, table 1 and appendix A: instruments by "the 4-second clip for both training and evaluation", pitches by
crops of 1 s and the mean score of "four non-overlapped 1-second subclips". Data: Engel et al., ICML 2017.
Layout: nsynth-{train,valid,test}/examples.json, the whole index, and nsynth-{train,valid,test}/audio/NOTE.wav with NOTE
FAMILY_SOURCE_III-PITCH-VELOCITY, also inside `nsynth`; the three indices may lie elsewhere, as the same folders
(`--labels nsynth=FOLDER`). Without nsynth-valid, which the paper does not use, there is no validation split.
Groups: the instrument; none of train is in valid or test.
Departures: none. Other divisions of these notes (HEAR's 5 and 50 hours with pitches 21 to 108 only, GANSynth's subset)
give scores that cannot be compared with the paper's.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import intern
from typing import Any, Literal, NamedTuple

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError, MissingDatasetError
from leveret.tasks.published_files import audio_by_stem, first_folder, require_some

SOURCE = "https://magenta.tensorflow.org/datasets/nsynth (the json/wav archives, 25 GB, CC BY 4.0)"
FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal",
)  # fmt: skip
"""In the order of their ids."""
PITCHES = tuple(map(str, range(128)))
"""MIDI numbers."""
OFFICIAL_CLIPS = {"train": 289_205, "valid": 12_678, "test": 4_096}
KEYS = ("note_str", "instrument_str", "instrument_family", "instrument_family_str", "pitch")
"""Of a record, those that are read."""
_NOTE = re.compile(r"(?=([a-z_]+)_(?:acoustic|electronic|synthetic)_)([a-z_]+\d{3})-(\d{3})-\d{3}", re.ASCII)
_CHARACTERS_AT_ONCE = 1 << 20
_LONGEST_RECORD = 1 << 16
_BETWEEN = " \t\r\n,"
_BEFORE_NAME, _BEFORE_VALUE = re.compile(r'[\s,]*(?=")'), re.compile(r"\s*:\s*(?=\{)")
_DECODER = json.JSONDecoder()
_NO_VALID = "nsynth-valid is not there, so `quick` chooses on a part of train"


class Note(NamedTuple):
    """What is read of a record."""

    name: str
    instrument: str
    family: int
    pitch: int


@dataclass(frozen=True, kw_only=True)
class NSynth(Task):
    """The three published splits under one of their labels.

    Attributes:
        parts: Split -> its notes, each with its file; the two tasks share them, and clips are made when asked for.
        label: Which label of a note.
    """

    parts: Mapping[str, Sequence[tuple[Note, Path]]]
    label: Literal["family", "pitch"]

    def folds(self) -> Sequence[Fold]:
        """The one division; `valid` may be empty."""
        names = [(name,) for name in self.labels]

        def clips(split: str) -> list[Clip]:
            below = f"nsynth-{split}/audio"
            return [
                Clip(f"{below}/{note.name}.wav", path, names[getattr(note, self.label)], note.instrument)
                for note, path in self.parts[split]
            ]

        return [Fold(clips("train"), clips("valid"), clips("test"))]


def nsynth_tasks(folder: DataFolder) -> list[Task]:
    """The tasks nsynth_instrument and nsynth_pitch.

    Raises:
        DatasetError: An index or the audio is missing, or is not that of NSynth.
    """
    root = first_folder(folder, ("nsynth",), ("nsynth-train", "nsynth-test"))
    indices = folder.labels or root
    parts: dict[str, list[tuple[Note, Path]]] = {"train": [], "valid": [], "test": []}
    for split, part in parts.items():
        index = indices / f"nsynth-{split}" / "examples.json"
        if split == "valid" and not index.parent.is_dir():
            continue
        notes = list(read_notes(index))
        if not 0 < len(notes) <= OFFICIAL_CLIPS[split]:
            raise DatasetError(
                f"{index} holds {len(notes):,} notes; expected {OFFICIAL_CLIPS[split]:,}, the {split} split of {SOURCE}"
            )
        expected = root / f"nsynth-{split}" / "audio"
        # names say no split, and are unique: audio that lies otherwise is found anywhere
        by_stem = next(filter(None, map(audio_by_stem, (expected, root))), {})
        part += [(note, by_stem.get(note.name, expected / f"{note.name}.wav")) for note in notes]
    _require_apart(indices, parts)
    require_some([path for part in parts.values() for _, path in part], "NSynth", SOURCE)
    pitch = NSynth(
        name="nsynth_pitch", domain="music", kind="single", slots=(("", PITCHES),), metric="micro_f1", crop_seconds=1.0,
        num_windows=4, suite="hares", stands_for="nsynth_pitch", official_clips=OFFICIAL_CLIPS,
        notes="" if parts["valid"] else _NO_VALID, parts=parts, label="pitch",
    )  # fmt: skip
    instrument = replace(
        pitch, name="nsynth_instrument", slots=(("", FAMILIES),), crop_seconds=4.0, num_windows=0,
        stands_for="nsynth_instrument", label="family",
    )  # fmt: skip
    return [instrument, pitch]


def read_notes(path: Path) -> Iterator[Note]:
    """The notes of an examples.json, one at a time: the largest has 289,205 records of which little is kept.

    Raises:
        DatasetError: It is missing, is no such index, or a record is none of NSynth.
    """
    if not path.is_file():
        raise MissingDatasetError(f"{path} is missing; it is to be had from {SOURCE}")
    try:
        for name, record in _members(path):
            yield _note(path, name, record)
    except (ValueError, OSError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} cannot be read ({error}); expected the file of {SOURCE}") from error


def _members(path: Path) -> Iterator[tuple[str, Any]]:
    """Keys and values of a JSON object too large to be held at once; values are objects of a few hundred bytes.

    Raises:
        ValueError: It is no JSON object of objects.
    """
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(_CHARACTERS_AT_ONCE).lstrip()
        if not text.startswith("{"):
            raise ValueError(f"it begins with {text[:20]!r}, not with a brace")
        text = text[1:]
        while True:
            place = 0
            while (member := _member(text, place)) is not None:
                name, value, place = member
                yield name, value
            text = text[place:].lstrip(_BETWEEN)
            if text.startswith("}"):
                break
            more = file.read(_CHARACTERS_AT_ONCE)
            if not more:
                raise ValueError("it ends early")
            if len(text) > _LONGEST_RECORD:
                raise ValueError(f"no record can be made of {text[:60]!r}")
            text += more
        if text[1:].strip() or file.read().strip():
            raise ValueError("something follows its end")


def _member(text: str, place: int) -> tuple[str, Any, int] | None:
    """The next name and value, and where they end; None where they do not stand whole in the text."""
    if not (before := _BEFORE_NAME.match(text, place)):
        return None
    try:
        name, place = _DECODER.raw_decode(text, before.end())
        if not (colon := _BEFORE_VALUE.match(text, place)):
            return None
        value, place = _DECODER.raw_decode(text, colon.end())
    except (json.JSONDecodeError, RecursionError):
        return None
    return name, value, place


def _note(path: Path, name: str, record: Mapping[str, Any]) -> Note:
    missing = [key for key in KEYS if key not in record]
    if missing:
        raise DatasetError(f"{path}: {name!r} lacks {', '.join(missing)}; expected the records of {SOURCE}")
    _, instrument, family, family_name, pitch = (record[key] for key in KEYS)
    if type(pitch) is not int or type(family) is not int or not (0 <= pitch < 128 and 0 <= family < len(FAMILIES)):
        raise DatasetError(
            f"{path}: {name!r} has pitch {pitch!r} and instrument_family {family!r}; expected 0 to 127 and 0 to "
            f"{len(FAMILIES) - 1}"
        )
    parts = _NOTE.fullmatch(name)
    if (
        parts is None
        or record["note_str"] != name
        or (parts[1], int(parts[3])) != (family_name, pitch)
        or parts[2] != instrument
        or family_name != FAMILIES[family]
    ):
        raise DatasetError(
            f"{path}: {name!r} has note_str {record['note_str']!r}, instrument_str {instrument!r}, instrument_family "
            f"{family} ({family_name!r}) and pitch {pitch}; expected a name FAMILY_SOURCE_III-PITCH-VELOCITY that says "
            f"the same, as in the file of {SOURCE}"
        )
    return Note(name, intern(parts[2]), family, pitch)


def _require_apart(indices: Path, parts: Mapping[str, Sequence[tuple[Note, Path]]]) -> None:
    """Refuse another division of the notes: the published one has no instrument of train in valid or test."""
    trained = {note.instrument for note, _ in parts["train"]}
    for split in ("valid", "test"):
        shared = sorted(trained & {note.instrument for note, _ in parts[split]})
        if shared:
            raise DatasetError(
                f"{indices}: {len(shared)} instruments are in train and in {split}, such as {shared[0]!r}; the splits "
                f"of {SOURCE} share none, so these are of another division or of two"
            )


_BASE = "http://download.magenta.tensorflow.org/datasets/nsynth"


def _archive(split: str, md5: str, num_bytes: int | None = None) -> Archive:
    name = f"nsynth-{split}.jsonwav.tar.gz"
    return Archive(name, (f"{_BASE}/{name}",), num_bytes, f"md5:{md5}")


TASKS = {
    "nsynth": Dataset(
        name="nsynth", title="NSynth", source=SOURCE, licence="CC BY 4.0", hours=340, num_bytes=25_233_566_634,
        tasks=("nsynth_instrument", "nsynth_pitch"), make=nsynth_tasks,
        archives=(
            _archive("train", "fde6665a93865503ba598b9fac388660", 23_815_298_079),
            _archive("valid", "87e94a00a19b6dbc99cf6d4c0c0cae87"),
            _archive("test", "5e6f8719bf7e16ad0a00d518b78af77d"),
        ),
    )
}  # fmt: skip
