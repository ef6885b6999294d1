"""Networks without values: to count, to compare shapes, to try whether weights would fit.

Source: ours, on torch's meta device and its modes for functions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MAKING = {torch.randn, torch.rand}
_FILLING = {Tensor.normal_, Tensor.uniform_}


@contextmanager
def hollow() -> Iterator[None]:
    """What is built in the block has shapes alone, takes no memory and draws nothing."""
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Draws nothing. To draw on the meta device torch would import its compiler, which takes seconds.

    Not for tensors with memory: what is in them could have torch draw a truncated normal distribution for ever.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MAKING:
            return torch.empty(*args, **kwargs)
        if func in _FILLING or getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
