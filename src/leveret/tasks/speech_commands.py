"""Speech Commands: spoken words of 1 s; 12 classes (speech_commands_v1) or 35 (speech_commands_v2).

Source: paper, table 1 and appendix A: "we use both", "with 12 and 35 labels", "the entire 1-second audio clips". Data:
Warden, arXiv:1804.03209; the rule of the 12 classes and their order are those of TensorFlow Datasets (speech_commands).
v2: the lists testing_list.txt and validation_list.txt of v0.02, every other word is train.
v1: ten words, every other word is `_unknown_`; a window of 1 s every half second of the background files is
`_silence_`, those of running_tap for validation. What the lists do not name is train; test is an archive of its own,
whose words are those of testing_list.txt, with as many clips of `_unknown_` (called .wav.wav) and `_silence_` as of a
word.
Layout: WORD/HASH_nohash_N.wav, _background_noise_/NAME.wav and both lists in the dataset's folder (the archive has no
top folder), in speech_commands_v0.02, or in torchaudio's SpeechCommands/speech_commands_v0.02; the test set in
speech_commands_test_set_v0.02 there or beside that, or unpacked over the words. The lists may lie elsewhere
(`--labels speech_commands=FOLDER`).
Groups: the speaker, which the hash stands for; the file, where silence was cut from one.
Departures: a footnote of the paper links v0.01, but its 90k samples are the 85,511 + 4,890 that the rule makes of
v0.02, which is therefore the default; the same rule over v0.01 is the variant "v0.01".
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from leveret.audio import SUFFIXES, AudioError, read_info
from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError, MissingDatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import in_any_format, metadata_folder, read_lines, require_some, require_unique

_BASE = "http://download.tensorflow.org/data"
SOURCE = f"{_BASE}/speech_commands_v0.02.tar.gz (2.4 GB) and speech_commands_test_set_v0.02.tar.gz, CC BY 4.0"
SILENCE, UNKNOWN = "_silence_", "_unknown_"
TEN_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
LABELS_V1 = (*TEN_WORDS, SILENCE, UNKNOWN)
LABELS_V2 = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
ADDED_IN_V002 = frozenset(("backward", "follow", "forward", "learn", "visual"))
BACKGROUND = "_background_noise_"
SILENCE_WINDOWS = {
    "doing_the_dishes": 189, "dude_miaowing": 122, "exercise_bike": 121, "pink_noise": 118, "white_noise": 118,
    "running_tap": 121,
}  # fmt: skip
"""Background file -> windows that its published length gives: 668 for train, 121 for validation."""
VALID_BACKGROUND = "running_tap"
OFFICIAL_V2 = {"train": 84_843, "valid": 9_981, "test": 11_005}
LISTS = ("testing_list.txt", "validation_list.txt")
_ENTRY = re.compile(r"([a-z]+)/[0-9a-f]{8}_nohash_\d+\.wav", re.ASCII)
_RATE, _HOP = 16_000, 8_000  # samples
_PRIOR = "most of train is _unknown_, while the classes of test are of one size"


@dataclass(frozen=True)
class Version:
    """What was published of one version.

    Attributes:
        num_clips: Words in the archive, without the test set's.
        num_listed: Entries of testing_list.txt and of validation_list.txt.
        num_extra: Clips of `_unknown_`, and of `_silence_`, in the test set.
        official: Clips of the 12 classes by split, silence included.
    """

    name: str
    words: tuple[str, ...]
    num_clips: int
    num_listed: tuple[int, int]
    num_extra: int
    official: Mapping[str, int]


VERSIONS = {
    "v0.02": Version(
        "v0.02", LABELS_V2, 105_829, (11_005, 9_981), 408, {"train": 85_511, "valid": 10_102, "test": 4_890}
    ),
    # the background files of both versions are the same
    "v0.01": Version(
        "v0.01", tuple(word for word in LABELS_V2 if word not in ADDED_IN_V002), 64_721, (6_835, 6_798), 257,
        {"train": 51_088 + 668, "valid": 6_798 + 121, "test": 3_081},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """The words of one version on this disk.

    Attributes:
        files: Name as the lists write it -> where it lies.
        test: Names in testing_list.txt.
        valid: Names in validation_list.txt.
    """

    version: Version
    folder: Path
    files: Mapping[str, Path]
    test: Sequence[str]
    valid: Sequence[str]

    @classmethod
    def read(cls, folder: DataFolder, version: Version) -> Self:
        """The lists, and what lies beside them.

        Raises:
            DatasetError: A list or all audio is missing, or two versions are mixed.
        """
        name = f"speech_commands_{version.name}"
        places = [folder.root / name, folder.root / "SpeechCommands" / name, folder.root]
        there = next((place for place in places if (place / LISTS[0]).is_file() or (place / "yes").is_dir()), places[2])
        lists = metadata_folder(replace(folder, root=there))
        test, valid = (read_list(lists / list_, version, k) for k, list_ in enumerate(LISTS))
        both = set(test) & set(valid)
        if both:
            raise DatasetError(
                f"{lists}: {len(both)} clips stand in both {' and '.join(LISTS)}, such as {min(both)!r}; take those of "
                f"{name}.tar.gz"
            )
        strange = [word for word in ADDED_IN_V002 - set(version.words) if (there / word).is_dir()]
        files = audio_of(there, version.words)
        if strange or len(files) > version.num_clips:
            found = f"the folder {strange[0]!r}" if strange else f"{len(files):,} words"
            raise DatasetError(
                f"{there} holds {found}; {version.name} has {version.num_clips:,} words of {len(version.words)} kinds, "
                "so two versions lie there: unpack each into a folder of its own"
            )
        if not files:
            require_some([there / name for name in test], f"Speech Commands {version.name}", SOURCE)
        return cls(version, there, files, test, valid)

    def clips(self, names: Iterable[str], labels: Sequence[str]) -> list[Clip]:
        """A clip a name, in alphabetical order; a word that is no label is `_unknown_`."""
        return [
            Clip(name, self.files.get(name, self.folder / name), (word if word in labels else UNKNOWN,), speaker(name))
            for name in sorted(names)
            for word in [name.partition("/")[0]]
        ]

    def fold(self, labels: Sequence[str]) -> Fold:
        """The division by the two lists."""
        listed = {*self.test, *self.valid}
        train = (name for name in self.files if name not in listed)
        return Fold(*(self.clips(names, labels) for names in (train, self.valid, self.test)))


def read_list(path: Path, version: Version, which: int) -> list[str]:
    """The names in testing_list.txt (0) or validation_list.txt (1).

    Raises:
        DatasetError: It is missing, is no such list, or is that of another version.
    """
    names = read_lines(path, SOURCE)
    for number, name in enumerate(names, 1):
        entry = _ENTRY.fullmatch(name)
        if entry is None or entry[1] not in version.words:
            raise DatasetError(
                f"{path}, line {number}: {name!r}; expected WORD/HASH_nohash_N.wav with one of the "
                f"{len(version.words)} words of {version.name}; take {LISTS[which]} of that version"
            )
    require_unique(names, path)
    expected = version.num_listed[which]
    added = ADDED_IN_V002 & set(version.words)
    if len(names) > expected or (added and not any(name.partition("/")[0] in added for name in names)):
        raise DatasetError(
            f"{path} is not that of {version.name}: it has {len(names):,} entries of "
            f"{len({name.partition('/')[0] for name in names})} words; expected {expected:,} of {len(version.words)}"
        )
    return names


def audio_of(folder: Path, words: Iterable[str]) -> dict[str, Path]:
    """Name as the archive writes it -> file, of all audio files in the folders of these words, in any format."""
    found: dict[str, Path] = {}
    for word in words:
        if not (folder / word).is_dir():
            continue
        for name in sorted(os.listdir(folder / word)):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                found.setdefault(f"{word}/{stem}.wav", folder / word / name)
    return found


def speaker(name: str) -> str:
    """The hash in front of _nohash_; of `_unknown_/seven_fb7eb481_nohash_1.wav.wav` too."""
    return Path(name).name.partition("_nohash_")[0].rpartition("_")[2]


def silence(folder: Path, stem: str) -> list[Clip]:
    """A background file in windows of 1 s, one every half second; as many as were published where it is not there."""
    name = f"{BACKGROUND}/{stem}.wav"
    path = in_any_format(folder / name)
    try:
        starts = range(0, round(read_info(path).seconds * _RATE) - _RATE, _HOP)
    except AudioError:
        starts = range(0, SILENCE_WINDOWS[stem] * _HOP, _HOP)  # told and counted when the audio is wanted
    spans = [(start / _RATE, start / _RATE + 1.0) for start in starts]
    return [Clip(f"{name}@{start:g}-{end:g}", path, (SILENCE,), name, start=start, end=end) for start, end in spans]


def _test_set(words: Words, root: Path) -> list[Clip]:
    """The clips of the separate test set.

    Raises:
        DatasetError: It is missing, or of another version.
    """
    version = words.version
    name = f"speech_commands_test_set_{version.name}"
    places = [root / name, words.folder / name, words.folder.parent / name, words.folder]
    there = next((place for place in places if (place / UNKNOWN).is_dir() or (place / SILENCE).is_dir()), None)
    if there is None:
        raise MissingDatasetError(
            f"no test set of Speech Commands at {places[0]}: the 12 classes are tested on an archive of their own, "
            f"{_BASE}/{name}.tar.gz; unpack it there, or evaluate speech_commands_v2 alone, which needs it not"
        )
    files = audio_of(there, TEN_WORDS)
    # unpacked over the words, it cannot be told from them, and need not be
    strange = [] if there == words.folder else sorted(files.keys() - set(words.test))
    extra = {label: audio_of(there, [label]) for label in (SILENCE, UNKNOWN)}
    counts = {label: len(found) for label, found in extra.items()}
    others = [one.num_extra for one in VERSIONS.values() if one is not version]
    if strange or any(not 0 < count <= version.num_extra or count in others for count in counts.values()):
        what = f"{strange[0]!r}, which {LISTS[0]} does not name" if strange else ""
        what = what or " and ".join(f"{count} clips of {label}" for label, count in counts.items())
        raise DatasetError(
            f"{there} holds {what}; the test set of {version.name} has the words of that list and {version.num_extra} "
            f"clips each of {SILENCE} and {UNKNOWN}: empty it and unpack {_BASE}/{name}.tar.gz"
        )
    tested = [name for name in words.test if name.partition("/")[0] in TEN_WORDS]
    clips = [
        Clip(name, files.get(name, there / name), (name.partition("/")[0],), speaker(name)) for name in sorted(tested)
    ]
    # its names, in any format: seven_fb7eb481_nohash_1.wav.wav, and 842.wav, whose background file nobody tells
    for stored, path in extra[UNKNOWN].items():
        name = f"{stored.removesuffix('.wav').removesuffix('.wav')}.wav.wav"
        clips.append(Clip(name, path, (UNKNOWN,), speaker(name)))
    return clips + [Clip(name, path, (SILENCE,), name) for name, path in extra[SILENCE].items()]


def speech_commands_tasks(folder: DataFolder) -> list[Task]:
    """The tasks speech_commands_v1, of the chosen version, and speech_commands_v2, always of v0.02.

    Raises:
        DatasetError: Lists or audio are missing, or are not those of that version.
    """
    wanted = folder.only or ("speech_commands_v1", "speech_commands_v2")
    variant = folder.variant or "v0.02"
    versions = {variant} if "speech_commands_v1" in wanted else set()
    versions |= {"v0.02"} if "speech_commands_v2" in wanted else set()
    words = {name: Words.read(folder, VERSIONS[name]) for name in sorted(versions)}
    tasks: list[Task] = []
    if "speech_commands_v1" in wanted:
        tasks.append(_twelve(words[variant], folder.root))
    if "speech_commands_v2" in wanted:
        tasks.append(
            DividedTask(
                name="speech_commands_v2", domain="speech", kind="single", slots=(("", LABELS_V2),), metric="micro_f1",
                crop_seconds=1.0, suite="hares", stands_for="speech_commands_v2", official_clips=OFFICIAL_V2,
                parts=[words["v0.02"].fold(LABELS_V2)],
            )
        )  # fmt: skip
    return tasks


def _twelve(words: Words, root: Path) -> Task:
    version = words.version
    listed = words.fold(TEN_WORDS)
    train, valid = list(listed.train), list(listed.valid)
    for stem in SILENCE_WINDOWS:
        (valid if stem == VALID_BACKGROUND else train).extend(silence(words.folder, stem))
    made = f"the 12 classes made from {version.name}"
    if version.name != "v0.02":
        made += ", not from v0.02, whose counts are the paper's"
    return DividedTask(
        name="speech_commands_v1", domain="speech", kind="single", slots=(("", LABELS_V1),), metric="micro_f1",
        crop_seconds=1.0, suite="hares", stands_for="speech_commands_v1", variant=version.name,
        official_clips=version.official, notes=f"{made}; {_PRIOR}", parts=[Fold(train, valid, _test_set(words, root))],
    )  # fmt: skip


TASKS = {
    "speech_commands": Dataset(
        name="speech_commands", title="Speech Commands", source=SOURCE, licence="CC BY 4.0", hours=31,
        num_bytes=2_541_486_466, tasks=("speech_commands_v1", "speech_commands_v2"), make=speech_commands_tasks,
        variants=("v0.02", "v0.01"),
        archives=(
            Archive(
                "speech_commands_v0.02.tar.gz", (f"{_BASE}/speech_commands_v0.02.tar.gz",), 2_428_923_189,
                "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58", "speech_commands_v0.02",
            ),
            Archive(
                "speech_commands_test_set_v0.02.tar.gz", (f"{_BASE}/speech_commands_test_set_v0.02.tar.gz",),
                112_563_277, "sha256:cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
                "speech_commands_test_set_v0.02", variants=("v0.02",),
            ),
            # the 35 classes are those of v0.02 in either variant; sizes of v0.01, and a checksum of its test set, are
            # not published
            Archive(
                "speech_commands_v0.01.tar.gz", (f"{_BASE}/speech_commands_v0.01.tar.gz",), None,
                "sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d", "speech_commands_v0.01",
                variants=("v0.01",),
            ),
            Archive(
                "speech_commands_test_set_v0.01.tar.gz", (f"{_BASE}/speech_commands_test_set_v0.01.tar.gz",),
                into="speech_commands_test_set_v0.01", variants=("v0.01",),
            ),
        ),
    )
}  # fmt: skip
