"""Augmentation by draws: example mixing, and BYOL-A's mixing of energies and random resize crop.

Source: paper, section 2.1 and appendices A and C: "example mixing", x' = s x + (1 - s) x_j, the share s drawn from
Beta(5, 2), on spectrograms. arXiv:2103.06695 and the settings of nttcslab/byol-a for the other two.
Shapes: M clips, P passes, B batch, T frames, F mel bins.
Departures: the paper does not say how partners are drawn. For probes each pass pairs every clip with the next one in a
random circle, and the larger share is always the clip's own, so its label stays: Beta(5, 2) falls below one half in
11 % of the draws, and there the pair seen from the other side is the same mixture. In pretraining the partner is any
other example of a block of the batch, and the share is what was drawn.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from torch import Tensor

import leveret.distributed as distributed
from leveret.draws import Draws, beta_5_2

MIX_BLOCK = 16
"""Consecutive examples of the global batch, which lie on one rank, so that mixing needs no exchange."""

CROP_SCALES = (0.6, 1.5)
"""Of a random resize crop: its height and its width, each in proportion to the spectrogram's."""

CANVAS_FRAMES = 1.5
"""A crop lies within so many lengths of the spectrogram, which stands in the middle of zeros."""

_CUBIC = -0.75  # torch's bicubic interpolation
_MIXED_AT_ONCE = 256  # examples: what lies in memory beside inputs and results is small
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


def mixed(
    features: Shaped[Tensor, "B ..."], draws: Draws, targets: Float[Tensor, "B K"] | None = None
) -> tuple[Shaped[Tensor, "B ..."], Float[Tensor, "B K"] | None]:
    """Every example mixed with another one of its block, targets by the same share; the inputs stay.

    Args:
        features: Of this rank's part of the global batch, raw.
        draws: Partner and share are drawn at this place.

    Raises:
        ValueError: A block of the global batch would lie on two ranks.
    """
    partner = torch.from_numpy(_partners(draws)).to(features.device)
    share = torch.from_numpy(beta_5_2(draws, "share")).to(features.device, torch.float32)
    found = torch.empty_like(features)
    for first in range(0, len(draws), _MIXED_AT_ONCE):
        some = slice(first, first + _MIXED_AT_ONCE)
        found[some] = mix(features[some], features[partner[some]], share[some])
    return found, None if targets is None else mix(targets, targets[partner], share)


def _partners(draws: Draws) -> NDArray[np.int64]:
    """Index of the example that each is mixed with (B,); one alone is its own partner."""
    chance = draws.uniform("partner")
    found = np.zeros(len(draws), dtype=np.int64)
    for block in mix_blocks(len(draws)):
        size = block.stop - block.start
        step = 1 + (chance[block] * (size - 1)).astype(np.int64)
        found[block] = block.start + (np.arange(size) + step) % size
    return found


def mix_blocks(count: int) -> list[slice]:
    """How this rank's examples are divided: MIX_BLOCK or somewhat more in each, the same whatever the ranks.

    Raises:
        ValueError: A block would lie on two ranks.
    """
    ranks = distributed.world().size
    if ranks > 1 and count % MIX_BLOCK:
        raise ValueError(
            f"{count} examples on each of {ranks} ranks cannot be mixed in blocks of {MIX_BLOCK}; take a batch that "
            f"is a multiple of {ranks * MIX_BLOCK}, or fewer ranks"
        )
    blocks = max(1, count // MIX_BLOCK)
    return [slice(count * n // blocks, count * (n + 1) // blocks) for n in range(blocks)]


def mix_energies(
    features: Float[Tensor, "B 1 T F"], partners: Float[Tensor, "B 1 T F"], share: Float[Tensor, "B"]
) -> Float[Tensor, "B 1 T F"]:
    """Log of the mixture of exponentials (log-mixup-exp): log(s e^x + (1 - s) e^x_j + eps of float32)."""
    return (mix(features.exp(), partners.exp(), share) + torch.finfo(torch.float32).eps).log()


def random_resize_crop(features: Float[Tensor, "B 1 T F"], draws: Draws) -> Float[Tensor, "B 1 T F"]:
    """A random rectangle of each spectrogram, of other proportions, stretched to the whole; bicubic.

    Args:
        features: Normalised, so that the zeros around them are their mean.
        draws: Size and position are drawn at this place.
    """
    _, _, T, F = features.shape
    numbers = draws.uniform("resize crop", 2, 2)  # (B, axis, size and position)
    time, mel = (
        torch.from_numpy(_resampling(length, canvas, *numbers[:, axis].T)).to(features)
        for axis, (length, canvas) in enumerate(((T, int(CANVAS_FRAMES * T)), (F, F)))
    )
    return (time @ features[:, 0] @ mel.mT)[:, None]


def _resampling(
    length: int, canvas: int, size: NDArray[np.float64], position: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bicubic interpolation of a part of an axis to the whole, corners aligned, as matrices (B, length, length).

    Args:
        canvas: Cells around the axis, which lies in their middle; those beyond it are zero.
        size: Uniform numbers, for the cells of each part.
        position: Uniform numbers, for its first cell.
    """
    low, high = CROP_SCALES
    cells = np.clip(((low + size * (high - low)) * length).astype(np.int64), 1, canvas)
    first = (position * (canvas - cells + 1)).astype(np.int64)
    place = np.arange(length) * ((cells - 1) / max(length - 1, 1))[:, None]  # (B, length), within the part
    base = np.floor(place).astype(np.int64)
    matrices = np.zeros((len(size), length, length))
    rows, outputs = np.ogrid[: len(size), :length]
    for tap in (-1, 0, 1, 2):
        within = np.clip(base + tap, 0, cells[:, None] - 1)  # the part's edge goes on beyond it
        source = within + first[:, None] - (canvas - length) // 2
        weight = _cubic(np.abs(place - base - tap)) * ((source >= 0) & (source < length))
        np.add.at(matrices, (rows, outputs, np.clip(source, 0, length - 1)), weight)
    return matrices


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a cell at a distance of 0 to 2."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)
