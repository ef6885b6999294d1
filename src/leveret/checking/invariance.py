"""What a vector must not depend on: the rest of the batch, the call before, dice, a network left in training.

Every tolerance is a share of the vector's length.
Shapes: B batch, N samples, D embedding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from leveret.checking.examined import Examined, networks
from leveret.drift import PRECISION, ROUNDING, moved, share
from leveret.findings import Finding
from leveret.loading import DETERMINISM_TOLERANCE, NotDeterministicError, NotFiniteError, fingerprint, load_encoder

_NUM_WAVES = 4


def check_batch(examined: Examined) -> Finding:
    """The same sounds in one batch, alone, in another order, and beside a loud and a quiet one."""
    waves = examined.sounds[:_NUM_WAVES]
    together = examined.vectors(waves)
    alone = torch.cat([examined.vectors(wave[None]) for wave in waves])
    turned = examined.vectors(waves.flip(0)).flip(0)
    beside = examined.vectors(torch.cat([waves[:1], 3 * waves[1:2].clamp(-0.3, 0.3), 1e-3 * waves[2:3]]))[:1]
    worst, case = max(
        (moved(together, alone), "alone"),
        (moved(together, turned), "in another order"),
        (moved(together[:1], beside), "beside other sounds"),
    )
    expected = f"at most {share(ROUNDING)} of its length"
    if worst <= ROUNDING:
        return Finding("pass", "batch", f"alone, turned and beside others a vector moves by {share(worst)}", expected)
    seen = f"{case}, a vector moves by {share(worst)} of its length"
    if worst <= PRECISION:
        return Finding(
            "warn", "batch", seen, expected,
            "usual for half precision; otherwise look for statistics over the batch",
        )  # fmt: skip
    return Finding(
        "fail", "batch", seen, expected,
        "find what looks across the batch: batch norm in training mode, a mean, a maximum or a sort over dim 0",
    )  # fmt: skip


def check_determinism(examined: Examined) -> Finding:
    """Two calls, then the same call after other sounds and another length; then as `evaluate` will ask."""
    waves = examined.sounds[:2]
    first, again = examined.vectors(waves), examined.vectors(waves)
    examined.vectors(-examined.sounds[2:5, : examined.sounds.shape[1] // 2])
    later = examined.vectors(waves)
    worst, case = max((moved(first, again), "on a second call"), (moved(first, later), "after other sounds"))
    expected = f"at most {share(DETERMINISM_TOLERANCE)} of its length"
    advice = "put dropout out of action (eval mode), keep no state between calls, seed what is drawn"
    if worst > DETERMINISM_TOLERANCE:
        return Finding(
            "fail", "determinism", f"{case}, a vector moves by {share(worst)} of its length", expected, advice
        )
    try:
        fingerprint(examined.encoder, examined.device)
    except (NotDeterministicError, NotFiniteError) as error:
        return Finding("fail", "determinism", str(error).split(";")[0], expected, advice)
    examined.advance(16.0)
    if worst > 0:
        return Finding("pass", "determinism", f"{case}, a vector moves by {share(worst)}", expected)
    return Finding("pass", "determinism", "the same numbers on a second call and after other sounds", expected)


def check_weights(examined: Examined) -> list[Finding]:
    """They are the same when somebody's encoder is made once more, as by the next command."""
    expected = "the same at every start"
    if not examined.loaded.foreign:  # leveret's own are drawn by a seed
        return []
    if load_encoder(examined.loaded.spec).digest == examined.loaded.digest:
        return [Finding("pass", "weights", "the same when the encoder is made once more", expected)]
    return [Finding("warn", "weights", "others when the encoder is made once more, so its scores cannot be had again",
                    expected, "seed what is drawn, or load the weights from a file")]  # fmt: skip


def check_input(examined: Examined) -> Finding:
    """Neither the waves nor the features are written into: evaluation reads both again."""
    waves = examined.sounds[:2].clone().to(examined.device)
    with torch.inference_mode():
        features = examined.encoder.frontend(waves)
        kept = features.clone()
        examined.encoder.embed(features)
    examined.advance(2.0)
    touched = [
        name
        for name, now, before in (("the waves", waves.cpu(), examined.sounds[:2]), ("the features", features, kept))
        if not torch.equal(now, before)
    ]
    if touched:
        return Finding(
            "fail", "input", f"it writes into {' and '.join(touched)} that it is given", "both unchanged",
            "work on a copy: replace in-place operations (*=, _()) on the input",
        )  # fmt: skip
    return Finding("pass", "input", "waves and features are left as they were", "both unchanged")


@contextmanager
def watching_modes(encoder: nn.Module) -> Iterator[dict[str, str]]:
    """Fills a dict, name -> class, with every module that behaves as in training while it is called."""
    caught: dict[str, str] = {}
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if module.training:
                caught[name] = type(module).__name__

        handles.append(module.register_forward_pre_hook(look))

    for name, module in networks(encoder).items():
        if _acts_in_training(module) and not isinstance(module, torch.jit.ScriptModule):
            watch(name, module)
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def check_modes(examined: Examined) -> Finding:
    """No dropout and no batch norm is called in training mode, whoever switched it on."""
    # as it was loaded: the copy for embedding holds folded modules, which know no modes
    found = networks(examined.loaded.encoder)
    left = {name: type(module).__name__ for name, module in found.items() if module.training}
    with watching_modes(examined.encoder) as caught:
        examined.vectors(examined.sounds[:2])
    left |= {name: type(module).__name__ for name, module in found.items() if module.training}
    acting = caught | {name: kind for name, kind in left.items() if _acts_in_training(found[name])}
    expected = "every module in eval mode"
    advice = "call .eval() once it is built, and .train() nowhere in embed"
    if acting:
        return Finding("fail", "eval mode", f"in training mode: {_some(acting)}", expected, advice)
    blind = [
        name for name, module in found.items() if isinstance(module, _BatchNorm) and not module.track_running_stats
    ]
    if blind:
        return Finding(
            "fail", "eval mode", f"batch norm without running statistics: {', '.join(blind[:3])}", expected,
            "it always uses the batch's own statistics; train it with track_running_stats=True",
        )  # fmt: skip
    if left:
        return Finding("warn", "eval mode", f"marked as in training: {_some(left)}", expected, advice)
    if not any(True for module in found.values() if module is not examined.encoder):
        return Finding("pass", "eval mode", "it holds no torch modules", expected)
    return Finding("pass", "eval mode", f"all {len(found)} modules are in eval mode", expected)


def _acts_in_training(module: nn.Module) -> bool:
    return (
        isinstance(module, (_DropoutNd, _BatchNorm, nn.RReLU))
        or (isinstance(module, nn.RNNBase) and module.dropout > 0)
    )  # fmt: skip


def _some(modules: dict[str, str]) -> str:
    names = [f"{name or 'the encoder itself'} ({kind})" for name, kind in modules.items()]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
