"""mini: six small tasks, two a domain, made on this machine from packages of the Python index: a demonstration.

Source: leveret's own: recorded samples of a sound font, eSpeak NG, and synthesised sound; nothing is downloaded.
It shows the whole way from audio to a scorecard in minutes, with known scores. It is no benchmark: each task stands
for one of HARES in shape only, a score here says little of the score there, and other versions of the packages make
other audio.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from leveret.contracts import Progress, Task
from leveret.home import home
from leveret.tasks.manifest import manifest_tasks
from leveret.tasks.mini_effects import effect_clips
from leveret.tasks.mini_music import instrument_clips, pitch_clips
from leveret.tasks.mini_scenes import scene_clips
from leveret.tasks.mini_sound import RATE, SEED, Sound
from leveret.tasks.mini_soundfont import SoundFont, find_font
from leveret.tasks.mini_speech import speech_clips

FOLDER = "mini-v1"
"""Bumped by hand whenever the suite's making changes."""
MANIFEST, SETTINGS, LISTING = "manifest.csv", "manifest.tasks.json", "listing.json"
NUM_CLIPS = 2481  # for the share of the work that is done; guarded by a test
PACKAGES = ("pretty_midi", "espeakng-loader")

_FONT_NOTE = "recorded samples of the sound font TimGM6mb (GPL-2.0) inside the package pretty_midi {pretty_midi} (MIT)"
_SPEECH_NOTE = "synthesised by eSpeak NG (GPL-3.0) inside the package espeakng-loader {espeakng-loader}"
_DEMONSTRATION = "a demonstration with known scores, not a benchmark"


class MissingExtraError(ValueError):
    """The packages that mini is made from are not installed."""


@dataclass(frozen=True)
class MiniTask:
    """What the manifest's settings say of one task; `notes` name the packages that it is made from."""

    domain: str
    crop_seconds: float
    stands_for: str
    notes: str
    kind: str = "single"
    metric: str = "accuracy"


MINI = {
    "mini_pitch": MiniTask("music", 1.5, "nsynth_pitch", f"{_FONT_NOTE}, played as notes in synthesised noise"),
    "mini_instrument": MiniTask(
        "music", 1.5, "nsynth_instrument", f"{_FONT_NOTE}, played as notes in synthesised noise"
    ),
    "mini_words": MiniTask("speech", 1.0, "speech_commands_v2", f"{_SPEECH_NOTE}, in synthesised noise"),
    "mini_language": MiniTask("speech", 3.0, "voxforge", f"{_SPEECH_NOTE}, in synthesised noise"),
    "mini_effects": MiniTask(
        "environment", 2.0, "esc50", f"{_FONT_NOTE}, one for each class, at several speeds in synthesised noise"
    ),
    "mini_scenes": MiniTask(
        "environment",
        3.0,
        "audioset",
        f"four sources are {_FONT_NOTE}, six are synthesised here",
        kind="multi",
        metric="map",
    ),
}


def mini_tasks(folder: str = "") -> list[Task]:
    """The six tasks, made at the first call.

    Args:
        folder: What follows `mini:`, where the suite is or shall be; empty is `mini-v1` in leveret's home.
    """
    place = Path(os.path.expanduser(folder)) if folder else home() / FOLDER
    return manifest_tasks(str(make_suite(place)), suite="mini")


TASKS = {"mini": mini_tasks}


def make_suite(folder: Path, progress: Progress | None = None) -> Path:
    """The manifest of the suite in a folder; what is not there yet is made beside it and moved there whole.

    Two processes may make it at once: the first to finish wins, and the other's is thrown away.

    Raises:
        MissingExtraError: The packages that it is made from are not installed.
        FileExistsError: The folder holds something else.
    """
    if not (folder / LISTING).is_file():
        missing = missing_packages()
        if missing:
            raise MissingExtraError(
                f"the suite mini is made from {' and '.join(missing)}, which cannot be found here; "
                "pip install 'leveret[mini]'"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f"{folder.name}.making-", dir=folder.parent) as scratch:
            made = Path(scratch) / FOLDER
            _write(made, _sounds(Path(scratch)), progress)
            try:
                made.rename(folder)
            except OSError as error:
                # lost the race to another process, or the folder is not ours
                if not (folder / LISTING).is_file():
                    raise FileExistsError(
                        f"{folder} holds something that is not the suite mini ({error}); remove it or name another"
                    ) from error
    return folder / MANIFEST


def missing_packages() -> list[str]:
    """Those of PACKAGES that cannot be found."""
    found = {"pretty_midi": find_font() is not None, "espeakng-loader": find_spec("espeakng_loader") is not None}
    return [name for name in PACKAGES if not found[name]]


def _sounds(scratch: Path) -> Iterator[Sound]:
    """Every clip, task by task."""
    path = find_font()
    assert path is not None, "missing_packages found the font"
    font = SoundFont(path)
    yield from pitch_clips(font)
    yield from instrument_clips(font)
    yield from speech_clips(scratch)
    yield from effect_clips(font)
    yield from scene_clips(font)


def _write(folder: Path, sounds: Iterator[Sound], progress: Progress | None) -> None:
    """Audio, manifest and settings; the listing comes last and says that all is there."""
    digests: dict[str, str] = {}
    rows = ["task,split,label,group,source,file,seconds"]
    for number, sound in enumerate(sounds):
        file = f"{sound.task}/{sound.split}/{number:05d}.flac"
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.round(sound.wave * 32767).astype(np.int16)
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        digests[file] = _digest(path)
        source = '"' + sound.source.replace('"', "'") + '"'
        label, seconds = "|".join(sound.labels), len(samples) / RATE
        rows.append(f"{sound.task},{sound.split},{label},{sound.group},{source},{file},{seconds:g}")
        if progress is not None:
            progress(min((number + 1) / NUM_CLIPS, 1.0))
    versions = {name: version(name) for name in PACKAGES}
    settings = {
        name: vars(task) | {"notes": f"{_DEMONSTRATION}; {task.notes.format_map(versions)}"}
        for name, task in MINI.items()
    }
    (folder / MANIFEST).write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    digests |= {name: _digest(folder / name) for name in (MANIFEST, SETTINGS)}
    listing = {"version": FOLDER, "seed": SEED, "packages": versions, "sha256": digests}
    (folder / LISTING).write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
