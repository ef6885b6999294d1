"""What a run tells: a line of JSON every so many steps, and the same numbers to TensorBoard and Weights & Biases.

The journal is the truth: a restart cuts it, and TensorBoard's curves, back to the step it goes on from. Beside it lie
journals of the starts (on what machine, by which command) and of the clips that could not be read.
"""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import leveret.journal as journal
from leveret.progress import Reporter

CONFIG, LOG, STARTS = "config.json", "log.jsonl", "starts.jsonl"
Track = Literal["auto", "none", "tensorboard", "wandb"]
"""auto is TensorBoard where it is installed."""


class Tracker(Protocol):
    """Something that draws curves."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """A point of each curve."""
        ...

    def close(self) -> None:
        """Whatever is not yet written is."""
        ...


class TrainingLog:
    """The log of one run, written by one process.

    Attributes:
        probed: Whether the scores of a probe, a line without a loss, were there for the step that the log goes on from.
    """

    def __init__(self, folder: Path, step: int, trackers: Sequence[Tracker]) -> None:
        """Take up the log of a run.

        Args:
            step: Steps that are done; lines of later ones, from a process that was killed, go.
        """
        self.path = folder / LOG
        self.trackers = trackers
        journal.mend(self.path)
        lines = list(journal.pieces(self.path))
        kept = [line for line in lines if step and line["step"] <= step]  # what is before the first step comes again
        self.probed = any(line["step"] == step and "loss" not in line for line in kept)
        if len(kept) < len(lines):
            partial = self.path.with_name(f".{LOG}.partial")
            partial.write_bytes(b"")
            for line in kept:
                journal.append(partial, line)
            partial.replace(self.path)

    def begin(self, step: int, about: Mapping[str, Any]) -> None:
        """Record a start after so many steps, with what there is to know of the process."""
        journal.append(self.path.with_name(STARTS), {"step": step, **about})

    def write(self, step: int, numbers: Mapping[str, float | None]) -> None:
        """Record numbers after so many steps; None is what is not known here."""
        journal.append(self.path, {"step": step, **numbers})
        known = {name: value for name, value in numbers.items() if value is not None}
        for tracker in self.trackers:
            tracker.write(step, known)

    def close(self) -> None:
        """Flush the trackers."""
        for tracker in self.trackers:
            tracker.close()


def read_log(folder: Path) -> list[Mapping[str, Any]]:
    """All lines of a run folder's log, in order."""
    return list(journal.pieces(folder / LOG))


def read_starts(folder: Path) -> list[Mapping[str, Any]]:
    """What is known of each start of a run, in order."""
    return list(journal.pieces(folder / STARTS))


class SkippedClips:
    """The clips that one process could not read, in a journal of its own in the run folder."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.path = folder / f"skipped-{rank}.jsonl"
        self.known: set[str] = set()

    def write(self, bad: Mapping[str, str]) -> None:
        """Record those that are new: clip -> why."""
        for clip in [clip for clip in bad if clip not in self.known]:
            self.known.add(clip)
            journal.append(self.path, {"clip": clip, "why": bad[clip]})


def read_skipped(folder: Path) -> dict[str, str]:
    """Clip -> why, of all processes and starts of a run."""
    lines = (line for path in sorted(folder.glob("skipped-*.jsonl")) for line in journal.pieces(path))
    return {line["clip"]: line["why"] for line in lines}


def open_trackers(folder: Path, step: int, track: Track, reporter: Reporter) -> list[Tracker]:
    """The trackers that are asked for.

    Args:
        step: Steps that are done.

    Raises:
        ValueError: One that is asked for is not installed.
    """
    if track == "wandb":
        return [_WandB(folder)]
    if track == "tensorboard" or (track == "auto" and find_spec("tensorboard")):
        return [_TensorBoard(folder, step)]
    if track == "auto":
        reporter.say("note: no TensorBoard here, so curves are in log.jsonl alone; pip install 'leveret[track]'")
    return []


class _TensorBoard:
    """Event files in the run folder, for `tensorboard --logdir`."""

    def __init__(self, folder: Path, step: int) -> None:
        writer = _required("tensorboard", "torch.utils.tensorboard").SummaryWriter
        # points of later steps, from a process that was killed, are hidden
        self.writer: Any = writer(str(folder / "tensorboard"), purge_step=step + 1 if step else 0)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _WandB:
    """One run of Weights & Biases for one run folder; project and account come from its own settings."""

    def __init__(self, folder: Path) -> None:
        wandb = _required("wandb", "wandb")
        identity = folder / "wandb.json"
        known = journal.json_or_none(identity.read_bytes()) if identity.exists() else None
        project = os.environ.get("WANDB_PROJECT", "leveret")
        self.run: Any = wandb.init(
            project=project, dir=str(folder), name=folder.name, resume="allow", id=(known or {}).get("id")
        )
        journal.replace_file(identity, json.dumps({"id": self.run.id}).encode())

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


def _required(package: str, module: str) -> Any:
    if find_spec(package) is None:
        raise ValueError(f"{package} is asked for and not installed; pip install 'leveret[track]', or leave it out")
    return import_module(module)
