"""What a killed run goes on from: weights, optimizer and moving average after some step, each file with its digest.

A file is written whole or not at all. One that is damaged all the same (a machine that lost power, a flaky disk) is
told by its digest, and the one before it is used.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from leveret.content import tensors_digest
from leveret.fused_adam import FusedAdam
from leveret.pretext import Objective
from leveret.progress import Reporter
from leveret.tensor_files import read_tensors, write_tensors

STATE_VERSION = 1
HEADER = "leveret-training"
_OBJECTIVE, _OPTIMIZER, _AVERAGE = "objective.", "optimizer.", "average."


class TrainingStateError(ValueError):
    """A file that holds no state of this run."""


@dataclass(frozen=True)
class Learner:
    """All that changes while a run goes on.

    Attributes:
        objective: With the encoder, and buffers such as a memory; the same at every rank.
        optimizer: Over the objective's parameters.
        average: A moving average of the objective; None where there is none.
    """

    objective: Objective
    optimizer: FusedAdam
    average: AveragedModel | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name."""
        found = {f"{_OBJECTIVE}{name}": tensor for name, tensor in self.objective.state_dict().items()}
        for name, parameter in self.objective.named_parameters():
            for slot, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{_OPTIMIZER}{slot}.{name}"] = value
        if self.average is not None:
            found |= {f"{_AVERAGE}{name}": tensor for name, tensor in self.average.state_dict().items()}
        return {name: tensor.detach().contiguous() for name, tensor in found.items()}

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave.

        Raises:
            RuntimeError: It comes from another network.
        """
        self.objective.load_state_dict(_part(tensors, _OBJECTIVE))
        if self.average is not None:
            self.average.load_state_dict(_part(tensors, _AVERAGE))
        parameters = dict(self.objective.named_parameters())
        for name, value in _part(tensors, _OPTIMIZER).items():
            slot, _, owner = name.partition(".")
            parameter = parameters[owner]
            place = torch.empty_like(value, device=parameter.device) if slot == "step" else torch.empty_like(parameter)
            self.optimizer.state.setdefault(parameter, {})[slot] = place.copy_(value)


def save_state(folder: Path, step: int, learner: Learner, about: Mapping[str, Any], keep: int) -> Path:
    """Write a state, then remove all but the last `keep` of them.

    Args:
        step: Steps that are done.
        about: Plain values that `load_state` compares: what the run is.

    Raises:
        OSError: The disk is full; older states stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = learner.tensors()
    described = {"version": STATE_VERSION, "step": step, "about": dict(about)}
    path = folder / f"step-{step:09d}.safetensors"
    write_tensors(path, tensors, HEADER, described | {"digest": _digest(tensors, described)})
    for old in state_files(folder)[keep:]:
        old.unlink()
    return path


def state_files(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def newest_state(folder: Path, reporter: Reporter) -> Path | None:
    """The newest file that is whole; those that are not are said, and left where they are.

    Raises:
        TrainingStateError: There are files, and none of them is whole.
    """
    reasons = []
    for path in state_files(folder):
        try:
            _read(path)
        except TrainingStateError as error:
            reporter.say(f"{error}; the state before it is used")
            reasons.append(str(error))
        else:
            return path
    if reasons:
        raise TrainingStateError(
            f"no state in {folder} is whole ({reasons[0]}); remove the folder to train from the start"
        )
    return None


def load_state(path: Path, learner: Learner, about: Mapping[str, Any]) -> int:
    """Fill a learner; the number of steps that are done.

    Raises:
        TrainingStateError: The file is damaged, or of another run.
    """
    tensors, described = _read(path)
    for name, value in about.items():
        if described["about"].get(name) != value:
            raise TrainingStateError(
                f"{path} is the state of another run: its {name} is {described['about'].get(name)}, not {value}; name "
                "another folder for this one"
            )
    try:
        learner.fill(tensors)
    except (RuntimeError, KeyError) as error:
        raise TrainingStateError(f"{path} does not fit this leveret's network: {error}") from error
    return int(described["step"])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, described = read_tensors(path, HEADER, "training state", STATE_VERSION, TrainingStateError)
    digest = described.pop("digest", "")
    if digest != _digest(tensors, described):
        raise TrainingStateError(f"{path} is damaged: its content does not have the digest that was written with it")
    return tensors, described


def _digest(tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> str:
    text = json.dumps(described, sort_keys=True)
    return sha256(f"{text}\n{tensors_digest(tensors)}".encode()).hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
