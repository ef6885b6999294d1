"""Toy trees of AudioSet, Birdsong and TUT18, in the exact layout of their archives."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from leveret.bad_files import BadFilePolicy
from leveret.dataroots import DataRoots
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.protocols import Protocol
from leveret.runner import Compute
from leveret.runs import Run
from leveret.tasks.birdsong import COLLECTIONS
from leveret.tasks.tut18 import FOLDER, LABELS

AUDIOSET = {
    "eval_segments": [
        ("--4gqARaEJE", (0, 2), 4.0), ("Yxxxxxxxxxx", (1,), 4.0), ("_eval-short", (0,), 2.0), 
        ("EvalIsGone1", (2,), 0.0),
        ("abcdefghijk", (1, 2), 4.0),
    ],
    "balanced_train_segments": [
        ("--PJHxphWEs", (0,), 4.0), ("Ybalanced-1", (1,), 4.0), ("balanced__2", (2, 0), 2.5),
        ("TrainIsGone", (1,), 0.0),
    ],
    "unbalanced_train_segments": [
        ("---1_cCGK4M", (0, 1), 4.0), ("unbalanced2", (2,), 4.0), ("unbalanced3", (526,), 4.0),
    ],
}  # fmt: skip
"""Split -> YouTube id, indices of labels, seconds of audio; 0 is a video that does not exist any more."""
BIRDSONG_PER_STRATUM = 3
WARBLR_OF_2016 = "warblrb10k_public_metadata.csv"
TUT18_CITIES = ("barcelona", "helsinki")


def tone(hertz: float, seconds: float, rate: int, seed: int) -> np.ndarray:
    """A tone in a little noise."""
    time = np.arange(round(rate * seconds)) / rate
    return 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * np.random.default_rng(seed).standard_normal(len(time))


def audioset_tree(root: Path) -> Path:
    """As the PANNs authors keep it: tables in metadata/, audio in audios/, 32 kHz; labels are of no real ontology."""
    (root / "metadata").mkdir(parents=True)
    names = ["index,mid,display_name", *(f'{k},/m/toy{k:03d},"Toy {k}, of 527"' for k in range(527))]
    (root / "metadata" / "class_labels_indices.csv").write_text("\n".join(names) + "\n")
    for split, segments in AUDIOSET.items():
        num_labels = sum(len(labels) for _, labels, _ in segments)
        lines = [
            "# Segments csv created Sun Mar  5 10:54:25 2017",
            f"# num_ytids={len(segments)}, num_segs={len(segments)}, num_unique_labels=527, "
            f"num_positive_labels={num_labels}",
            "# YTID, start_seconds, end_seconds, positive_labels",
        ]
        for number, (name, labels, seconds) in enumerate(segments):
            mids = ",".join(f"/m/toy{k:03d}" for k in labels)
            lines.append(f'{name}, 30.000, {30 + (seconds or 10):.3f}, "{mids}"')
            folder = root / "audios" / split
            if split.startswith("unbalanced"):
                folder /= f"{split}_part{number:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            if seconds:
                wave = sum(tone(300 * 2 ** (k % 10), seconds, 32_000, number) for k in labels)
                soundfile.write(folder / f"Y{name}.wav", wave / len(labels), 32_000, subtype="PCM_16")
        (root / "metadata" / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root


def birdsong_tree(root: Path) -> Path:
    """The three archives, each in a folder of its own, 44.1 kHz mono, 16 bit; a bird is a high tone."""
    for number, collection in enumerate(COLLECTIONS):
        folder = root / collection.archives[0].into / "wav"
        folder.mkdir(parents=True)
        lines = ["itemid,datasetid,hasbird"]
        for k in range(2 * BIRDSONG_PER_STRATUM):
            item = {
                "ff1010bird": f"{64486 + k}",
                "warblrb10k": f"759808e5-f824-401e-{9058 + k}",
                "BirdVox-DCASE-20k": f"00053d90-e4b9-4045-a2f1-f39efc90cf{k:02d}",
            }[collection.name]
            lines.append(f"{item},{collection.name},{k % 2}")
            wave = tone(3000 if k % 2 else 200, 1.5, 44_100, 10 * number + k)
            soundfile.write(folder / f"{item}.wav", wave, 44_100, subtype="PCM_16")
        (root / collection.tables[0]).write_text("\n".join(lines) + "\n")
    return root


def tut18_tree(root: Path) -> Path:
    """The archives in their common folder: ten scenes, each at a place in two cities, 48 kHz binaural, 24 bit."""
    top = root / FOLDER
    (top / "audio").mkdir(parents=True)
    (top / "evaluation_setup").mkdir()
    rows, lists = ["filename\tscene_label\tidentifier\tsource_label"], {"train": [], "evaluate": []}
    for number, scene in enumerate(LABELS):
        for k, city in enumerate(TUT18_CITIES):
            location = 2 * number + k
            name = f"audio/{scene}-{city}-{location}-{location}-a.wav"
            rows.append(f"{name}\t{scene}\t{city}-{location}\ta")
            lists["evaluate" if k else "train"].append(f"{name}\t{scene}")
            left = tone(250 * 1.4**number, 6.0 if number == 0 else 1.0, 48_000, location)
            soundfile.write(top / name, np.stack([left, left / 2], axis=1), 48_000, subtype="PCM_24")
    (top / "meta.csv").write_text("\n".join(rows) + "\n")
    for split, lines in lists.items():
        (top / "evaluation_setup" / f"fold1_{split}.txt").write_text("\n".join(lines) + "\n")
    names = [line.split("\t")[0] for line in lists["evaluate"]]
    (top / "evaluation_setup" / "fold1_test.txt").write_text("\n".join(names) + "\n")
    return root


def evaluated(
    tree: Path,
    place: Path,
    protocol: str,
    variant: str = "",
    user_list: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    skip: bool = False,
) -> Run:
    """A run of melstats on a toy tree whose folder has the dataset's name; all but `quick` train for 20 steps.

    Args:
        place: Folder for the run and the list.
        user_list: Lines `file,split` for the variant "user".
        only: Names of tasks to keep.
        skip: Any number of clips may be missing.
    """
    name, labels = tree.name, place / "splits.csv" if variant == "user" else None
    if labels:
        labels.write_text("\n".join(["file,split", *user_list]))
    config = EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=place / "runs", floor=False, only=tuple(only),
        policy=BadFilePolicy("skip" if skip else "few"),
        protocol=Protocol(name=protocol, steps=None if protocol == "quick" else 20, check_rates=False),
        data=DataRoots(
            root=tree.parent, variants={name: variant} if variant else {}, labels={name: labels} if labels else {}
        ),
    )  # fmt: skip
    (run,) = evaluate("melstats", name, protocol, config=config)
    return run
