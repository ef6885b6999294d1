"""An exported Hugging Face folder loads, trains and is saved again in a process without leveret."""

import json
import sys
from pathlib import Path

import pytest
import torch

from leveret.adapters.hf import code_digest_of
from leveret.exporting import hub_folder
from leveret.exporting.folders import NotExportableError
from leveret.exporting.hub_folder import write_hf
from leveret.loading import load_encoder

PROGRAM = """
import json
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
from transformers.utils import logging
logging.disable_progress_bar()
torch.set_num_threads(1)
waves, found = torch.load("waves.pt"), {}
model, report = AutoModel.from_pretrained("my-encoder", trust_remote_code=True, output_loading_info=True)
assert not model.training
found["amiss"] = [list(report[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")]
with torch.no_grad():
    output = model(waves, output_hidden_states=True)
    found["vectors"], found["frames"] = output.pooler_output, output.last_hidden_state
    found["layers"] = list(output.hidden_states)
    assert model(waves).hidden_states is None
    assert torch.equal(model(waves, return_dict=False)[1], output.pooler_output)
    found["short"] = model(waves[:, :50]).pooler_output

    half = AutoModel.from_pretrained("my-encoder", trust_remote_code=True, dtype=torch.bfloat16)
    found["half"] = half(waves).pooler_output
    found["cast"] = model.to(torch.bfloat16)(waves).pooler_output
    model.float()
try:
    model(waves[0])
except ValueError as error:
    found["complaint"] = str(error)

model.load_state_dict(AutoModel.from_pretrained("my-encoder", trust_remote_code=True).state_dict())
model.train()
torch.manual_seed(0)
model(waves).pooler_output.square().sum().backward()
found["without gradient"] = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
torch.optim.SGD(model.parameters(), lr=1e-3).step()
model.eval().save_pretrained("tuned")
with torch.no_grad():
    found["tuned"] = model(waves).pooler_output
    found["again"] = AutoModel.from_pretrained("tuned", trust_remote_code=True).eval()(waves).pooler_output
    config = AutoConfig.from_pretrained("my-encoder", trust_remote_code=True)
    fresh = AutoModel.from_config(config, trust_remote_code=True)
    found["fresh"] = fresh.eval()(waves).pooler_output
extractor = AutoFeatureExtractor.from_pretrained("my-encoder")
given = extractor(list(waves.numpy()), sampling_rate=config.sampling_rate, return_tensors="pt")
found["extracted"] = given["input_values"]
assert set(given) == {"input_values"}
torch.save(found, "found.pt")
"""


@pytest.fixture(scope="module")
def one(exported):
    return exported()


@pytest.fixture(scope="module")
def place(one, waves, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub")
    write_hf(one, path / "my-encoder")
    torch.save(waves, path / "waves.pt")
    return path


@pytest.fixture(scope="module")
def found(place, without_leveret):
    without_leveret(PROGRAM, place)
    return torch.load(place / "found.pt")


@pytest.fixture(scope="module")
def expected(one, waves):
    with torch.inference_mode():
        return one.encoder(waves)


def test_a_process_without_leveret_gives_the_encoders_vectors(found, expected):
    assert found["amiss"] == [[], [], []]
    torch.testing.assert_close(found["vectors"], expected, rtol=1e-5, atol=1e-6)


def test_every_layer_over_time_comes_in_the_same_pass(one, waves, found):
    with torch.inference_mode():
        hidden = one.encoder.hidden(one.encoder.frontend(waves))
    torch.testing.assert_close(found["layers"], list(hidden.values()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["frames"], hidden["features"], rtol=1e-5, atol=1e-6)


def test_a_wave_that_is_too_short_is_filled_up(one, waves, found):
    with torch.inference_mode():
        filled = one.encoder(torch.nn.functional.pad(waves[:, :50], (0, 350)))
    torch.testing.assert_close(found["short"], filled, rtol=1e-5, atol=1e-6)


def test_in_bfloat16_the_spectrogram_stays_float32(found, expected):
    for name in ("half", "cast"):
        error = (found[name] - expected).norm() / expected.norm()
        assert found[name].dtype == torch.float32
        # eight bits of mantissa through some twenty layers; filters of eight bits alone would cost more
        assert 1e-5 < error < 0.03, (name, error)


def test_one_wave_without_a_batch_is_told_what_to_do(found):
    assert found["complaint"].startswith("input_values has shape (11200,); expected a batch of mono waves (B, N)")


def test_every_weight_trains_and_what_was_trained_is_saved(found):
    assert found["without gradient"] == []
    assert not torch.allclose(found["tuned"], found["vectors"], rtol=1e-3)
    torch.testing.assert_close(found["again"], found["tuned"])


def test_a_model_of_the_config_alone_has_weights_of_its_own(found, expected):
    assert found["fresh"].isfinite().all()
    assert not torch.allclose(found["fresh"], expected, rtol=1e-2)


def test_the_feature_extractor_that_it_names_changes_nothing(found, waves):
    assert torch.equal(found["extracted"], waves)


def test_what_was_saved_again_has_the_code_too(place, found):
    own = {path.name for path in (place / "my-encoder").glob("*.py")}
    assert own == {path.name for path in (place / "tuned").glob("*.py")}
    config = json.loads((place / "tuned" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_leveret.LeveretModel"


def test_config_says_what_the_network_is(one, place):
    config = json.loads((place / "my-encoder" / "config.json").read_text())
    assert (config["model_type"], config["encoder"]) == ("leveret", one.name)
    assert config["sizes"]["widths"] == list(one.config.widths)
    assert (config["sampling_rate"], config["hidden_size"]) == (16_000, 96)


def test_the_adapter_of_leveret_reads_the_folder_again(place, waves, expected, monkeypatch):
    from transformers import dynamic_module_utils  # it keeps a copy of the code that it runs

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(place / "modules"))
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)  # another test's copies lie elsewhere
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not (Path(one) / "transformers_modules").is_dir()])
    folder = place / "my-encoder"
    loaded = load_encoder(f"hf:{folder}@{code_digest_of(folder)}#trust_remote_code=yes")
    assert loaded.name == "my-encoder"
    with torch.inference_mode():
        torch.testing.assert_close(loaded.encoder(waves), expected, rtol=1e-4, atol=1e-6)


def test_what_lies_there_is_left_alone(one, place):
    with pytest.raises(NotExportableError, match="my-encoder is there already"):
        write_hf(one, place / "my-encoder")


def test_a_writer_that_fails_half_way_leaves_nothing(one, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(hub_folder, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        write_hf(one, tmp_path / "half")
    assert list(tmp_path.iterdir()) == []
