"""Activation checkpointing: blocks of a network keep their inputs alone and compute again in the backward pass.

The second pass draws what the first one drew, although layers may be keyed for other examples by then, and moves no
running statistics.

Source: arXiv:1604.06174; torch.utils.checkpoint.
Departures: none. Memory falls to a block's inputs and one block's inside; time is a third more.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leveret.draws import Keyed
from leveret.gradient_cache import unmoved


def recompute_blocks(network: nn.Module) -> int:
    """Have a network compute its blocks again in the backward pass; the number of blocks.

    A deep copy of the network still calls the blocks of the original: copy its weights instead.

    Raises:
        ValueError: It has no blocks.
    """
    found = list(blocks(network))
    if not found:
        raise ValueError(
            f"{type(network).__name__} has no stack of blocks whose activations could be computed again; leave "
            "recompute out"
        )
    for block in found:
        # an instance's own forward takes the place of its class's, and parameters keep their names
        setattr(block, "forward", _Recomputed(block))  # noqa: B010 - a method is no attribute to assign to, for mypy
    return len(found)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that stand in a stack and have parts of their own: a residual block, a transformer layer."""
    stack = isinstance(network, nn.Sequential | nn.ModuleList)
    for child in network.children():
        if stack and not isinstance(child, nn.Sequential | nn.ModuleList) and any(child.children()):
            yield child
        else:
            yield from blocks(child)


class _Recomputed:
    """The forward pass of a block without its activations."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.forward = block.forward

    def __call__(self, *inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.forward(*inputs)
        keyed = [(layer, layer.keyed) for layer in self.block.modules() if isinstance(layer, Keyed)]
        contexts = (nullcontext(), _replay(self.block, keyed))
        return checkpoint(self.forward, *inputs, use_reentrant=False, context_fn=lambda: contexts)


@contextmanager
def _replay(block: nn.Module, keyed: list[tuple[Keyed, tuple[Tensor, Tensor] | None]]) -> Iterator[None]:
    """A second pass that draws as the first one did."""
    now = [layer.keyed for layer, _ in keyed]
    for layer, then in keyed:
        layer.keyed = then
    try:
        with unmoved(block):
            yield
    finally:
        for (layer, _), numbers in zip(keyed, now, strict=True):
            layer.keyed = numbers
