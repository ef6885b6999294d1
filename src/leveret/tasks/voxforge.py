"""VoxForge: which of six languages is read, in some 176,000 recordings that volunteers have sent in.

Source: paper, table 1 and appendix A: crops of 3 s, the mean score over consecutive 3 s; the splits are those of
TensorFlow Datasets (voxforge), which the paper names. Data: voxforge.org.
Layout: voxforge_urls.txt, the complete list of 13,837 archives, and below the same folder, at any depth, the unpacked
archives NAME/wav/*.wav. The list may lie elsewhere (`--labels voxforge=FILE`).
Splits: the speakers of the complete list in alphabetical order, shuffled with seed 0, then 0.7, 0.1 and 0.2 of them;
never the speakers that are on this disk, since one fewer would reshuffle all.
Groups: the speaker, who is in one split over all languages. The many people called `anonymous` are one group, as in the
published rule.
Departures: recordings at other rates than 16 kHz are resampled; the published program stops at them. Submissions that
hold flac alone are left out, as there. Nobody has published the number of clips by split; an archive that is not there
counts as the mean of all archives, 176,428 / 13,837 clips.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from leveret.audio import SUFFIXES
from leveret.clips import Clip, Fold
from leveret.content import file_sha256
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError, MissingDatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import read_lines, require_unique

SOURCE = "the addresses in voxforge_urls.txt (100 GB, GPL), by `wget -x -i voxforge_urls.txt`"
LIST = "voxforge_urls.txt"
LIST_URL = f"https://storage.googleapis.com/tfds-data/downloads/voxforge/{LIST}"
LIST_SHA256 = "9cc218a5bce16640dc4eeb263aa423ce63ca59fc6587a9487dc397642b76af6c"
LANGUAGES = ("de", "en", "es", "fr", "it", "ru")
SHARES = (("train", 0.7), ("valid", 0.1), ("test", 0.2))
NUM_ARCHIVES, NUM_CLIPS = 13_837, 176_428
UNPACK = r"find . -name '*.tgz' -execdir tar -xzf {} \;"
_URL = re.compile(r"(?:https?://)?[^/\s]+/downloads/([^/\s]+)/(?:[^/\s]+/)*([^/\s]+)\.tgz")


class Submission(NamedTuple):
    """An archive of the list: what one speaker has sent in."""

    language: str
    name: str

    @property
    def speaker(self) -> str:
        """What stands in front of the date, where there is one."""
        return self.name.split("-")[0]


@dataclass
class OnDisk:
    """Which archives are there.

    Attributes:
        wav: Archive -> its folder of recordings.
        packed: Archives that are there, but not unpacked.
        without_wav: Archives that are unpacked and have no folder of that kind.
    """

    wav: dict[str, Path] = field(default_factory=dict)
    packed: set[str] = field(default_factory=set)
    without_wav: set[str] = field(default_factory=set)

    def missing(self, submissions: Iterable[Submission]) -> list[Submission]:
        """Those that may hold clips and are not there."""
        return [one for one in submissions if one.name not in self.wav and one.name not in self.without_wav]


def voxforge_tasks(folder: DataFolder) -> list[Task]:
    """The one task of VoxForge.

    Raises:
        DatasetError: The list is missing or is none, or no archive of it is unpacked.
    """
    list_path = folder.labels or folder.root / LIST
    submissions = read_submissions(list_path)
    split_of = speaker_splits(one.speaker for one in submissions)
    on_disk = find_archives(folder.root, {one.name for one in submissions})
    parts: dict[str, list[Clip]] = {split: [] for split, _ in SHARES}
    for one in submissions:
        if one.name in on_disk.wav:
            parts[split_of[one.speaker]] += _clips(one, on_disk.wav[one.name])
    if not any(parts.values()):
        raise MissingDatasetError(_nothing(folder.root, on_disk))
    missing = on_disk.missing(submissions)
    as_published = file_sha256(list_path) == LIST_SHA256
    listing = (
        f"{list_path.name} is not the published list (another sha256), so the splits are not the published ones: they "
        "are made of its speakers by the published rule"
    )
    return [
        DividedTask(
            name="voxforge", domain="speech", kind="single", slots=(("", LANGUAGES),), metric="micro_f1",
            crop_seconds=3.0, suite="hares", stands_for="voxforge", substitute=not as_published,
            official_clips=_expected({split: len(clips) for split, clips in parts.items()}, missing, split_of),
            notes="; ".join(filter(None, ["" if as_published else listing, _absence(submissions, missing, on_disk)])),
            parts=[Fold(**parts)],
        )
    ]  # fmt: skip


def read_submissions(path: Path) -> list[Submission]:
    """The archives of a list of addresses.

    Raises:
        DatasetError: It is missing, or a line is no address of an archive in one of the six languages.
    """
    found = []
    for number, line in enumerate(read_lines(path, LIST_URL), 1):
        url = _URL.fullmatch(line.strip())
        if url is None or url[1] not in LANGUAGES:
            raise DatasetError(
                f"{path}, line {number}: {line[:150]!r}; expected HOST/downloads/LANGUAGE/.../NAME.tgz with a language "
                f"out of {', '.join(LANGUAGES)}: take the list of {LIST_URL}"
            )
        found.append(Submission(url[1], url[2]))
    require_unique((one.name for one in found), path)
    counts = Counter(speaker_splits(one.speaker for one in found).values())
    if not counts["train"] or not counts["test"]:
        raise DatasetError(
            f"{path} has {len(found)} archives of {counts.total()} speakers, too few for a train and a test split; "
            f"expected the complete list of {NUM_ARCHIVES:,}, of {LIST_URL}"
        )
    return found


def speaker_splits(speakers: Iterable[str]) -> dict[str, str]:
    """Speaker -> split, by the published rule."""
    order = sorted(set(speakers))
    np.random.RandomState(0).shuffle(order)  # the generator that the published splits are made with
    split_of: dict[str, str] = {}
    first, share_so_far = 0, 0.0
    for number, (split, share) in enumerate(SHARES, 1):
        # added up as published: 0.7 + 0.1 is a little less than 0.8
        share_so_far += share
        stop = len(order) if number == len(SHARES) else int(share_so_far * len(order))
        split_of |= dict.fromkeys(order[first:stop], split)
        first = stop
    return split_of


def find_archives(root: Path, names: set[str]) -> OnDisk:
    """Which of the archives lie below a folder, wherever; what an unpacked one holds is not looked through."""
    found, seen = OnDisk(), set()
    for place, folders, files in os.walk(root):
        name = os.path.basename(place)
        if name in names:
            seen.add(name)
            if "wav" in folders:
                found.wav.setdefault(name, Path(place) / "wav")
                folders.clear()
                continue
        folders.sort()
        found.packed |= {file.removesuffix(".tgz") for file in files if file.endswith(".tgz")} & names
    found.without_wav = seen - found.wav.keys()
    found.packed -= seen
    return found


def _clips(one: Submission, folder: Path) -> Iterator[Clip]:
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            yield Clip(f"{one.language}/{one.name}/wav/{stem}.wav", folder / name, (one.language,), one.speaker)


def _expected(
    counts: Mapping[str, int], missing: Sequence[Submission], split_of: Mapping[str, str]
) -> Mapping[str, int]:
    """Clips by split if every archive were there; empty where all are, since no number was published."""
    absent = Counter(split_of[one.speaker] for one in missing)
    if not missing:
        return {}
    return {split: count + round(absent[split] * NUM_CLIPS / NUM_ARCHIVES) for split, count in counts.items()}


def _absence(submissions: Sequence[Submission], missing: Sequence[Submission], on_disk: OnDisk) -> str:
    said = []
    if missing:
        packed = f", {len(on_disk.packed):,} of them still packed ({UNPACK})" if on_disk.packed else ""
        said.append(
            f"{len(missing):,} of {len(submissions):,} archives are missing{packed}, each counted as "
            f"{NUM_CLIPS / NUM_ARCHIVES:.1f} clips"
        )
    if on_disk.without_wav:
        said.append(f"{len(on_disk.without_wav):,} archives hold no wav files and are left out, as published")
    return "; ".join(said)


def _nothing(root: Path, on_disk: OnDisk) -> str:
    if on_disk.packed:
        return (
            f"{len(on_disk.packed):,} archives of VoxForge at {root} are still packed; they are read unpacked only: in "
            f"that folder, {UNPACK}"
        )
    return (
        f"no audio of VoxForge at {root}: no folder there is called like an archive of {LIST} and holds wav/*.wav; get "
        f"them from {SOURCE}, then unpack them: {UNPACK}"
    )


TASKS = {
    "voxforge": Dataset(
        name="voxforge", title="VoxForge", source=SOURCE, licence="GPL", num_bytes=100_000_000_000,
        tasks=("voxforge",), make=voxforge_tasks,
        archives=(Archive(LIST, (LIST_URL,), 1_344_189, f"sha256:{LIST_SHA256}"),),
        how=f"in the dataset's folder, `wget -x -i {LIST}`, which takes days, then `{UNPACK}`",
    )
}  # fmt: skip
