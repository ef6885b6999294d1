"""`hear:MODULE[@MODEL_FILE]`: any module of the HEAR 2021 challenge, unchanged.

MODULE is a dotted name that can be imported, or a path to a .py file or to a folder with an __init__.py, which comes
first where a name is both; MODEL_FILE goes to its `load_model` as it is.
Source: the common API of HEAR 2021 (arXiv:2203.03022): `load_model(path) -> model` with `sample_rate` and
`scene_embedding_size`; `get_scene_embeddings(audio (n_sounds, n_samples), model) -> (n_sounds, size)`.
The module is code and is run as such.
"""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from leveret.adapters.faults import AdapterError, told
from leveret.adapters.foreign import Foreign, WaveEncoder, module_of_file, required
from leveret.adapters.sample_rates import rate_of

INIT = "__init__.py"
FUNCTIONS = ("load_model", "get_scene_embeddings")


class HearEncoder(WaveEncoder):
    """The scene embeddings of a HEAR module."""

    def __init__(self, module: ModuleType, model: Any, spec: str, sample_rate: int) -> None:
        super().__init__(spec, sample_rate)
        self.scene_embeddings = module.get_scene_embeddings
        # a torch module is registered, so that it moves between devices and its weights count in the digest
        self.model = model
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """One scene embedding a wave."""
        return self.scene_embeddings(wave, self.model)


def hear_encoder(rest: str) -> Foreign:
    """MODULE[@MODEL_FILE], any module of the HEAR 2021 challenge by dotted name or path of a file or folder.

    Raises:
        AdapterError: No such module, or it does not keep to the API.
    """
    spec = f"hear:{rest}"
    place, _, model_file = rest.partition("@")
    module = _module(spec, place)
    missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
    if missing:
        raise AdapterError(f"{spec}: {place} has no function {' nor '.join(missing)}; expected the API of HEAR 2021")
    try:
        model = module.load_model(model_file) if model_file else module.load_model()
    except MemoryError:
        raise
    except Exception as error:  # whatever somebody else's code raises
        raise AdapterError(f"{spec}: its load_model fails ({told(error)})") from error
    rate = rate_of(spec, model, "its model")
    if isinstance(model, nn.Module):
        model.eval()
    encoder = HearEncoder(module, model, spec, rate).eval()
    size = getattr(model, "scene_embedding_size", encoder.embed_dim)
    if size != encoder.embed_dim:
        raise AdapterError(
            f"{spec}: its scene_embedding_size is {size}, but get_scene_embeddings gives vectors of {encoder.embed_dim}"
        )
    sources = [Path(file) for file in (module.__file__, model_file) if file and Path(file).is_file()]
    if package := _package(place):
        sources += sorted(path for path in package.rglob("*.py") if path not in sources)
    return Foreign(encoder, _name(place, model_file), sources)


def _package(place: str) -> Path | None:
    """The folder that is a package, if the place is one, or its __init__.py."""
    folder = place.removesuffix(INIT) if place.endswith(f"/{INIT}") else place
    # os.path says no to a name that is no path at all
    return Path(folder) if folder and os.path.isfile(f"{folder}/{INIT}") else None


def _module(spec: str, place: str) -> ModuleType:
    if package := _package(place):
        return module_of_file(spec, package / INIT)
    if place.endswith(".py"):
        if "\0" in place or not Path(place).is_file():
            raise AdapterError(f"{spec}: no file {place!r}; expected hear:MODULE, such as hear:my_hear.py@weights.pt")
        return module_of_file(spec, Path(place))
    if not all(part.isidentifier() for part in place.split(".")):
        raise AdapterError(
            f"{spec}: {place!r} is no module name; expected such as hear:hearbaseline or hear:my_hear.py"
        )
    try:
        importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise AdapterError(
            f"{spec}: no module {error.name!r} can be imported here; install the package that brings {place}, or give "
            "the path of its .py file"
        ) from error
    return required(place, "dev", spec)


def _name(place: str, model_file: str) -> str:
    package = _package(place)
    short = package.resolve().name if package else Path(place).stem if place.endswith(".py") else place
    return f"{short}@{Path(model_file).name}" if model_file else short


ADAPTERS = {"hear": hear_encoder}
