"""A leveret encoder as a model of transformers: waves in, one vector a wave out, and every layer over time.

    model = AutoModel.from_pretrained(FOLDER, trust_remote_code=True)
    vectors = model(input_values).pooler_output

Shapes: B batch, N samples, T' frames of a layer, D embedding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from leveret.encoders.layered import LayeredEncoder
from leveret.exporting.carried.building import build
from leveret.exporting.carried.configuration_leveret import LeveretConfig
from leveret.frontend import LogMel


class LeveretModel(PreTrainedModel):
    """Front end, standardisation, network and pooling in one; all of it trains.

    Mixed precision: the spectrogram is always made in float32, the network runs in its own dtype, vectors are float32.
    """

    config_class = LeveretConfig
    base_model_prefix = "leveret"
    main_input_name = "input_values"

    def __init__(self, config: LeveretConfig) -> None:
        super().__init__(config)
        encoder = build(config.sizes)
        assert isinstance(encoder, LayeredEncoder), config.encoder
        self.encoder = encoder
        self.post_init()

    def forward(
        self, input_values: Tensor, output_hidden_states: bool | None = None, return_dict: bool | None = None
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """One vector a wave.

        Args:
            input_values: Waves (B, N) of one length, mono, at `config.sampling_rate`, nominally in [-1, 1]. There is no
                mask: zeros that fill up a shorter wave are heard, so put waves of one length together.
            output_hidden_states: Give every layer over time, (B, T', width), each at its own frame rate.

        Returns:
            `pooler_output` (B, D) is the encoder's vector; `last_hidden_state` (B, T', D) its last layer over time.

        Raises:
            ValueError: Not a batch of waves.
        """
        if input_values.ndim != 2:
            raise ValueError(
                f"input_values has shape {tuple(input_values.shape)}; expected a batch of mono waves (B, N), so one "
                "wave is input_values[None]"
            )
        encoder = self.encoder
        wave = F.pad(input_values.float(), (0, max(0, encoder.min_samples - input_values.shape[1])))
        layers = tuple(encoder.layers) if output_hidden_states else (encoder.default_layer,)
        vector, frames = encoder.with_frames(encoder.prepare(encoder.frontend(wave)), layers)
        found = BaseModelOutputWithPooling(
            last_hidden_state=frames[encoder.default_layer].float(),
            pooler_output=vector.float(),
            hidden_states=tuple(one.float() for one in frames.values()) if output_hidden_states else None,
        )
        return found if return_dict is None or return_dict else found.to_tuple()

    def _init_weights(self, module: nn.Module) -> None:
        """Weights are drawn where they are made; filters are in no file, and are made again when it is loaded."""
        if isinstance(module, LogMel):
            _renew_filters(module)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LeveretModel":
        """As for any module, but the filters of the spectrogram stay float32."""
        super()._apply(fn, recurse)
        for module in self.modules():
            if isinstance(module, LogMel) and module.filters.dtype != torch.float32:
                _renew_filters(module)
        return self


def _renew_filters(log_mel: LogMel) -> None:
    for name, filters in LogMel(log_mel.config).named_buffers():
        setattr(log_mel, name, filters.to(getattr(log_mel, name).device))
