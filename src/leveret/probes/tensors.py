"""Tensors of a saved read-out, checked before they are believed: the file may come from a stranger."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

FLOATS = (torch.float32,)


def check_tensor(
    tensors: Mapping[str, Tensor],
    name: str,
    shape: Sequence[int | None],
    dtypes: Sequence[torch.dtype] = FLOATS,
) -> Tensor:
    """The tensor of that name.

    Args:
        shape: None is any size above 0.

    Raises:
        ValueError: It is missing, of another shape or type, or not finite.
    """
    if name not in tensors:
        raise ValueError(f"the tensor {name!r} is missing; there are {', '.join(sorted(tensors)) or 'none'}")
    found = tensors[name]
    fits = len(found.shape) == len(shape) and all(
        size > 0 if wanted is None else size == wanted for size, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits or found.dtype not in dtypes:
        wanted = " x ".join("any" if size is None else str(size) for size in shape) or "one number"
        kinds = " or ".join(_dtype_name(dtype) for dtype in dtypes)
        there = " x ".join(map(str, found.shape)) or "one number"
        raise ValueError(f"the tensor {name!r} is {there} of {_dtype_name(found.dtype)}; expected {wanted} of {kinds}")
    if found.is_floating_point() and not bool(found.isfinite().all()):
        raise ValueError(f"the tensor {name!r} holds values that are not finite; expected numbers")
    return found


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
