"""An encoder as one function from waves to vectors that can be recorded once for every batch size and length.

Source: ours. The front end is frontend.LogMel's, with the Fourier transform as a product of matrices: graph formats have
no transform that is both fast and exact.
Shapes: B batch, N samples, T = ceil(N / hop) frames, F mel bins, D embedding.
Departures: none in value; the transform is in float64 as in LogMel.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.contracts import Encoder
from leveret.frontend import LogMel
from leveret.inference import for_inference

EXAMPLE_SECONDS = 1.37
"""Of the wave that a graph is recorded with: no number of frames on the way is one, and none is a multiple of another."""


class MatrixLogMel(nn.Module):
    """`LogMel` from operations that every graph format has: shift, cut and multiply."""

    basis: Tensor
    filters: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        self.config = log_mel.config
        width = self.config.window_samples
        window = torch.hann_window(width, dtype=torch.float64)
        samples = torch.arange(width, dtype=torch.float64)[:, None]
        bins = torch.arange(self.config.fft_samples // 2 + 1, dtype=torch.float64)[log_mel.bins]
        # the phase is reduced to one turn while it is a whole number, where that is exact
        turns = (samples * bins) % self.config.fft_samples / self.config.fft_samples
        waves = torch.cat([torch.cos(2 * torch.pi * turns), torch.sin(2 * torch.pi * turns)], 1)
        # rows are outputs, as in a linear layer: a general product of three axes would treat a single wave on its own
        self.register_buffer("basis", (window[:, None] * waves).T.contiguous())  # (2 bins, width)
        self.register_buffer("filters", log_mel.filters.float().T.contiguous())  # (F, bins)

    def forward(self, wave: Float[Tensor, "B N"]) -> Float[Tensor, "B 1 T F"]:
        """Raw log-mel of each wave, float32."""
        hop, width = self.config.hop_samples, self.config.window_samples
        hops = -(-width // hop)  # that a window reaches over
        num_frames = (wave.shape[1] + hop - 1) // hop
        padded = F.pad(wave, (0, (num_frames + hops - 1) * hop - wave.shape[1]))
        rows = padded.unflatten(1, (num_frames + hops - 1, hop))
        frames = torch.cat([rows[:, k : k + num_frames, : width - k * hop] for k in range(hops)], 2)  # (B, T, width)
        real, imaginary = F.linear(frames.double(), self.basis).float().square().chunk(2, 2)
        energy = real + imaginary
        mels = F.linear(energy.sqrt() if self.config.power == 1 else energy, self.filters)
        return (mels.log1p() if self.config.compression == "log1p" else mels.clamp_min(1e-6).log())[:, None]


class WaveToVector(nn.Module):
    """What is recorded: the front end, the standardisation, the network with folded weights, the pooling."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = for_inference(encoder).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for name, module in list(self.encoder.named_modules()):
            if isinstance(module, LogMel):
                self.encoder.set_submodule(name, MatrixLogMel(module))

    def forward(self, wave: Float[Tensor, "B N"]) -> Float[Tensor, "B D"]:
        """One vector a wave."""
        vectors: Tensor = self.encoder(wave)
        return vectors


def recorded(encoder: Encoder) -> torch.export.ExportedProgram:
    """The encoder's default embedding as a graph, batch and length free."""
    wave = 0.1 * torch.randn(3, round(EXAMPLE_SECONDS * encoder.sample_rate), generator=torch.Generator().manual_seed(0))
    free = torch.export.Dim.DYNAMIC
    with torch.no_grad():
        return torch.export.export(WaveToVector(encoder), (wave,), dynamic_shapes=({0: free, 1: free},), strict=False)
