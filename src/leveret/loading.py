"""Specs become things: an encoder with its identity (a name, a checkpoint file, an adapter), or tasks.

slowfast_nfnet_f0            an architecture with freshly drawn weights
runs/best.safetensors        a checkpoint
py:my_encoder.py:MyEncoder   somebody else's, by an adapter: py, hear, hf, onnx, torchscript, pkg
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leveret.adapters.faults import blamed
from leveret.adapters.foreign import Foreign
from leveret.checkpoint import CHECKPOINT_SUFFIX, Checkpoint, config_as_json, load_checkpoint
from leveret.content import file_sha256, weights_digest
from leveret.contracts import Encoder, EncoderConfig, Task
from leveret.dataroots import DataRoots
from leveret.drift import moved
from leveret.published_audio import DataFolder, Dataset, MissingDatasetError, Published
from leveret.registry import UnknownNameError, entries, look_up, unknown_name
from leveret.results import HARES, HARES_TASKS
from leveret.stimuli import noise
from leveret.tasks.hf_parquet import unpacked

LONGEST_CLIP_SECONDS = 3600.0  # "the whole clip" ends somewhere: an hour of features still fits into memory
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(?<!\.pt)(?<!\.pth)(?<!\.ckpt)(?<!\.bin)(?<!\.onnx)")
DETERMINISM_TOLERANCE = 1e-3  # of the vectors' norm; a dropout left on moves them by far more


class NotFiniteError(ValueError):
    """An encoder that makes NaN or infinity of ordinary noise."""


class NotDeterministicError(ValueError):
    """An encoder that gives other vectors for the same waves on a second call."""


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder and everything that a cached row or a result must say of it.

    Attributes:
        spec: As the user wrote it.
        name: Short, for tables and file names.
        encoder: In eval mode.
        digest: Of its weights, and of an adapter's files.
        config: Plain values.
        origin: Where its weights come from, in words.
        foreign: True for an adapter, whose behaviour the digest cannot vouch for.
        checkpoint: The file's content, with what pretraining kept in it; None for all but checkpoints.
        pretraining: Objective, recipe and data, where a checkpoint says so.
    """

    spec: str
    name: str
    encoder: Encoder
    digest: str
    config: Mapping[str, Any]
    origin: str
    foreign: bool
    checkpoint: Checkpoint | None = None
    pretraining: Mapping[str, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """That its weights were drawn and never trained, for somebody who wants vectors of it; empty for all others."""
        return (
            f"{self.spec} has {self.origin}; give a checkpoint for trained ones"
            if self.origin.startswith("random")
            else ""
        )

    @property
    def num_parameters(self) -> int:
        """Trainable numbers in it."""
        return sum(parameter.numel() for parameter in self.encoder.parameters())

    def described(self) -> dict[str, Any]:
        """For scorecards and cache identities."""
        return {
            "spec": self.spec,
            "name": self.name,
            "digest": self.digest,
            "config": dict(self.config),
            "origin": self.origin,
            "parameters": self.num_parameters,
            "sample_rate": self.encoder.sample_rate,
            "embed_dim": self.encoder.embed_dim,
            **({"pretraining": dict(self.pretraining)} if self.pretraining else {}),
        }


def create_encoder(spec: str | Path, seed: int = 0) -> Encoder:
    """The encoder of a spec, in eval mode.

    Args:
        spec: A name of `leveret list encoders`, a checkpoint file, or an adapter such as `py:FILE:CLASS`.
        seed: Draws the weights of a bare name; the global generator is left as it was.

    Raises:
        UnknownNameError: No such encoder; the message lists the nearest.
    """
    return load_encoder(spec, seed).encoder


def is_own(spec: str) -> bool:
    """Whether making the encoder of a spec runs nobody's code: one of leveret's names, or a checkpoint.

    A file from a stranger may name any spec, and an adapter would run whatever code lies at the path in it.
    """
    return spec in entries("encoders") or (spec.endswith(CHECKPOINT_SUFFIX) and ":" not in spec)


def load_encoder(spec: str | Path | Encoder, seed: int = 0) -> LoadedEncoder:
    """As `create_encoder`, with the identity; an encoder object is taken as it is."""
    if isinstance(spec, Encoder):
        name = type(spec).__name__
        digest = weights_digest(spec)
        return LoadedEncoder(name, name, spec.eval(), digest, {"class": name}, "encoder object", foreign=True)
    spec = str(spec)
    prefix, colon, rest = spec.partition(":")
    if colon and prefix in entries("adapters"):
        found: Foreign = look_up("adapters", prefix)(rest)
        sources = sha256("".join(map(file_sha256, found.sources)).encode()).hexdigest()
        digest = f"{sources[:32]}{weights_digest(found.encoder)[:32]}"
        config = {"adapter": prefix, **found.facts}
        return LoadedEncoder(spec, found.name, found.encoder, digest, config, f"{prefix} adapter", foreign=True)
    if spec.endswith(CHECKPOINT_SUFFIX):
        checkpoint = load_checkpoint(Path(spec))
        config = {"encoder": checkpoint.name, **config_as_json(checkpoint.config)}
        digest = weights_digest(checkpoint.encoder)
        return LoadedEncoder(
            spec, _checkpoint_name(Path(spec)), checkpoint.encoder, digest, config, "checkpoint", foreign=False,
            checkpoint=checkpoint, pretraining=_pretraining(checkpoint.extra),
        )  # fmt: skip
    if spec not in entries("encoders"):
        if _HUB_NAME.fullmatch(spec) and not Path(spec).exists():
            raise UnknownNameError(f"no encoder {spec!r}; a model of the Hugging Face hub is hf:{spec}")
        # the forms first: of many names the message shows but some
        if Path(spec.partition(":")[0]).suffix == ".py":
            raise UnknownNameError(
                f"no encoder {spec!r}; a class of a file is py:FILE:CLASS, such as py:{spec}"
                f"{'' if colon else ':MyEncoder'}"
            )
        forms = ["FILE.safetensors", *(f"{prefix}:..." for prefix in entries("adapters")), *entries("encoders")]
        raise unknown_name("encoder", spec, forms)
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed={seed}; expected -2**63 to 2**64 - 1, which torch's generators take")
    chosen: EncoderConfig = look_up("encoders", spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = chosen.build().eval()
    config = {"encoder": spec, **config_as_json(chosen)}
    has_weights = any(True for _ in encoder.parameters())
    origin = f"random weights, seed {seed}" if has_weights else "no weights"
    return LoadedEncoder(spec, spec, encoder, weights_digest(encoder), config, origin, foreign=False)


def _checkpoint_name(path: Path) -> str:
    """The file's, or its folder's where it bears the name that every pretraining gives its checkpoint."""
    return path.resolve().parent.name if path.stem == "checkpoint" else path.stem


def _pretraining(extra: Mapping[str, Any]) -> dict[str, str]:
    """What `leveret pretrain` wrote beside the weights; a stranger's file may hold anything there."""
    data = extra.get("data")
    corpus = data.get("corpus") if isinstance(data, dict) else None
    said = {"objective": extra.get("objective"), "recipe": extra.get("recipe"), "data": corpus}
    return {name: value for name, value in said.items() if isinstance(value, str) and value}


@dataclass(frozen=True)
class FoundTasks:
    """Tasks, and what of a suite is not on this machine.

    Attributes:
        tasks: In the order of the specs; HARES in that of the paper's table 4.
        missing: Task -> why it is not there, and where to get it.
    """

    tasks: list[Task]
    missing: Mapping[str, str]


def find_tasks(
    specs: Sequence[str],
    only: Sequence[str] = (),
    crop: float | str | None = None,
    data: DataRoots = DataRoots(),
) -> FoundTasks:
    """The tasks of specs such as "mini", "esc50", "nsynth_pitch", "manifest:labels.csv" and "hares".

    Args:
        only: Names of the tasks to keep; empty keeps all.
        crop: In place of each task's own: seconds, or "clip" for whole clips.
        data: Where published datasets lie.

    Raises:
        DatasetError: A dataset is not there, or is not as it was published; of the suite `hares`, none is there, or
            none that `only` keeps.
        UnknownNameError: No such spec, or `only` names a task that none of them has.
        ValueError: No specs.
    """
    if not specs:
        raise ValueError("no tasks are named; name some, such as mini or manifest:FILE (`leveret list tasks`)")
    tasks: list[Task] = []
    missing: dict[str, str] = {}
    for spec in specs:
        name, _, rest = spec.partition(":")
        if name == HARES:
            tasks += _hares(data, missing)
            continue
        if Path(spec).suffix in (".csv", ".parquet") and ":" not in spec:
            raise UnknownNameError(f"no task {spec!r}; a table of your own is manifest:{spec}")
        owner = next((one for one in datasets().values() if name in one.tasks), None)
        if owner is None and name not in entries("tasks") and Path(spec).is_dir():
            raise UnknownNameError(f"no task {spec!r}, but a folder; a table of its clips is manifest:FILE.csv")
        entry = owner or look_up("tasks", name)
        only_this = (name,) if owner and name != owner.name else ()
        made = _tasks_of(entry, data, rest, only_this) if isinstance(entry, Dataset) else entry(rest)
        tasks += [task for task in made if owner is None or name in (owner.name, task.name)]
    for name in only:
        if name not in [*missing, *(task.name for task in tasks)]:
            raise unknown_name("task to keep", name, [task.name for task in tasks])
    tasks = [task for task in tasks if not only or task.name in only]
    if not tasks:  # all that are to be kept are missing
        raise MissingDatasetError("\n".join(dict.fromkeys(missing[name] for name in only)))
    if crop == "clip":
        tasks = [replace(task, crop_seconds=LONGEST_CLIP_SECONDS, whole_clip=True) for task in tasks]
    elif crop is not None:
        tasks = [replace(task, crop_seconds=float(crop), whole_clip=False) for task in tasks]
    return FoundTasks(tasks, {name: why for name, why in missing.items() if not only or name in only})


def load_tasks(
    specs: Sequence[str],
    only: Sequence[str] = (),
    crop: float | str | None = None,
    data: DataRoots = DataRoots(),
) -> list[Task]:
    """The tasks that `find_tasks` finds."""
    return find_tasks(specs, only, crop, data).tasks


def datasets() -> dict[str, Dataset]:
    """The published datasets by name."""
    return {name: entry for name, entry in entries("tasks").items() if isinstance(entry, Dataset)}


def folder_of(one: Published, data: DataRoots, named: str = "") -> DataFolder:
    """Where a published dataset or corpus is to be read: its folder, or what its Parquet files were unpacked into.

    Args:
        named: A path in place of the one that `data` gives; empty takes that.

    Raises:
        DatasetError: Nobody says where it lies, or a Parquet file is damaged.
        MissingDatasetError: It is not there.
    """
    return unpacked(data.folder(one, named))


def _tasks_of(dataset: Dataset, data: DataRoots, named: str = "", only: tuple[str, ...] = ()) -> list[Task]:
    return dataset.make(replace(folder_of(dataset, data, named), only=only))


def _hares(data: DataRoots, missing: dict[str, str]) -> list[Task]:
    """The HARES tasks that are there; the others go to `missing`."""
    found: dict[str, Task] = {}
    for dataset in datasets().values():
        try:
            found |= {task.name: task for task in _tasks_of(dataset, data)}
        except MissingDatasetError as whole:
            if len(dataset.tasks) == 1:
                missing[dataset.tasks[0]] = str(whole)
                continue
            # an archive may be missing that one of its tasks does without
            for name in dataset.tasks:
                try:
                    found |= {task.name: task for task in _tasks_of(dataset, data, only=(name,)) if task.name == name}
                except MissingDatasetError as error:
                    missing[name] = str(error)
    if not found:
        raise MissingDatasetError(
            "none of the twelve HARES tasks is there:\n" + "\n".join(dict.fromkeys(missing.values()))
        )
    return [found[name] for name in HARES_TASKS if name in found]


def fingerprint(
    encoder: Encoder, device: torch.device, layer: str | None = None, name: str = "the encoder", foreign: bool = False
) -> NDArray[np.float32]:
    """Vectors (8, D) of eight fixed waves of 1 s: how the encoder behaves, whatever its code says.

    Args:
        name: What errors call it.
        foreign: Whether it is somebody else's, so that whatever it raises is told as a failure of it.

    Raises:
        EncoderFailedError: Somebody else's raises something.
        NotFiniteError: Its vectors are no numbers.
        NotDeterministicError: A second call gives other vectors.
    """
    batch = _eight_waves(encoder, device)
    with torch.inference_mode(), blamed(name, batch.shape) if foreign else nullcontext():
        first, second = (encoder(batch, layer).float().cpu().numpy() for _ in range(2))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise NotFiniteError(
            f"{name} gives NaN or infinity for ordinary noise; are its weights numbers, and does a logarithm or a "
            "division in it guard against zero? `leveret check` says for which sounds"
        )
    difference, size = float(np.linalg.norm(first - second)), float(max(np.linalg.norm(first), np.linalg.norm(second)))
    if difference > DETERMINISM_TOLERANCE * size:
        raise NotDeterministicError(
            f"{name} is not deterministic: the same eight waves moved its vectors by {difference / size:.1%} on a "
            "second call; put it in eval mode (dropout and batch norm) and fix its seeds"
        )
    return np.asarray(first, dtype=np.float32)


def batch_drift(
    encoder: Encoder, device: torch.device, known: NDArray[np.float32], layer: str | None, name: str
) -> float:
    """By what share of its length the first vector of a fingerprint moves where its wave is embedded alone.

    Args:
        known: The fingerprint of somebody else's encoder.
        name: What errors call it.

    Raises:
        EncoderFailedError: It takes no batch of one.
    """
    wave = _eight_waves(encoder, device)[:1]
    with torch.inference_mode(), blamed(name, wave.shape):
        alone = encoder(wave, layer).float().cpu()
    return moved(torch.from_numpy(known[:1]), alone)


def _eight_waves(encoder: Encoder, device: torch.device) -> Tensor:
    white = noise(2022, 8 * encoder.sample_rate).reshape(8, -1)
    # eight spectra: each wave is the noise smoothed over a window twice as long as the one before
    cumulative = np.cumsum(white, axis=1, dtype=np.float64)
    waves = np.zeros_like(white)
    for k in range(8):
        waves[k, 2**k :] = (cumulative[k, 2**k :] - cumulative[k, : -(2**k)]) / 2 ** (k / 2)
    return torch.from_numpy(np.pad(waves, ((0, 0), (0, max(0, encoder.min_samples - waves.shape[1]))))).to(device)
