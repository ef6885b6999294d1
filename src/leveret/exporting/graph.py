"""An encoder as one function from waves to vectors, recorded once as a graph for every batch size and length.

Source: ours. The front end is frontend.LogMel's, with the Fourier transform as a product of matrices: graph formats
have none that is both fast and exact.
Shapes: B batch, N samples, T = ceil(N / hop) frames, F mel bins, D embedding.
Departures: none in value; the transform is in float64 as in LogMel.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.fx.experimental._config as symbols
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.content import weights_digest
from leveret.contracts import Encoder
from leveret.exporting.formats import Exported
from leveret.frontend import LogMel
from leveret.inference import for_inference
from leveret.version import __version__

EXAMPLE_SECONDS = 1.37
"""Of the wave that a graph is recorded with; nothing of the graph depends on it."""


class MatrixLogMel(nn.Module):
    """`LogMel` from operations that every graph format has: cut, lay side by side, multiply."""

    basis: Tensor
    filters: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        self.config = log_mel.config
        width = self.config.window_samples
        window = torch.hann_window(width, dtype=torch.float64)
        bins = torch.arange(self.config.fft_samples // 2 + 1, dtype=torch.float64)[log_mel.bins, None]
        # the phase is brought below one turn while it is a whole number, where that is exact
        steps = bins * torch.arange(width, dtype=torch.float64) % self.config.fft_samples
        turns = 2 * torch.pi / self.config.fft_samples * steps
        # as the weights of linear layers: a product of arrays would treat a single wave on its own
        self.register_buffer("basis", torch.cat([turns.cos(), turns.sin()]) * window)  # (2 bins, width)
        self.register_buffer("filters", log_mel.filters.T.contiguous())  # (F, bins)

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
    wave = 0.1 * torch.randn(
        3, round(EXAMPLE_SECONDS * encoder.sample_rate), generator=torch.Generator().manual_seed(0)
    )
    return record(WaveToVector(encoder), wave, free=(0, 1))


def record(function: nn.Module, example: Tensor, free: Sequence[int]) -> torch.export.ExportedProgram:
    """A function of one tensor as a graph, without a word of where it was recorded.

    Args:
        free: Axes whose size is any.
    """
    sizes = {axis: torch.export.Dim.DYNAMIC for axis in free}
    # no size is taken to be above one only because the example's is: a single wave, or one frame, is as good as many
    one_is_many = symbols.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # which torch makes at import
    with torch.no_grad(), one_is_many, quiet():
        program = torch.export.export(function, (example,), dynamic_shapes=(sizes,), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def about(exported: Exported) -> dict[str, str]:
    """What a file says of itself."""
    return {
        "encoder": exported.name,
        "sample_rate": str(exported.encoder.sample_rate),
        "layer": list(exported.encoder.layers)[-1],
        "embed_dim": str(exported.encoder.embed_dim),
        "weights_sha256": weights_digest(exported.encoder),
        "leveret_version": __version__,
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's words on what its own exporters have to mend, and that torchvision is missing."""
    logger: Any = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
