"""Toy trees of Speech Commands, Fluent Speech Commands, VoxForge and VoxCeleb1, laid out as their archives are."""

from pathlib import Path

import numpy as np
import soundfile

from leveret.tasks.fluent import SLOTS
from leveret.tasks.speech_commands import BACKGROUND, LABELS_V2, SILENCE, SILENCE_WINDOWS, TEN_WORDS, UNKNOWN

FLUENT_ROWS = {
    "train": [("aaa", 0, 4, 2), ("bbb", 5, 9, 1), ("aaa", 1, 7, 0), ("bbb", 2, 0, 2)],
    "valid": [("ccc", 0, 4, 2)],
    "test": [("ddd", 0, 4, 2), ("ddd", 5, 9, 1), ("eee", 1, 7, 0)],
}
"""Split -> speaker and the indices of action, object and location."""
VOXCELEB = {"id10001": ("1", "1", "3"), "id10270": ("1", "2", "3"), "id11251": ("1", "1", "3")}
"""Speaker -> split of each utterance, each of a video of its own."""


def write(path: Path, hertz: float, seconds: float, seed: int) -> None:
    """A tone in a little noise, 16 kHz mono, 16 bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(16_000 * seconds)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    soundfile.write(path, wave, 16_000, subtype="PCM_16", format="WAV")


def speech_commands_tree(root: Path) -> Path:
    """Both archives of v0.02: four clips a word, one of them in each list; two clips a class in the test set."""
    words, tests = root / "speech_commands_v0.02", root / "speech_commands_test_set_v0.02"
    lists: dict[str, list[str]] = {"testing_list.txt": [], "validation_list.txt": [], "": []}
    for number, word in enumerate(LABELS_V2):
        for k, list_ in enumerate((*lists, "")):
            name = f"{word}/{number:04x}00{k:02d}_nohash_0.wav"
            lists[list_].append(name)
            write(words / name, 200 + 90 * number, 0.6 if k == 3 else 1.0, 10 * number + k)
            if word in TEN_WORDS and list_ == "testing_list.txt":
                (tests / word).mkdir(parents=True)
                (tests / name).hardlink_to(words / name)
    for list_ in ("testing_list.txt", "validation_list.txt"):
        (words / list_).write_text("\n".join(lists[list_]))  # the last line has no end, as published
    for number, stem in enumerate(SILENCE_WINDOWS):
        write(words / BACKGROUND / f"{stem}.wav", 50, 2.2, 900 + number)
    (words / BACKGROUND / "README.md").write_text("Noise.\n")
    for k in range(2):
        write(tests / SILENCE / f"{842 + k}.wav", 50, 1.0, 910 + k)
        write(tests / UNKNOWN / f"seven_fb7eb48{k}_nohash_1.wav.wav", 1900, 1.0, 920 + k)
    return root


def fluent_tree(root: Path) -> Path:
    """The three tables and a handful of commands."""
    top = root / "fluent_speech_commands_dataset"
    (top / "data").mkdir(parents=True)
    for split, rows in FLUENT_ROWS.items():
        lines = [",path,speakerId,transcription,action,object,location"]
        for k, (speaker, *indices) in enumerate(rows):
            path = f"wavs/speakers/{speaker}/{split}-{k}.wav"
            labels = [names[index] for (_, names), index in zip(SLOTS, indices, strict=True)]
            lines.append(f'{k},{path},{speaker},"Turn it on, please",{",".join(labels)}')
            write(top / path, 300 * (1 + indices[0]), 3.5 if k == 0 else 1.2, k)
        (top / "data" / f"{split}_data.csv").write_text("\n".join(lines) + "\n")
    return root


def voxforge_tree(root: Path) -> Path:
    """A list of 40 archives, every one unpacked but the last; six languages, two recordings each."""
    host = "www.repository.voxforge1.org/downloads"
    root.mkdir(parents=True)
    urls = []
    for number in range(40):
        language = ("de", "en", "es", "fr", "it", "ru")[number % 6]
        name = f"speaker{number:02d}-20080101-abc"
        folder = f"{host}/{language}/Trunk/Audio/Main/16kHz_16bit"
        urls.append(f"http://{folder}/{name}.tgz")
        if number < 39:
            for k in range(2):
                write(root / folder / name / "wav" / f"{language}{k}.wav", 300 * (1 + number % 6), 3.2, 2 * number + k)
    (root / "voxforge_urls.txt").write_text("\n".join(urls) + "\n")
    return root


def voxceleb_tree(root: Path) -> Path:
    """Both archives merged into wav/, and the list."""
    lines = []
    for number, (speaker, splits) in enumerate(VOXCELEB.items()):
        for k, split in enumerate(splits):
            lines.append(f"{split} {speaker}/video{k}/0000{k}.wav")
            write(root / "wav" / speaker / f"video{k}" / f"0000{k}.wav", 300 * (1 + number), 3.5, 3 * number + k)
    (root / "iden_split.txt").write_text("\n".join(lines) + "\n")
    return root
