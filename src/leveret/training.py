"""The pretraining loop: rate, batch, loss, backward, step, log, checkpoint, and now and then a probe.

Source: paper, section 3 and appendix C: Adam, linear warm-up, cosine decay to zero; for BYOL-A no decay.
Departures: none.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import leveret.distributed as distributed
from leveret.collectives import average_gradients, averaged
from leveret.contracts import Encoder
from leveret.fused_adam import FusedAdam
from leveret.gradient_cache import add_gradients, require_independent
from leveret.inference import require_compiler
from leveret.interrupts import stop_wish
from leveret.journal import replace_file
from leveret.optim import learning_rate
from leveret.precision import exact_float32
from leveret.pretext import CropBatch, Objective, Views
from leveret.progress import Reporter
from leveret.recompute import recompute_blocks
from leveret.training_config import PretrainConfig
from leveret.training_folder import CHECKPOINT, STATES, TrainingData, claimed, export
from leveret.training_log import Track, TrainingLog, open_trackers
from leveret.training_speed import Speed
from leveret.training_state import Learner, load_state, newest_state, save_state

Batches = Callable[[Objective, int], Iterator[CropBatch]]
"""Batches for an objective from some step on, a pure function of the step; this rank's part of each, on the CPU."""

Probe = Callable[[Encoder, int], Mapping[str, float | None]]
"""Scores of an encoder, in eval mode and nobody else's, after so many steps."""


COMPILED = ("network", "hidden", "convolved", "latents", "transformed", "contexts")
"""What objectives call of an encoder, as far as it has them; nothing is compiled before it is called."""


class NonFiniteLossError(ValueError):
    """The loss or its gradient is no number."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: Steps that are done.
        checkpoint: The encoder after them.
        stopped_by: The signal that ended it early; None where it came to its end.
    """

    step: int
    checkpoint: Path
    stopped_by: Signals | None


