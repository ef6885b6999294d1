"""Against a direct computation with transformers; nothing is downloaded, no code of a model runs unasked."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from leveret.adapters.foreign import AdapterError
from leveret.adapters.hf import code_digest_of
from leveret.adapters.hf_families import families
from leveret.loading import load_encoder

SECONDS = 1.3
NAMES = ["wav2vec2", "hubert", "wavlm", "whisper", "ast", "clap"]


def wave(rate, seconds=SECONDS, seed=0):
    return 0.1 * torch.randn(2, round(rate * seconds), generator=torch.Generator().manual_seed(seed))


def direct(folder, name, audio):
    """What transformers gives when it is called as its documentation says, wave by wave, attention masks and all."""
    import transformers

    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    chosen = transformers.ClapAudioModelWithProjection if name == "clap" else transformers.AutoModel
    model = chosen.from_pretrained(folder).eval()
    outputs = []
    for one in audio.numpy():
        inputs = extractor(one, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        network = model.get_encoder() if name == "whisper" else model
        with torch.inference_mode():
            outputs.append(network(**inputs, output_hidden_states=True))
    return outputs


def expected(name, outputs, num_samples):
    if name == "clap":
        return torch.cat([output.audio_embeds for output in outputs])
    if name == "ast":
        return torch.cat([output.pooler_output for output in outputs])
    # whisper's 1500 frames are 30 s, so 50 a second
    num_real = -(-num_samples // 320) if name == "whisper" else None
    return torch.cat([output.last_hidden_state[:, :num_real].mean(1) for output in outputs])


# AST's lowest filters are empty, which transformers says each time its extractor is made
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")


@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_transformers_own(hf_models, name):
    loaded = load_encoder(f"hf:{hf_models / name}")
    audio = wave(loaded.encoder.sample_rate)
    with torch.inference_mode():
        found = loaded.encoder(audio)
    wanted = expected(name, direct(hf_models / name, name, audio), audio.shape[1])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert loaded.name == name
    assert loaded.origin == "hf adapter"


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "whisper"])
def test_hidden_layers_are_the_models_hidden_states(hf_models, name):
    encoder = load_encoder(f"hf:{hf_models / name}").encoder
    audio = wave(encoder.sample_rate)
    outputs = direct(hf_models / name, name, audio)
    num_states = len(outputs[0].hidden_states)
    assert list(encoder.layers) == [*(f"hidden_{k}" for k in range(num_states - 1)), "last"]
    num_real = -(-audio.shape[1] // 320) if name == "whisper" else None
    for k in range(num_states - 1):
        wanted = torch.cat([output.hidden_states[k][:, :num_real].mean(1) for output in outputs])
        with torch.inference_mode():
            torch.testing.assert_close(encoder.embed(audio, f"hidden_{k}"), wanted, rtol=1e-4, atol=1e-5)


def test_all_layers_come_out_of_one_pass(hf_models):
    encoder = load_encoder(f"hf:{hf_models / 'wavlm'}").encoder
    audio = wave(encoder.sample_rate)
    calls = []
    handle = encoder.network.register_forward_hook(lambda *arguments: calls.append(1))
    with torch.inference_mode():
        together = encoder.embed_layers(audio, list(encoder.layers))
        assert len(calls) == 1
        for name, vectors in together.items():
            torch.testing.assert_close(vectors, encoder.embed(audio, name), rtol=1e-5, atol=1e-6)
    handle.remove()


def test_a_layer_of_the_spec_becomes_the_default(hf_models):
    plain = load_encoder(f"hf:{hf_models / 'wavlm'}")
    chosen = load_encoder(f"hf:{hf_models / 'wavlm'}#layer=1")
    assert list(chosen.encoder.layers)[-1] == "hidden_1"
    assert set(chosen.encoder.layers) == set(plain.encoder.layers)
    audio = wave(16_000)
    with torch.inference_mode():
        assert torch.equal(chosen.encoder(audio), plain.encoder.embed(audio, "hidden_1"))
    assert chosen.config != plain.config
    assert list(load_encoder(f"hf:{hf_models / 'wavlm'}#layer=3").encoder.layers)[-1] == "last"


def test_mean_pooling_of_ast_leaves_out_the_patches_of_the_padding(hf_models):
    encoder = load_encoder(f"hf:{hf_models / 'ast'}#pooling=mean").encoder
    audio = wave(16_000, 1.0)  # 98 frames, so 10 of the 101 places in time begin inside the wave
    outputs = direct(hf_models / "ast", "ast", audio)
    tokens = torch.cat([output.last_hidden_state[:, 2:] for output in outputs]).reshape(2, 12, 101, 16)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(audio), tokens[:, :, :10].mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_what_whisper_pads_with_does_not_dilute_the_mean(hf_models):
    encoder = load_encoder(f"hf:{hf_models / 'whisper'}").encoder
    audio = wave(16_000, 0.5)
    everything = direct(hf_models / "whisper", "whisper", audio)[0].last_hidden_state.mean(1)
    with torch.inference_mode():
        assert not torch.allclose(encoder(audio[:1]), everything, atol=1e-3)


@pytest.mark.parametrize("name", ["ast", "clap"])
def test_a_wave_longer_than_the_model_takes_is_windows_of_it(hf_models, name):
    encoder = load_encoder(f"hf:{hf_models / name}").encoder
    most = encoder.max_samples
    audio = wave(encoder.sample_rate, 11.5)[:1]
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 - CLAP's extractor would draw from it
    with torch.inference_mode():
        wanted = (encoder(audio[:, :most]) + encoder(audio[:, -most:])) / 2
        torch.testing.assert_close(encoder(audio), wanted)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_clap_with_fusion_marks_no_wave_as_long(hf_models, tmp_path):
    import transformers

    folder = tmp_path / "fused"
    config = transformers.ClapConfig.from_pretrained(hf_models / "clap")
    config.audio_config.enable_fusion = True
    transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapFeatureExtractor(truncation="fusion").save_pretrained(folder)
    encoder = load_encoder(f"hf:{folder}").encoder
    audio = wave(48_000, 1.0)
    with torch.inference_mode():
        together = encoder(audio)
        assert torch.equal(encoder(audio), together)
        torch.testing.assert_close(torch.cat([encoder(audio[:1]), encoder(audio[1:])]), together)


def test_other_weights_are_another_digest(hf_models, tmp_path):
    import transformers

    copy = tmp_path / "wav2vec2"
    shutil.copytree(hf_models / "wav2vec2", copy)
    before = load_encoder(f"hf:{copy}").digest
    assert before == load_encoder(f"hf:{hf_models / 'wav2vec2'}").digest
    model = transformers.AutoModel.from_pretrained(copy)
    with torch.no_grad():
        model.encoder.layer_norm.bias += 1
    model.save_pretrained(copy)
    changed = load_encoder(f"hf:{copy}").digest
    assert changed != before
    extractor = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**extractor, "do_normalize": False}))
    assert load_encoder(f"hf:{copy}").digest != changed


def test_weights_that_are_missing_are_not_made_up(hf_models, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "torn"
    shutil.copytree(hf_models / "wavlm", copy)
    weights = load_file(copy / "model.safetensors")
    del weights["encoder.layers.0.attention.out_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"1 weights are not in its files .*out_proj\.weight"):
        load_encoder(f"hf:{copy}")
    (copy / "model.safetensors").unlink()
    with pytest.raises(AdapterError, match="cannot be loaded"):
        load_encoder(f"hf:{copy}")


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ("", "no model is named"),
        ("@abc", "no model is named"),
        ("nobody/nothing", "no model 'nobody/nothing' here"),
        ("none/of/this", "no model 'none/of/this' here"),
        ("../..", "no config.json for '../..'"),
        ("a\0b", "no model"),
        ("\x1b[31m", "no model"),
        ("FOLDER@main", "a folder has no revision"),
        ("FOLDER#layer=9", "no layer 'hidden_9'.*Known: hidden_0"),
        ("FOLDER#layer=nine", "no layer 'nine'"),
        ("FOLDER#layer=", "option 'layer=' is not understood"),
        ("FOLDER#depth=2", "option 'depth=2' is not understood; .*layer, pooling, trust_remote_code, download"),
        ("FOLDER#pooling=max", "pooling='max'; expected mean"),
        ("FOLDER#pooling=class", "the model has no class token"),
        ("FOLDER#download=1", "download='1'; expected yes or no"),
    ],
)
def test_a_spec_that_names_nothing_is_one_sentence(hf_models, rest, complaint):
    with pytest.raises(AdapterError, match=complaint) as caught:
        load_encoder(f"hf:{rest.replace('FOLDER', str(hf_models / 'wavlm'))}")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_feature_extractor_says_what_is_missing(hf_models, tmp_path):
    copy = tmp_path / "deaf"
    shutil.copytree(hf_models / "wavlm", copy)
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(AdapterError, match=r"expected preprocessor_config\.json"):
        load_encoder(f"hf:{copy}")


REMOTE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

open(__file__ + ".ran", "w").close()

class OwnConfig(PretrainedConfig):
    model_type = "MODEL_TYPE"

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.line = torch.nn.Linear(4, 4)
        self.post_init()
    def forward(self, input_values):
        from transformers.modeling_outputs import SequenceClassifierOutput
        frames = input_values.unfold(1, 4, 4)
        return SequenceClassifierOutput(hidden_states=self.line(frames))
    def extract_features(self, x):
        return self.line(x[:, 0, :, :4])
"""


