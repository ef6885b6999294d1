"""`pkg:aisfx`: 512 numbers for sound effects, a CNN of nine layers trained on libraries of them.

Source: aisfx 0.1.2 with its librosa spectrogram: peak level, 96 HTK mels of 2048 samples every 1024 at 44.1 kHz,
log10(1 + 10000 x) over a fixed maximum, blocks of 100 frames every 50, here averaged.
Shapes: B batch, N samples at 44.1 kHz, T frames, D = 512.
Departures: the package's librosa spectrogram comes as mel x time while its network and its Essentia spectrogram are
time x mel, so its librosa path embeds a picture that lies on its side; it is turned here. Its checkpoint holds a few
numpy numbers beside tensors, so it is read by torch's restricted unpickler with those types allowed, not by the
package's own call, which current torch refuses. Waves under 1.2 s are zero-padded to what the package takes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leveret.adapters.foreign import Foreign, WaveEncoder, required

SPEC = "pkg:aisfx"
FRAME_SAMPLES, HOP_SAMPLES, NUM_MELS = 2048, 1024, 96
HOP_MULTIPLIER = 0.5  # of a block, as in its paper


class AiSfx(WaveEncoder):
    """The package's network on its own blocks."""

    min_samples = 51 * HOP_SAMPLES  # more frames than its hop

    def __init__(self, network: Any, inference: Any, librosa: Any) -> None:
        super().__init__(SPEC, 44_100)
        self.network = network
        self.inference = inference
        self.librosa = librosa
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """The mean over blocks of 2.3 s; all blocks of a batch go through the network at once."""
        blocks = np.stack([self._blocks(one) for one in wave.cpu().numpy()])  # (B, blocks, T, F)
        batch = torch.from_numpy(blocks).flatten(0, 1).to(device=wave.device, dtype=torch.float32)
        found: Tensor = self.network.get_embedding(batch)
        return found.unflatten(0, blocks.shape[:2]).mean(1)

    def _blocks(self, wave: Any) -> Any:
        peak = np.abs(wave).max()
        mels = self.librosa.feature.melspectrogram(
            y=wave / peak if peak else wave, sr=self.sample_rate, n_mels=NUM_MELS, norm=1.0, fmin=0.0, fmax=22_050.0,
            htk=True, power=2.0, hop_length=HOP_SAMPLES, win_length=FRAME_SAMPLES,
        )  # fmt: skip
        frames = self.inference.spectrogram_normalize(np.log10(mels.T * 10_000 + 1))
        hop = self.inference.compute_hopSize(self.inference.EMB_BLOCK_LENGTH, HOP_MULTIPLIER, frames)
        return self.inference.blocking(frames, self.inference.EMB_BLOCK_LENGTH, hop, drop_partial_block=True)


def load() -> Foreign:
    """The encoder with the weights of the package."""
    librosa = required("librosa", "pkg", SPEC)
    inference = required("aisfx.inference", "pkg", SPEC)
    path = Path(inference.get_path_modelWeights())
    number: Any = np.int64(0).__reduce__()[0]  # what pickles a numpy number
    allowed: list[Any] = [(number, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(allowed):
        weights, datasets = torch.load(path, map_location="cpu", weights_only=True)
    network = inference.load_bestModel(weights, datasets, "cpu")
    return Foreign(AiSfx(network, inference, librosa).eval(), "aisfx", [path], {"version": "0.1.2"})
