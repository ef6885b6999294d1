"""What an encoder is made of, read from the module itself: parts, shapes, parameters, multiply-accumulates.

Source: the columns of the paper's table 5; multiply-accumulates (MACs) are those of `arithmetic`.
Shapes: of one example, without the batch.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from leveret.arithmetic import MacCounter, counting
from leveret.contracts import Encoder

_ASIDE = ("shortcut", "squeeze_excite")
"""Parts of a block that its one-line text leaves out; its parameters and MACs hold them."""

LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Part:
    """A line of the table.

    Attributes:
        name: Where it is in the encoder; of several alike, one after the other, the first.
        what: Kernels and channels, "3x3, 16, stride 2,2"; a stage's blocks as "[1x1, 768; 3x1, 768; ...] x 6".
        shape: Of what it gives for one example: (C, T, F), (T, D) or (D,).
        parameters: In it.
        macs: For one example.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Description:
    """An encoder on an input of one length.

    Attributes:
        features: Shape of what the front end gives for one example.
        parts: In the order in which they run; empty where the network is somebody else's.
        parameters: In all; None where it is not known.
        macs: In all, without the front end; None where it is not known.
        embed_dim: Width of the default embedding.
        layers: Name -> width of what can be read out.
    """

    features: tuple[int, ...]
    parts: Sequence[Part]
    parameters: int | None
    macs: int | None
    embed_dim: int
    layers: Mapping[str, int]


def describe(encoder: Encoder, seconds: float = 3.0, features: Sequence[int] | None = None) -> Description:
    """Run the encoder once, without computing anything, and write down what ran.

    Args:
        encoder: Any; of an adapter's (not `convertible`) only the outside is told.
        seconds: Length of the input.
        features: Shape of the features of one example in place of what `seconds` of sound give: (1, T, F).

    Raises:
        ValueError: An input that the encoder does not take.
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(
            f"{seconds:g} seconds is no length of a sound; expected more than 0 and at most {LONGEST_SECONDS:g}"
        )
    samples = max(1, round(seconds * encoder.sample_rate), encoder.min_samples)
    known = encoder.convertible
    count = sum(one.numel() for one in encoder.parameters())
    if not known:
        if features is not None:
            raise ValueError("somebody else's encoder is given sounds, not a spectrogram; leave the spectrogram out")
        return Description((samples,), [], count or None, None, encoder.embed_dim, dict(encoder.layers))
    hollow = copy.deepcopy(encoder).to("meta").eval()
    with torch.no_grad():
        example = encoder.frontend(torch.zeros(1, samples, device=_device(encoder)))
    if features is not None:
        if len(features) != example.ndim - 1:
            raise ValueError(
                f"the encoder does not take an input of shape {tuple(features)}; "
                f"of {seconds:g} s of sound it is given {tuple(example.shape[1:])}"
            )
        example = torch.empty(1, *features, device="meta")
    ran: list[_Call] = []
    hooks = [module.register_forward_hook(_noting(ran, name)) for name, module in hollow.named_modules() if name]
    network = _Embedding(hollow)
    try:
        with torch.no_grad(), counting(network) as counter:
            network(example.to("meta"))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the encoder does not take an input of shape {tuple(example.shape[1:])}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    parts = _merged([_part(call, ran, counter) for call in _outermost(ran)])
    rest = count - sum(part.parameters for part in parts)
    if rest:
        parts.append(Part("-", "tokens, positions: in no part", (), rest, 0))
    return Description(tuple(example.shape[1:]), parts, count, counter.macs, encoder.embed_dim, dict(encoder.layers))


def macs(encoder: Encoder, seconds: float = 3.0) -> int:
    """Multiply-accumulates of the network for one example of this length."""
    found = describe(encoder, seconds).macs
    if found is None:
        raise ValueError("the multiply-accumulates of somebody else's encoder are not known")
    return found


class _Embedding(nn.Module):
    """Torch's counter names modules by their place below the one that was called."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor) -> Tensor:
        return self.encoder.embed(features)


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    shape: tuple[int, ...]
    idle: bool

    def holds(self, other: "_Call") -> bool:
        return other.name.startswith(f"{self.name}.")


