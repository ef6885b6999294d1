"""Toy trees of the music datasets and of LibriSpeech, in the exact layout of their archives."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from leveret.tasks.librispeech import OFFICIAL_CLIPS as LIBRISPEECH_SUBSETS
from leveret.tasks.magnatagatune import TAGS
from leveret.tasks.nsynth import FAMILIES

RATE = 16_000
NSYNTH = {
    "train": [("guitar", "acoustic", 10, (60, 74, 88)), ("organ", "electronic", 7, (60, 74, 88))],
    "valid": [("guitar", "acoustic", 21, (60, 74)), ("organ", "electronic", 1, (60, 74))],
    "test": [("guitar", "acoustic", 30, (60, 74)), ("organ", "electronic", 3, (60, 74))],
}
"""Split -> instruments (family, source, number, pitches); none is in two splits but that of train."""
MAGNATAGATUNE = [
    (2, "f", "american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria", ("classical", "violin")),
    (6, "e", "steven_devine-portrait_of_an_english_harpsichord-01-lesson_1", ("harpsichord",)),
    (7, "d", "jag-pretty_girl_on_the_subway-02-cajun_in_the_night", ()),
    (14, "c", "lvx_nova-lvx_nova-01-contimune", ("techno",)),
    (19, "c", "lvx_nova-lvx_nova-02-nina_preaches", ("classical", "violin")),
    (25, "0", "american_baroque-dances_and_suites_of_rameau-01-gavotte", ("classical", "violin")),
    (29, "b", "hands_upon_black_earth-priestess-04-techno_ritual", ("techno", "harpsichord")),
    (35644, "6", "norine_braun-now_and_zen-08-gently", ("guitar",)),
    (31, "6", "norine_braun-now_and_zen-08-gently", ()),
]
"""Id, folder, name up to its span, tags. The clip 35644 is one that the archive holds broken."""
LIBRISPEECH = {"train-clean-100": (103, 1240), "train-clean-360": (14, 208), "train-other-500": (20, 205)}
"""Subset -> speaker and chapter."""


def tone(hertz: float, seconds: float, seed: int = 0) -> np.ndarray:
    """A tone in a little noise."""
    time = np.arange(round(RATE * seconds)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * noise


def nsynth_tree(root: Path) -> Path:
    """nsynth-{train,valid,test}: two families, two or three pitches; an organ has an octave above its note."""
    note = 0
    for split, instruments in NSYNTH.items():
        (root / f"nsynth-{split}" / "audio").mkdir(parents=True)
        records = {}
        for number, (family, source, index, pitches) in enumerate(instruments):
            for pitch in pitches:
                note += 1
                instrument = f"{family}_{source}_{index:03d}"
                name = f"{instrument}-{pitch:03d}-100"
                records[name] = {
                    "qualities": [0] * 10, "pitch": pitch, "note": note, "instrument_source_str": source,
                    "velocity": 100, "instrument_str": instrument, "instrument": number, "sample_rate": RATE,
                    "qualities_str": [], "instrument_source": 0, "note_str": name,
                    "instrument_family": FAMILIES.index(family), "instrument_family_str": family,
                }  # fmt: skip
                hertz = 440 * 2 ** ((pitch - 69) / 12)
                wave = tone(hertz, 4, note) + (tone(2 * hertz, 4, note) if family == "organ" else 0)
                soundfile.write(root / f"nsynth-{split}" / "audio" / f"{name}.wav", wave, RATE)
        (root / f"nsynth-{split}" / "examples.json").write_text(json.dumps(records, indent=4))
    return root


def magnatagatune_tree(root: Path) -> Path:
    """Folders 0 to f and annotations_final.csv: a tag has a tone of its own."""
    others = tuple(f"rare tag {k}" for k in range(188 - len(TAGS)))
    root.mkdir(parents=True)
    for folder in "0123456789abcdef":
        (root / folder).mkdir()
    with (root / "annotations_final.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        columns = sorted((*TAGS, *others))
        writer.writerow(["clip_id", *columns, "mp3_path"])
        for clip_id, folder, name, tags in MAGNATAGATUNE:
            path = magnatagatune_path(clip_id, folder, name)
            writer.writerow([clip_id, *(int(column in tags) for column in columns), path])
            wave = sum((tone(200 * 1.2 ** TAGS.index(tag), 29.1, clip_id) for tag in tags), tone(100, 29.1, clip_id))
            if clip_id == 35644:
                (root / path).write_bytes(b"")
            else:
                soundfile.write(root / path, wave / (1 + len(tags)), RATE, format="MP3")
    return root


def magnatagatune_path(clip_id: int, folder: str, name: str) -> str:
    """The broken clip has its real span, the others the first."""
    return f"{folder}/{name}-{'117-146' if clip_id == 35644 else '0-29'}.mp3"


def magnatagatune_lists(root: Path, clips: Sequence[tuple[int, str, str, tuple[str, ...]]] = MAGNATAGATUNE) -> Path:
    """The same clips as index_mtt.tsv and the three lists, where the broken ones are in the index alone."""
    root.mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for clip_id, folder, _, tags in clips:
        split = "train" if folder <= "b" else "val" if folder == "c" else "test"
        if clip_id != 35644:
            lists[split].append(f"{clip_id}\t{[float(tag in tags) for tag in TAGS]}\n")
    (root / "index_mtt.tsv").write_text("".join(f"{c[0]}\t{magnatagatune_path(*c[:3])}\n" for c in clips))
    for split, lines in lists.items():
        (root / f"{split}_gt_mtt.tsv").write_text("".join(lines))
    return root


def librispeech_tree(root: Path) -> Path:
    """LibriSpeech with its three train subsets and one of the others: a chapter each, two utterances."""
    top = root / "LibriSpeech"
    for subset, (speaker, chapter) in {**LIBRISPEECH, "dev-clean": (1272, 128104)}.items():
        folder = top / subset / str(speaker) / str(chapter)
        folder.mkdir(parents=True)
        names = [f"{speaker}-{chapter}-{k:04d}" for k in range(2)]
        for k, name in enumerate(names):
            soundfile.write(folder / f"{name}.flac", tone(150 + 20 * k, 1.5, k), RATE, subtype="PCM_16")
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(f"{name} AS IT WAS\n" for name in names))
    (top / "SPEAKERS.TXT").write_text("103  | F | train-clean-100  | 25.14 | A Reader\n")
    assert set(LIBRISPEECH) == set(LIBRISPEECH_SUBSETS)
    return root
