import sys

import pytest
import torch
from tests.adapters.conftest import RATE, save_onnx, statistics

from leveret.adapters.foreign import AdapterError
from leveret.loading import load_encoder


def test_a_graph_with_a_rate_is_an_encoder(tmp_path, waves):
    loaded = load_encoder(f"onnx:{save_onnx(tmp_path / 'loud.onnx')}")
    assert (loaded.name, loaded.encoder.sample_rate, loaded.encoder.embed_dim) == ("loud", RATE, 3)
    torch.testing.assert_close(loaded.encoder(waves), statistics(waves))


def test_the_rate_and_the_output_of_the_spec_win(tmp_path, waves):
    path = save_onnx(tmp_path / "loud.onnx")
    loaded = load_encoder(f"onnx:{path}#rate=4000,output=power")
    assert (loaded.encoder.sample_rate, loaded.encoder.embed_dim) == (4_000, 1)
    torch.testing.assert_close(loaded.encoder(waves), waves.square().mean(1, keepdim=True))
    assert loaded.digest == load_encoder(f"onnx:{path}").digest
    assert loaded.config != load_encoder(f"onnx:{path}").config


def test_a_graph_for_one_wave_is_called_wave_by_wave(tmp_path, waves):
    encoder = load_encoder(f"onnx:{save_onnx(tmp_path / 'one.onnx', shape=(1, 'N'))}").encoder
    torch.testing.assert_close(encoder(waves), statistics(waves))


def test_a_graph_of_a_fixed_length_gets_windows(tmp_path, waves):
    encoder = load_encoder(f"onnx:{save_onnx(tmp_path / 'fixed.onnx', shape=('B', 3000))}").encoder
    wanted = (statistics(waves[:, :3000]) + statistics(waves[:, -3000:])) / 2
    torch.testing.assert_close(encoder(waves), wanted)
    short = torch.nn.functional.pad(waves[:, :1000], (0, 2000))
    torch.testing.assert_close(encoder(waves[:, :1000]), statistics(short))


def test_a_changed_file_is_another_digest(tmp_path):
    path = save_onnx(tmp_path / "loud.onnx")
    digests = [load_encoder(f"onnx:{path}").digest]
    save_onnx(path, rate="16000")
    digests.append(load_encoder(f"onnx:{path}").digest)
    (tmp_path / "loud.onnx.data").write_bytes(b"large weights lie beside")
    digests.append(load_encoder(f"onnx:{path}").digest)
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("made", "options", "complaint"),
    [
        ({"rate": None}, "", "no sample_rate in its metadata; say it, in Hz: onnx:.*#rate=16000"),
        ({"rate": "fast"}, "", "no sample_rate in its metadata"),
        ({}, "#rate=0", "rate='0'; expected a whole number above 0"),
        ({}, "#rate=-16000", "expected a whole number above 0"),
        ({}, "#rate", "option 'rate' is not understood"),
        ({}, "#rate=8000,rate=9000", "each key once"),
        ({}, "#output=embedding", "no output 'embedding'.* Known: vector, power"),
        ({"kind": "DOUBLE"}, "", r"takes \(wave0: tensor\(double\)"),
        ({"inputs": 2}, "", r"expected one tensor\(float\) of shape \(B, N\)"),
        ({"shape": ("B", 1, "N")}, "", r"expected one tensor\(float\) of shape \(B, N\)"),
        ({"axis": 0}, "", r"returned torch.Size\(\[3, 8000\]\) for waves \(2, 8000\)"),
    ],
)
def test_a_graph_that_is_no_encoder_says_what_it_lacks(tmp_path, made, options, complaint):
    path = save_onnx(tmp_path / "bad.onnx", **made)
    with pytest.raises(AdapterError, match=complaint) as caught:
        load_encoder(f"onnx:{path}{options}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a graph", bytes(range(256))])
def test_a_file_that_is_no_graph_is_named(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(AdapterError, match=r"bad\.onnx is no ONNX graph that onnxruntime can run"):
        load_encoder(f"onnx:{path}")


@pytest.mark.parametrize("rest", ["", "none.onnx", ".", "#rate=16000", "a\0b"])
def test_no_file_is_refused_with_an_example(rest):
    with pytest.raises(AdapterError, match=r"expected such as onnx:model\.onnx#rate=16000"):
        load_encoder(f"onnx:{rest}")


def test_a_name_with_a_number_sign_is_a_name(tmp_path):
    path = save_onnx(tmp_path / "take#rate=2.onnx")
    assert load_encoder(f"onnx:{path}").encoder.sample_rate == RATE


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    path = save_onnx(tmp_path / "loud.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AdapterError, match=r"pip install 'leveret\[onnx\]'"):
        load_encoder(f"onnx:{path}")


def test_the_waves_are_left_as_they_were(tmp_path, waves):
    before = waves.clone()
    load_encoder(f"onnx:{save_onnx(tmp_path / 'loud.onnx')}").encoder(waves)
    assert torch.equal(waves, before)
