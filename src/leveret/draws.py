"""Random numbers of training, each a pure function of (seed, step, example, place), whatever the batch it lies in.

Micro-batches, ranks and restarts therefore see the same draws. A draw is hashed, not taken from a generator's stream:
one example's numbers do not depend on who else is there, and the same integer arithmetic gives the same bits on every
device, also inside a compiled graph.

Source: own. The hash is the finalizer of SplitMix64 on the host, and a 32-bit mixer of the same kind on the device.
Shapes: B examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Draws:
    """The numbers that belong to some examples of one step.

    Attributes:
        seed: Of the run.
        step: Of the optimizer, from 0.
        examples: Number of each example in the step's global batch (B,), int64.
        place: What the numbers are for; two places have nothing in common.
    """

    seed: int
    step: int
    examples: NDArray[np.int64]
    place: str = ""

    def __len__(self) -> int:
        """B."""
        return len(self.examples)

    def __getitem__(self, part: slice) -> Self:
        """Those of some of the examples."""
        return type(self)(self.seed, self.step, self.examples[part], self.place)

    def at(self, place: str | int) -> Self:
        """Those of a place within this one."""
        return type(self)(self.seed, self.step, self.examples, f"{self.place}/{place}")

    def keys(self, place: str | int = "") -> NDArray[np.uint64]:
        """One 64-bit number an example (B,)."""
        name = f"{self.seed} {self.step} {self.place}/{place}".encode()
        key = np.frombuffer(blake2b(name, digest_size=8).digest(), dtype="<u8")[0]
        with np.errstate(over="ignore"):
            return _mixed(_mixed(self.examples.astype(np.uint64) + key) ^ key)

    def uniform(self, place: str | int, *shape: int) -> NDArray[np.float64]:
        """Numbers in [0, 1) for each example, (B, *shape)."""
        count = int(np.prod(shape, dtype=np.int64))
        with np.errstate(over="ignore"):
            steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
            bits = _mixed(self.keys(place)[:, None] + steps)
        numbers = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return numbers.reshape(len(self), *shape)

    def shared(self, place: str | int, *shape: int) -> NDArray[np.float64]:
        """Numbers in [0, 1) that all examples of the step have in common, (*shape)."""
        whole = type(self)(self.seed, self.step, np.full(1, -1, dtype=np.int64), self.place)
        numbers: NDArray[np.float64] = whole.uniform(place, *shape)[0]
        return numbers

    def key(self, network: nn.Module) -> None:
        """Have every `Keyed` layer of a network draw these numbers in its next passes over these examples."""
        layers = {name: module for name, module in network.named_modules() if isinstance(module, Keyed)}
        if not layers:
            return
        keys = np.stack([self.keys(name) >> np.uint64(32) for name in layers]).astype(np.int64)
        # one copy for all layers, and one hash for those that take a single number: each of its two dozen operations
        # would have a GPU wait for the host. Nor does the host wait for what the GPU was asked before: another view
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        of_layers = torch.from_numpy(keys).to(device, non_blocking=device.type == "cuda")
        for layer, own, first in zip(layers.values(), of_layers, _hashed(of_layers, 1), strict=True):
            layer.keyed = own, first


class JoinedDraws(Draws):
    """The numbers of several views' examples, one view behind the other.

    Attributes:
        parts: Of each view.
    """

    parts: tuple[Draws, ...]

    def __init__(self, parts: Sequence[Draws]) -> None:
        super().__init__(parts[0].seed, parts[0].step, np.concatenate([one.examples for one in parts]))
        object.__setattr__(self, "parts", tuple(parts))

    def __getitem__(self, part: slice) -> "JoinedDraws":
        """Those of some of the examples, from one view or from several."""
        first, end, _ = part.indices(len(self))
        found = []
        for one in self.parts:
            found.append(one[max(first, 0) : max(end, 0)])
            first, end = first - len(one), end - len(one)
        return JoinedDraws(found)

    def at(self, place: str | int) -> "JoinedDraws":
        """Those of a place within each view's."""
        return JoinedDraws([one.at(place) for one in self.parts])

    def keys(self, place: str | int = "") -> NDArray[np.uint64]:
        """One 64-bit number an example, as its view has it (B,)."""
        return np.concatenate([one.keys(place) for one in self.parts])

    def shared(self, place: str | int, *shape: int) -> NDArray[np.float64]:
        """Of no use: each view has numbers of its own.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"'{place}' asks for numbers that all examples share, and these are of {len(self.parts)} views, each with "
            "its own; an objective of several views that shares numbers within one is not `independent`"
        )


class Keyed(nn.Module):
    """A layer that draws while it trains; by itself from torch's generator, under `Draws.key` by example.

    Attributes:
        keyed: A 32-bit number an example (B,), int64, and the first number in [0, 1) that it gives (B, 1); None draws
            from torch's generator.
    """

    keyed: tuple[Tensor, Tensor] | None = None

    def uniform(self, like: Tensor, num: int) -> Tensor:
        """`num` numbers in [0, 1) for each example of `like` (B, ...), float32, (B, num)."""
        if self.keyed is None:
            return torch.rand(len(like), num, device=like.device)
        keys, first = self.keyed
        if len(keys) != len(like):
            raise ValueError(
                f"a batch of {len(like)} examples passes a layer that was keyed for {len(keys)}; key the network "
                "with the draws of the batch at hand (Draws.key)"
            )
        return first.to(like.device) if num == 1 else _hashed(keys.to(like.device), num)


def unkey(network: nn.Module) -> None:
    """Have a network's layers draw from torch's generator again."""
    for module in network.modules():
        if isinstance(module, Keyed):
            module.keyed = None


def beta_5_2(draws: Draws, place: str | int) -> NDArray[np.float64]:
    """One number of Beta(5, 2) an example (B,): the second largest of six uniform ones."""
    numbers: NDArray[np.float64] = np.sort(draws.uniform(place, 6), axis=1)[:, -2]
    return numbers


def of_batch(seed: int, step: int, first: int, count: int) -> Draws:
    """The draws of `count` consecutive examples of a step's global batch."""
    return Draws(seed, step, np.arange(first, first + count, dtype=np.int64))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _hashed(keys: Tensor, num: int) -> Tensor:
    """`num` numbers in [0, 1) for each key, float32, (*keys, num)."""
    keys = keys[..., None]
    place = torch.arange(1, num + 1, device=keys.device)
    bits = _mixed32(_mixed32(keys ^ (place * 0x9E3779B9 & _MASK32)) + keys & _MASK32)
    return (bits >> 8).to(torch.float32) * 2.0**-24


def _mixed32(bits: Tensor) -> Tensor:
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D & _MASK32
    bits = (bits ^ (bits >> 15)) * 0x846CA68B & _MASK32
    return bits ^ (bits >> 16)
