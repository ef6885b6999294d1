"""`pkg:openwakeword`: 96 numbers for words, Google's speech embedding as openwakeword ships it, averaged over time.

Source: openwakeword 0.5.1, `AudioFeatures().embed_clips(int16 waves)`: windows of 76 mel frames every 80 ms, in ONNX.
Shapes: B batch, N samples at 16 kHz, D = 96.
Departures: waves under 0.79 s are zero-padded to the one window that the network needs. Only the package's own ONNX
files are opened, so nothing is downloaded.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leveret.adapters.foreign import Foreign, WaveEncoder, required

SPEC = "pkg:openwakeword"
FILES = ("melspectrogram.onnx", "embedding_model.onnx")
HOP_SAMPLES, UNSEEN_SAMPLES = 160, 32


class OpenWakeWord(WaveEncoder):
    """The package's feature extractor, whose networks live in onnxruntime."""

    min_samples = 12_640

    def __init__(self, audio_features: Any) -> None:
        super().__init__(SPEC, 16_000)
        self.audio_features = audio_features
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """The mean over windows."""
        rest = wave.shape[1] % HOP_SAMPLES
        if rest < UNSEEN_SAMPLES:  # they reach no frame, but the package counts one for them, and fails
            wave = wave[:, : wave.shape[1] - rest]
        pcm = (wave.cpu() * 32_768).round().clamp(-32_768, 32_767).to(torch.int16).numpy()
        return self.audio_features.embed_clips(pcm).mean(1)


def load() -> Foreign:
    """The encoder with the weights of the package."""
    required("onnxruntime", "pkg", SPEC)
    package = required("openwakeword.utils", "pkg", SPEC)
    state = np.random.get_state()  # noqa: NPY002 - the constructor draws from the global generator
    try:
        audio_features = package.AudioFeatures(ncpu=1, inference_framework="onnx")
    finally:
        np.random.set_state(state)  # noqa: NPY002
    folder = files("openwakeword").joinpath("resources", "models")
    sources = [Path(str(folder.joinpath(name))) for name in FILES]
    return Foreign(OpenWakeWord(audio_features).eval(), "openwakeword", sources, {"version": "0.5.1"})
