"""Float32 that is float32 on a GPU too.

Source: ours. cuDNN rounds the factors of float32 convolutions to TF32's 10 bits unless it is told otherwise; on an H200
vectors then were up to 1.5e-3 of their length away from the CPU's, and within 1e-4 without.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32 in convolutions and recurrent layers; what was set before is set again. bfloat16 is as fast as ever."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