def pretrain(
    config: PretrainConfig,
    folder: Path,
    batches: Batches,
    *,
    data: TrainingData | None = None,
    probe: Probe | None = None,
    facts: Callable[[], Mapping[str, float]] | None = None,
    environment: Mapping[str, Any] = MappingProxyType({}),
    device: torch.device | None = None,
    track: Track = "none",
    reporter: Reporter | None = None,
) -> Outcome:
    """Train an encoder, from the start or from the last state in the folder.

    Args:
        folder: The run folder; the same config again goes on with what it holds.
        probe: Called before the first step, every `probe_every` steps and at the end, at rank 0; the others wait. A run
            that is told to stop does not wait for it.
        facts: What else a log line should say, such as of the batches so far.
        environment: Plain values to record of this start: command, versions, machine.
        device: None is the CPU.

    Raises:
        ValueError: The folder is another run's, or the config does not fit the objective, the corpus or the ranks.
        NonFiniteLossError: With the step and its clips; states of earlier steps stay.
        OSError: The disk is full; older states stay.
        RankLostError: Another process of the run ended.
    """
    data, reporter, device = data or TrainingData(), reporter or Reporter(), device or torch.device("cpu")
    world = distributed.world()
    if config.batch % world.size:
        raise ValueError(f"batch={config.batch} cannot be shared out evenly to {world.size} processes; take a multiple")
    distributed.require_shared(folder, "run folder: name one with -o that all of them share")
    learner = build_learner(config, data, device)
    objective, optimizer = learner.objective, learner.optimizer
    machine = {"processes": world.size, "device": device.type}
    with (
        claimed(folder, config, data, machine, reporter),
        _deterministic(config.deterministic),
        exact_float32(),
        stop_wish() as wish,
    ):
        newest = distributed.from_first(newest_state(folder / STATES, reporter) if distributed.is_first() else None)
        done = load_state(newest, learner, {"config": config.digest()}) if newest else 0
        if done:
            finished = done == config.steps
            reporter.say(
                f"{folder} is finished, with all its {done:,} steps" if finished
                else f"{folder} goes on after step {done:,} of {config.steps:,}"
            )  # fmt: skip
        log = None
        if distributed.is_first():
            log = TrainingLog(folder, done, open_trackers(folder, done, track, reporter))
        crops = config.batch * objective.crops
        if log is not None:
            log.begin(done, {"crops_a_step": crops, **machine, **environment})
        source = batches(objective, done)
        speed = Speed(device, done)

        def look() -> None:
            """Have the encoder probed; the training notices nothing but the time."""
            with speed.paused():
                if probe is not None and distributed.is_first():
                    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                        found = probe(_copy(config, learner, device), done)
                    if log is not None and found:
                        log.write(done, found)
                distributed.barrier()

        try:
            # before the first step, or where a run was ended between a state and its probe
            due = config.probe_every and (done % config.probe_every == 0 or done == config.steps)
            if distributed.from_first(bool(due) and log is not None and not log.probed):
                look()
            with reporter.stage(f"{config.encoder} {config.objective}", config.steps * crops, "crops") as advance:
                advance(done * crops)
                while done < config.steps:
                    # 1. rate
                    rate = learning_rate(done, config.steps, config.rate, config.warmup_steps, config.schedule)
                    # 2. batch
                    batch = _on(device, next(source))
                    with torch.no_grad():
                        views = objective.views(batch)
                    speed.count(objective, views, getattr(torch, config.dtype))
                    # 3. loss, backward
                    optimizer.zero_grad()
                    loss, logs = add_gradients(
                        objective, views, dtype=getattr(torch, config.dtype), micro_batch=config.micro_batch
                    )
                    average_gradients(optimizer.parameters)
                    norm = _gradient_norm(optimizer.parameters)
                    stopping = torch.full((), float(wish.came is not None), device=device)
                    value, size, stop = averaged(torch.stack([loss.float(), norm.float(), stopping])).tolist()
                    if not (math.isfinite(value) and math.isfinite(size)):
                        raise _non_finite(folder, done + 1, batch, views, value, newest)
                    # 4. step
                    with torch.no_grad():
                        optimizer.step(rate)
                    objective.after_step(done)
                    if learner.average is not None:
                        learner.average.update_parameters(objective)
                    done += 1
                    advance(crops)
                    # 5. log
                    last = done == config.steps or stop > 0
                    numbers: dict[str, float | None] = {}
                    if done % config.log_every == 0 or last:
                        numbers = {"loss": value, "rate": rate, "gradient_norm": size, **_averaged(logs)}
                        numbers |= speed.numbers(done, crops) | dict(facts() if facts is not None else {})
                    if log is not None and numbers:
                        log.write(done, numbers)
                    # 6. checkpoint
                    if done % config.checkpoint_every == 0 or last:
                        with speed.paused():
                            newest = _keep(folder, config, learner, data, done)
                        reporter.say(f"step {done:,} of {config.steps:,}: loss {value:.4f}, state written")
                    if stop:
                        break
                    # 7. probe, once the state is safe: it may take minutes
                    if config.probe_every and (done % config.probe_every == 0 or last):
                        look()
        finally:
            getattr(source, "close", lambda: None)()  # workers of a generator end here, not when it is collected
            if log is not None:
                log.close()
        stopped_by = (wish.came or Signals.SIGTERM) if done < config.steps else None  # another rank may have been told
        return Outcome(done, folder / CHECKPOINT, stopped_by)


