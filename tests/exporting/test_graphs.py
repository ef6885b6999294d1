"""ONNX graphs and torch.export programs give torch's vectors on real audio of any length, one wave or many."""

import itertools
import json
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from leveret.adapters.foreign import AdapterError
from leveret.audio import load
from leveret.content import weights_digest
from leveret.exporting.graph import MatrixLogMel
from leveret.exporting.onnx import write_onnx
from leveret.exporting.torch_export import ABOUT, write_torch
from leveret.frontend import LOG_MELS, LogMel, LogMelConfig
from leveret.loading import load_encoder
from leveret.registry import entries

# one of each sort; the soak tests take all
SOME = ("byola_cnn_max_mean_tiny", "melstats", "nfnet_tiny")
OTHERS = [name for name in entries("encoders") if "tiny" in name and name not in SOME]
# below one hop, whole hops, one sample more, one less than a patch of a transformer needs, and a second and a bit
LENGTHS = (130, 1120, 1121, 2399, 16_001, 23_456)
TOLERANCE = 1e-4  # sums in another order, and a logarithm that is not log1p


@pytest.fixture(scope="module")
def real_waves(dev_audio):
    """Three stretches of real audio of 23,456 samples, of as many sources; the last is silence."""
    loaded = (load(path, 16_000) for path in dev_audio)
    waves = list(itertools.islice((wave[-23_456:] for wave in loaded if len(wave) >= 23_456), 3))
    return torch.from_numpy(np.stack(waves[::-1]))


def greatest_difference(encoder, run, waves):
    found = []
    with torch.inference_mode():
        for batch, length in itertools.product((1, 3), LENGTHS):
            wave = waves[:batch, -length:].contiguous()
            found.append((torch.as_tensor(run(wave)) - encoder(wave)).abs().max())
    assert len(found) == 2 * len(LENGTHS)
    return float(max(found))


def onnx_runner(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda wave: session.run(None, {"wave": wave.numpy()})[0]


@pytest.mark.real
@pytest.mark.parametrize("name", SOME)
def test_onnx_gives_torchs_vectors_at_every_length_and_batch(exported, real_waves, tmp_path, name):
    one = exported(name)
    write_onnx(one, tmp_path / "e.onnx")
    assert greatest_difference(one.encoder, onnx_runner(tmp_path / "e.onnx"), real_waves) < TOLERANCE


@pytest.mark.soak
@pytest.mark.real
@pytest.mark.parametrize("name", [*OTHERS, "slowfast_nfnet_f0"])
def test_so_does_every_other_encoder_and_the_full_network(exported, real_waves, tmp_path, monkeypatch, name):
    one, tolerance = exported(name), TOLERANCE
    # normed map by map, a map that hardly varies is divided by next to nothing, and silence is all rounding: there
    # torch itself is 2e-3 from float64
    if name.endswith("_in"):
        assert not real_waves[-1].any()
        real_waves, tolerance = real_waves[:-1], 3 * TOLERANCE
    write_onnx(one, tmp_path / "e.onnx")
    assert greatest_difference(one.encoder, onnx_runner(tmp_path / "e.onnx"), real_waves) < tolerance
    write_torch(one, tmp_path / "e.pt2")
    if name == "wav2vec2_tiny":  # torch's program needs two frames
        monkeypatch.setattr(sys.modules[__name__], "LENGTHS", LENGTHS[1:])
    assert greatest_difference(one.encoder, torch.export.load(tmp_path / "e.pt2").module(), real_waves) < tolerance


@pytest.mark.real
@pytest.mark.parametrize("name", ["melstats", "vit_class_tiny"])
def test_torchs_program_gives_torchs_vectors_at_every_length_and_batch(exported, real_waves, tmp_path, name):
    one = exported(name)
    write_torch(one, tmp_path / "e.pt2")
    run = torch.export.load(tmp_path / "e.pt2").module()
    assert greatest_difference(one.encoder, run, real_waves) < TOLERANCE


def test_a_graph_goes_back_into_leveret_with_its_rate_and_says_what_it_is(exported, waves, tmp_path):
    one = exported("byola_cnn_tiny")
    path = tmp_path / "e.onnx"
    write_onnx(one, path)
    back = load_encoder(f"onnx:{path}").encoder
    assert (back.sample_rate, back.embed_dim) == (16_000, one.encoder.embed_dim)
    torch.testing.assert_close(back(waves), one.encoder(waves), atol=TOLERANCE, rtol=0)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert said["encoder"] == "byola_cnn_tiny"
    assert (said["sample_rate"], said["layer"], said["embed_dim"]) == ("16000", "features", "32")
    assert said["weights_sha256"] == weights_digest(one.encoder)
    (given,), (found,) = model.graph.input, model.graph.output
    assert [axis.dim_param for axis in given.type.tensor_type.shape.dim] == ["B", "N"]
    assert [axis.dim_param or axis.dim_value for axis in found.type.tensor_type.shape.dim] == ["B", 32]
    assert b".py" not in path.read_bytes()  # where it was made is nobody's business


def test_torchs_program_runs_where_leveret_is_not(exported, waves, tmp_path, without_leveret):
    one = exported("byola_cnn_tiny")
    write_torch(one, tmp_path / "e.pt2")
    with zipfile.ZipFile(tmp_path / "e.pt2") as archive:
        assert not any(b".py" in archive.read(name) for name in archive.namelist())
    torch.save(waves, tmp_path / "waves.pt")
    program = (
        "import json, torch, warnings\n"
        "warnings.simplefilter('ignore')\n"
        f"extra = {{{ABOUT!r}: ''}}\n"
        "program = torch.export.load('e.pt2', extra_files=extra)\n"
        "vectors = program.module()(torch.load('waves.pt'))\n"
        f"print(json.dumps([json.loads(extra[{ABOUT!r}]), vectors.tolist()]))\n"
    )
    said, vectors = json.loads(without_leveret(program, tmp_path))
    assert (said["encoder"], said["weights_sha256"]) == ("byola_cnn_tiny", weights_digest(one.encoder))
    torch.testing.assert_close(torch.tensor(vectors), one.encoder(waves).detach(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "config",
    [*LOG_MELS.values(), LogMelConfig(window_samples=320, hop_samples=160), LogMelConfig(window_samples=512, power=2)],
)
def test_the_front_end_by_matrices_is_the_front_end(waves, config):
    log_mel = LogMel(config)
    for length in (1, 160, 161, 11_200):
        found, wanted = MatrixLogMel(log_mel)(waves[:, :length]), log_mel(waves[:, :length])
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_writer_that_fails_leaves_what_was_there(exported, tmp_path, monkeypatch):
    path = tmp_path / "e.pt2"
    path.write_text("old")

    def torn(program, file, extra_files):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch.export, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        write_torch(exported("melstats"), path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["e.pt2"]


def test_without_onnxscript_the_extra_is_named(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(AdapterError, match=r"pip install 'leveret\[onnx\]'"):
        write_onnx(exported("melstats"), tmp_path / "e.onnx")
