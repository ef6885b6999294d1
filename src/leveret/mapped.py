"""Rows of tables that lie on disk, by number: what is chosen of them costs its index, and rows are read when wanted.

Shapes: V rows of a table on disk, R rows chosen, n rows read, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class MappedRows:
    """Some rows of one or several tables.

    Attributes:
        tables: Memory maps (V, D) of one width and dtype.
        index: Number of each chosen row, counted through all tables one after another.
    """

    tables: tuple[NDArray[Any], ...]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Any) -> Self:
        """Fewer rows: a slice, or numbers of them."""
        return type(self)(self.tables, self.index[which])

    @property
    def shape(self) -> tuple[int, int]:
        """(R, D)."""
        return len(self.index), self.tables[0].shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the tables."""
        return self.tables[0].dtype

    @property
    def nbytes(self) -> int:
        """What `read` would take."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """The rows (R, D) in memory, fetched in the order in which they lie."""
        found = np.empty(self.shape, self.dtype)
        first = 0
        for table in self.tables:
            mine = np.flatnonzero((self.index >= first) & (self.index < first + len(table)))
            mine = mine[np.argsort(self.index[mine], kind="stable")]
            for at in range(0, len(mine), _ROWS_AT_ONCE):  # numpy makes a copy of what it picks
                some = mine[at : at + _ROWS_AT_ONCE]
                found[some] = table[self.index[some] - first]
            first += len(table)
        return found

    @classmethod
    def joined(cls, blocks: Sequence["MappedRows"]) -> Self:
        """The rows of all blocks, one after another."""
        tables = list({id(table): table for block in blocks for table in block.tables}.values())
        starts = np.cumsum([0, *map(len, tables)])
        start_of = {id(table): int(start) for table, start in zip(tables, starts[:-1], strict=True)}
        index = []
        for block in blocks:
            assert len(block.tables) == 1, "blocks of one table each"
            index.append(block.index + start_of[id(block.tables[0])])
        return cls(tuple(tables), np.concatenate(index))
