"""Any encoder of leveret as a module of the HEAR 2021 challenge, for its evaluation kits.

    heareval.embeddings.runner leveret.hear --model runs/best.safetensors

The model path is an encoder spec: a checkpoint, a name, or an adapter. An empty path takes the spec from the
environment variable LEVERET_HEAR_ENCODER.
Source: the common API of HEAR 2021 (arXiv:2203.03022, appendix); timestamps in milliseconds, at most 50 ms apart.
Shapes: S sounds, N samples, T timestamps, D embedding.
Departures: timestamp embeddings are vectors of windows of 1 s centred on the timestamps, zero-padded at both ends,
since that is what every encoder can give; a network is not asked for frames of its own.
"""

import os

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.contracts import Encoder
from leveret.loading import load_encoder

ENVIRONMENT = "LEVERET_HEAR_ENCODER"
TIMESTAMP_HOP_MS = 50.0
TIMESTAMP_WINDOW_SECONDS = 1.0


class HearModel(nn.Module):
    """An encoder with the attributes that HEAR asks for.

    Attributes:
        sample_rate: Hz.
        scene_embedding_size: D.
        timestamp_embedding_size: D.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.sample_rate = encoder.sample_rate
        self.scene_embedding_size = encoder.embed_dim
        self.timestamp_embedding_size = encoder.embed_dim

    def forward(self, audio: Float[Tensor, "S N"]) -> Float[Tensor, "S D"]:
        """One vector a sound; what is too short for the encoder is zero-padded."""
        return self.encoder(F.pad(audio, (0, max(0, self.encoder.min_samples - audio.shape[1]))))  # type: ignore[no-any-return]


def load_model(model_file_path: str = "") -> HearModel:
    """The encoder of a spec.

    Args:
        model_file_path: An encoder spec, such as a checkpoint file; empty reads LEVERET_HEAR_ENCODER.

    Raises:
        ValueError: Neither is given, or there is no such encoder.
    """
    spec = model_file_path or os.environ.get(ENVIRONMENT, "")
    if not spec:
        raise ValueError(
            f"leveret.hear: no encoder is named; give a spec as the model path, or set {ENVIRONMENT}, "
            "such as to runs/best.safetensors or melstats"
        )
    return HearModel(load_encoder(spec).encoder).eval()


@torch.inference_mode()
def get_scene_embeddings(audio: Float[Tensor, "S N"], model: HearModel) -> Float[Tensor, "S D"]:
    """One vector a sound.

    Args:
        audio: Mono at the model's rate, in [-1, 1].
    """
    vectors: Tensor = model(audio)
    return vectors


@torch.inference_mode()
def get_timestamp_embeddings(
    audio: Float[Tensor, "S N"], model: HearModel
) -> tuple[Float[Tensor, "S T D"], Float[Tensor, "S T"]]:
    """A vector every 50 ms from the start to the end of each sound, and the times in milliseconds."""
    hop = model.sample_rate * TIMESTAMP_HOP_MS / 1000
    window = round(model.sample_rate * TIMESTAMP_WINDOW_SECONDS)
    num_timestamps = int(audio.shape[1] / hop) + 1
    padded = F.pad(audio, (window // 2, window))
    starts = [round(k * hop) for k in range(num_timestamps)]
    vectors = torch.stack([model(padded[:, start : start + window]) for start in starts], 1)
    timestamps = TIMESTAMP_HOP_MS * torch.arange(num_timestamps, device=audio.device, dtype=torch.float32)
    return vectors, timestamps.expand(len(audio), -1)
