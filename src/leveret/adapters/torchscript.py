"""`torchscript:FILE[#rate=HZ]`: a TorchScript module from waves (B, N) to vectors (B, D).

The sample rate is the module's integer attribute `sample_rate`, or stands in the spec; it is never guessed.
Source: torch.jit.load. It unpickles no arbitrary objects, but a TorchScript file is a program and is run as such: treat
one from a stranger as you would a script.
"""

import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from leveret.adapters.faults import AdapterError
from leveret.adapters.foreign import (
    Foreign,
    WaveEncoder,
    existing_file,
    first_line,
    options_of,
    whole_number,
)
from leveret.adapters.sample_rates import rate_of


class TorchScriptEncoder(WaveEncoder):
    """A loaded module, registered, so that it moves between devices and its weights count."""

    def __init__(self, module: Any, spec: str, sample_rate: int) -> None:
        super().__init__(spec, sample_rate)
        self.module = module
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """What the module gives."""
        return self.module(wave)


def torchscript_encoder(rest: str) -> Foreign:
    """FILE[#rate=HZ], a TorchScript module from waves (B, N) to vectors (B, D).

    Raises:
        AdapterError: No such file, no TorchScript, no sample rate, or it does not give vectors.
    """
    spec = f"torchscript:{rest}"
    target, options = options_of(spec, rest, ("rate",))
    path = existing_file(spec, target, "torchscript:model.pt#rate=16000")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of TorchScript itself; files of it are around all the same
        try:
            module = torch.jit.load(path, map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise AdapterError(
                f"{spec}: {path} is no TorchScript file ({first_line(error)}); expected what torch.jit.save writes; a "
                "state_dict or a pickled module is not opened"
            ) from error
    rate = whole_number(spec, options, "rate")
    if rate is None and getattr(module, "sample_rate", None) is None:
        raise AdapterError(f"{spec}: the module has no sample_rate; say it, in Hz: torchscript:{target}#rate=16000")
    encoder = TorchScriptEncoder(module.eval(), spec, rate or rate_of(spec, module, "the module")).eval()
    return Foreign(encoder, path.stem, [path], {"rate": encoder.sample_rate})


ADAPTERS = {"torchscript": torchscript_encoder}
