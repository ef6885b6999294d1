"""What `hf:` knows of each family of models: how a wave goes in, and which part of what comes out is the embedding.

Source: `encoders.toml`, and the feature extractors and models of transformers.
Shapes: B batch, N samples, T' tokens, D embedding.
Departures: batches have one length, so attention masks are never made. CLAP's extractor draws random crops of waves
over 10 s, and marks a random one of a batch as long; waves are cut into windows before, and none is long.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from leveret.adapters.faults import AdapterError, blamed
from leveret.adapters.foreign import WaveEncoder
from leveret.registry import unknown_name

AST_LIKE = ("audio-spectrogram-transformer", "eat")


@dataclass(frozen=True, kw_only=True)
class Family:
    """An entry of `encoders.toml`; its attributes are explained there."""

    model_type: str
    title: str
    sample_rate: int
    layer: str = "last"
    pooling: Literal["mean", "class"] = "mean"
    class_tokens: int = 0
    hidden_layers: bool = True
    loader: Literal["hf", "py"] = "hf"
    remote_code: bool = False
    call: str = ""
    features: Mapping[str, float] = field(default_factory=dict)
    hub: tuple[str, ...] = ()
    source: str = ""
    note: str = ""


@cache
def families() -> dict[str, Family]:
    """Every documented family by the `model_type` of its config."""
    entries = tomllib.loads(files("leveret.adapters").joinpath("encoders.toml").read_text(encoding="utf-8"))
    return {
        name: Family(model_type=name, **{**values, "hub": tuple(values["hub"])}) for name, values in entries.items()
    }


class HfEncoder(WaveEncoder):
    """A network of transformers behind its own feature extractor.

    Args:
        layer: In place of the family's own: a number counts the hidden layers, 0 before the first block.
        pooling: In place of the family's own.
    """

    def __init__(
        self, spec: str, family: Family, network: torch.nn.Module, extractor: Any, layer: str = "", pooling: str = ""
    ) -> None:
        super().__init__(spec, int(extractor.sampling_rate))
        self.family = family
        self.network = network
        self.extractor = extractor
        self.pooling = pooling or family.pooling
        if self.pooling not in (("class", "mean") if family.class_tokens else ("mean",)):
            known = "mean or class" if family.class_tokens else "mean, since the model has no class token"
            raise AdapterError(f"{spec}: pooling={self.pooling!r}; expected {known}")
        self.min_samples, self.max_samples = self._limits()
        self._find_layers(layer or family.layer)

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Tensor:
        """The pooled layer, or CLAP's projection."""
        return self.vectors_by_layer(wave, (layer,))[layer]

    def vectors_by_layer(self, wave: Float[Tensor, "B N"], layers: Sequence[str]) -> dict[str, Tensor]:
        """Each layer pooled, out of one pass."""
        found = self._tokens(wave, hidden=any(layer.startswith("hidden_") for layer in layers))
        return {
            layer: found[layer] if layer == "projection" else self._pooled(found[layer], wave.shape[1])
            for layer in layers
        }

    def _find_layers(self, default: str) -> None:
        """One second of noise tells which layers there are, and how wide."""
        noise = 0.1 * torch.randn(1, self.sample_rate, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode(), blamed(self.spec, noise.shape, first=True):
            found = self._tokens(noise[:, : self.max_samples], hidden=self.family.hidden_layers)
        widths = {name: tokens.shape[-1] for name, tokens in found.items()}
        if default.isascii() and default.isdigit():
            default = "last" if int(default) == len(widths) - 1 else f"hidden_{int(default)}"
        if default not in widths:
            raise AdapterError(f"{self.spec}: {unknown_name('layer', default, widths)}")
        self.measure([default])
        self.layers = {**{name: width for name, width in widths.items() if name != default}, **self.layers}

    def _inputs(self, wave: Float[Tensor, "B N"]) -> dict[str, Tensor]:
        if self.family.features:
            wave = wave - wave.mean(1, keepdim=True)
        # the extractors work in numpy, one array a wave
        given = self.extractor(list(wave.cpu().numpy()), sampling_rate=self.sample_rate, return_tensors="pt")
        name = "input_values" if "input_values" in given else "input_features"
        inputs = {name: given[name].to(wave.device)}
        if self.family.features:
            inputs = {"x": inputs[name][:, None]}  # (B, 1, T, F)
        if "is_longer" in given:
            inputs["is_longer"] = torch.zeros_like(given["is_longer"], device=wave.device)
        return inputs

    def _tokens(self, wave: Float[Tensor, "B N"], hidden: bool) -> dict[str, Tensor]:
        """Layers by name, (B, T', D) each, the last one last; a projection is (B, D)."""
        inputs = self._inputs(wave)
        if self.family.call:
            called: Tensor = getattr(self.network, self.family.call)(*inputs.values())
            return {"last": called}
        output = self.network(**inputs, **({"output_hidden_states": True} if hidden else {}))
        if self.family.model_type == "clap":
            return {"projection": output.audio_embeds}
        states = getattr(output, "hidden_states", None)
        last = getattr(output, "last_hidden_state", None)
        if last is None:
            last = states[-1] if isinstance(states, tuple | list) else states
        if not isinstance(last, Tensor) or last.ndim != 3:
            shape = getattr(last, "shape", type(last).__name__)
            raise AdapterError(
                f"{self.spec}: the model's last hidden state is {shape}; expected (B, T, D); wrap it in a class "
                "of your own, as py:FILE:CLASS"
            )
        # the last of the states is the last hidden state, but for a norm
        before = states[:-1] if isinstance(states, tuple | list) else ()
        return {**{f"hidden_{k}": state for k, state in enumerate(before)}, "last": last}

    def _pooled(self, tokens: Float[Tensor, "B T D"], num_samples: int) -> Float[Tensor, "B D"]:
        kind = self.family.model_type
        if self.pooling == "class":
            return tokens[:, : self.family.class_tokens].mean(1)
        tokens = tokens[:, self.family.class_tokens :]
        if kind == "whisper":  # its second convolution halves the rate of the frames
            num_real = -(-num_samples // (2 * self.extractor.hop_length))
            return tokens[:, :num_real].mean(1)
        if kind == "audio-spectrogram-transformer":
            config: Any = self.network.config
            across = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
            frames = 1 + (num_samples - 400) // 160
            num_real = -(-frames // config.time_stride)
            tokens = tokens.unflatten(1, (across, -1))[:, :, :num_real].flatten(1, 2)  # (B, F' T', D)
        return tokens.mean(1)

    def _limits(self) -> tuple[int, int | None]:
        """Shortest and longest wave, in samples, that the model takes as it is."""
        config: Any = getattr(self.network, "config", None)
        kind = self.family.model_type
        if hasattr(config, "conv_kernel"):
            shortest = 1
            for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
                shortest = (shortest - 1) * stride + kernel
            return shortest, None
        if kind in AST_LIKE:
            return 400, 400 + 160 * (int(self.extractor.max_length) - 1)
        if kind == "whisper":
            return 400, int(self.extractor.n_samples)
        if kind == "clap":
            return int(self.extractor.fft_window_size), int(self.extractor.nb_max_samples)
        return 400, None
