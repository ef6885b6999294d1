"""An exported MTEB model keeps mteb's protocol of encoders; beside mteb's own, tests have its signatures only.

The signatures are those of mteb 2.26.24: EncoderProtocol, AbsEncoder and ModelMeta's fields without a default.
"""

import numpy as np
import pytest
import torch

from leveret.exporting.folders import NotExportableError
from leveret.exporting.mteb_folder import write_mteb

MTEB = {
    "__init__.py": "",
    "types.py": "from typing import Literal\nLicenses = Literal['not specified', 'mit', 'cc-by-4.0']\n",
    "models/__init__.py": (
        "class ModelMeta:\n"
        "    def __init__(self, *, loader, name, revision, release_date, languages, n_parameters, memory_usage_mb,\n"
        "                 max_tokens, embed_dim, license, open_weights, public_training_code, public_training_data,\n"
        "                 framework, similarity_fn_name, use_instructions, training_datasets, modalities=('text',)):\n"
        "        self.__dict__ |= {key: value for key, value in locals().items() if key != 'self'}\n"
    ),
    "models/abs_encoder.py": (
        "from abc import ABC, abstractmethod\n"
        "class AbsEncoder(ABC):\n"
        "    mteb_model_meta = None\n"
        "    @abstractmethod\n"
        "    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs): ...\n"
    ),
}
PROGRAM = """
import inspect
import json
import numpy as np
import torch
import my_encoder
from mteb.models.abs_encoder import AbsEncoder

torch.set_num_threads(1)
waves = torch.load("waves.pt").numpy()


class Loader(list):
    class dataset:
        features = {"audio": None, "label": None}


model = my_encoder.load_model()
assert isinstance(model, AbsEncoder)
ours, theirs = (inspect.signature(one.encode).parameters for one in (type(model), AbsEncoder))
found = {"meta": {key: value for key, value in vars(model.mteb_model_meta).items() if key != "loader"}}
found["signatures"] = [
    [(name, str(one.kind), one.default is None) for name, one in of.items()] for of in (ours, theirs)
]
by_loader = model.mteb_model_meta.loader("leveret/my_encoder", revision="1", device="cpu")
time = np.arange(7 * 4410) / 44_100
tone = np.sin(2 * np.pi * 500 * time)
clips = [
    {"array": waves[0], "sampling_rate": 16_000},
    {"array": waves[1][:9000].tolist(), "sampling_rate": 16_000},
    {"array": np.stack([waves[1], waves[1]]), "sampling_rate": 16_000},
    {"array": tone, "sampling_rate": 44_100},
    {"array": waves[0][:20], "sampling_rate": 16_000},
]
how = {"task_metadata": None, "hf_split": "test", "hf_subset": "default", "batch_size": 3, "show_progress_bar": False}
found["vectors"] = model.encode(Loader([{"audio": clips[:3]}, {"audio": clips[3:]}]), **how)
assert np.array_equal(by_loader.encode(Loader([{"audio": clips[:3]}, {"audio": clips[3:]}]), **how), found["vectors"])
found["none"] = model.get_audio_embeddings([])
shorter = my_encoder.load_model(max_audio_length_seconds=0.5)
found["cut"] = shorter.get_audio_embeddings([{"audio": clips[:1]}], show_progress_bar=False)
Loader.dataset.features = {"text": None}
try:
    model.encode(Loader(), **how)
except ValueError as error:
    found["complaint"] = str(error)
torch.save({key: torch.from_numpy(of) if isinstance(of, np.ndarray) else of for key, of in found.items()}, "found.pt")
"""


@pytest.fixture(scope="module")
def one(exported):
    return exported(extra={"license": "cc-by-4.0"})


@pytest.fixture(scope="module")
def found(one, waves, without_leveret, tmp_path_factory):
    place = tmp_path_factory.mktemp("mteb")
    for name, source in MTEB.items():
        (place / "mteb" / name).parent.mkdir(exist_ok=True, parents=True)
        (place / "mteb" / name).write_text(source)
    write_mteb(one, place / "my_encoder")
    torch.save(waves, place / "waves.pt")
    without_leveret(PROGRAM, place)
    return torch.load(place / "found.pt")


def test_encode_has_the_signature_of_the_protocol(found):
    assert found["signatures"][0] == found["signatures"][1]


def test_clips_of_a_batch_are_embedded_by_their_own_length(one, waves, found):
    assert found["vectors"].dtype == torch.float32
    assert found["vectors"].shape == (5, 96)
    filled = torch.nn.functional.pad(waves[:1, :20], (0, 380))
    with torch.inference_mode():
        alone = [one.encoder(wave) for wave in (waves[:1], waves[1:, :9000], waves[1:], filled)]
    torch.testing.assert_close(found["vectors"][[0, 1, 2, 4]], torch.cat(alone), rtol=1e-5, atol=1e-6)


def test_another_rate_is_resampled(one, found):
    tone = np.sin(2 * np.pi * 500 * np.arange(11_200) / 16_000)
    with torch.inference_mode():
        expected = one.encoder(torch.tensor(tone[None], dtype=torch.float32))
    # both ends ring, for the filter sees silence beyond
    error = (found["vectors"][3] - expected[0]).norm() / expected.norm()
    assert error < 0.2, error
    others = (found["vectors"][:3] - expected).norm(dim=1) / expected.norm()
    assert others.min() > 2 * error


def test_a_clip_is_cut_only_where_that_is_asked_for(one, waves, found):
    with torch.inference_mode():
        torch.testing.assert_close(found["cut"], one.encoder(waves[:1, :8000]), rtol=1e-5, atol=1e-6)


def test_no_batch_at_all_is_no_vector(found):
    assert found["none"].shape == (0, 96)


def test_a_task_without_audio_is_refused(found):
    assert found["complaint"] == "leveret/my_encoder embeds audio alone; this task gives ['text']"


def test_mteb_is_told_what_is_known_and_nothing_else(one, found):
    meta = found["meta"]
    assert (meta["name"], meta["embed_dim"], meta["n_parameters"]) == ("leveret/my_encoder", 96, 22_532)
    assert (meta["license"], list(meta["modalities"])) == ("cc-by-4.0", ["audio"])
    assert meta["training_datasets"] is None
    assert len(meta["revision"]) == 16


def test_a_name_that_nothing_can_import_is_refused(one, tmp_path):
    with pytest.raises(NotExportableError, match="no name of a module"):
        write_mteb(one, tmp_path / "my-encoder")