def build_learner(config: PretrainConfig, data: TrainingData, device: torch.device) -> Learner:
    """Objective, optimizer and average as they are before the first step, in train mode; the same at every rank.

    Raises:
        ValueError: The config does not fit the objective or the corpus.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = config.encoder_config.build()
        objective = config.objective_config.build(encoder, data.labels)
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        raise ValueError(f"{config.encoder} has nothing to train; name another encoder (`leveret list encoders`)")
    if config.micro_batch is not None:
        require_independent(objective, config.encoder, config.allow_batch_norm)
    # channels last: a sixteenth of a CPU's step less, and what a GPU's matrix units take
    objective.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from the stubs
    objective.train()
    average = None
    if config.ema_decay is not None:
        average = AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    # one pass over the weights: a quarter of the time, and at a small batch a seventh of a CPU's step is its rest
    optimizer = FusedAdam(trained)
    if config.recompute:
        recompute_blocks(encoder)
    if config.compile:
        require_compiler()
        for name in COMPILED:
            if hasattr(encoder, name):
                setattr(encoder, name, torch.compile(getattr(encoder, name), dynamic=False))
    return Learner(objective, optimizer, average)


def _on(device: torch.device, batch: CropBatch) -> CropBatch:
    targets = None if batch.targets is None else batch.targets.to(device, non_blocking=True)
    return replace(batch, waves=batch.waves.to(device, non_blocking=True), targets=targets)


def _gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Of all parameters together."""
    return get_total_norm([one.grad for one in parameters if one.grad is not None])


def _averaged(logs: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Means over the ranks."""
    if not logs:
        return {}
    names = sorted(logs)
    values = averaged(torch.stack([logs[name].float() for name in names])).tolist()
    return dict(zip(names, values, strict=True))


def _kept(learner: Learner) -> Objective:
    """What is kept: the average where there is one."""
    objective = learner.objective if learner.average is None else learner.average.module
    assert isinstance(objective, Objective), objective
    return objective


def _copy(config: PretrainConfig, learner: Learner, device: torch.device) -> Encoder:
    """The encoder as it would be kept now, for a probe to do with as it likes."""
    with torch.random.fork_rng(devices=[]):
        encoder = config.encoder_config.build()
    encoder.load_state_dict(_kept(learner).encoder.state_dict())
    return encoder.to(device).eval()


def _keep(folder: Path, config: PretrainConfig, learner: Learner, data: TrainingData, done: int) -> Path | None:
    """Write the checkpoint and a state; rank 0 alone does, and alone knows the state's path."""
    if not distributed.is_first():
        return None
    about = {"config": config.digest(), "processes": distributed.world().size}
    weights = "last" if config.ema_decay is None else f"moving average, decay {config.ema_decay}"
    # the state last: a run that is killed between the two goes on from the state before, and comes here again
    export(folder / CHECKPOINT, config, _kept(learner), data, done, weights)
    return save_state(folder / STATES, done, learner, about, config.keep)


def _non_finite(
    folder: Path, step: int, batch: CropBatch, views: Views, loss: float, newest: Path | None
) -> NonFiniteLossError:
    """The error of all ranks, which names the clips to blame, or all where none is by itself."""
    bad = ~batch.waves.flatten(1).isfinite().all(1)
    if not bad.any():  # else a view may be bad by the clip that is mixed into it
        for view in views.inputs:
            bad |= ~view.features.flatten(1).isfinite().all(1)
    parts = distributed.gather((list(batch.names), [batch.names[k] for k in bad.nonzero().flatten().tolist()]))
    names = [name for part, _ in parts for name in part]
    blamed = [name for _, part in parts for name in part]
    path = folder / f"non-finite-step-{step}.txt"
    if distributed.is_first():
        replace_file(path, ("\n".join(blamed or names) + "\n").encode("utf-8", "surrogateescape"))
    shown = ", ".join((blamed or names)[:5]) + (", ..." if len(blamed or names) > 5 else "")
    what = f"of clips with non-finite samples or features ({shown})" if blamed else f"of clips {shown}"
    what_loss = "the gradient" if math.isfinite(loss) else f"the loss ({loss})"
    return NonFiniteLossError(
        f"{what_loss} is not finite at step {step:,} {what}; all are named in {path}. "
        + (f"The state before it is {newest.name}. " if newest else "")
        + "Look at the clips, lower the rate, or train in float32"
    )


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Algorithms that give the same bits each time, where torch has them."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # a property of the module, which the stubs do not know
    filled = memory.fill_uninitialized_memory
    if wanted:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # or torch writes NaN into all memory before it writes results there: thousands of passes a step, for nothing
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
