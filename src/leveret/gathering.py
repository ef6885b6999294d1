"""Stores that the ranks of one run fill together: rank 0 opens and locks, the others write other rows of its files.

All ranks call the functions in one order. A rank may be killed at any moment: what its journal records counts, and the
next to open the store folds that in. Alone, a process opens the store and nothing else happens.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import leveret.distributed as distributed
from leveret.cache import CacheError, Store, guest_lock
from leveret.journal import fold, journals

_Opened = tuple[Path, NDArray[np.bool_], dict[int, str], set[int]]


@contextmanager
def opened(
    root: Path,
    identity: Mapping[str, Any],
    num_rows: int,
    width: int,
    dtype: str,
    fingerprint: NDArray[np.float32],
) -> Iterator[Store]:
    """The store of an identity at every rank; arguments and errors as `Store.open`.

    Identity and fingerprint are rank 0's: a foreign encoder's may differ in the last bit from processor to processor.
    """
    world = distributed.world()
    if world.size == 1:
        with Store.open(root, identity, num_rows, width, dtype, fingerprint) as store:
            yield store
    elif world.rank == 0:
        with Store.open(root, identity, num_rows, width, dtype, fingerprint) as store:
            distributed.from_first((store.folder.relative_to(root), store.done, store.bad, store.silent))
            yield store
            distributed.barrier()  # no guest writes once the lock is given back
    else:
        empty: _Opened = (Path(), np.empty(0, bool), {}, set())
        place, done, bad, silent = distributed.from_first(empty)
        folder = root / place
        with guest_lock(folder, world.rank) as held:
            rows = _mapped(folder, num_rows, width, dtype, "r" if done.all() else "r+")
            yield Store(folder, rows, done, bad, silent, [], journal=f"journal-{world.rank}.jsonl")
            Path(held.lock_file).unlink(missing_ok=True)
            distributed.barrier()


def gather_rows(store: Store) -> None:
    """Have every rank see the rows that all of them wrote, and rank 0 verify and record them.

    Raises:
        CacheError: Rows that no rank wrote, or that did not arrive at rank 0.
    """
    if distributed.world().size == 1:
        return
    if isinstance(store.rows, np.memmap):
        store.rows.flush()
    # a network file system shows what others wrote to those who open a file after them
    arrived = np.logical_or.reduce(distributed.gather(store.done))
    num_rows, width = store.rows.shape
    store.rows = _mapped(store.folder, num_rows, width, store.rows.dtype.str, "r")
    if distributed.is_first() and len(journals(store.folder)) > 1:
        store.take_up()
        fold(store.folder)
    store.done, store.bad, store.silent = distributed.from_first((store.done, store.bad, store.silent))
    if len(never := np.flatnonzero(~arrived)):
        raise CacheError(
            f"{len(never)} rows of {store.folder}, the first of them {never[0]}, were written by no process; the same "
            "command goes on there"
        )
    lost = np.flatnonzero(arrived & ~store.done)
    if len(lost):
        raise CacheError(
            f"{len(lost)} rows of {store.folder}, the first of them {lost[0]}, were written by another process and did "
            "not arrive at rank 0; the cache folder must be one file system that all machines share (LEVERET_HOME)"
        )


def _mapped(folder: Path, num_rows: int, width: int, dtype: str, mode: Any) -> NDArray[Any]:
    if num_rows * width == 0:
        return np.empty((num_rows, width), dtype)
    return np.memmap(folder / "rows.bin", dtype=dtype, mode=mode, shape=(num_rows, width))
