"""TUT18: TUT Urban Acoustic Scenes 2018, development set: 8,640 recordings of 10 s, ten scenes in six cities.

Source: paper, table 1 and appendix A: "the development dataset of Task 1 - Subtask A of DCASE2018", training "with
5-second crops", scores averaged "over consecutive non-overlapped 5-second subclips". Data: Heittola, Mesaros, Virtanen,
2018.
Layout: meta.csv, evaluation_setup/ and audio/, also inside TUT-urban-acoustic-scenes-2018-development; the audio in any
format, found by the stem of its name. The metadata may lie elsewhere (`--labels tut18=FOLDER`).
The audio is binaural, 48 kHz, 24 bit; as everywhere, the mean of the channels is taken.
Groups: the recording location, CITY-LOCATION.
Departures: the paper's division is not public. `hares_like` stands in for it: drawn clip by clip, of the size of the
official one, since scores of the paper as high as 97 speak of train and test from the same locations (on the official
division a baseline gets 60, a strong network 68). `official` is fold 1 of the authors, disjoint in locations; `user`
takes a list (`--labels tut18=FILE`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import audio_by_stem, first_folder, metadata_folder, read_table, require_some
from leveret.tasks.split_rules import ranked_fold, require_both, user_fold

SOURCE = "https://zenodo.org/record/1228142 (15 archives, 22 GB, free for non-commercial use)"
FOLDER = "TUT-urban-acoustic-scenes-2018-development"
COLUMNS = ("filename", "scene_label", "identifier", "source_label")
LABELS = (
    "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian",
    "street_traffic", "tram",
)  # fmt: skip
NUM_CLIPS = 8_640
VARIANTS = ("hares_like", "official", "user")
TEST_SHARE = 0.2914
"""That of the official division, 2,518 of 8,640: of the 864 clips of each scene, 252."""
OFFICIAL_CLIPS = {
    "hares_like": {"train": 6_120, "test": 2_520},
    "official": {"train": 6_122, "test": 2_518},
    "user": {},
}
_NOTES = {
    "hares_like": (
        "the paper's split is not public; this one is drawn clip by clip, so train and test share recording locations "
        "and the score says little of new places"
    ),
    "official": (
        "fold 1 of the authors, without a location in both train and test; not the paper's split, whose scores are far "
        "higher"
    ),
    "user": "the split is a list of the user's own",
}
# number, bytes, MD5
_AUDIO = (
    (1, 1657811579, "62f97087c447e29def8716204469bf89"),
    (2, 1783489370, "8e569a92025d82bff6b02b956d7c6dc9"),
    (3, 1809675304, "00d2020582a4535af5e65322fb2bad56"),
    (4, 1756582525, "d691eb4271f83ba6ba9a28797accc497"),
    (5, 1724002546, "c4d64b5483b60f85e9fe080b3435a6be"),
    (6, 1645753049, "2f0feee78f216697eb19497714d97642"),
    (7, 1671903917, "07cfefe80a0731de6819181841239f3a"),
    (8, 1673304843, "213f3c012859c2e9dcb74aacc8558458"),
    (9, 1674839259, "b724442b09abcb3bd095ebff497cef85"),
    (10, 1662932947, "a27a32fa52e283ed8013375b8a16f269"),
    (11, 1751473843, "7073a121e825ffef99832507f30d6644"),
    (12, 1742332198, "6567aa61db12776568b6267ce122fb18"),
    (13, 798990513, "d00eeb2db0e093d8975521323a96c519"),
)
_PARTS = (
    ("doc", 10517, "28a4a9c46a6f46709ecc8eece365a3a4"),
    ("meta", 69272, "e196065ee83c07af03a11a310364377d"),
    *((f"audio.{number}", size, md5) for number, size, md5 in _AUDIO),
)
ARCHIVES = tuple(
    Archive(
        f"{FOLDER}.{part}.zip", (f"https://zenodo.org/record/1228142/files/{FOLDER}.{part}.zip",), size, f"md5:{md5}"
    )
    for part, size, md5 in _PARTS
)


class _Row(NamedTuple):
    filename: str
    scene: str
    location: str


def tut18_tasks(folder: DataFolder) -> list[Task]:
    """The one task of TUT18, divided by the folder's variant.

    Raises:
        DatasetError: Metadata or audio is missing, or is not that of TUT18; or the official lists share a location.
    """
    variant = folder.variant or VARIANTS[0]
    root = first_folder(folder, (FOLDER,), ("meta.csv", "audio", "evaluation_setup"))
    metadata = root if variant == "user" or folder.labels is None else metadata_folder(folder)
    below = root / "audio" if (root / "audio").is_dir() else root
    by_stem = audio_by_stem(below)
    clips = [
        Clip(row.filename, by_stem.get(Path(row.filename).stem, root / row.filename), (row.scene,), row.location)
        for row in read_metadata(metadata / "meta.csv")
    ]
    require_some((clip.path for clip in clips), "TUT18", SOURCE)
    if variant == "user":
        fold = require_both(user_fold(folder, "tut18", clips), str(folder.labels))
    elif variant == "official":
        fold = _official(metadata / "evaluation_setup", clips)
    else:
        fold = require_both(ranked_fold(clips, [clip.labels[0] for clip in clips], TEST_SHARE), str(metadata))
    return [
        DividedTask(
            name="tut18", domain="environment", kind="single", slots=(("", LABELS),), metric="micro_f1",
            crop_seconds=5.0, suite="hares", stands_for="tut18", variant=variant, substitute=variant != "user",
            official_clips=OFFICIAL_CLIPS[variant], notes=_NOTES[variant], parts=[fold],
        )
    ]  # fmt: skip


def read_metadata(path: Path) -> list[_Row]:
    """The rows of meta.csv.

    Raises:
        DatasetError: Another header, an unknown scene, a file twice, or more of them than were published.
    """
    rows: dict[str, _Row] = {}
    for line, row in enumerate(read_table(path, COLUMNS, SOURCE, delimiter="\t"), 2):
        name, scene = row["filename"], row["scene_label"]
        if scene not in LABELS or not row["identifier"]:
            raise DatasetError(
                f"{path}, line {line}: {name!r} has scene_label {scene!r} and identifier {row['identifier']!r}; "
                f"expected one of {', '.join(LABELS)}, and CITY-LOCATION"
            )
        stem = Path(name).stem
        if stem in rows:
            raise DatasetError(f"{path}, line {line}: {name!r} stands there twice; expected the file of {SOURCE}")
        rows[stem] = _Row(name, scene, row["identifier"])
    if not 0 < len(rows) <= NUM_CLIPS:
        raise DatasetError(
            f"{path} holds {len(rows):,} clips; expected {NUM_CLIPS:,} (TAU Urban Acoustic Scenes 2019 and later have "
            f"more, and are other data), from {SOURCE}"
        )
    return list(rows.values())


def read_fold(path: Path) -> list[tuple[str, str]]:
    """File and scene of each line of a fold's list, which has no header.

    Raises:
        DatasetError: It is missing or is no such list.
    """
    rows = read_table(path, ("filename", "scene_label"), SOURCE, delimiter="\t", header=False)
    return [(row["filename"], row["scene_label"]) for row in rows]


def _official(lists: Path, clips: Sequence[Clip]) -> Fold:
    known = {clip.id: clip for clip in clips}
    place_of: dict[str, str] = {}
    parts: dict[str, list[Clip]] = {}
    for split in ("train", "evaluate"):
        path = lists / f"fold1_{split}.txt"
        parts[split] = []
        for line, (name, scene) in enumerate(read_fold(path), 1):
            where = f"{path}, line {line}: {name!r}"
            if name not in known or known[name].labels != (scene,):
                found = f"has the scene {known[name].labels[0]!r} in" if name in known else "is not in"
                raise DatasetError(
                    f"{where} with the scene {scene!r} {found} meta.csv; the two are of different versions, expected "
                    f"those of {SOURCE}"
                )
            if name in place_of:
                raise DatasetError(f"{where} stands in {place_of[name]} already; expected the lists of {SOURCE}")
            place_of[name] = path.name
            parts[split].append(known[name])
    shared = {clip.group for clip in parts["train"]} & {clip.group for clip in parts["evaluate"]}
    if shared:
        raise DatasetError(
            f"{lists}: fold1_train.txt and fold1_evaluate.txt share {len(shared)} locations, such as {min(shared)!r}; "
            f"the official ones share none, expected those of {SOURCE}"
        )
    return require_both(Fold(parts["train"], (), parts["evaluate"]), str(lists))


TASKS = {
    "tut18": Dataset(
        name="tut18", title="TUT Urban Acoustic Scenes 2018 (development)", source=SOURCE,
        licence="free for non-commercial use", hours=24.0, num_bytes=sum(size for _, size, _ in _PARTS),
        tasks=("tut18",), make=tut18_tasks, variants=VARIANTS, archives=ARCHIVES,
    )
}  # fmt: skip
