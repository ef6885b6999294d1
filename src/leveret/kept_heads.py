"""Which head scores a task: a new probe, or the classifier that a checkpoint kept of its supervised pretraining.

Source: paper, appendix A: "For supervised classification, we do not perform a second stage of fine-tuning to evaluate
the representations on the AudioSet benchmark." Windows and their average stay those of the task and the protocol.
A checkpoint may come from a stranger: its labels and tensors are checked before they are believed.
Shapes: D embedding, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch

from leveret.checkpoint import OBJECTIVE, Checkpoint, CheckpointError
from leveret.content import tensors_digest
from leveret.contracts import Task
from leveret.objectives.supervised import BIAS, WEIGHT
from leveret.probes.linear import LinearReadout
from leveret.protocols import Protocol
from leveret.registry import unknown_name
from leveret.runner import Runner

Asked = Literal["auto", "probe", "pretraining"]
KEPT: dict[str, Any] = {"class": "PretrainingClassifier"}
"""What a result and a saved probe say in place of a probe's settings."""

_NEW_PROBE = "with tables 6 and 8 of the paper, where a supervised encoder is scored by its own classifier on this task"
_OLD_HEAD = "with probes trained on this task: it is the classifier of the encoder's pretraining"


class HeadError(ValueError):
    """A classifier that is asked for and not there, or is one of other labels."""


@dataclass(frozen=True)
class Head:
    """What scores one task for one encoder.

    Attributes:
        readout: The kept classifier, its columns in the order of the task's labels; None trains a new probe.
        about: What the result's `probe` says of it.
    """

    readout: LinearReadout | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As scorecards call it: "probe" or "pretraining"."""
        return "probe" if self.readout is None else "pretraining"

    def on(self, device: torch.device) -> LinearReadout:
        """The kept classifier on a device."""
        assert self.readout is not None, self.about
        return replace(self.readout, weight=self.readout.weight.to(device), bias=self.readout.bias.to(device))


def check_asked(asked: str, protocol: Protocol) -> None:
    """Whether such a head can be asked for.

    Raises:
        UnknownNameError: There is no such word.
        HeadError: It contradicts the protocol's own probe.
    """
    if asked not in get_args(Asked):
        raise unknown_name("head", asked, get_args(Asked))
    if asked == "pretraining" and protocol.head is not None:
        raise HeadError(
            f"head='pretraining' with the probe {protocol.head!r}: a kept classifier takes the place of a probe; leave "
            "one of them out"
        )


def head_of(task: Task, runner: Runner, asked: Asked, protocol: Protocol) -> Head:
    """The head of a task for an encoder.

    Args:
        asked: "auto" is the kept classifier on tasks that take it (AudioSet), where the encoder has one for the task's
            labels and no probe is named, else a probe; "pretraining" on every task.

    Raises:
        HeadError: "pretraining" is asked for, and the encoder has no classifier, or one of other labels.
        CheckpointError: The classifier is damaged.
    """
    if asked != "pretraining" and not task.takes_kept_head:
        return Head()
    labels = kept_labels(runner.loaded.checkpoint, runner.loaded.spec)
    if why := _obstacle(task, runner, labels, protocol):
        if asked == "pretraining":
            raise HeadError(f"head='pretraining' for {runner.name} on task {task.name!r}: {why}")
        return Head()
    if asked == "probe" or protocol.head is not None:
        return Head(about={"not_comparable": _NEW_PROBE})
    assert runner.loaded.checkpoint is not None, runner.name
    about: dict[str, Any] = {**KEPT} | ({} if task.takes_kept_head else {"not_comparable": _OLD_HEAD})
    return _kept(runner.loaded.checkpoint, runner.loaded.spec, labels, task.labels, about)


def kept_labels(checkpoint: Checkpoint | None, spec: str) -> tuple[str, ...]:
    """Labels of the classifier that a checkpoint keeps, in the order of its outputs; empty where it keeps none.

    Raises:
        CheckpointError: The header holds something else in their place.
    """
    if checkpoint is None or f"{OBJECTIVE}{WEIGHT}" not in checkpoint.beside:
        return ()
    labels = checkpoint.extra.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise CheckpointError(
            f"the labels of the classifier in {spec} are {str(labels)[:80]}; expected a list of names"
        )
    if not labels or len(set(labels)) < len(labels):
        raise CheckpointError(
            f"the classifier in {spec} has {len(labels)} labels, {len(set(labels))} of them different; expected "
            "different ones"
        )
    return tuple(labels)


def _obstacle(task: Task, runner: Runner, labels: Sequence[str], protocol: Protocol) -> str:
    """Why a kept classifier cannot score the task; empty if it can."""
    if not labels:
        return (
            "it keeps no classifier; expected a checkpoint of `leveret pretrain --objective supervised` (leave --head "
            "out to train a probe)"
        )
    default = list(runner.loaded.encoder.layers)[-1]
    if runner.layer not in (None, default):
        return f"the classifier reads the layer {default!r}, not {runner.layer!r}; leave --layer out"
    theirs, ours = set(labels), set(task.labels)
    if len(task.slots) > 1 or theirs != ours:
        return (
            f"the classifier has {len(theirs)} labels{_example(theirs - ours, 'the task lacks')}, the task has "
            f"{len(ours)}{_example(ours - theirs, 'the classifier lacks')}; expected the same names (leave --head out "
            "to train a probe)"
        )
    if task.kind == "single" and protocol.average == "probabilities":
        return (
            "the classifier was trained label by label, so its softmax gives no probabilities; average logits "
            "(decision values)"
        )
    return ""


def _example(names: set[str], lacks: str) -> str:
    return f" ({len(names)} that {lacks}, such as {min(names)!r})" if names else ""


def _kept(
    checkpoint: Checkpoint, spec: str, labels: Sequence[str], wanted: Sequence[str], about: Mapping[str, Any]
) -> Head:
    """The classifier with its columns in the wanted order."""
    tensors = {
        name: checkpoint.beside[key].unsqueeze(0)
        for name, key in (("weight", f"{OBJECTIVE}{WEIGHT}"), ("bias", f"{OBJECTIVE}{BIAS}"))
        if key in checkpoint.beside
    }
    try:
        found = LinearReadout.from_tensors(tensors, checkpoint.encoder.embed_dim, len(labels))
    except ValueError as error:
        raise CheckpointError(f"the classifier in {spec} is damaged: {error}; --head probe does without it") from error
    column = {label: k for k, label in enumerate(labels)}
    order = [column[label] for label in wanted]
    objective = checkpoint.extra.get("objective")
    return Head(
        LinearReadout(found.weight[:, order], found.bias[:, order]),
        {**about, "objective": str(objective), "digest": tensors_digest(tensors)},
    )
