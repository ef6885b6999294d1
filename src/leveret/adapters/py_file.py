"""`py:FILE:CLASS`: any Python class that turns waves into vectors.

The class is made without arguments. It has `sample_rate` (Hz) and `embed(wave)`, or is callable: a float32 tensor
(B, N) in, a tensor or array (B, D) out. A subclass of `leveret.contracts.Encoder` is taken as it is.
The file is the user's own code and is run as such.
"""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from leveret.adapters.faults import AdapterError, own_frames, told
from leveret.adapters.foreign import Foreign, WaveEncoder, module_of_file
from leveret.adapters.sample_rates import rate_of
from leveret.contracts import Encoder


class PyFileEncoder(WaveEncoder):
    """Wraps an object with `sample_rate` and `embed`."""

    def __init__(self, foreign: Any, spec: str, sample_rate: int) -> None:
        super().__init__(spec, sample_rate)
        # a torch module is registered, so that it moves between devices and its weights count in the digest
        self.foreign = foreign
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """What the wrapped object gives."""
        return getattr(self.foreign, "embed", self.foreign)(wave)


def py_file_encoder(rest: str) -> Foreign:
    """FILE:CLASS, any Python class with `sample_rate` and `embed(wave (B, N)) -> (B, D)`.

    Raises:
        AdapterError: No such file or class, or the class is no encoder.
    """
    file, _, name = rest.rpartition(":")
    path = Path(file)
    if not file and Path(rest).is_file():
        raise AdapterError(f"py:{rest}: which class of the file? Expected py:FILE:CLASS, such as py:{rest}:MyEncoder")
    if not file or not name or not path.is_file():
        raise AdapterError(
            f"py:{rest}: no file {file or rest!r}; expected py:FILE:CLASS, such as py:my_encoder.py:MyEncoder"
        )
    module = module_of_file(f"py:{rest}", path)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise AdapterError(f"py:{rest}: {path} has no class {name!r}; it has {', '.join(classes) or 'none'}")
    return Foreign(_wrapped(_made(found, rest), rest, name), name, [path], {"class": name, "file": path.name})


def _made(kind: type, rest: str) -> Any:
    try:
        return kind()
    except MemoryError:
        raise
    except Exception as error:  # whatever somebody else's code raises
        # one that was raised outside of the class is about the call itself
        how = " without arguments" if isinstance(error, TypeError) and not own_frames(error) else ""
        raise AdapterError(f"py:{rest}: {kind.__name__} cannot be made{how} ({told(error)})") from error


def _wrapped(encoder: Any, rest: str, name: str) -> Encoder:
    if isinstance(encoder, Encoder):
        missing = [attribute for attribute in ("embed_dim", "layers") if not hasattr(encoder, attribute)]
        if missing:
            raise AdapterError(f"py:{rest}: {name} does not set {' and '.join(missing)}, which every Encoder must")
        rate = rate_of(f"py:{rest}", encoder, name)
        if not isinstance(encoder.sample_rate, int):
            encoder.sample_rate = rate
        return encoder.eval()
    rate = rate_of(f"py:{rest}", encoder, name)
    unfinished = isinstance(encoder, nn.Module) and type(encoder).forward is nn.Module.forward  # torch calls it anyway
    if not callable(getattr(encoder, "embed", None if unfinished else encoder)):
        raise AdapterError(f"py:{rest}: {name} has no method embed(wave (B, N)) -> (B, D), and is not callable")
    if isinstance(encoder, nn.Module):
        encoder.eval()
    return PyFileEncoder(encoder, f"py:{rest}", rate).eval()


ADAPTERS = {"py": py_file_encoder}
