"""Rank, world and small exchanges between the processes that torchrun started; one process alone is a world of one.

Nothing is joined until `start` is called, so a program that torchrun started for ends of its own may call leveret in
one of its ranks. All functions that exchange something are collective: every rank calls them, in one order.
"""

import os
import socket
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

T = TypeVar("T")

# a rank may wait for another one's hours of work; that a machine is gone is what torchrun itself finds out
_PATIENCE = timedelta(days=30)
_POLL_SECONDS = 0.05
_SEEN_WITHIN_SECONDS = 5.0  # a network file system shows a new file late


class RankLostError(OSError):
    """Another process of the run ended, or cannot be reached."""


class DifferingRanksError(ValueError):
    """The processes of one run do not see the same files or settings; the message says which and where."""


@dataclass(frozen=True)
class World:
    """Where this process stands.

    Attributes:
        rank: 0 to size - 1, over all machines.
        size: Processes in all.
        local_rank: Number on this machine.
        local_size: Processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


_world = World()


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def start() -> None:
    """Join the other processes that torchrun started: gloo between CPUs, nccl between GPUs. Once is enough.

    Raises:
        RankLostError: They cannot be reached.
    """
    global _world
    if not launched() or _world.size > 1:
        return
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    world = World(*(int(os.environ[name]) for name in names))
    with_cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    try:
        store, _, _ = next(rendezvous("env://"))
        store = PrefixStore(f"start-{_word_of_this_start(store, world)}", store)
        # nccl connects at its first use; what leveret exchanges here lies in the CPU's memory
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if with_cuda else "gloo",
            store=store, rank=world.rank, world_size=world.size, timeout=_PATIENCE,
        )  # fmt: skip
    except RuntimeError as error:
        raise RankLostError(_lost(error)) from error
    _world = world


def _word_of_this_start(store: Any, world: World) -> str:
    """A word that the ranks of this start have in common, and with none of an earlier one.

    torchrun keeps its store when it starts the ranks again, and in it the addresses of those that are gone; how often
    it did so its agents on several machines count each for itself. So rank 0 puts up a new word; every other rank signs
    it with a word of its own, and takes it once rank 0 has copied that: an earlier rank 0 copies nothing any more.

    Raises:
        RuntimeError: The store cannot be reached.
    """
    own = uuid4().hex
    if world.rank == 0:
        store.set("leveret", own)
        for rank in range(1, world.size):
            store.wait([f"leveret/{own}/{rank}"], _PATIENCE)
            store.set(f"leveret/{own}/{rank}/seen", store.get(f"leveret/{own}/{rank}"))
        return own
    signed = ""
    while True:
        if store.check(["leveret"]) and (word := store.get("leveret").decode()) != signed:
            store.set(f"leveret/{word}/{world.rank}", own)
            signed = word
        seen = f"leveret/{signed}/{world.rank}/seen"
        if signed and store.check([seen]) and store.get(seen).decode() == own:
            return signed
        time.sleep(_POLL_SECONDS)


def leave() -> None:
    """Part from the others; this process is a world of one again."""
    global _world
    if _world.size > 1:
        from torch import distributed

        _world = World()
        distributed.destroy_process_group()


def world() -> World:
    """Where this process stands."""
    return _world


def is_first() -> bool:
    """Whether this process is the one that writes and talks."""
    return _world.rank == 0


def gather(value: T) -> list[T]:
    """What each rank gave, in the order of ranks, at every rank.

    Args:
        value: Something small that can be pickled; it goes to processes of this run only.

    Raises:
        RankLostError: A rank ended before.
    """
    if _world.size == 1:
        return [value]
    from torch import distributed

    found: list[Any] = [None] * _world.size
    with exchanging():
        distributed.all_gather_object(found, value)
    return found


def from_first(value: T) -> T:
    """What rank 0 gave, at every rank.

    Raises:
        RankLostError: A rank ended before.
    """
    if _world.size == 1:
        return value
    from torch import distributed

    found: list[Any] = [value]
    with exchanging():
        distributed.broadcast_object_list(found, src=0)
    return found[0]  # type: ignore[no-any-return]


@contextmanager
def exchanging() -> Iterator[None]:
    """An exchange of torch.distributed, in which a rank that is gone is told as one.

    Raises:
        RankLostError: A rank ended before.
    """
    try:
        yield
    except RuntimeError as error:  # gloo names no class of its own for a connection that is gone
        raise RankLostError(_lost(error)) from error


def barrier() -> None:
    """Wait until every rank is here."""
    gather(None)


@contextmanager
def in_turn() -> Iterator[None]:
    """Rank 0 does it first, then the others: what it makes is there for them, and its mistakes are told once."""
    if not is_first():
        barrier()
    yield
    if is_first():
        barrier()


@contextmanager
def alone() -> Iterator[None]:
    """This process as a world of one: what it does meanwhile it neither shares with the others nor waits for."""
    global _world
    before, _world = _world, World()
    try:
        yield
    finally:
        _world = before


def share(weights: Sequence[float]) -> slice:
    """This rank's share of a list: consecutive items of about the same weight as every other rank's.

    Args:
        weights: Of each item, 0 or more.
    """
    ends = list(accumulate(weights))
    middles = [end - weight / 2 for end, weight in zip(ends, weights, strict=True)]
    wanted = [ends[-1] * rank / _world.size if ends else 0.0 for rank in range(1, _world.size)]
    edges = [0, *(bisect_left(middles, place) for place in wanted), len(middles)]
    return slice(edges[_world.rank], edges[_world.rank + 1])


def even_share(count: int) -> slice:
    """This rank's share of so many items that weigh the same."""
    return slice(count * _world.rank // _world.size, count * (_world.rank + 1) // _world.size)


def require_same(what: str, value: str) -> None:
    """Refuse to go on where ranks differ.

    Args:
        what: What was compared, for the message.
        value: Text, such as a digest.

    Raises:
        DifferingRanksError: At every rank.
    """
    found = gather((socket.gethostname(), value))
    for rank, (host, other) in enumerate(found):
        if other != found[0][1]:
            raise DifferingRanksError(
                f"rank {rank} on {host} and rank 0 on {found[0][0]} differ in {what}; every process needs the same "
                "command, the same files and the same leveret"
            )


def require_shared(
    folder: Path, what: str = "cache folder: set LEVERET_HOME to a folder that all of them share"
) -> None:
    """Refuse to go on where a folder is another one on another machine.

    Args:
        folder: Made if it is not there.
        what: What the folder is, and how a user names another, for the message.

    Raises:
        DifferingRanksError: At every rank.
    """
    if _world.size == 1:
        return
    token = ""
    if is_first():
        token = f".shared-{uuid4().hex}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / token).touch()
        except OSError:  # a cache that can only be read may hold everything already
            token = ""
    token = from_first(token)
    if not token:
        return
    until = time.monotonic() + _SEEN_WITHIN_SECONDS
    while not (seen := (folder / token).exists()) and time.monotonic() < until:
        time.sleep(0.1)
    found = gather((socket.gethostname(), str(folder), seen))
    if is_first():
        (folder / token).unlink(missing_ok=True)
    for rank, (host, name, there) in enumerate(found):
        if not there:
            raise DifferingRanksError(
                f"{name} on {host} (rank {rank}) is not the folder {found[0][1]} of rank 0 on {found[0][0]}; processes "
                f"on several machines need one {what}"
            )


def _lost(error: Exception) -> str:
    reason = str(error).strip().splitlines()
    return (
        f"another process of this run ended or cannot be reached ({reason[0][:200] if reason else type(error).__name__}"
        "); its own message says why. What was finished is kept, and the same command goes on from there"
    )