@pytest.fixture
def own_code(hf_models, tmp_path):
    """A folder whose model is Python code of its own, in the manner of a family."""

    def write(model_type):
        from safetensors.torch import save_file

        folder = tmp_path / f"own_{model_type}"
        folder.mkdir()
        (folder / "own.py").write_text(REMOTE.replace("MODEL_TYPE", model_type))
        places = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
        (folder / "config.json").write_text(json.dumps({"model_type": model_type, "auto_map": places}))
        shutil.copy(hf_models / "wavlm" / "preprocessor_config.json", folder)
        weights = {"line.weight": 2 * torch.eye(4), "line.bias": torch.arange(4.0)}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write


def test_code_of_a_model_runs_only_when_asked_for_and_pinned(own_code, monkeypatch, tmp_path):
    folder = own_code("dasheng")
    with pytest.raises(AdapterError, match="Python code of its own, which does not run unasked") as caught:
        load_encoder(f"hf:{folder}")
    for revision in ("", "@main", f"@{'0' * 40}"):
        with pytest.raises(AdapterError, match="needs a pinned revision"):
            load_encoder(f"hf:{folder}{revision}#trust_remote_code=yes")
    assert not list(folder.rglob("*.ran"))
    spec = re.search(r"hf:\S+=yes$", str(caught.value))[0]  # as the error says
    assert f"@{code_digest_of(folder)}#" in spec
    (folder / "own.py").write_text((folder / "own.py").read_text() + "\n# a line that nobody has read\n")
    with pytest.raises(AdapterError, match="needs a pinned revision"):
        load_encoder(spec)


