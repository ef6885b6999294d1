"""Leveret as a HEAR module, and back again."""

import pytest
import torch

from leveret import hear
from leveret.checkpoint import save_checkpoint
from leveret.evaluation import evaluate
from leveret.loading import create_encoder, load_encoder
from leveret.registry import UnknownNameError, look_up

NAME = "slowfast_nfnet_tiny"


@pytest.fixture
def audio():
    return 0.1 * torch.randn(2, 18_000, generator=torch.Generator().manual_seed(5))


def test_the_scene_embedding_is_the_encoders_vector(audio, tmp_path):
    encoder = create_encoder(NAME, 4)
    save_checkpoint(tmp_path / "a.safetensors", NAME, look_up("encoders", NAME), encoder)
    model = hear.load_model(str(tmp_path / "a.safetensors"))
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (16_000, 96, 96)
    with torch.inference_mode():
        assert torch.equal(hear.get_scene_embeddings(audio, model), encoder(audio))


def test_an_empty_path_reads_the_environment(monkeypatch):
    monkeypatch.delenv("LEVERET_HEAR_ENCODER", raising=False)
    with pytest.raises(ValueError, match="set LEVERET_HEAR_ENCODER"):
        hear.load_model()
    monkeypatch.setenv("LEVERET_HEAR_ENCODER", "melstats")
    assert hear.load_model().scene_embedding_size == 240
    with pytest.raises(UnknownNameError, match="melstats"):
        hear.load_model("melstat")


def test_timestamps_are_milliseconds_from_start_to_end(audio):
    model = hear.load_model("melstats")
    vectors, times = hear.get_timestamp_embeddings(audio, model)
    assert vectors.shape == (2, 23, 240)  # 1.125 s
    assert times.tolist() == [[50.0 * k for k in range(23)]] * 2


def test_a_timestamps_window_is_centred_on_it(audio):
    model = hear.load_model("melstats")
    vectors, times = hear.get_timestamp_embeddings(audio, model)
    centre = round(times[0, 10].item() * 16)
    with torch.inference_mode():
        torch.testing.assert_close(vectors[:, 10], model.encoder(audio[:, centre - 8000 : centre + 8000]))
        first = torch.nn.functional.pad(audio[:, :8000], (8000, 0))
        torch.testing.assert_close(vectors[:, 0], model.encoder(first))


def test_a_sound_too_short_for_the_encoder_is_padded(audio):
    model = hear.load_model("melstats")
    assert hear.get_scene_embeddings(audio[:, :100], model).isfinite().all()


def test_an_encoder_scores_the_same_by_way_of_its_own_hear_module(tone_manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEVERET_HEAR_ENCODER", NAME)
    tasks = f"manifest:{tone_manifest()}"
    straight, around = evaluate([NAME, "hear:leveret.hear"], tasks, "quick")
    assert around.scorecard.encoder["name"] == "leveret.hear"
    for one, other in zip(straight.scorecard.tasks, around.scorecard.tasks, strict=True):
        assert one.score == other.score
        assert one.interval == other.interval
    assert load_encoder(f"hear:leveret.hear@{NAME}").name == f"leveret.hear@{NAME}"
