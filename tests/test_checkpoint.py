import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from leveret import tensor_files
from leveret.checkpoint import CheckpointError, config_as_json, config_from_json, load_checkpoint, save_checkpoint
from leveret.registry import UnknownNameError, entries, look_up

NAME = "slowfast_nfnet_tiny"


@pytest.fixture
def encoder():
    torch.manual_seed(3)
    made = look_up("encoders", NAME).build()
    with torch.no_grad():  # the skip gains are zero at first, which would hide a block that was lost
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture
def saved(tmp_path, encoder):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, NAME, look_up("encoders", NAME), encoder, {"recipe": "x", "digests": ["a"]})
    return path


def complaint(path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def rewrite(path, change):
    """The file with a changed leveret header."""
    described = json.loads(header(path))
    change(described)
    save_file(load_file(path), path, metadata={"leveret": json.dumps(described)})
    return path


def header(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])["__metadata__"]["leveret"]


def test_an_encoder_comes_back_bit_for_bit(saved, encoder):
    found = load_checkpoint(saved)
    assert (found.name, found.extra) == (NAME, {"recipe": "x", "digests": ["a"]})
    assert found.config == look_up("encoders", NAME)
    assert not found.encoder.training
    expected = encoder.state_dict()
    for name, tensor in found.encoder.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    wave = torch.randn(2, 8_000)
    with torch.inference_mode():
        assert torch.equal(found.encoder(wave), encoder(wave))


def test_tensors_beside_the_encoder_come_back_apart_from_its_weights(tmp_path, encoder):
    path = tmp_path / "tiny.safetensors"
    beside = {"objective.head": torch.arange(6.0).view(2, 3).T, "training_files": torch.arange(64, dtype=torch.uint8)}
    save_checkpoint(path, NAME, look_up("encoders", NAME), encoder, beside=beside)
    found = load_checkpoint(path)
    assert found.beside.keys() == beside.keys()
    assert all(torch.equal(tensor, beside[name]) for name, tensor in found.beside.items())
    assert found.encoder.state_dict().keys() == encoder.state_dict().keys()


@pytest.mark.parametrize("name", list(entries("encoders")))
def test_every_config_survives_json(name):
    config = look_up("encoders", name)
    values = json.loads(json.dumps(config_as_json(config)))
    assert config_from_json(name, values) == config


def test_a_variant_of_a_config_survives(tmp_path):
    config = config_from_json(NAME, {"depths": [1, 1, 1, 1], "drop_rate": 0.25})
    save_checkpoint(tmp_path / "v.safetensors", NAME, config, config.build())
    found = load_checkpoint(tmp_path / "v.safetensors")
    assert found.config == config
    assert found.config.depths == (1, 1, 1, 1)
    assert found.extra == {}


def test_loading_leaves_the_global_generator_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(saved)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_torn_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "not a safetensors file, or is cut short" in complaint(saved)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no checkpoint at" in complaint(tmp_path / "none.safetensors")
    assert "not a safetensors file" in complaint(tmp_path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "pickle.safetensors"
    torch.save({"weights": Bomb()}, path)
    assert "not a safetensors file" in complaint(path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path, encoder):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    assert "without leveret's header" in complaint(path)
    save_file({"weight": torch.zeros(3)}, path)
    assert "without leveret's header" in complaint(path)


def test_a_later_version_asks_for_an_upgrade(saved):
    rewrite(saved, lambda described: described.update(version=99))
    assert "has format 99, this leveret reads 1; upgrade" in complaint(saved)


@pytest.mark.parametrize("key", ["version", "encoder", "config", "extra"])
def test_a_header_without_a_part_is_refused(saved, key):
    assert "header" in complaint(rewrite(saved, lambda described: described.pop(key)))


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"version": "one"}'])
def test_a_header_that_makes_no_sense_is_refused(saved, text):
    save_file(load_file(saved), saved, metadata={"leveret": text})
    assert "header" in complaint(saved)


def test_an_encoder_that_nobody_knows_is_refused_with_the_nearest(saved):
    rewrite(saved, lambda described: described.update(encoder="slowfast_nfnet_tony"))
    with pytest.raises(UnknownNameError, match="slowfast_nfnet_tiny"):
        load_checkpoint(saved)


def test_a_setting_that_the_config_does_not_have_is_refused(saved):
    rewrite(saved, lambda described: described["config"].update(breadth=3))
    with pytest.raises(CheckpointError, match="breadth"):
        load_checkpoint(saved)


def test_weights_of_another_shape_or_name_are_refused(saved):
    weights = load_file(saved)
    name = next(name for name in weights if weights[name].ndim == 4)
    described = header(saved)
    for wrong in (
        {**weights, name: weights[name][:1]},
        {key: value for key, value in weights.items() if key != name},
        {**weights, "surplus": torch.zeros(1)},
    ):
        save_file(wrong, saved, metadata={"leveret": described})
        assert f"do not fit {NAME}" in complaint(saved)


@pytest.mark.parametrize("exists", [False, True])
def test_a_writer_that_fails_leaves_the_old_file_or_none(tmp_path, encoder, monkeypatch, exists):
    path = tmp_path / "a.safetensors"
    if exists:
        path.write_bytes(b"old")

    def fail_halfway(weights, partial, metadata):
        partial.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(tensor_files, "save_file", fail_halfway)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, NAME, look_up("encoders", NAME), encoder)
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [(path.name, b"old")] * exists


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, encoder):
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "a.safetensors", NAME, look_up("encoders", NAME), encoder, {"x": object()})
    assert list(tmp_path.iterdir()) == []
