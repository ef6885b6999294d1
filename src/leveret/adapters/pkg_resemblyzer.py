"""`pkg:resemblyzer`: 256 numbers that tell speakers apart, a three-layer LSTM trained on utterances of 1.6 s.

Source: resemblyzer 0.1.4, its documented call: `VoiceEncoder().embed_utterance(preprocess_wav(wave))`, which raises the
level to -30 dB, drops what its voice detector takes for silence, and averages partial utterances.
Shapes: B batch, N samples at 16 kHz, D = 256.
Departures: digital silence is not levelled, since the package would divide by its zero. Sounds without voice become the
vector of silence, as in the package: its scores on music and scenes say no more than that.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leveret.adapters.foreign import Foreign, WaveEncoder, required

SPEC = "pkg:resemblyzer"
PARTIALS_A_SECOND, MIN_COVERAGE = 1.3, 0.75  # the defaults of `embed_utterance`


class Resemblyzer(WaveEncoder):
    """The package's encoder behind its own preprocessing; the partial utterances of a batch go through it together."""

    min_samples = 480  # one window of its voice detector

    def __init__(self, voice: Any, audio: Any) -> None:
        super().__init__(SPEC, 16_000)
        self.voice = voice
        self.audio = audio
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """Unit vectors without negative numbers, (B, D)."""
        mels = [self._partials(one) for one in wave.cpu().numpy()]
        partials = self.voice(torch.from_numpy(np.concatenate(mels)).to(wave.device))
        means = [part.mean(0) for part in partials.split([len(one) for one in mels])]
        return F.normalize(torch.stack(means), dim=1)

    def _partials(self, wave: Any) -> Any:
        """Mels (partials, 160, 40) of one wave; one at a time, since silence is cut out of each."""
        if wave.any():
            with np.errstate(invalid="ignore"):  # a click may leave the 16 bits that only the voice detector sees
                wave = self.audio.preprocess_wav(wave)
        slices, mel_slices = self.voice.compute_partial_slices(len(wave), PARTIALS_A_SECOND, MIN_COVERAGE)
        wave = np.pad(wave, (0, max(0, slices[-1].stop - len(wave))))
        mel = self.audio.wav_to_mel_spectrogram(wave)
        return np.array([mel[part] for part in mel_slices])


def load() -> Foreign:
    """The encoder with the weights of the package."""
    required("webrtcvad", "pkg", SPEC)
    required("librosa", "pkg", SPEC)
    package = required("resemblyzer", "pkg", SPEC)
    encoder = Resemblyzer(package.VoiceEncoder("cpu", verbose=False), package.audio).eval()
    weights = Path(str(files("resemblyzer").joinpath("pretrained.pt")))
    return Foreign(encoder, "resemblyzer", [weights], {"version": "0.1.4"})
