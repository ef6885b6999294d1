"""Nested dictionaries of numeric arrays out of a pickle, without ever calling what the pickle names.

A pickle is a program. This reader knows the few words with which dictionaries and arrays of numpy, JAX and Haiku are
written, gives each a harmless meaning of its own, and refuses the file at any other word.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_KINDS = "fiub"  # floats, integers, booleans


class PickleRefusedError(ValueError):
    """A pickle that says more than arrays, or is damaged."""


def read_arrays(data: bytes, where: str) -> Any:
    """What the pickle holds: dictionaries, lists, numbers, text, arrays.

    Args:
        where: Name of the file, for messages.

    Raises:
        PickleRefusedError: It names anything else, or is cut short.
    """
    try:
        return _Reader(io.BytesIO(data)).load()
    except PickleRefusedError as error:
        raise PickleRefusedError(f"{where} is refused: {error}; only dictionaries of arrays are read") from None
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ) as error:
        raise PickleRefusedError(f"{where} is no whole pickle of arrays ({type(error).__name__}: {error})") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        word = f"{module.replace('numpy.core', 'numpy._core')}.{name}"
        if word not in _WORDS:
            raise PickleRefusedError(f"it names {module}.{name}")
        return _WORDS[word]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise PickleRefusedError("it points outside of itself")


class _ArrayType:
    """Stands where a pickle names numpy's array type, which it hands on and must not call."""


def _empty(kind: object, shape: object, dtype: object) -> NDArray[Any]:
    # the shape that counts comes with the bytes, which numpy holds against it
    return np.ndarray((0,), np.uint8)


def _dtype(name: object, *_: object) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind not in _KINDS:
        raise PickleRefusedError(f"an array of {dtype}")
    return dtype


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _jax_array(make: Callable[..., NDArray[Any]], arguments: Any, state: Any, _: object) -> NDArray[Any]:
    if make not in (_empty, _from_buffer):
        raise PickleRefusedError("an array made in an unknown way")
    array = make(*arguments)
    if state is not None and make is _empty:
        array.__setstate__(state)
    return array


def _scalar(dtype: Any, data: bytes) -> Any:
    return np.frombuffer(data, dtype)[0]


def _latin(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _mapping(values: Mapping[Any, Any] | tuple[()] = ()) -> dict[Any, Any]:
    return dict(values)


_WORDS: dict[str, Any] = {
    "numpy._core.multiarray._reconstruct": _empty,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.ndarray": _ArrayType,
    "numpy.dtype": _dtype,
    "_codecs.encode": _latin,
    "collections.OrderedDict": _mapping,
    "jax._src.array._reconstruct_array": _jax_array,
    "jax._src.device_array.reconstruct_device_array": _jax_array,
    "haiku._src.data_structures.FlatMapping": _mapping,
    "haiku._src.data_structures.FlatMap": _mapping,
    "haiku._src.data_structures.to_immutable_dict": _mapping,
}
