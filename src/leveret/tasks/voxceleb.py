"""VoxCeleb1: who of 1,251 speakers is heard in 153,516 utterances from interviews.

Source: paper, table 1 and appendix A: crops of 3 s, the mean score over consecutive 3 s. Data: Nagrani et al.,
arXiv:1706.08612; the identification split iden_split.txt.
Layout: iden_split.txt beside wav/idNNNNN/VIDEO/UTTERANCE.wav with the speakers of both archives, or the two apart, in
dev/wav or vox1_dev_wav/wav and test/wav or vox1_test_wav/wav; the list may lie elsewhere (`--labels voxceleb=FILE`).
Groups: speaker and video. A speaker is a class, so none can be held out; the utterances of one video share its room and
microphone, and the published splits keep them together.
Departures: none from the paper's counts (147k, 1,251 speakers), for which both archives are needed. TensorFlow
Datasets, which the paper names, leaves out the 40 speakers of the test archive without a word, and has a class 0
without clips.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from leveret.clips import Clip, Fold
from leveret.content import file_sha256
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError, MissingDatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import as_stored, read_lines, require_some, require_unique

SOURCE = "https://mm.kaist.ac.kr/datasets/voxceleb (31 GB, by a form; list CC BY 4.0)"
LIST = "iden_split.txt"
LIST_URL = f"https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/{LIST}"
LIST_SHA256 = "3c1d792d4058861cd476a27cc942c824f7e9df812864115a7c2b12df97edfbbf"
FIRST_SPEAKER, NUM_SPEAKERS = 10_001, 1_251
SPEAKERS = tuple(f"id{FIRST_SPEAKER + k}" for k in range(NUM_SPEAKERS))
OF_TEST_ARCHIVE = frozenset(f"id{number}" for number in range(10_270, 10_310))
"""The 40 speakers whose audio is in vox1_test_wav.zip; that of the others is in vox1_dev_wav.zip."""
OFFICIAL_CLIPS = {"train": 138_361, "valid": 6_904, "test": 8_251}
SPLITS = {"1": "train", "2": "valid", "3": "test"}
PARTS = tuple(
    Archive(name, (), None, f"sha256:{digest}", "", "vox1_dev_wav.zip" if "part" in name else "")
    for name, digest in (
        ("vox1_dev_wav_partaa", "21ec6ca843659ebc2fdbe04b530baa4f191ad4b0971912672d92c158f32226a0"),
        ("vox1_dev_wav_partab", "311d21e0c8cbf33573a4fce6c80e5a279d80736274b381c394319fc557159a04"),
        ("vox1_dev_wav_partac", "92b64465f2b2a3dc0e4196ae8dd6828cbe9ddd1f089419a11e4cbfe2e1750df0"),
        ("vox1_dev_wav_partad", "00e6190c770b27f27d2a3dd26ee15596b17066b715ac111906861a7d09a211a5"),
        ("vox1_test_wav.zip", "8de57f347fe22b2c24526e9f444f689ecf5096fc2a92018cf420ff6b5b15eaea"),
    )
)
"""What is given out to who has asked for access."""
_LINE = re.compile(r"([123]) ((id\d{5})/[^/]+)/\d{5}\.wav", re.ASCII)
_SPEAKER_NAME = re.compile(r"[123] (?!id\d)([^/]+)/\S+\.wav")


class Utterance(NamedTuple):
    """A line of iden_split.txt."""

    split: str
    name: str
    speaker: str
    video: str


def voxceleb_tasks(folder: DataFolder) -> list[Task]:
    """The one task of VoxCeleb1.

    Raises:
        DatasetError: The list is missing or of another release, or one of the two archives is missing.
    """
    list_path = folder.labels or folder.root / LIST
    lines = read_split(list_path)
    dev, test = _audio_folders(folder.root, {line.speaker for line in lines})
    paths = as_stored([(test if line.speaker in OF_TEST_ARCHIVE else dev) / line.name for line in lines])
    require_some(paths, "VoxCeleb1", SOURCE)
    parts: dict[str, list[Clip]] = {split: [] for split in OFFICIAL_CLIPS}
    for line, path in zip(lines, paths, strict=True):
        parts[line.split].append(Clip(f"wav/{line.name}", path, (line.speaker,), line.video))
    known = file_sha256(list_path) == LIST_SHA256
    return [
        DividedTask(
            name="voxceleb", domain="speech", kind="single", slots=(("", SPEAKERS),), metric="micro_f1",
            crop_seconds=3.0, suite="hares", stands_for="voxceleb", official_clips=OFFICIAL_CLIPS,
            notes="" if known else f"{LIST} is not the published one, byte for byte", parts=[Fold(**parts)],
        )
    ]  # fmt: skip


def read_split(path: Path) -> list[Utterance]:
    """The lines of iden_split.txt.

    Raises:
        DatasetError: It is missing, has names in place of ids, a speaker or split out of range, or too many lines.
    """
    found: list[Utterance] = []
    for number, text in enumerate(read_lines(path, LIST_URL), 1):
        line = _LINE.fullmatch(text.strip())
        if line is None and (named := _SPEAKER_NAME.fullmatch(text.strip())):
            raise DatasetError(
                f"{path}, line {number}: the speaker is called {named[1]!r}; expected an id such as {SPEAKERS[0]}: "
                f"this is the list of the first release, take that of {LIST_URL}"
            )
        if line is None or not 0 <= int(line[3][2:]) - FIRST_SPEAKER < NUM_SPEAKERS:
            raise DatasetError(
                f"{path}, line {number}: {text[:100]!r}; expected '1|2|3 SPEAKER/VIDEO/UTTERANCE.wav' with a speaker "
                f"from {SPEAKERS[0]} to {SPEAKERS[-1]}: take the list of {LIST_URL}"
            )
        found.append(Utterance(SPLITS[line[1]], line[0][2:], line[3], line[2]))
    require_unique((line.name for line in found), path)
    for split, expected in OFFICIAL_CLIPS.items():
        count = sum(line.split == split for line in found)
        if not 0 < count <= expected:
            raise DatasetError(
                f"{path} has {count:,} {split} clips; expected {expected:,}: take the list of {LIST_URL}"
            )
    return found


def _audio_folders(root: Path, speakers: set[str]) -> tuple[Path, Path]:
    """Where the speakers of each archive lie; the folders of the speakers tell, not 150,000 files.

    Raises:
        MissingDatasetError: Of one archive nothing is there.
    """
    dev, test = (
        next((place for place in places if some & set(os.listdir(place) if place.is_dir() else ())), None)
        for some, places in (
            (speakers - OF_TEST_ARCHIVE, [root / "wav", root / "dev" / "wav", root / "vox1_dev_wav" / "wav"]),
            (speakers & OF_TEST_ARCHIVE, [root / "wav", root / "test" / "wav", root / "vox1_test_wav" / "wav"]),
        )
    )
    for missing, name, count in (
        (test and not dev, "vox1_dev_wav.zip", len(speakers - OF_TEST_ARCHIVE)),
        (dev and not test, "vox1_test_wav.zip", len(speakers & OF_TEST_ARCHIVE)),
    ):
        if missing and count:
            raise MissingDatasetError(
                f"only one of VoxCeleb1's two archives is at {root}: none of the {count:,} speakers of {name} is. "
                f"Unzip that one too, without which there are fewer than {NUM_SPEAKERS:,} speakers; it is to be had "
                f"from {SOURCE}"
            )
    return dev or root / "wav", test or root / "wav"


TASKS = {
    "voxceleb": Dataset(
        name="voxceleb", title="VoxCeleb1", source=SOURCE, licence="audio from YouTube, by a form; lists CC BY 4.0",
        hours=352, num_bytes=31_000_000_000, tasks=("voxceleb",), make=voxceleb_tasks,
        archives=(Archive(LIST, (LIST_URL,), 4_912_512, f"sha256:{LIST_SHA256}"),),
        how=(
            "ask for access at https://mm.kaist.ac.kr/datasets/voxceleb, then, in the dataset's folder: `cat "
            "vox1_dev_wav_parta? > vox1_dev_wav.zip`, and unzip it and vox1_test_wav.zip. "
            + ", ".join(f"{part.name} has {part.checksum.replace(':', ' ')}" for part in PARTS)
        ),
    )
}  # fmt: skip
