"""Trained probes in files: what an evaluation fitted, with all that it takes to use it on other audio.

One safetensors file a fold. Its header says what the probe was trained on (encoder and its digest, layer, crop rule,
behaviour versions), what its columns mean (labels, kind of task) and what it is (probe, protocol, score). A file may
come from a stranger: nothing in it is run, and everything in it is checked before it is believed.
Shapes: D embedding, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, cast, get_args

from torch import Tensor

from leveret.audio import MIN_SECONDS
from leveret.batches import CropRule
from leveret.contracts import FittedProbe, Kind, Task
from leveret.kept_heads import KEPT
from leveret.loading import LONGEST_CLIP_SECONDS
from leveret.protocols import Protocol, probe_settings
from leveret.registry import look_up
from leveret.results import TaskResult
from leveret.runner import BEHAVIOUR_VERSIONS
from leveret.tensor_files import read_tensors, write_tensors

PROBE_VERSION = 1
SUFFIX = ".safetensors"
_HEADER = "leveret_probe"


class ProbeFileError(ValueError):
    """A file that is not a trained probe, or one that does not fit what it is to be used with."""


@dataclass(frozen=True)
class TrainedProbe:
    """A task's fitted probe.

    Attributes:
        task: Its name, suite and domain.
        kind: One label a clip, any number of labels, or one label in each of several slots.
        slots: Name and vocabulary of each slot.
        encoder: As scorecards describe it, with the seed of a bare name's weights, and the layer that was read out
            where it is not the default.
        crop: The windows that it was trained on.
        versions: Behaviour versions of audio, front end and rows.
        protocol: As scorecards describe it.
        probe: Name of its class and its settings.
        logits: Whether its scores are logits.
        fold: Number of the fold that it was trained on, counted from 1.
        folds: How many there were.
        score: On the test clips of its fold.
        readouts: One a slot.
    """

    task: Mapping[str, str]
    kind: Kind
    slots: tuple[tuple[str, tuple[str, ...]], ...]
    encoder: Mapping[str, Any]
    crop: CropRule
    versions: Mapping[str, int]
    protocol: Mapping[str, Any]
    probe: Mapping[str, Any]
    logits: bool
    fold: int
    folds: int
    score: float
    readouts: Sequence[FittedProbe]

    @property
    def average(self) -> Literal["logits", "probabilities"]:
        """What is averaged over the windows of a clip."""
        return cast(Literal["logits", "probabilities"], self.protocol["average"])


def save_probes(
    folder: Path,
    key: str,
    task: Task,
    protocol: Protocol,
    encoder: Mapping[str, Any],
    probes: Sequence[Sequence[FittedProbe]],
    result: TaskResult,
) -> list[Path]:
    """Write `KEY.safetensors`, or `KEY.fold-N.safetensors` for each fold of a cross-validation.

    Args:
        folder: Made if need be.
        key: The task's file name in the run folder.
        encoder: As scorecards describe it, with "seed".
        probes: Of each fold and slot. A fold's file holds the very probe that was scored on its test clips: refitting
            on all folds would make one that nobody has scored.
        result: Of the task under this protocol.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = protocol.probe(task)
    kept = result.head != "probe"
    paths = []
    scores = result.folds or [result.score]
    for number, (readouts, score) in enumerate(zip(probes, scores, strict=True), start=1):
        trained = TrainedProbe(
            task={"name": task.name, "suite": task.suite, "domain": task.domain},
            kind=task.kind,
            slots=task.slots,
            encoder=encoder,
            crop=CropRule(seconds=task.crop_seconds, whole_clip=task.whole_clip),
            versions=BEHAVIOUR_VERSIONS,
            protocol=protocol.described(),
            probe={**KEPT} if kept else probe_settings(probe),
            logits=kept or probe.logits,
            fold=number,
            folds=len(probes),
            score=score,
            readouts=readouts,
        )
        name = key if len(probes) == 1 else f"{key}.fold-{number}"
        paths.append(folder / f"{name}{SUFFIX}")
        save_probe(paths[-1], trained)
    return paths


def save_probe(path: Path, probe: TrainedProbe) -> None:
    """Write a trained probe, atomically."""
    described = {
        "version": PROBE_VERSION,
        "task": dict(probe.task),
        "kind": probe.kind,
        "slots": [[slot, list(labels)] for slot, labels in probe.slots],
        "encoder": dict(probe.encoder),
        "crop": asdict(probe.crop),
        "versions": dict(probe.versions),
        "protocol": dict(probe.protocol),
        "probe": dict(probe.probe),
        "logits": probe.logits,
        "fold": probe.fold,
        "folds": probe.folds,
        "score": probe.score,
        "readouts": [readout.kind for readout in probe.readouts],
    }
    tensors = {
        # copies: slots may share training vectors, and the format knows no sharing
        f"{slot}.{name}": tensor.detach().cpu().contiguous().clone()
        for slot, readout in enumerate(probe.readouts)
        for name, tensor in readout.tensors().items()
    }
    write_tensors(path, tensors, _HEADER, described)


