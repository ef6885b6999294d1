"""The config of a leveret encoder for transformers: which network, its sizes, and what it takes and gives."""

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig


class LeveretConfig(PretrainedConfig):
    """Plain values, as config.json has them.

    Attributes:
        encoder: Name of the network in leveret.
        sizes: Fields of the network's own config.
        sampling_rate: Hz of the waves it takes.
        hidden_size: Width of its vectors.
    """

    model_type = "leveret"

    def __init__(
        self,
        encoder: str = "",
        sizes: Mapping[str, Any] | None = None,
        sampling_rate: int = 16_000,
        hidden_size: int = 0,
        **others: Any,
    ) -> None:
        self.encoder = encoder
        self.sizes = dict(sizes or {})
        self.sampling_rate = sampling_rate
        self.hidden_size = hidden_size
        super().__init__(**others)
