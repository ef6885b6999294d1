"""Tensors across the ranks, with gradients: what a loss over the global batch needs. Alone, a process keeps its own.

A gradient that comes back is the sum over the ranks of their losses' gradients. Losses are means over a rank's own
examples and data-parallel training averages the ranks' gradients, so together they are the global batch's.
"""

from typing import Any

import torch
from torch import Tensor

import leveret.distributed as distributed


def gathered(tensor: Tensor) -> Tensor:
    """The ranks' tensors (b, ...) one after the other, (W b, ...); every rank gives as many."""
    if distributed.world().size == 1:
        return tensor
    found: Tensor = _Gather.apply(tensor)
    return found


def summed(tensor: Tensor) -> Tensor:
    """The sum of the ranks' tensors, all of one shape."""
    if distributed.world().size == 1:
        return tensor
    found: Tensor = _Sum.apply(tensor)
    return found


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(distributed.world().size)]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient.chunk(distributed.world().size)[distributed.world().rank]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        torch.distributed.all_reduce(gradient)
        return gradient