def load_probe(path: str | Path) -> TrainedProbe:
    """Read a trained probe.

    Args:
        path: Its file, or a run folder that holds no other.

    Raises:
        ProbeFileError: The file is missing, torn, foreign, of a newer format, or does not fit together; of a folder, it
            holds none or several.
    """
    path = Path(path)
    if path.is_dir():
        path = _only_probe(path)
    tensors, described = read_tensors(path, _HEADER, "trained probe", PROBE_VERSION, ProbeFileError)
    try:
        return _from_header(described, tensors)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"{error} is missing in its header" if isinstance(error, KeyError) else str(error)
        raise ProbeFileError(f"{path} is no trained probe that can be used: {reason}") from error


def _only_probe(folder: Path) -> Path:
    within = folder / "probes" if (folder / "probes").is_dir() else folder
    found = sorted(within.glob(f"*{SUFFIX}"))
    if not found:
        raise ProbeFileError(f"{folder} holds no probes; `leveret evaluate --save-probes` keeps them in its run folder")
    if len(found) > 1:
        names = ", ".join(path.name.removesuffix(SUFFIX) for path in found)
        raise ProbeFileError(f"{folder} holds {len(found)} probes: name one, {within}/NAME{SUFFIX}, of {names}")
    return found[0]


def _from_header(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TrainedProbe:
    kind = described["kind"]
    if kind not in get_args(Kind):
        raise ValueError(f"kind {kind!r}; expected {', '.join(get_args(Kind))}")
    slots = tuple((_typed(slot, str, "slot"), _labels(labels)) for slot, labels in described["slots"])
    if not slots or len({slot for slot, _ in slots}) < len(slots) or (kind != "slots" and len(slots) > 1):
        raise ValueError(f"{len(slots)} slots for a task of kind {kind!r}; expected different ones, or a single one")
    encoder = {key: _typed(described["encoder"][key], str, key) for key in ("spec", "name", "digest")}
    width = _typed(described["encoder"]["embed_dim"], int, "embed_dim")
    if (layer := described["encoder"].get("layer")) is not None:
        encoder["layer"] = _typed(layer, str, "layer")
    seed = _typed(described["encoder"]["seed"], int, "seed")
    if not -(2**63) <= seed < 2**64:  # what torch takes
        raise ValueError(f"the encoder's seed is {str(seed)[:80]}; expected at most 64 bits")
    protocol = {key: _typed(described["protocol"][key], str, key) for key in ("title", "average")}
    if protocol["average"] not in ("logits", "probabilities"):
        raise ValueError(f"average {protocol['average']!r}; expected logits or probabilities")
    kinds = described["readouts"]
    if len(kinds) != len(slots):
        raise ValueError(f"{len(kinds)} read-outs for {len(slots)} slots; expected one each")
    readouts = []
    for number, (readout, (_, labels)) in enumerate(zip(kinds, slots, strict=True)):
        prefix = f"{number}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        chosen = look_up("probes", _typed(readout, str, "read-out"), "READOUTS")
        readouts.append(chosen.from_tensors(own, width, len(labels)))
    return TrainedProbe(
        task={key: _typed(described["task"][key], str, key) for key in ("name", "suite", "domain")},
        kind=kind,
        slots=slots,
        encoder={**described["encoder"], **encoder},
        crop=_crop(described["crop"]),
        versions={
            key: _typed(value, int, key) for key, value in _typed(described["versions"], dict, "versions").items()
        },
        protocol={**described["protocol"], **protocol},
        probe={**described["probe"], "class": _typed(described["probe"]["class"], str, "class")},
        logits=_typed(described["logits"], bool, "logits"),
        fold=_typed(described["fold"], int, "fold"),
        folds=_typed(described["folds"], int, "folds"),
        score=_typed(described["score"], float, "score"),
        readouts=readouts,
    )


def _typed(value: Any, wanted: type, name: str) -> Any:
    if not isinstance(value, wanted):
        raise TypeError(f"{name} is {str(value)[:80]!r} in its header; expected {wanted.__name__}")
    return value


def _labels(labels: Any) -> tuple[str, ...]:
    found = tuple(_typed(label, str, "a label") for label in _typed(labels, list, "labels"))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{len(found)} labels, {len(set(found))} of them different; expected different ones")
    return found


def _crop(values: Any) -> CropRule:
    seconds, hop = float(values["seconds"]), values["hop"]
    for name, value in (("seconds", seconds), ("hop", 1.0 if hop is None else float(hop))):
        if not isfinite(value) or not MIN_SECONDS <= value <= LONGEST_CLIP_SECONDS:
            raise ValueError(f"the crop's {name} is {value}; expected {MIN_SECONDS} to {LONGEST_CLIP_SECONDS:g}")
    whole_clip = _typed(values["whole_clip"], bool, "whole_clip")
    return CropRule(seconds=seconds, whole_clip=whole_clip, hop=None if hop is None else float(hop))
