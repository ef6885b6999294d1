"""The run folder of a pretraining: whose it is, and what it gives in the end.

`config.json` (enough to start it again), `log.jsonl`, `states/` (what a restart goes on from), and
`checkpoint.safetensors`, the encoder as of the last state; while a process works on it also `.lock`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

import leveret.distributed as distributed
from leveret.checkpoint import OBJECTIVE, TRAINING_FILES, save_checkpoint
from leveret.journal import json_or_none, replace_file
from leveret.pretext import Objective
from leveret.progress import Reporter
from leveret.training_config import FREE, ROUNDING, PretrainConfig
from leveret.training_log import CONFIG
from leveret.version import __version__

STATES, CHECKPOINT = "states", "checkpoint.safetensors"
_LOCK_SECONDS = 5.0  # so long a process that was killed may take to be gone


class RunFolderError(ValueError):
    """A folder that another run, or another process, has."""


@dataclass(frozen=True)
class TrainingData:
    """What is known of the corpus.

    Attributes:
        labels: Vocabulary; empty without labels.
        about: Plain values that tell it from another corpus: a digest, the number of clips.
        file_digests: Sha256 of each training file, in hexadecimal; kept in the checkpoint.
    """

    labels: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    file_digests: Sequence[str] = ()


@contextmanager
def claimed(
    folder: Path, config: PretrainConfig, data: TrainingData, machine: Mapping[str, Any], reporter: Reporter
) -> Iterator[None]:
    """Have the folder for this run alone, new or taken up again; rank 0 does it, the others wait.

    Args:
        machine: What decides rounding beside the settings: processes, device.

    Raises:
        RunFolderError: It is another run's, or a process is at work on it.
    """
    if not distributed.is_first():
        distributed.barrier()
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / ".lock")
    try:
        held.acquire(timeout=_LOCK_SECONDS)
    except Timeout as error:
        raise RunFolderError(
            f"another process is at work in {folder}; wait for it, or name another folder with -o"
        ) from error
    try:
        _take_up(folder, config, data, machine, reporter)
        distributed.barrier()
        yield
    finally:
        held.release()


def _take_up(
    folder: Path, config: PretrainConfig, data: TrainingData, machine: Mapping[str, Any], reporter: Reporter
) -> None:
    """Compare the folder's config with this one, and write it."""
    path = folder / CONFIG
    ours: dict[str, Any] = {
        "leveret": __version__,
        "config": config.as_json(),
        "data": {**data.about, "labels": list(data.labels)},
        "machine": dict(machine),
    }
    if path.exists():
        theirs = json_or_none(path.read_bytes())
        if not (
            isinstance(theirs, dict) and all(isinstance(theirs.get(name), dict) for name in ours if name[0] != "l")
        ):
            raise RunFolderError(f"{folder} holds no pretraining run ({CONFIG} is something else); name another folder")
        if changes := _changes(theirs["config"], ours["config"], (*FREE, *ROUNDING)) + _changes(
            theirs["data"], ours["data"]
        ):
            raise RunFolderError(
                f"{folder} holds another run ({'; '.join(changes)}); give its own settings to go on with it, or name "
                "another folder with -o"
            )
        rounding = {name: ours["config"][name] for name in ROUNDING} | ours["machine"]
        before = {name: theirs["config"][name] for name in ROUNDING} | theirs["machine"]
        if changes := _changes(before, rounding):
            reporter.say(
                f"note: {'; '.join(changes)}: the run goes on with the same data and draws, but no longer bit for bit "
                "as it would have"
            )
    replace_file(path, (json.dumps(ours, indent=1) + "\n").encode())


def _changes(theirs: Mapping[str, Any], ours: Mapping[str, Any], but: Sequence[str] = ()) -> list[str]:
    """What differs, for a message."""
    found = []
    for name in (*ours, *sorted(set(theirs) - set(ours))):
        before, now = theirs.get(name), ours.get(name)
        if name in but or before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            found += [f"{name}.{change}" for change in _changes(before, now)]
        else:
            found.append(f"{name} was {_short(before)} and is {_short(now)}")
    return found


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def export(
    path: Path, config: PretrainConfig, objective: Objective, data: TrainingData, step: int, weights: str
) -> None:
    """Write the encoder, what the objective keeps beside it, and digests of the training files.

    The tensors beside the encoder are `objective.NAME` for each that `Objective.kept` names, and `training_files`, the
    sha256 of each file as 32 bytes (n, 32).

    Args:
        step: Steps that are done.
        weights: What the weights are: the last ones, or an average.
    """
    beside = {f"{OBJECTIVE}{name}": tensor for name, tensor in objective.kept().items()}
    digests = bytearray.fromhex("".join(data.file_digests))
    if digests:
        beside[TRAINING_FILES] = torch.frombuffer(digests, dtype=torch.uint8).view(-1, 32)
    extra = {
        "leveret": __version__,
        "recipe": config.recipe,
        "scale": config.scale,
        "changed": list(config.changed),
        "objective": config.objective,
        "step": step,
        "weights": weights,
        "labels": list(data.labels),
        "data": dict(data.about),
        "pretraining": config.as_json(),
    }
    save_checkpoint(path, config.encoder, config.encoder_config, objective.encoder, extra, beside)
