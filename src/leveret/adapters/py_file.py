"""`py:FILE:CLASS`: any Python class that turns waves into vectors.

The class is made without arguments. It has `sample_rate` (Hz) and `embed(wave)`, or is callable: a float32 tensor
(B, N) in, a tensor or array (B, D) out. A subclass of `leveret.contracts.Encoder` is taken as it is.
The file is the user's own code and is run as such.
"""

from pathlib import Path
from traceback import extract_tb
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from leveret.adapters.foreign import AdapterError, Foreign, WaveEncoder, module_of_file
from leveret.contracts import Encoder


class PyFileEncoder(WaveEncoder):
    """Wraps an object with `sample_rate` and `embed`."""

    def __init__(self, foreign: Any, spec: str) -> None:
        super().__init__(spec, int(foreign.sample_rate))
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
    module = module_of_file(path)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise AdapterError(f"py:{rest}: {path} has no class {name!r}; it has {', '.join(classes) or 'none'}")
    try:
        encoder = found()
    except TypeError as error:
        raise AdapterError(f"py:{rest}: {name} cannot be made without arguments ({error})") from error
    try:
        return Foreign(_wrapped(encoder, rest, name), name, [path])
    except (AdapterError, MemoryError):
        raise
    except Exception as error:
        waves = f"two waves of a second, a float32 tensor (2, {encoder.sample_rate})"
        raise _failed(rest, path, f"{name} fails on {waves}", error) from error


def _failed(rest: str, path: Path, what: str, error: Exception) -> AdapterError:
    """What the user's code raised, and the last line of their file that led there; LEVERET_DEBUG=1 shows the rest."""
    lines = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).name == path.name]
    where = f"\n  {path}:{lines[-1].lineno}: {lines[-1].line}" if lines else ""
    return AdapterError(f"py:{rest}: {what}: {type(error).__name__}: {error}{where}\n  LEVERET_DEBUG=1 shows all of it")


def _wrapped(encoder: Any, rest: str, name: str) -> Encoder:
    if isinstance(encoder, Encoder):
        missing = [attribute for attribute in ("embed_dim", "layers") if not hasattr(encoder, attribute)]
        if missing:
            raise AdapterError(f"py:{rest}: {name} does not set {' and '.join(missing)}, which every Encoder must")
        return encoder.eval()
    if not isinstance(getattr(encoder, "sample_rate", None), int) or encoder.sample_rate <= 0:
        raise AdapterError(
            f"py:{rest}: {name} has no integer sample_rate (Hz); it is never guessed, "
            "since a wrong rate would only show as a low score"
        )
    if not callable(getattr(encoder, "embed", encoder)):
        raise AdapterError(f"py:{rest}: {name} has no method embed(wave (B, N)) -> (B, D), and is not callable")
    if isinstance(encoder, nn.Module):
        encoder.eval()
    return PyFileEncoder(encoder, f"py:{rest}").eval()


ADAPTERS = {"py": py_file_encoder}
