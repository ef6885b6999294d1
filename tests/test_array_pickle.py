"""The restricted reader: arrays come in as they were written, and nothing that a pickle says is ever run."""

import os
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from leveret.array_pickle import PickleRefusedError, read_arrays

ARRAYS = {
    "a/~/b": {"w": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "b": np.float32(3.5), "n": np.array(7)},
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dictionaries_of_arrays_come_back(protocol):
    found = read_arrays(pickle.dumps(OrderedDict(ARRAYS), protocol), "x.pkl")
    np.testing.assert_array_equal(found["a/~/b"]["w"], ARRAYS["a/~/b"]["w"])
    assert found["a/~/b"]["w"].dtype == np.float32
    assert found["a/~/b"]["b"] == 3.5
    np.testing.assert_array_equal(found["fortran"], ARRAYS["fortran"])
    np.testing.assert_array_equal(found["flags"], [True, False])


def test_what_older_numpy_wrote_comes_back():
    data = pickle.dumps(ARRAYS["a/~/b"]["w"], 2).replace(b"numpy._core.", b"numpy.core.")
    np.testing.assert_array_equal(read_arrays(data, "x.pkl"), ARRAYS["a/~/b"]["w"])


class Runs:
    """A pickle of it makes a file when it is read the usual way."""

    def __init__(self, how, *arguments):
        self.how, self.arguments = how, arguments

    def __reduce__(self):
        return self.how, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, protocol):
    mark = tmp_path / "owned"
    bad = [
        Runs(os.system, f"touch {mark}"),
        Runs(eval, f"open({str(mark)!r}, 'w')"),
        Runs(Path.touch, mark),
        Runs(getattr, mark, "touch"),
        Runs(np.load, str(mark)),
    ]
    for one in bad:
        data = pickle.dumps({"w": ARRAYS["flags"], "x": one}, protocol)
        with pytest.raises(PickleRefusedError, match=r"x\.pkl is refused: it names .*only dictionaries of arrays"):
            read_arrays(data, "x.pkl")
    assert not mark.exists()


def test_arrays_of_objects_are_refused():
    with pytest.raises(PickleRefusedError, match="an array of object"):
        read_arrays(pickle.dumps(np.array([{}, None], dtype=object)), "x.pkl")


def test_numpys_array_type_cannot_be_called():
    """Calling it would reserve as much memory as a stranger likes."""
    with pytest.raises(PickleRefusedError, match="no whole pickle"):
        read_arrays(pickle.dumps(Runs(np.ndarray, (1 << 40,))), "x.pkl")


def test_an_empty_array_of_a_stated_size_reserves_nothing():
    from numpy._core.multiarray import _reconstruct

    assert read_arrays(pickle.dumps(Runs(_reconstruct, np.ndarray, (1 << 40,), b"b")), "x.pkl").size == 0


@pytest.mark.parametrize("cut", [0, 1, 10, 200, -1])
def test_a_cut_pickle_is_one_error(cut):
    with pytest.raises(PickleRefusedError, match=r"x\.pkl is no whole pickle of arrays"):
        read_arrays(pickle.dumps(ARRAYS)[:cut], "x.pkl")


def test_noise_is_refused():
    generator = np.random.default_rng(0)
    for size in range(1, 200):
        with suppress(PickleRefusedError):  # any other error fails the test
            read_arrays(generator.bytes(size), "x.pkl")
