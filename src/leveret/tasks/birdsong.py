"""Birdsong: 35,690 recordings of about 10 s from three collections; is a bird to be heard or not.

Source: paper, table 1 and appendix A: "three development datasets (freefield1010, warblrb10k, BirdVox-DCASE-20k) of the
Task 3 of DCASE2018", training "with 1-second crops", scores averaged "over consecutive non-overlapped 1-second
subclips". Data: Stowell et al., Methods in Ecology and Evolution 2019.
Layout: the three tables at the top or in csv/ or metadata/ (or in another folder, `--labels birdsong=FOLDER`), and the
audio in one wav/ or in a folder a collection, ff1010bird_wav/wav and so on; it is found by the stem of its name, in any
format. Columns are read by name: the warblrb10k table of 2016 has two, that of 2018 three.
Groups: the clip itself, since who or what recorded it was not published. All of BirdVox is one night at six places.
Departures: the paper's division is not public. `hares_like`, a fifth of each collection and label drawn clip by clip,
stands in for it; `leave_one_dataset_out` scores each collection by what was learnt from the other two, as DCASE did;
`user` takes a list (`--labels birdsong=FILE`). The test sets of the challenge have no public labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError
from leveret.tasks.divided import DividedTask
from leveret.tasks.published_files import audio_by_stem, first_file, metadata_folder, read_table, require_some
from leveret.tasks.split_rules import ranked_fold, require_both, user_fold

SOURCE = (
    "https://dcase.community/challenge2018/task-bird-audio-detection (three archives at archive.org and Zenodo, about "
    "25 GB, three tables at figshare; CC BY 4.0 or CC BY-NC 4.0, the sources differ)"
)
LABELS = ("no bird", "bird")
"""In the order of the column hasbird."""
VARIANTS = ("hares_like", "leave_one_dataset_out", "user")
TEST_SHARE = 0.2
_LIST = "https://ndownloader.figshare.com/files/"


@dataclass(frozen=True)
class Collection:
    """One of the three.

    Attributes:
        name: Its datasetid; the tables may add to it.
        tables: Names of its table, the newest version first.
        table_number: Of the newest at figshare.
        audio: Address of its archive.
        num_clips: As published.
    """

    name: str
    tables: tuple[str, ...]
    table_number: int
    audio: str
    num_clips: int

    @property
    def archives(self) -> tuple[Archive, Archive]:
        """Its audio and its table; checksums are published of neither."""
        name = self.audio.rpartition("/")[2]
        return (
            Archive(name, (self.audio,), into=name.removesuffix(".zip")),
            Archive(self.tables[0], (f"{_LIST}{self.table_number}",)),
        )


COLLECTIONS = (
    Collection(
        "BirdVox-DCASE-20k", ("BirdVoxDCASE20k_csvpublic.csv",), 10853300,
        "https://zenodo.org/record/1208080/files/BirdVox-DCASE-20k.zip", 20_000,
    ),
    Collection(
        "ff1010bird", ("ff1010bird_metadata_2018.csv", "ff1010bird_metadata.csv"), 10853303,
        "https://archive.org/download/ff1010bird/ff1010bird_wav.zip", 7_690,
    ),
    Collection(
        "warblrb10k", ("warblrb10k_public_metadata_2018.csv", "warblrb10k_public_metadata.csv"), 10853306,
        "https://archive.org/download/warblrb10k_public/warblrb10k_public_wav.zip", 8_000,
    ),
)  # fmt: skip
"""In the order of the three folds of `leave_one_dataset_out`."""
NUM_CLIPS = sum(one.num_clips for one in COLLECTIONS)
OFFICIAL_CLIPS = {
    "hares_like": {"train": 28_552, "test": 7_138},
    "leave_one_dataset_out": {"train": 2 * NUM_CLIPS, "test": NUM_CLIPS},
    "user": {},
}
_NOTES = {
    "hares_like": (
        "the paper's split is not public; here a fifth of each collection and label is tested, drawn clip by clip, so "
        "train and test share places and recorders"
    ),
    "leave_one_dataset_out": (
        "not the paper's split: each of the three collections is scored by what was learnt from the other two, and "
        "the score is the mean of the three"
    ),
    "user": "the split is a list of the user's own",
}


def birdsong_tasks(folder: DataFolder) -> list[Task]:
    """The one task of Birdsong, divided by the folder's variant.

    Raises:
        DatasetError: A table or the audio of a collection is missing, or is not that of the challenge.
    """
    variant = folder.variant or VARIANTS[0]
    base = folder.root if variant == "user" else metadata_folder(folder)
    places = [base, *(base / name for name in ("csv", "metadata", *(_folder_of(one) for one in COLLECTIONS)))]
    by_stem = audio_by_stem(folder.root)
    clips = [_clips(folder.root, one, first_file(places, one.tables), by_stem) for one in COLLECTIONS]
    folds = _divided(folder, variant, clips)
    return [
        DividedTask(
            name="birdsong", domain="environment", kind="single", slots=(("", LABELS),), metric="micro_f1",
            crop_seconds=1.0, suite="hares", stands_for="birdsong", variant=variant, substitute=variant != "user",
            official_clips=OFFICIAL_CLIPS[variant], notes=_NOTES[variant], parts=folds,
        )
    ]  # fmt: skip


def read_labels(path: Path, collection: Collection) -> dict[str, int]:
    """Item -> whether a bird is heard, 0 or 1, in the order of the table.

    Raises:
        DatasetError: Another header, more items than were published, an item twice, a label that is neither 0 nor 1, or
            an item of another collection.
    """
    found: dict[str, int] = {}
    for line, row in enumerate(read_table(path, ("itemid", "hasbird"), SOURCE), 2):
        where, item = f"{path}, line {line}: item {row['itemid']!r}", row["itemid"]
        if row["hasbird"] not in ("0", "1"):
            raise DatasetError(f"{where} has hasbird {row['hasbird']!r}; expected 0 or 1, as in the table of {SOURCE}")
        # warblrb10k is also written warblrb10k_public
        if not row.get("datasetid", collection.name).startswith(collection.name):
            raise DatasetError(
                f"{where} has datasetid {row['datasetid']!r}; expected {collection.name!r}: this is the table of "
                "another collection, rename it"
            )
        if item in found or not item:
            raise DatasetError(f"{where} {'stands there twice' if item else 'has no name'}; expected {SOURCE}")
        found[item] = int(row["hasbird"])
    if not 0 < len(found) <= collection.num_clips:
        raise DatasetError(
            f"{path} holds {len(found):,} items; expected the {collection.num_clips:,} of {collection.name}, from "
            f"{SOURCE}"
        )
    return found


def _clips(root: Path, collection: Collection, table: Path, by_stem: dict[str, Path]) -> list[Clip]:
    labels = read_labels(table, collection)
    own = root / _folder_of(collection)
    expected = own / "wav" if own.is_dir() else root / "wav"
    clips = []
    for item, label in labels.items():
        key = f"{collection.name}/{item}"
        path = by_stem.get(item, expected / f"{item}.wav")
        clips.append(Clip(key, path, (LABELS[label],), key, collection.name))
    require_some((clip.path for clip in clips), f"Birdsong, collection {collection.name},", SOURCE)
    return clips


def _folder_of(collection: Collection) -> str:
    return collection.archives[0].into


def _divided(folder: DataFolder, variant: str, by_collection: Sequence[Sequence[Clip]]) -> list[Fold]:
    clips = [clip for part in by_collection for clip in part]
    if variant == "user":
        return [require_both(user_fold(folder, "birdsong", clips), str(folder.labels))]
    if variant == "leave_one_dataset_out":
        return [
            Fold([clip for other in by_collection if other is not part for clip in other], (), part)
            for part in by_collection
        ]
    strata = [f"{clip.source}/{clip.labels[0]}" for clip in clips]
    return [require_both(ranked_fold(clips, strata, TEST_SHARE), str(folder.root))]


TASKS = {
    "birdsong": Dataset(
        name="birdsong", title="Birdsong", source=SOURCE, licence="CC BY 4.0 or CC BY-NC 4.0 (sources differ)",
        hours=99.0, num_bytes=25_500_000_000, tasks=("birdsong",), make=birdsong_tasks, variants=VARIANTS,
        archives=tuple(archive for one in COLLECTIONS for archive in one.archives),
    )
}  # fmt: skip
