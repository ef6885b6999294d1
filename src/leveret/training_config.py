"""What a pretraining run is, as plain values: the paper's settings by default, JSON and back.

Source: paper, section 3 and appendix C.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal

from leveret.audio import MIN_SECONDS
from leveret.checkpoint import config_as_json, config_from_json
from leveret.contracts import EncoderConfig
from leveret.optim import PEAK_RATE, WARMUP_STEPS, Schedule
from leveret.pretext import ObjectiveConfig
from leveret.registry import look_up, unknown_name

FREE = ("checkpoint_every", "keep", "log_every", "probe_every", "probe_tasks")
"""Settings that a run may change at a restart without any effect on its losses."""

ROUNDING = ("compile", "recompute", "micro_batch", "deterministic")
"""Those that change the order of sums, so that losses agree to rounding alone."""


Scale = Literal["paper", "small"]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings of one run.

    Attributes:
        encoder: Key of the encoders room that `encoder_config` is a variant of.
        objective: Key of the objectives room that `objective_config` is a variant of.
        recipe: Name of the recipe that gave the settings; empty where a user chose them.
        scale: Of the recipe.
        changed: What is otherwise than in the recipe at its scale, "batch=64 (4096)" each; of the data too.
        batch: Clips a step, over all processes.
        rate: Peak of the learning rate.
        schedule: Of the rate after the warm-up: down to zero along a cosine, or none.
        seed: Of the weights, and of everything that is drawn.
        dtype: bfloat16 is autocast of the networks; weights, standardised filters and losses stay float32.
        compile: The encoder becomes machine code at its first call.
        recompute: Activations of blocks are computed again in the backward pass.
        micro_batch: Clips that a process represents at once; None is all of them. The gradient stays that of the whole
            batch.
        allow_batch_norm: Micro-batches even where their statistics are not the batch's.
        ema_decay: The encoder that is kept is this moving average of the weights; None keeps the weights themselves.
        deterministic: The same losses from the same start, bit for bit, also on a GPU.
        checkpoint_every: Steps.
        keep: Last states that stay on disk.
        log_every: Steps.
        probe_every: Steps; 0 is never.
        probe_tasks: Specs of the tasks that the encoder is then scored on.
    """

    encoder: str
    encoder_config: EncoderConfig
    objective: str
    objective_config: ObjectiveConfig
    recipe: str = ""
    scale: Scale = "paper"
    changed: tuple[str, ...] = ()
    batch: int = 4096
    steps: int = 200_000
    rate: float = PEAK_RATE
    warmup_steps: int = WARMUP_STEPS
    schedule: Schedule = "cosine"
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    recompute: bool = False
    micro_batch: int | None = None
    allow_batch_norm: bool = False
    ema_decay: float | None = None
    deterministic: bool = True
    checkpoint_every: int = 1000
    keep: int = 3
    log_every: int = 10
    probe_every: int = 0
    probe_tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "micro_batch", "checkpoint_every", "keep", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}; expected 1 or more")
        for name in ("warmup_steps", "probe_every", "rate", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}; expected 0 or more")
        if self.seed >= 2**63:
            raise ValueError(f"seed={self.seed}; expected 0 to 2**63 - 1, which all generators take")
        if not math.isfinite(self.rate):
            raise ValueError(f"rate={self.rate}; expected a number such as {PEAK_RATE:g}")
        crop = self.objective_config.crop_seconds
        if not MIN_SECONDS <= crop < math.inf:
            raise ValueError(f"crop_seconds={crop}; expected {MIN_SECONDS} (one analysis window) or more")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay}; expected a number between 0 and 1, such as 0.999")
        if self.compile and self.recompute:
            raise ValueError("compile and recompute exclude each other: compiled blocks cannot be called again")

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self) | {
            "encoder_config": config_as_json(self.encoder_config),
            "objective_config": config_as_json(self.objective_config),
        }
        return dict(json.loads(json.dumps(values)))

    def digest(self) -> str:
        """Sha256 of what decides the losses, to rounding."""
        values = {name: value for name, value in self.as_json().items() if name not in (*FREE, *ROUNDING)}
        return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def named_config(encoder: str, objective: str, **settings: Any) -> PretrainConfig:
    """The config of two entries as they are declared.

    Args:
        settings: Other fields of `PretrainConfig`.

    Raises:
        UnknownNameError: No such encoder or objective.
    """
    configs = {"encoder_config": look_up("encoders", encoder), "objective_config": look_up("objectives", objective)}
    return PretrainConfig(encoder=encoder, objective=objective, **(configs | settings))


def changed_objective(name: str, values: Mapping[str, Any], base: ObjectiveConfig | None = None) -> ObjectiveConfig:
    """The config of an objective, but for some settings.

    Args:
        values: Setting -> plain value.
        base: Of that objective; None is as it is declared.

    Raises:
        UnknownNameError: No such objective, or it has no such setting.
        ValueError: A value of another sort.
    """
    declared = config_as_json(base if base is not None else look_up("objectives", name))
    for setting, value in values.items():
        if setting not in declared:
            raise unknown_name(f"setting of {name}", setting, declared)
        if isinstance(declared[setting], float) and isinstance(value, int):
            declared[setting] = float(value)
        else:
            declared[setting] = value
    config: ObjectiveConfig = config_from_json(name, declared, "objectives")
    return config


def pretrain_config_from_json(values: Mapping[str, Any]) -> PretrainConfig:
    """What `as_json` gave.

    Raises:
        ValueError: An entry or a setting that this leveret does not have.
    """
    known = {field.name for field in fields(PretrainConfig)}
    if set(values) != known:
        raise ValueError(
            f"a pretraining config with {', '.join(sorted(set(values) ^ known))} beside or without what this leveret "
            "expects; it comes from another version"
        )
    plain = dict(values) | {name: tuple(values[name]) for name in ("changed", "probe_tasks")}
    plain["encoder_config"] = config_from_json(values["encoder"], values["encoder_config"])
    plain["objective_config"] = config_from_json(values["objective"], values["objective_config"], "objectives")
    return PretrainConfig(**plain)
