"""The gradient of a step, at once or micro-batch by micro-batch with the loss of the whole batch.

A contrastive loss looks across the batch, so that gradients of micro-batches do not add up to the batch's. The cache
represents all examples without a graph, takes the loss and its gradient by their representations, and then represents
each micro-batch once more with a graph, to carry its share of that gradient back. Both times the layers that drop draw
the same numbers, because those belong to the examples.

Source: arXiv:2101.06983 (GradCache).
Shapes: B examples of this rank in each view.
Departures: the last micro-batch keeps its first graph. Memory is that of one micro-batch and of B representations; time
is a third more.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from leveret.draws import JoinedDraws
from leveret.pretext import Objective, Representation, View, Views
from leveret.replica_norm import has_batch_norm

Loss = tuple[Tensor, Mapping[str, Tensor]]
"""The loss, and what is worth logging: detached."""


def add_gradients(
    objective: Objective, views: Views, *, dtype: torch.dtype = torch.float32, micro_batch: int | None = None
) -> Loss:
    """The loss of a step; its gradient is added to that of the parameters.

    Args:
        views: What `Objective.views` gave.
        dtype: bfloat16 has `represent` run under autocast; the loss is float32 at least in any case.
        micro_batch: Examples at once, with all their views where none looks at another; None is all of them, and no
            cache.
    """
    num_examples = len(views.inputs[0])
    size = num_examples if micro_batch is None else micro_batch
    parts = [slice(first, first + size) for first in range(0, num_examples, size)]
    passes = _passes(objective, views.inputs, parts)
    if len(parts) == 1:
        found = [represented(objective, some, dtype) for some in passes]
        loss, logs = objective.loss(_by_view(found, len(parts), len(views.inputs)), views)
        loss.backward()
        return loss.detach(), logs
    *others, last = passes
    # 1. representations without a graph; running statistics must not move twice
    with torch.no_grad(), nullcontext() if objective.independent else unmoved(objective):
        cached = [represented(objective, some, dtype) for some in others]
    # the last graph has room until the others are made, and then need not be made again
    kept = represented(objective, last, dtype)
    leaves = [
        tuple(tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in representation)
        for representation in (*cached, kept)
    ]
    # 2. the loss, and its gradient by them
    loss, logs = objective.loss(_by_view(leaves, len(parts), len(views.inputs)), views)
    loss.backward()
    # 3. each example's gradient is carried back; all but the last are represented again for that
    _carry_back(kept, leaves.pop())
    del kept
    for some, leaf in zip(others, leaves, strict=True):
        _carry_back(represented(objective, some, dtype), leaf)
    return loss.detach(), logs


def _passes(objective: Objective, views: Sequence[View], parts: Sequence[slice]) -> list[View]:
    """What goes through the network at once: a part of every view, or of one where an example looks at others.

    Together weights are standardised once for all views, and matrix products are larger.
    """
    alike = len({view.features.shape[1:] for view in views}) == 1
    if len(views) == 1 or not (objective.independent and alike):
        return [view[part] for view in views for part in parts]
    together = [[view[part] for view in views] for part in parts]
    return [
        View(torch.cat([view.features for view in some]), JoinedDraws([view.draws for view in some]))
        for some in together
    ]


def _by_view(found: Sequence[Representation], num_parts: int, num_views: int) -> list[Representation]:
    """What was made of each view, from what was made in each pass."""
    if len(found) > num_parts:  # view by view
        of_views = [found[first : first + num_parts] for first in range(0, len(found), num_parts)]
    else:
        pieces = [list(zip(*(tensor.chunk(num_views) for tensor in one), strict=True)) for one in found]
        of_views = list(zip(*pieces, strict=True))
    return [tuple(torch.cat(tensors) for tensors in zip(*of_view, strict=True)) for of_view in of_views]


def represented(objective: Objective, view: View, dtype: torch.dtype) -> Representation:
    """What an objective makes of a view, in float32 at least.

    Args:
        dtype: bfloat16 is autocast.
    """
    # a context of its own each time: casts of weights that it keeps have no graph where they were made without one
    with torch.autocast(view.features.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = objective.represent(view)
    return tuple(
        tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor
        for tensor in found
    )


def require_independent(objective: Objective, encoder: str, allowed: bool) -> None:
    """Refuse to cut a batch whose examples depend on each other.

    Args:
        encoder: Its name, for the message.
        allowed: The user knows that statistics will be those of micro-batches.

    Raises:
        ValueError: An objective or an encoder that looks across the batch.
    """
    if not objective.independent and not allowed:
        normed = has_batch_norm(objective.encoder)
        who = f"{encoder} has batch norm" if normed else f"{type(objective).__name__} looks across the batch"
        raise ValueError(
            f"{who}, so micro-batches would give another loss and gradient than the whole batch; leave micro_batch "
            "out, take an encoder with another norm, or allow statistics of micro-batches (--allow-batch-norm)"
        )


@contextmanager
def unmoved(module: nn.Module) -> Iterator[None]:
    """A pass that leaves every buffer as it was: running statistics."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def _carry_back(representation: Representation, leaves: Representation) -> None:
    """Add the gradient that the leaves got, of as many tensors as have one, to that of the parameters."""
    pairs = [
        (tensor, leaf.grad)
        for tensor, leaf in zip(representation, leaves, strict=True)
        if tensor.requires_grad and leaf.grad is not None
    ]
    if pairs:
        torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])
