"""What every adapter's encoder owes, over one encoder of each form and every package."""

from functools import cache
from pathlib import Path

import pytest
import torch
from tests.adapters.conftest import HEAR_MODULE, save_onnx, save_torchscript

from leveret.adapters.pkg import PINNED
from leveret.contracts import Encoder
from leveret.loading import fingerprint, load_encoder
from leveret.registry import UnknownNameError, entries

HF = ("wav2vec2", "hubert", "wavlm", "whisper", "ast", "clap")
FORMS = ["py", "hear", "onnx", "torchscript", *(f"hf-{name}" for name in HF), *(f"pkg-{name}" for name in PINNED)]
CLASS = "class E:\n    sample_rate = 8000\n    def embed(self, wave):\n        return wave[:, :5]\n"
# of a vector's length: matrix products of another batch size round otherwise
BATCH_TOLERANCE = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")


@pytest.fixture(scope="session")
def specs(hf_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "mine.py").write_text(CLASS)
    (folder / "my_hear.py").write_text(HEAR_MODULE)
    return {
        "py": f"py:{folder / 'mine.py'}:E",
        "hear": f"hear:{folder / 'my_hear.py'}",
        "onnx": f"onnx:{save_onnx(folder / 'a.onnx')}",
        "torchscript": f"torchscript:{save_torchscript(folder / 'a.pt')}",
        **{f"hf-{name}": f"hf:{hf_models / name}" for name in HF},
        **{f"pkg-{name}": f"pkg:{name}" for name in PINNED},
    }


@cache
def loaded(spec: str) -> Encoder:
    return load_encoder(spec).encoder


@pytest.fixture(params=FORMS)
def encoder(request: pytest.FixtureRequest, specs: dict[str, str]) -> Encoder:
    return loaded(specs[request.param])


def noise(encoder: Encoder, num_clips: int, seconds: float) -> torch.Tensor:
    waves = torch.randn(num_clips, round(seconds * encoder.sample_rate), generator=torch.Generator().manual_seed(1))
    return 0.1 * waves * torch.linspace(0.3, 1, num_clips)[:, None]


def test_every_adapter_is_here() -> None:
    assert {form.split("-")[0] for form in FORMS} == set(entries("adapters"))


def test_the_default_layer_is_the_last_and_leveret_leaves_the_network_alone(encoder: Encoder) -> None:
    assert list(encoder.layers.values())[-1] == encoder.embed_dim
    assert not encoder.convertible
    assert not encoder.training


@torch.inference_mode()
@pytest.mark.parametrize("seconds", [0.3, 1.0, 10.0])
def test_takes_waves_of_any_length_and_leaves_them(encoder: Encoder, seconds: float) -> None:
    wave = noise(encoder, 1, seconds)
    untouched = wave.clone()
    vectors = encoder(wave)
    assert vectors.shape == (1, encoder.embed_dim)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()
    assert torch.equal(wave, untouched)


@torch.inference_mode()
def test_silence_is_finite(encoder: Encoder) -> None:
    assert encoder(torch.zeros(1, encoder.sample_rate)).isfinite().all()


@torch.inference_mode()
def test_a_vector_depends_neither_on_the_batch_nor_on_the_call(encoder: Encoder) -> None:
    waves = noise(encoder, 3, 1.3)
    together = encoder(waves)
    assert torch.equal(encoder(waves), together)
    size = together.norm(dim=1).max()
    for other in (torch.cat([encoder(one[None]) for one in waves]), encoder(waves.flip(0)).flip(0)):
        assert (other - together).norm(dim=1).max() <= BATCH_TOLERANCE * size
    assert (together[0] - together[2]).norm() > 1e-3 * size


@torch.inference_mode()
def test_every_layer_has_its_width(encoder: Encoder) -> None:
    waves = noise(encoder, 2, 0.5)
    for layer, width in encoder.layers.items():
        assert encoder.embed(waves, layer).shape == (2, width)
    with pytest.raises(UnknownNameError, match="no layer 'penultimate'"):
        encoder.embed(waves, "penultimate")


def test_the_fingerprint_takes_it_for_deterministic(encoder: Encoder) -> None:
    assert fingerprint(encoder, torch.device("cpu")).shape == (8, encoder.embed_dim)


def test_the_digest_is_the_same_on_a_second_load(specs: dict[str, str]) -> None:
    for spec in (specs["hf-wavlm"], specs["pkg-openwakeword"], specs["torchscript"]):
        assert load_encoder(spec).digest == load_encoder(spec).digest
    assert len({load_encoder(spec).digest for spec in specs.values()}) == len(specs)
