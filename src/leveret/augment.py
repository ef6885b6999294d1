"""Example mixing: which clip is mixed with which, and by how much, as a pure function of a seed.

Source: paper, section 2.1 and appendices A and C: "example mixing", x' = s x + (1 - s) x_j, the share s drawn from
Beta(5, 2), on spectrograms.
Shapes: M clips, P passes, B batch.
Departures: the paper does not say how partners are drawn; here each pass pairs every clip with the next one in a random
circle. The larger share is always the clip's own, so its label stays: Beta(5, 2) falls below one half in 11 % of the
draws, and there the pair seen from the other side is the same mixture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_UNIFORMS = 6
"""Beta(5, 2) is the second largest of six uniform numbers."""


class Pairing(NamedTuple):
    """Who is mixed with whom.

    Attributes:
        partner: Index of the other clip (P, M); a clip alone is its own.
        share: Of the clip itself (P, M), one half to one.
        place: Two uniform numbers for the random crops of the clip and of its partner (P, M, 2).
    """

    partner: NDArray[np.int64]
    share: NDArray[np.float32]
    place: NDArray[np.float64]


def pairing(num_clips: int, num_passes: int, seed: int, first_pass: int = 0) -> Pairing:
    """Partners, shares and places of every pass; a longer pairing begins with the shorter one of the same seed.

    Args:
        first_pass: Number of the first of them: each pass is drawn by (seed, its number) alone.
    """
    partners = np.zeros((num_passes, num_clips), dtype=np.int64)
    shares = np.zeros((num_passes, num_clips), dtype=np.float32)
    places = np.zeros((num_passes, num_clips, 2))
    for number in range(num_passes):
        # raw PCG64 bits are the same on every platform and in every numpy; its distributions are not promised to be
        raw = np.random.PCG64(np.random.SeedSequence((seed, first_pass + number))).random_raw(
            (_UNIFORMS + 3) * num_clips
        )
        uniform = ((raw >> 11) * 2.0**-53).reshape(_UNIFORMS + 3, num_clips)
        circle = np.argsort(uniform[0], kind="stable")
        partners[number, circle] = np.roll(circle, -1)
        share = np.sort(uniform[1 : _UNIFORMS + 1], axis=0)[-2]
        shares[number] = np.maximum(share, 1 - share)
        places[number] = uniform[_UNIFORMS + 1 :].T
    return Pairing(partners, shares, places)


def mix(features: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """Share of the one plus the rest of the other, example by example.

    Args:
        features: Raw log-mels (B, 1, T, F), or waves (B, N) for an encoder that takes waves.
        partners: Of the same shape.
        share: (B,).
    """
    weight = share.view(-1, *[1] * (features.ndim - 1)).to(features)
    return weight * features + (1 - weight) * partners
