"""A table's vectors that stay on disk, in the place of a tensor: only what a probe draws or scores is read.

Shapes: R rows, n rows read, D embedding.
"""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leveret.mapped import MappedRows


@dataclass(frozen=True, eq=False)
class DiskRows:
    """Vectors on disk.

    Attributes:
        rows: Which they are.
        device: Where they go when they are read.
    """

    rows: MappedRows
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | Tensor) -> Self:
        """Fewer rows, still on disk."""
        return type(self)(self.rows[which.cpu().numpy() if isinstance(which, Tensor) else which], self.device)

    @property
    def shape(self) -> tuple[int, int]:
        """(R, D)."""
        return self.rows.shape

    @property
    def dtype(self) -> torch.dtype:
        """float32 or float16."""
        return torch.float16 if self.rows.dtype == "float16" else torch.float32

    def read(self) -> Float[Tensor, "R D"]:
        """All of them, on the device."""
        return torch.from_numpy(self.rows.read()).to(self.device)

    def new_empty(self, *shape: int) -> Tensor:
        """A tensor of their type, on the device."""
        return torch.empty(shape, dtype=self.dtype, device=self.device)


def fetch(X: Tensor | DiskRows, rows: Int[Tensor, "n"], out: Float[Tensor, "n D"]) -> None:
    """Rows of X by number, into `out`."""
    if isinstance(X, DiskRows):
        out.copy_(X[rows].read())
    else:
        torch.index_select(X, 0, rows, out=out)
