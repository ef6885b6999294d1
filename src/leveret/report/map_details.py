"""Embedding maps as the page's script takes them, and where the sound of their clips comes from.

Encoders of one task show the same clips, so names, labels and sound of a sample are kept once; a map is then four
bytes a clip. Sound is a link to the file, where it lies as seen from the page, or an excerpt within the page.
"""

import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from leveret.embedding_map import MAPS, EmbeddingMap, read_map
from leveret.predictions import Predictions
from leveret.runs import Run

PLAYABLE = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
"""What browsers decode, of what leveret reads."""
LONGEST = 200
"""Letters of a file name; the middle of a longer one is left out."""


@dataclass(frozen=True)
class Sound:
    """A span of a file.

    Attributes:
        file: Absolute.
        start: Seconds into the file.
        end: Seconds into the file; None is its end.
    """

    file: str
    start: float
    end: float | None


@dataclass
class Samples:
    """The clips of all maps of a page, each sample once.

    Attributes:
        details: As the script takes them: names, labels as numbers in the lists of classes.
        sounds: Of each sample, one a clip.
    """

    details: list[dict[str, Any]] = field(default_factory=list)
    sounds: list[list[Sound]] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)

    def map_of(self, run: Run, key: str, predictions: Predictions, classes: Sequence[int]) -> dict[str, Any] | None:
        """A task's map; None where the run has none.

        Args:
            key: Of the task's files in the run folder.
            classes: Number of each slot's list of class names.

        Raises:
            RunError: The file of the map is damaged.
        """
        found = map_of_task(run, key)
        if found is None:
            return None
        labels = label_numbers(predictions)
        shown = [k for k, clip in enumerate(found.clip) if clip in labels]
        sounds = [
            Sound(os.path.normpath(run.folder.absolute() / found.audio[k]), found.start[k], found.end[k]) for k in shown
        ]
        names = [found.clip[k] for k in shown]
        number = self._number(names, [labels[name] for name in names], sounds, classes)
        return {
            "sample": number,
            "xy": b64encode(found.position[shown].astype("<u2").tobytes()).decode(),
            "of": found.num_clips,
            "perplexity": round(found.perplexity, 1),
            "seconds": round(found.seconds, 1),
        }

    def _number(
        self, names: Sequence[str], labels: Sequence[Sequence[int]], sounds: list[Sound], classes: Sequence[int]
    ) -> int:
        key = (tuple(names), tuple(map(tuple, labels)), tuple(sounds), tuple(classes))
        if key not in self._numbers:
            self._numbers[key] = len(self.details)
            self.details.append({"clips": [shortened(name) for name in names], "labels": labels, "classes": classes})
            self.sounds.append(sounds)
        return self._numbers[key]

    def heard(self, source_of: Mapping[Sound, str]) -> dict[str, Any]:
        """The samples with the number of each clip's source, -1 where there is none, and the sources.

        Args:
            source_of: Address for the page's player.
        """
        numbers = {sound: number for number, sound in enumerate(source_of)}
        return {
            "samples": [
                {**details, "audio": [numbers.get(sound, -1) for sound in sounds]}
                for details, sounds in zip(self.details, self.sounds, strict=True)
            ],
            "audio": list(source_of.values()),
        }

    def links(self, page_folder: Path) -> dict[Sound, str]:
        """Addresses of the files that lie on this machine, as seen from the page."""
        found: dict[Sound, str] = {}
        there: dict[str, bool] = {}
        for sound in dict.fromkeys(sound for sounds in self.sounds for sound in sounds):
            if sound.file not in there:
                there[sound.file] = sound.file.lower().endswith(PLAYABLE) and os.path.isfile(sound.file)
            if there[sound.file]:
                span = "" if sound.end is None and not sound.start else f"#t={sound.start:g}"
                span += "" if sound.end is None else f",{sound.end:g}"
                # with the colon escaped too, no path can be taken for another scheme
                found[sound] = quote(os.fsencode(os.path.relpath(sound.file, page_folder))) + span
        return found


def map_of_task(run: Run, key: str) -> EmbeddingMap | None:
    """The embedding map of a task; None where the run has none."""
    return read_map(run.folder / MAPS / f"{key}.parquet")


def label_numbers(predictions: Predictions) -> dict[str, list[int]]:
    """Clip -> numbers of its labels: one a slot; of tags any number in the one list."""
    columns = [{name: k for k, name in enumerate(names)} for names in predictions.vocabulary.values()]
    if predictions.metric == "map":
        columns *= max(map(len, predictions.labels), default=0)
    return {
        clip: [column[label] for column, label in zip(columns, labels, strict=False)]
        for clip, labels in zip(predictions.clip, predictions.labels, strict=True)
    }


def shortened(name: str) -> str:
    """A name of LONGEST letters at most and a few dots."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}...{name[-half:]}"