def _noting(ran: list[_Call], name: str) -> Any:
    def note(module: nn.Module, inputs: object, output: object) -> None:
        before, after = _shape(inputs), _shape(output)
        idle = before == after and next(module.parameters(), None) is None
        ran.append(_Call(name, module, after, idle))

    return note


def _shape(value: object) -> tuple[int, ...]:
    """Of one example, of the first tensor of what a module takes or gives."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _device(encoder: nn.Module) -> torch.device:
    return next((one.device for one in [*encoder.parameters(), *encoder.buffers()]), torch.device("cpu"))


def _is_stage(module: nn.Module) -> bool:
    """Blocks of one class in a row, each with parts of its own."""
    blocks = list(module.children())
    return (
        isinstance(module, nn.Sequential)
        and bool(blocks)
        and all(
            type(block) is type(blocks[0]) and not isinstance(block, nn.Sequential) and list(block.children())
            for block in blocks
        )
    )


def _outermost(ran: Sequence[_Call]) -> list[_Call]:
    """What an encoder calls by itself; a plain sequence, such as a stem, gives way to what it holds."""
    plain = [call for call in ran if isinstance(call.module, nn.Sequential) and not _is_stage(call.module)]
    kept = [call for call in ran if call not in plain and not call.idle]
    return [call for call in kept if not any(other.holds(call) for other in kept)]


def _part(call: _Call, ran: Sequence[_Call], counter: MacCounter) -> Part:
    module = call.module
    if _is_stage(module):
        texts = [_text(call, f"{call.name}.{name}", ran) for name, _ in module.named_children()]
        what = f"{texts[-1]} x {len(texts)}" if len(texts) > 1 else texts[0]
    else:
        what = _text(call, call.name, ran)
    parameters = sum(one.numel() for one in module.parameters())
    return Part(call.name, what, call.shape, parameters, counter.inside(f"encoder.{call.name}"))


def _text(call: _Call, name: str, ran: Sequence[_Call]) -> str:
    """The operations of a module in the order in which they ran."""
    inner = [one for one in ran if one.name == name or one.name.startswith(f"{name}.")]
    shown = [
        text
        for one in inner
        if not any(aside in one.name[len(call.name) :] for aside in _ASIDE) and (text := _operation(one.module))
    ]
    if not shown:
        return type(call.module).__name__
    return shown[0] if len(shown) == 1 else f"[{'; '.join(shown)}]"


def _operation(module: nn.Module) -> str:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        text = f"{'x'.join(map(str, module.kernel_size))}, {module.out_channels}"
        if max(module.stride) > 1:
            text += f", stride {','.join(map(str, module.stride))}"
        return text + (f", {module.groups} groups" if module.groups > 1 else "")
    if isinstance(module, nn.Linear):
        return f"linear, {module.out_features}"
    return ""


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Parts alike in a row as one."""
    found: list[Part] = []
    times: list[int] = []
    for part in parts:
        if found and replace(part, name=found[-1].name) == found[-1] and _siblings(part.name, found[-1].name):
            times[-1] += 1
        else:
            found.append(part)
            times.append(1)
    return [
        replace(one, what=f"{one.what} x {n}", parameters=one.parameters * n, macs=one.macs * n) if n > 1 else one
        for one, n in zip(found, times, strict=True)
    ]


def _siblings(name: str, other: str) -> bool:
    return name.rpartition(".")[0] == other.rpartition(".")[0]


def size(shape: Sequence[int]) -> str:
    """A shape as tables print it."""
    return " x ".join(map(str, shape)) if shape else "-"


def in_words(count: int | None) -> str:
    """A large number in thousands, millions or billions."""
    if count is None:
        return "not known"
    if count < 1000:
        return str(count)
    power = min(int(math.log10(count) // 3), 3)
    return f"{count / 1000**power:.4g} {('', 'k', 'M', 'G')[power]}"
