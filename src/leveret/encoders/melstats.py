"""melstats: the floor. Three plain statistics of each mel bin, nothing learned.

Source: ours; what an encoder must beat to have learned anything beyond the average spectrum.
Shapes: B batch, T frames, F = 80 mel bins, D = 240.
Departures: no standardisation, since level and spectral shape are all it has.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from leveret.encoders.spectrogram import SpectrogramEncoder
from leveret.frontend import LOG_MELS


@dataclass(frozen=True, kw_only=True)
class MelStatsConfig:
    """There is nothing to choose."""

    def build(self) -> "MelStats":
        """The encoder, without parameters."""
        return MelStats()


class MelStats(SpectrogramEncoder):
    """[mean over time, biased standard deviation over time, mean of the first half less that of the second]."""

    def __init__(self) -> None:
        super().__init__({"statistics": 3 * LOG_MELS["leveret"].num_mels})

    def prepare(self, features: Float[Tensor, "B 1 T F"]) -> Float[Tensor, "B 1 T F"]:
        """The raw log-mel as it is."""
        return features.float()

    def maps(self, x: Float[Tensor, "B 1 T F"]) -> dict[str, tuple[Tensor, ...]]:
        """The statistics as a map of one cell."""
        std, mean = torch.std_mean(x[:, 0], dim=1, correction=0)  # (B, F)
        half = (x.shape[2] + 1) // 2  # the middle frame counts as early; a single frame is both halves
        first, second = x[:, 0, :half], x[:, 0, torch.sym_min(half, x.shape[2] - 1) :]
        change = first.mean(1) - second.mean(1)
        return {"statistics": (torch.cat([mean, std, change], 1)[:, :, None, None],)}


ENCODERS = {"melstats": MelStatsConfig()}
