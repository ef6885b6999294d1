"""X-ARES tars: `xares-tars:DIR` makes a task of a folder of tars that hold KEY.wav (flac, ...) and KEY.json.

The tars do not say which field is the label, nor what the task is: in X-ARES a Python file does. Here an optional
DIR/xares.json says it (keys: KEYS), and the rest is guessed by rules that are printed with the result:
label   the first of LABEL_FIELDS that every clip has, or the only field that there is
kind    multi where a label is a list (or `separator` cuts it), else single
splits  by the tar's name: fold-3, fold03 is a fold; else its last word that is a split (train, valid, dev, test, eval).
        Where no tar is a test, the valid ones are it, as in X-ARES's VoxLingua33
DIR may be a folder of such folders. Tars are unpacked once into leveret's home.
Source: xares 0.1.3 (task.py, audiowebdataset.py and the 25 files of tasks/).
Departures: the probe and its protocol are leveret's, so a score here is not one of X-ARES's.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import Any

from leveret.clips import Clip
from leveret.content import content_digests
from leveret.contracts import Kind, Task
from leveret.manifests import SPLITS
from leveret.tasks.hear_tasks import domain_of
from leveret.tasks.suite_settings import SETTINGS, SuiteError, SuiteTask, read_object, task_folders, unique_names
from leveret.tasks.xares_unpack import Sample, unpack

SIDECAR = "xares.json"
KEYS = (*SETTINGS, "kind", "label", "separator", "group", "labels", "splits")
"""Of xares.json: `label` and `group` name fields, `labels` is the vocabulary in the order of the score columns,
`splits` maps patterns of tar names to splits or folds."""
LABEL_FIELDS = (
    "label", "labels", "genre", "emotion", "soundevent", "sound", "transcription", "instrument_family_str",
    "num_speakers", "speakerid", "gender", "binary_spoof", "imitation", "tag",
)  # fmt: skip
KINDS: tuple[Kind, ...] = ("single", "multi")
DOMAINS = {
    "asvspoof": "speech", "cremad": "speech", "esc50": "environment", "fluentspeechcommands": "speech",
    "freemusicarchive": "music", "fsd50k": "environment", "fsdkaggle2018": "environment", "gtzan": "music",
    "libricount": "speech", "librispeech": "speech", "nsynth": "music", "ravdess": "speech",
    "speechcommands": "speech", "urbansound8k": "environment", "vocalimitations": "environment",
    "vocalsound": "environment", "voxceleb": "speech", "voxlingua": "speech",
}  # fmt: skip
"""Of the tasks of X-ARES, leveret's reading of them; a name counts where the folder's begins with it."""
_FOLD = re.compile(r"fold[-_ ]?(\d+)")
_DIGEST_THREADS = 2


def xares_tasks(path: str) -> list[Task]:
    """The tasks of a folder of tars, or of a folder of such folders.

    Args:
        path: What follows `xares-tars:`.

    Raises:
        SuiteError: A tar or a setting is wrong, or there is none.
    """
    collection, folders = task_folders("xares-tars", path, lambda folder: any(folder.glob("*.tar")), "tars (*.tar)")
    return unique_names(_task(folder, f"xares/{collection}") for folder in folders)


def _task(folder: Path, suite: str) -> SuiteTask:
    said = read_object(folder / SIDECAR, KEYS) if (folder / SIDECAR).exists() else {}
    tars = [path for path in sorted(folder.glob("*.tar")) if not path.name.startswith("wds-encoded-")]
    notes = ["X-ARES's files under leveret's probe, not X-ARES's"]
    places = {path: _place(folder, path.name, said.get("splits", {})) for path in tars}
    unpacked = unpack(dict(zip(tars, content_digests(tars, _DIGEST_THREADS), strict=True)))
    samples = [(path, sample) for path in tars for sample in unpacked[path][1]]
    label_field, guess = _label_field(folder, said.get("label"), [sample for _, sample in samples])
    notes += guess
    labels_of = [_labels(path, sample, label_field, said.get("separator")) for path, sample in samples]
    kind: Kind = said.get("kind") or ("multi" if any(many for many, _ in labels_of) else "single")
    if "kind" not in said:
        notes.append(f"guessed kind={kind} (a list of labels: multi; else single)")
    if kind not in KINDS:
        raise SuiteError(f"{folder / SIDECAR}: kind={kind!r}; expected {' or '.join(KINDS)}")
    parts: dict[str, list[Clip]] = {}
    files: dict[str, str] = {}
    for (path, sample), (_, labels) in zip(samples, labels_of, strict=True):
        if kind == "single" and len(labels) != 1:
            raise SuiteError(f"{path}: {sample.key!r} has {len(labels)} labels; expected one, or kind='multi'")
        clip = _clip(path, unpacked[path][0], sample, labels, said.get("group", "group"), files)
        files[clip.id] = sample.key
        parts.setdefault(places[path], []).append(clip)
    vocabulary = _vocabulary(folder, said.get("labels"), parts)
    folds = not set(parts) <= {"train", "valid", "test"}
    if folds and set(parts) & {"train", "valid", "test"}:
        raise SuiteError(f"{folder} has folds and splits ({', '.join(sorted(parts))}); name them apart in {SIDECAR}")
    if not folds and "test" not in parts and "valid" in parts:
        parts["test"] = parts.pop("valid")
        notes.append("no test tars, so the valid ones are the test")
    known = domain_of(folder.name, DOMAINS)
    settings = {**({"domain": known} if known else {}), **{key: said[key] for key in SETTINGS if key in said}}
    division = "rest" if folds else "given"
    return SuiteTask(folder, folder.name, suite, kind, vocabulary, parts, files, settings, division, notes)


def _place(folder: Path, name: str, patterns: Any) -> str:
    """The split or fold of a tar."""
    where = folder / SIDECAR
    if not isinstance(patterns, dict) or not all(isinstance(value, str) for value in patterns.values()):
        raise SuiteError(f"{where}: splits={patterns!r}; expected an object such as {{'big-*.tar': 'train'}}")
    for pattern, place in patterns.items():
        if fnmatchcase(name, pattern):
            return str(SPLITS.get(place, place))
    stem = name.removesuffix(".tar").lower()
    fold = _FOLD.search(stem)
    if fold:
        return f"fold{int(fold[1])}"
    words = [word for word in re.split(r"[^a-z]+", stem) if word in SPLITS]
    if not words:
        raise SuiteError(
            f"{str(folder / name)!r}: no split in its name; expected train, valid, test or fold-N there, or "
            f'"splits": {{"{name}": "train"}} in {SIDECAR}'
        )
    return SPLITS[words[-1]]


def _label_field(folder: Path, said: Any, samples: Sequence[Sample]) -> tuple[str, list[str]]:
    """The field of the label, empty for a bare value, and what was guessed."""
    objects = [sample.about for sample in samples if isinstance(sample.about, dict)]
    if said is not None or len(objects) < len(samples):
        return (str(said or ""), [])
    common = set.intersection(*(set(about) for about in objects))
    fields = [name for name in LABEL_FIELDS if name in common] or (sorted(common) if len(common) == 1 else [])
    if not fields:
        raise SuiteError(
            f"{folder}: which field is the label? Every clip has {', '.join(map(repr, sorted(common))) or 'none'}; "
            f'say it in {SIDECAR}, such as {{"label": "FIELD"}}'
        )
    return fields[0], [f"guessed label={fields[0]} (the first known name that every clip has, or its only field)"]


def _labels(path: Path, sample: Sample, label_field: str, separator: Any) -> tuple[bool, tuple[str, ...]]:
    """Whether it is a list, and the labels."""
    if label_field and (not isinstance(sample.about, dict) or label_field not in sample.about):
        raise SuiteError(f"{path}: {sample.key!r} has no field {label_field!r}; correct 'label' in {SIDECAR}")
    value = sample.about[label_field] if label_field else sample.about
    if isinstance(value, str) and separator:
        value = [part for part in value.split(str(separator)) if part]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int) for one in values):
        raise SuiteError(
            f"{path}: {sample.key!r} has the label {value!r}; expected text, an integer, or a list of them"
        )
    return isinstance(value, list), tuple(dict.fromkeys(str(one) for one in values))


def _clip(
    path: Path, unpacked: Path, sample: Sample, labels: tuple[str, ...], group_field: Any, taken: Collection[str]
) -> Clip:
    """A clip under an id that none has yet: X-ARES's tars use a key again, even in one tar."""
    about: Mapping[str, Any] = sample.about if isinstance(sample.about, dict) else {}
    wanted = str(about.get("id", f"{path.stem}/{sample.key}"))
    clip_id = next(name for n in count(1) if (name := wanted if n == 1 else f"{wanted}#{n}") not in taken)
    group = str(about.get(group_field, clip_id))
    return Clip(clip_id, unpacked / sample.file, labels, group, str(about.get("source", "")))


def _vocabulary(folder: Path, said: Any, parts: Mapping[str, Sequence[Clip]]) -> list[str]:
    found = {label for clips in parts.values() for clip in clips for label in clip.labels}
    if said is None:
        return sorted(found, key=lambda label: (int(label), "") if label.isdecimal() else (-1, label))
    if not isinstance(said, list) or len(set(map(str, said))) < len(said):
        raise SuiteError(f"{folder / SIDECAR}: labels={said!r}; expected a list of different labels")
    outside = sorted(found - set(map(str, said)))
    if outside:
        raise SuiteError(f"{folder / SIDECAR}: 'labels' lacks {', '.join(map(repr, outside[:5]))}; add what clips have")
    return [str(label) for label in said]


TASKS = {"xares-tars": xares_tasks}
