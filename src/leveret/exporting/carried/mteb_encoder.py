"""The encoder of this folder as a model of MTEB (MAEB, its audio tasks).

    import mteb
    import my_encoder

    mteb.evaluate(my_encoder.load_model(), mteb.get_tasks(tasks=["ESC50"]))

Source: mteb 2: EncoderProtocol, AbsEncoder and ModelMeta; its audio models have `get_audio_embeddings`.
Shapes: B batch, N samples, M clips, D embedding.
Departures: clips of a batch are embedded by length, never padded, so a vector does not depend on its neighbours. Other
rates are resampled by scipy's polyphase filter, where mteb's collator asks for torchaudio; so does
`model_meta().load_model()`, of every model of sounds, but not `load_model()`.
"""

from collections.abc import Iterable
from math import gcd
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from mteb.models import ModelMeta  # type: ignore[import-not-found]
from mteb.models.abs_encoder import AbsEncoder  # type: ignore[import-not-found]
from mteb.types import Licenses  # type: ignore[import-not-found]
from numpy.typing import NDArray
from scipy.signal import resample_poly
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from leveret.content import weights_digest
from leveret.exporting.carried.building import WEIGHTS, load, load_with_extra

__all__ = ["LeveretEncoder", "load_model", "model_meta"]


class LeveretEncoder(AbsEncoder):  # type: ignore[misc]
    """One vector a clip; text and images it does not know.

    Args:
        model_name: As mteb calls it; the weights are those of the folder.
        revision: The same.
        device: "cpu", "cuda" and the like; None takes a GPU if there is one.
        max_audio_length_seconds: What of a clip is embedded, from its start; None is all.
    """

    def __init__(
        self,
        model_name: str = "",
        revision: str | None = None,
        device: str | None = None,
        max_audio_length_seconds: float | None = None,
        **_: Any,
    ) -> None:
        self.model_name = model_name
        self.revision = revision
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.max_audio_length_seconds = max_audio_length_seconds
        self.model = load(WEIGHTS).to(self.device)
        self.sampling_rate = self.model.sample_rate

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Vectors (M, D) of a loader's clips.

        Raises:
            ValueError: The task has no audio.
        """
        if "audio" not in inputs.dataset.features:
            raise ValueError(f"{self.model_name} embeds audio alone; this task gives {sorted(inputs.dataset.features)}")
        return self.get_audio_embeddings(inputs, **kwargs)

    @torch.inference_mode()
    def get_audio_embeddings(
        self, inputs: Iterable[Any], show_progress_bar: bool = True, **_: Any
    ) -> NDArray[np.float32]:
        """Vectors (M, D) of batches whose "audio" is a list of {"array": samples, "sampling_rate": Hz}."""
        found = [
            self._vectors([self._wave(clip) for clip in batch["audio"]])
            for batch in tqdm(inputs, disable=not show_progress_bar)
        ]
        return np.concatenate(found) if found else np.zeros((0, self.model.embed_dim), dtype=np.float32)

    def _wave(self, clip: Any) -> NDArray[np.float32]:
        """Mono at the encoder's rate, no shorter than it takes."""
        wave, rate = np.asarray(clip["array"], dtype=np.float32), int(clip["sampling_rate"])
        if wave.ndim > 1:
            wave = wave.mean(axis=0)  # channels first
        if rate != self.sampling_rate:
            common = gcd(rate, self.sampling_rate)
            wave = np.asarray(resample_poly(wave, self.sampling_rate // common, rate // common), dtype=np.float32)
        if self.max_audio_length_seconds is not None:
            wave = wave[: round(self.max_audio_length_seconds * self.sampling_rate)]
        return np.pad(wave, (0, max(0, self.model.min_samples - len(wave))))

    def _vectors(self, waves: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        vectors = np.zeros((len(waves), self.model.embed_dim), dtype=np.float32)
        lengths = np.array([len(wave) for wave in waves])
        for length in np.unique(lengths):
            places = np.flatnonzero(lengths == length)
            batch = torch.from_numpy(np.stack([waves[place] for place in places])).to(self.device)
            vectors[places] = self.model(batch).cpu().numpy()
        return vectors


def load_model(device: str | None = None, max_audio_length_seconds: float | None = None) -> LeveretEncoder:
    """The model with what mteb keeps of it; arguments as of `LeveretEncoder`."""
    meta = model_meta()
    model = LeveretEncoder(meta.name, meta.revision, device, max_audio_length_seconds)
    model.mteb_model_meta = meta
    return model


def model_meta() -> ModelMeta:
    """What mteb keeps of the model; its revision is the digest of the weights, so no result is taken for another's."""
    encoder, extra = load_with_extra(WEIGHTS)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    licence = extra.get("license")
    return ModelMeta(
        loader=LeveretEncoder,
        name=f"leveret/{Path(__file__).parent.name}",
        revision=weights_digest(encoder)[:16],
        release_date=None,
        languages=None,
        n_parameters=parameters,
        memory_usage_mb=4 * parameters / 2**20,
        max_tokens=None,
        embed_dim=encoder.embed_dim,
        license=licence if licence in get_args(Licenses) else None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=["audio"],
    )
