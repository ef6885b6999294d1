"""What all adapters share: somebody else's code is wrapped so that it can neither harm a batch nor pass for an encoder.

Source: ours. An adapter gives a `Foreign`: an encoder with the files that its digest must cover. Encoders that only
turn waves into vectors are subclasses of `WaveEncoder`, which keeps its input from being written to, cuts and pads
waves to what the model takes, and checks every answer.
Shapes: B batch, N samples, D embedding.
Departures: a wave longer than a model's own limit is embedded in windows of that limit, the last one end-aligned, and
their vectors averaged: feature extractors would cut it off, or draw a random part.
"""

import importlib
import importlib.util
import sys
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leveret.adapters.faults import AdapterError, blamed, import_error
from leveret.adapters.sample_rates import plausible_rate
from leveret.contracts import Encoder
from leveret.registry import unknown_name


@dataclass(frozen=True)
class Foreign:
    """What an adapter makes of a spec.

    Attributes:
        encoder: In eval mode.
        name: Short, for tables and file names.
        sources: Files that decide its vectors: their bytes count in its digest, beside its torch weights.
        facts: Plain values that decide its vectors: layer, pooling, version of a package.
    """

    encoder: Encoder
    name: str
    sources: Sequence[Path] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class WaveEncoder(Encoder):
    """Somebody else's function from waves to vectors.

    Attributes:
        spec: As the user wrote it, for errors.
        max_samples: Longest wave that it takes at once; None is any.
        tried: Whether it has embedded anything; False while `measure` does so for the first time.
    """

    convertible = False
    max_samples: int | None = None

    def __init__(self, spec: str, sample_rate: int) -> None:
        super().__init__()
        self.spec = spec
        self.sample_rate = plausible_rate(spec, sample_rate)
        self.tried = False

    @abstractmethod
    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """A tensor or array (B, D) from waves of one length, which it may write to.

        Args:
            layer: A key of `layers`.
        """

    def vectors_by_layer(self, wave: Float[Tensor, "B N"], layers: Sequence[str]) -> dict[str, Any]:
        """`vectors` of each layer; a model that gives them all in one pass overrides this."""
        return {layer: self.vectors(wave.clone(), layer) for layer in layers}

    def measure(self, layers: Sequence[str] = ("embedding",)) -> None:
        """Set `layers` and `embed_dim` by embedding two seconds of noise; the last step of every constructor.

        Raises:
            AdapterError: The answer is no batch of vectors.
        """
        self.layers = dict.fromkeys(layers, 0)
        noise = 0.1 * torch.randn(2, self.sample_rate, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():  # as later, so that foreign code may call numpy() on what its network gives
            self.layers = {layer: self.embed(noise, layer).shape[1] for layer in layers}
        self.embed_dim = self.layers[layers[-1]]
        self.tried = True

    def embed(self, features: Float[Tensor, "B N"], layer: str | None = None) -> Float[Tensor, "B D"]:
        """What the wrapped code makes of the waves."""
        wanted = layer or list(self.layers)[-1]
        return self.embed_layers(features, (wanted,))[wanted]

    def embed_layers(self, features: Float[Tensor, "B N"], layers: Sequence[str]) -> dict[str, Float[Tensor, "B _"]]:
        """What the wrapped code makes of the waves, layer by layer."""
        for layer in layers:
            if layer not in self.layers:
                raise unknown_name("layer", layer, self.layers)
        wave = F.pad(features, (0, max(0, self.min_samples - features.shape[1])))
        total, most = wave.shape[1], self.max_samples or wave.shape[1]
        starts = [*range(0, max(1, total - most), most), total - most] if total > most else [0]
        by_layer: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        for start in starts:
            with blamed(self.spec, (len(wave), min(total, most)), first=not self.tried):
                window = self.vectors_by_layer(wave[:, start : start + most].clone(), layers)
                for layer, found in by_layer.items():
                    found.append(self._checked(window[layer], wave[:, :most], layer))
        return {layer: torch.stack(found).mean(0) if len(found) > 1 else found[0] for layer, found in by_layer.items()}

    def _checked(self, vectors: Any, wave: Tensor, layer: str) -> Tensor:
        shape = tuple(wave.shape)
        if isinstance(vectors, np.ndarray):
            vectors = torch.tensor(vectors)  # a copy: some libraries hand out arrays that cannot be written
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != shape[0]:
            found = getattr(vectors, "shape", type(vectors).__name__)
            raise AdapterError(
                f"{self.spec} returned {found} for waves {shape}; expected a tensor or array "
                f"({shape[0]}, D): one vector a wave, averaged over time"
            )
        if vectors.is_complex():
            sort = str(vectors.dtype).removeprefix("torch.")
            raise AdapterError(f"{self.spec} gave {sort}; real vectors were expected: take .abs(), or both parts")
        if self.tried and vectors.shape[1] != self.layers[layer]:
            raise AdapterError(
                f"{self.spec} gave vectors of {vectors.shape[1]} numbers for waves of "
                f"{shape[1] / self.sample_rate:.3g} s, and of {self.layers[layer]} before; one width for all lengths "
                "was expected: pool over time"
            )
        return vectors.to(device=wave.device, dtype=torch.float32)


def required(module: str, extra: str, spec: str) -> ModuleType:
    """Import what an adapter wraps, without the deprecations that its authors have to mend.

    Args:
        module: Dotted name.
        extra: Of leveret, that installs it.

    Raises:
        AdapterError: It cannot be imported; the message names the extra.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise AdapterError(
                f"{spec} needs {module}, which cannot be imported here ({error}); pip install 'leveret[{extra}]'"
            ) from error


def module_of_file(spec: str, path: Path) -> ModuleType:
    """A Python file as a module of its own, run anew; its neighbours are importable meanwhile.

    An `__init__.py` is its folder as a package.

    Args:
        spec: For errors.

    Raises:
        AdapterError: It is no Python file, or running it raised something.
    """
    name = f"leveret_user_{path.resolve().parent.name if path.name == '__init__.py' else path.stem}"
    for old in [known for known in sys.modules if known.startswith(f"{name}.")]:
        del sys.modules[old]  # another folder of that name had them
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise AdapterError(f"{spec}: {path} is no Python file; expected a name that ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses with postponed annotations look their module up there
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        module_spec.loader.exec_module(module)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # a script may read the command line, and end because of it
        raise import_error(spec, path, error) from error
    finally:
        sys.path.remove(folder)
    return module


def options_of(spec: str, rest: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Take `#KEY=VALUE,KEY=VALUE` off the end of what follows an adapter's colon.

    Args:
        spec: For errors.
        rest: A target, perhaps with options; a file whose very name has a # is left whole.
        known: The keys that this adapter has.

    Raises:
        AdapterError: A key that it has not, or no value.
    """
    target, mark, tail = rest.rpartition("#")
    if not mark or Path(rest).exists():
        return rest, {}
    options: dict[str, str] = {}
    for part in tail.split(","):
        key, _, value = part.partition("=")
        if key not in known or not value or key in options:
            raise AdapterError(
                f"{spec}: option {part!r} is not understood; expected #KEY=VALUE, more than one parted by commas, "
                f"each key once, of {', '.join(known)}"
            )
        options[key] = value
    return target, options


def whole_number(spec: str, options: Mapping[str, str], key: str) -> int | None:
    """The positive number that an option gives, or None where it is not given.

    Raises:
        AdapterError: Something else.
    """
    if key not in options:
        return None
    text = options[key]
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) > 0):
        raise AdapterError(f"{spec}: {key}={text!r}; expected a whole number above 0")
    return int(text)


def first_line(error: BaseException) -> str:
    """What a library says, without the pages that follow."""
    return str(error).strip().split("\n")[0]


def existing_file(spec: str, target: str, example: str) -> Path:
    """The file of a spec.

    Raises:
        AdapterError: There is none.
    """
    path = Path(target)
    if not target or "\0" in target or not path.is_file():
        raise AdapterError(f"{spec}: no file {target!r}; expected such as {example}")
    return path
