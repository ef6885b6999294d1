"""Toy trees of the speech datasets, in the exact layout of their archives."""

import csv
from pathlib import Path

import soundfile
from tests.tasks.toy_environment import tone

from leveret.tasks.speech_commands import BACKGROUND, SILENCE, SILENCE_WINDOWS, TEN_WORDS, UNKNOWN, VERSIONS
from leveret.tasks.voxforge import LANGUAGES, speaker_splits

RATE = 16_000
COMMAND_SPEAKERS = {"train": ("0a7c2a8d", "3bfd30e6"), "validation": ("b2ae3928",), "testing": ("bb05582b",)}
"""List that names them ("train" is none) -> hashes of the speakers, each of whom says every word once."""
COMMAND_UNKNOWN = ("seven", "zero")
COMMAND_SILENCE = ("842", "4683")
BACKGROUND_SECONDS = 1.6
"""Two windows of silence in each of the six files."""
FLUENT = [
    ("activate", "lights", "kitchen"), ("increase", "heat", "none"), ("bring", "socks", "none"),
    ("change language", "Chinese", "none"), ("deactivate", "lights", "bedroom"),
]  # fmt: skip
FLUENT_SPEAKERS = {"train": ("2BqVo8kVB2Skwgyb", "4aGjX3AG5xcxeL7a"), "valid": ("7NqqnAOPVVSKnxyv",),
                   "test": ("4BrX8aDqK2cLZRYl",)}  # fmt: skip
VOXFORGE_TOP = Path("www.repository.voxforge1.org") / "downloads"
VOXFORGE_SPEAKERS_A_LANGUAGE = 5
VOXCELEB_SPEAKERS = ("id10001", "id10003", "id10270", "id11251")
"""One of them, id10270, is of the test archive."""


def speech_commands_tree(root: Path, version: str = "v0.02") -> Path:
    """Both archives of a version, each in a folder of its own: a word has a tone of its own, silence is silent."""
    words = VERSIONS[version].words
    top, tested = root / f"speech_commands_{version}", root / f"speech_commands_test_set_{version}"
    lists: dict[str, list[str]] = {"train": [], "validation": [], "testing": []}
    for number, word in enumerate(words):
        (top / word).mkdir(parents=True)
        for split, speakers in COMMAND_SPEAKERS.items():
            for k, hash_ in enumerate(speakers):
                name = f"{word}/{hash_}_nohash_{k}.wav"
                _write(top / name, 200 * 1.09**number, 1.0 if k else 0.8, number + k)
                lists[split].append(name)
    for split in ("testing", "validation"):
        (top / f"{split}_list.txt").write_text("\n".join(lists[split]))  # as published, the last line has no end
    (top / BACKGROUND).mkdir()
    for k, stem in enumerate(SILENCE_WINDOWS):
        _write(top / BACKGROUND / f"{stem}.wav", 50, BACKGROUND_SECONDS, k, gain=0.01)
    for folder in (*TEN_WORDS, UNKNOWN, SILENCE):
        (tested / folder).mkdir(parents=True)
    (hash_,) = COMMAND_SPEAKERS["testing"]
    for name in lists["testing"]:
        word = name.partition("/")[0]
        if word in TEN_WORDS:
            (tested / name).write_bytes((top / name).read_bytes())
        elif word in COMMAND_UNKNOWN:
            (tested / UNKNOWN / f"{word}_{hash_}_nohash_0.wav.wav").write_bytes((top / name).read_bytes())
    for k, name in enumerate(COMMAND_SILENCE):
        _write(tested / SILENCE / f"{name}.wav", 50, 1.0, 100 + k, gain=0.01)
    return root


def fluent_tree(root: Path) -> Path:
    """fluent_speech_commands_dataset: each speaker says five commands, of which one is longer than 3 s."""
    top = root / "fluent_speech_commands_dataset"
    (top / "data").mkdir(parents=True)
    for split, speakers in FLUENT_SPEAKERS.items():
        with (top / "data" / f"{split}_data.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["", "path", "speakerId", "transcription", "action", "object", "location"])
            for number, (speaker, (k, slots)) in enumerate((s, c) for s in speakers for c in enumerate(FLUENT)):
                path = f"wavs/speakers/{speaker}/{number:08d}-452c-11e9-b1e4-e5985dca719e.wav"
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                _write(top / path, 200 * 1.5**k, 3.5 if k == 0 else 1.2, number)
                writer.writerow([number, path, speaker, f"Say, number {k}", *slots])
    return root


def voxforge_tree(root: Path) -> Path:
    """The list, and below it as wget -x lays them the unpacked archives: two recordings each, a tone a language."""
    urls, names = [], []
    for number, language in enumerate(LANGUAGES):
        speakers = [f"{language}speaker{k}-2010{k:02d}01" for k in range(VOXFORGE_SPEAKERS_A_LANGUAGE)]
        for name in [f"{speaker}-abc" for speaker in speakers] + [f"anonymous-20110101-{language}x"]:
            folder = VOXFORGE_TOP / language / "Trunk" / "Audio" / "Main" / "16kHz_16bit"
            urls.append((folder / f"{name}.tgz").as_posix())
            names.append(name)
            for part in ("etc", "wav"):
                (root / folder / name / part).mkdir(parents=True)
            (root / folder / name / "etc" / "PROMPTS").write_text("a0405 AS IT WAS\n")
            for k in range(2):
                path = root / folder / name / "wav" / f"a04{k:02d}.wav"
                _write(path, 200 * 1.5**number, 1.5, number + k)
    (root / "voxforge_urls.txt").write_text("\n".join(urls) + "\n")
    splits = speaker_splits(name.split("-")[0] for name in names)
    assert {split for speaker, split in splits.items() if speaker != "anonymous"} == {"train", "valid", "test"}
    return root


def voxceleb_tree(root: Path, apart: bool = False) -> Path:
    """iden_split.txt, and wav/ of both archives merged, or dev/wav and test/wav: a tone a speaker, a video a split."""
    lines = []
    for number, speaker in enumerate(VOXCELEB_SPEAKERS):
        archive = "test" if speaker == "id10270" else "dev"
        for split, video in ((1, "tCq2LcKO6xY"), (1, "K5zRxtXc27s"), (2, "-7jnUHPsPc0"), (3, "na8-QEFmj44")):
            for k in range(2):
                name = f"{speaker}/{video}/{k + 1:05d}.wav"
                path = (root / archive if apart else root) / "wav" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, 200 * 1.6**number, 3.2 if k else 4.0, number + k)
                lines.append(f"{split} {name}")
    (root / "iden_split.txt").write_text("\n".join(lines) + "\n")
    return root


def _write(path: Path, hertz: float, seconds: float, seed: int, gain: float = 1.0) -> None:
    soundfile.write(path, gain * tone(hertz, seconds, RATE, seed), RATE, subtype="PCM_16")