def pinned(folder):
    return f"hf:{folder}@{code_digest_of(folder)}#trust_remote_code=yes"


def test_a_model_that_hands_out_its_last_layer_alone(own_code):
    encoder = load_encoder(pinned(own_code("dasheng"))).encoder
    assert dict(encoder.layers) == {"last": 4}
    audio = wave(16_000, 1.0)
    wanted = 2 * audio.unfold(1, 4, 4).mean(1) + torch.arange(4.0)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(audio), wanted)


def test_eat_gets_kaldi_filter_banks_of_the_centred_wave(own_code):
    import transformers

    encoder = load_encoder(pinned(own_code("eat"))).encoder
    audio = wave(16_000, 1.0) + 0.2
    extractor = transformers.ASTFeatureExtractor(mean=-4.268, std=4.569)
    centred = audio - audio.mean(1, keepdim=True)
    banks = extractor(list(centred.numpy()), sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():  # the first frame stands where the class token would
        torch.testing.assert_close(encoder(audio), 2 * banks[:, 0, :4] + torch.arange(4.0))


def test_code_from_another_repository_is_refused(own_code):
    folder = own_code("dasheng")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "stranger/code--own.OwnModel"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterError, match="code from another repository"):
        load_encoder(pinned(folder))


def test_a_family_that_transformers_cannot_load_says_what_to_do(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "beats"}')
    with pytest.raises(AdapterError, match=r"cannot load BEATs; use py:FILE:CLASS"):
        load_encoder(f"hf:{tmp_path}")


def test_every_family_of_the_table_is_complete():
    known = families()
    assert {"wav2vec2", "hubert", "wavlm", "whisper", "clap", "mert_model", "dasheng", "eat", "beats", "m2d"} <= set(
        known
    )
    for family in known.values():
        assert family.sample_rate in (16_000, 24_000, 48_000)
        assert family.source.startswith("arXiv:")
        assert family.pooling == "mean" or family.class_tokens
        assert family.hub or family.loader == "py"


def test_broken_torchaudio_and_torchvision_are_never_imported(hf_models, tmp_path):
    for name in ("torchaudio", "torchvision"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise OSError('undefined symbol')\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from leveret.loading import load_encoder\n"
        f"load_encoder({'hf:' + str(hf_models / 'ast')!r})\n"
        "assert not {'torchaudio', 'torchvision'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_transformers_the_extra_is_named(monkeypatch, hf_models):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AdapterError, match=r"pip install 'leveret\[hf\]'"):
        load_encoder(f"hf:{hf_models / 'wavlm'}")
