import pytest
import torch

from leveret.probes.tensors import check_tensor

TENSORS = {"weight": torch.zeros(2, 3), "k": torch.tensor(4), "half": torch.ones(2).half(), "empty": torch.zeros(0, 3)}


def test_what_fits_is_handed_out():
    assert check_tensor(TENSORS, "weight", (None, 3)) is TENSORS["weight"]
    assert check_tensor(TENSORS, "k", (), (torch.int64,)) is TENSORS["k"]


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("bias", (3,), "'bias' is missing; there are empty, half, k, weight"),
        ("weight", (2, 4), "2 x 3 of float32; expected 2 x 4 of float32"),
        ("weight", (3,), "expected 3 of float32"),
        ("half", (2,), "2 of float16; expected 2 of float32"),
        ("k", (), "one number of int64; expected one number of float32"),
        ("empty", (None, 3), "0 x 3 of float32; expected any x 3"),
    ],
)
def test_what_does_not_fit_is_refused(name, shape, says):
    with pytest.raises(ValueError, match=says):
        check_tensor(TENSORS, name, shape)
