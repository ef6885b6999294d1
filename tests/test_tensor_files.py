import json

import pytest
import torch
from safetensors.torch import save_file

from leveret.tensor_files import read_tensors, write_tensors


class OurError(ValueError):
    pass


def read(path):
    return read_tensors(path, "ours", "recipe", 2, OurError)


def test_tensors_and_header_come_back(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)}, "ours", {"version": 2, "name": "\u00fc"})
    tensors, described = read(tmp_path / "a.safetensors")
    assert tensors["x"].tolist() == [0, 1, 2]
    assert described == {"version": 2, "name": "\u00fc"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_others_may_read_it_as_any_file(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)}, "ours", {"version": 2})
    (tmp_path / "b").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"theirs": "{}"}, "without leveret's header of a recipe"),
        ({"ours": "{"}, "damaged"),
        ({"ours": "[" * 100_000}, "damaged"),
        ({"ours": "3"}, "damaged"),
        ({"ours": "[]"}, "damaged"),
        ({"ours": "{}"}, "damaged"),
        ({"ours": json.dumps({"version": "2"})}, "damaged"),
        ({"ours": json.dumps({"version": 3})}, "format 3, this leveret reads 2; upgrade"),
    ],
)
def test_a_foreign_damaged_or_newer_header_is_refused(tmp_path, header, says):
    save_file({"x": torch.zeros(2)}, tmp_path / "a.safetensors", metadata=header)
    with pytest.raises(OurError, match=says):
        read(tmp_path / "a.safetensors")


def test_no_file_and_no_safetensors_are_told_apart(tmp_path):
    with pytest.raises(OurError, match="no recipe at"):
        read(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"PK\x03\x04 pickled perhaps")
    with pytest.raises(OurError, match="not a safetensors file"):
        read(tmp_path / "a.safetensors")
