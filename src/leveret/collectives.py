"""Tensors across the ranks, with gradients: what a loss over the global batch needs. Alone, a process keeps its own.

A gradient that comes back is the sum over the ranks of their losses' gradients. Losses are means over a rank's own
examples and data-parallel training averages the ranks' gradients, so together they are the global batch's.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

import leveret.distributed as distributed

_BUCKET_NUMBERS = 1 << 24
"""Numbers of one exchange of gradients: large enough that its start costs nothing, and few copies of them."""


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


def averaged(tensor: Tensor) -> Tensor:
    """The mean of the ranks' tensors, all of one shape; without gradients."""
    if distributed.world().size == 1:
        return tensor.detach()
    return _reduced(tensor.detach().clone()) / distributed.world().size


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every parameter the mean of the ranks' gradients; a missing one counts as zero.

    One exchange after the whole backward pass, not while it goes on: a gradient cache has many backward passes a step,
    of which the last alone completes a gradient, and an exchange takes a few thousandths of the steps it is made for.

    Args:
        parameters: In the same order at every rank.
    """
    if distributed.world().size == 1:
        return
    for bucket in _buckets(parameters):
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in bucket]
        mean = averaged(torch.cat([gradient.flatten() for gradient in gradients]))
        for one, part in zip(bucket, mean.split([one.numel() for one in bucket]), strict=True):
            one.grad = torch.empty_like(one).copy_(part.view(one.shape))  # fused Adam wants it to lie as the weights do


def _buckets(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one sort, in order, some at a time."""
    bucket: list[Tensor] = []
    for one in parameters:
        full = sum(other.numel() for other in bucket) + one.numel() > _BUCKET_NUMBERS
        if bucket and (full or (one.dtype, one.device) != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket = []
        bucket.append(one)
    if bucket:
        yield bucket


def _reduced(tensor: Tensor) -> Tensor:
    """The tensor itself, now the sum over the ranks."""
    with distributed.exchanging():
        torch.distributed.all_reduce(tensor)
    return tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(distributed.world().size)]
        with distributed.exchanging():
            torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = _reduced(gradient.clone(memory_format=torch.contiguous_format))
        return total.chunk(distributed.world().size)[distributed.world().rank]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _reduced(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _reduced(gradient.clone())
