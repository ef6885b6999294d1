"""A frozen copy of an encoder that computes the same embeddings faster.

Source: ours. What pays, measured on two cores with the full-size network: standardising the filters once instead of in
every call (1.6x), inductor with frozen weights (1.2x on top), bfloat16 (1.5x on top); benchmarks/embed_vs_jax.py.
Departures: bfloat16 changes an embedding by some 6e-3 of its length; all else stays within 1e-5.
"""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from leveret.contracts import Encoder
from leveret.frontend import DatasetNorm, LogMel
from leveret.machine import cxx_compiler, has_cxx_compiler

CALLS_BEFORE_COMPILING = 20
"""A shape after the first is compiled once it has come this often: a rest batch never pays for itself."""

MAX_COMPILED_SHAPES = 4


def for_inference(encoder: Encoder, dtype: torch.dtype = torch.float32, compile: bool = False) -> Encoder:
    """A deep copy in eval mode and without gradients, for embedding much audio.

    Args:
        encoder: Stays as it is.
        dtype: float32 or bfloat16. The front end, the standardisation and the embedding stay float32 in either.
        compile: True has inductor generate machine code at the first call, which takes a minute or so at full size, and
            later for other shapes that come often; rare shapes run uncompiled.

    Raises:
        ValueError: `compile` is asked for where there is no C++ compiler, or another dtype.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype {dtype} - float32 or bfloat16 was expected")
    if compile:
        require_compiler()
    frozen = copy.deepcopy(encoder).eval().requires_grad_(False)
    _fold(frozen)
    kinds = (LogMel, DatasetNorm)
    frontends = {name: copy.deepcopy(module) for name, module in frozen.named_modules() if isinstance(module, kinds)}
    frozen.to(dtype)
    frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from the stubs
    for name, frontend in frontends.items():
        frozen.set_submodule(name, frontend)
    if compile:
        _compile(frozen)
    return frozen


def _fold(module: nn.Module) -> None:
    """Replace every module that offers a `folded()` form of itself."""
    for name, child in module.named_children():
        folded = getattr(child, "folded", None)
        if folded is None:
            _fold(child)
        else:
            module.add_module(name, folded())


class _Compiled:
    """A function of tensors as machine code for the shapes that come often, and as it is for all others.

    Inductor could compile once for every length, but over this network's strides that takes many minutes.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        from torch._inductor import config  # half a second that only those who compile should pay

        self.config = config
        self.compiled: Callable[..., Tensor] = torch.compile(function, dynamic=False)
        self.calls: Counter[tuple[object, ...]] = Counter()
        self.shapes: set[tuple[object, ...]] = set()

    def __call__(self, *args: object) -> Tensor:
        # Inductor freezes and compiles for one mode of autograd, so the call is under no_grad even inside
        # inference_mode, whose tensors are of a kind of their own.
        with torch.inference_mode(False), torch.no_grad():
            plain = [arg.clone() if isinstance(arg, Tensor) and arg.is_inference() else arg for arg in args]
            key = tuple(tuple(arg.shape) if isinstance(arg, Tensor) else arg for arg in args)
            self.calls[key] += 1
            often = not self.shapes or self.calls[key] > CALLS_BEFORE_COMPILING
            if often and len(self.shapes) < MAX_COMPILED_SHAPES:
                self.shapes.add(key)
            if key not in self.shapes:
                return self.function(*plain)
            # Frozen weights are packed once into oneDNN's own layout, not in every call. As an option of torch.compile
            # it comes too late: whether weights are constants is settled before inductor sees the graph.
            with self.config.patch(freezing=True):
                return self.compiled(*plain)


def _compile(encoder: Encoder) -> None:
    """Compile what comes after the standardisation, or all of `embed` where nothing does."""
    target = "network" if hasattr(encoder, "network") else "embed"
    setattr(encoder, target, _Compiled(getattr(encoder, target)))


def require_compiler() -> None:
    """Refuse to compile where it would fail, minutes later and in other words.

    Raises:
        ValueError: There is no C++ compiler.
    """
    if not has_cxx_compiler():
        raise ValueError(
            f"compile=True needs a C++ compiler, and there is no {cxx_compiler()!r} on the path - "
            "install one (g++ or clang++), name it in CXX, or leave compile off"
        )
