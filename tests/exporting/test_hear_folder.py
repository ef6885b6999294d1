"""An exported HEAR module keeps the rules of HEAR's validator, and scores what its encoder scores.

The rules are those that hearvalidator 2021 checks, restated.
"""

import stat

import pytest
import torch

from leveret.adapters.foreign import module_of_file
from leveret.checkpoint import load_checkpoint, save_checkpoint
from leveret.evaluation import evaluate
from leveret.exporting import packages
from leveret.exporting.folders import NotExportableError
from leveret.exporting.hear_folder import write_hear
from leveret.loading import load_encoder
from leveret.registry import entries

RATES = (16_000, 22_050, 44_100, 48_000)


@pytest.fixture(scope="module")
def one(exported):
    return exported(extra={"license": "cc-by-4.0"})


@pytest.fixture(scope="module")
def folder(one, tmp_path_factory):
    path = tmp_path_factory.mktemp("hear") / "my_encoder"
    write_hear(one, path)
    return path


@pytest.fixture(scope="module")
def module(folder):
    return module_of_file("hear:folder", folder / "__init__.py")


@pytest.fixture(scope="module")
def model(module):
    return module.load_model()


def white(num_sounds, seconds):
    samples = (num_sounds, int(16_000 * seconds))
    return 2 * torch.rand(samples, generator=torch.Generator().manual_seed(num_sounds)) - 1


def test_the_room_has_the_formats_of_folders():
    formats = entries("exporting", "FORMATS")
    assert [formats[name].suffix for name in ("hear", "hf", "mteb")] == ["", "", ""]


def test_the_model_is_a_torch_module_with_an_accepted_rate_and_whole_sizes(model):
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    assert model.sample_rate in RATES
    assert type(model.scene_embedding_size) is int
    assert type(model.timestamp_embedding_size) is int


def test_scene_embeddings_are_one_float32_vector_a_sound(module, model):
    vectors = module.get_scene_embeddings(white(4, 2.74), model)
    assert vectors.shape == (4, model.scene_embedding_size)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()


@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0])
def test_timestamp_embeddings_cover_the_sound_at_equal_steps_of_at_most_50_ms(module, model, seconds):
    vectors, times = module.get_timestamp_embeddings(white(2, seconds), model)
    assert vectors.ndim == 3
    assert times.ndim == 2
    assert vectors.shape == (2, times.shape[1], model.timestamp_embedding_size)
    assert vectors.dtype == torch.float32
    steps = times.diff()
    mean = steps.mean()
    assert (steps > 0).all()
    assert steps.max() <= 50
    assert (steps - mean).abs().max() <= 1  # milliseconds
    assert times.min() <= mean
    length = 1000 * seconds
    assert length - max(mean, 50) <= times.max() <= length


def test_a_vector_does_not_depend_on_the_batch(module, model):
    sounds = white(3, 0.6)
    together = module.get_scene_embeddings(sounds, model)
    alone = torch.cat([module.get_scene_embeddings(sound[None], model) for sound in sounds])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)
    vectors, _ = module.get_timestamp_embeddings(sounds, model)
    torch.testing.assert_close(
        module.get_timestamp_embeddings(sounds[1:2], model)[0][0], vectors[1], rtol=1e-5, atol=1e-6
    )


def test_vectors_are_the_encoders(one, module, model):
    sounds = white(2, 1.0)
    with torch.inference_mode():
        torch.testing.assert_close(module.get_scene_embeddings(sounds, model), one.encoder(sounds))


def test_the_encoder_scores_the_same_through_its_folder(one, folder, tone_manifest, tmp_path):
    save_checkpoint(tmp_path / "straight.safetensors", one.name, one.config, one.encoder)
    specs = [str(tmp_path / "straight.safetensors"), f"hear:{folder}"]
    straight, around = evaluate(specs, f"manifest:{tone_manifest()}", "quick")
    assert around.scorecard.encoder["name"] == "my_encoder"
    [result], [other] = straight.scorecard.tasks, around.scorecard.tasks
    assert (result.score, result.interval, result.metrics) == (other.score, other.interval, other.metrics)


def test_its_weights_are_a_checkpoint_that_leveret_reads(one, folder):
    checkpoint = load_checkpoint(folder / "model.safetensors")
    assert (checkpoint.name, checkpoint.config, checkpoint.extra) == (one.name, one.config, one.extra)


def test_another_checkpoint_of_the_same_network_can_be_named(exported, module, tmp_path):
    other = exported()
    with torch.no_grad():
        next(other.encoder.parameters()).mul_(2)
    save_checkpoint(tmp_path / "other.safetensors", other.name, other.config, other.encoder)
    sounds = white(1, 0.5)
    with torch.inference_mode():
        expected = other.encoder(sounds)
    found = module.get_scene_embeddings(sounds, module.load_model(str(tmp_path / "other.safetensors")))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("melstats", "melstats.safetensors holds no weights of slowfast_nfnet_tiny"), ("", "no checkpoint at")],
)
def test_a_checkpoint_that_does_not_fit_is_one_sentence(exported, module, tmp_path, name, complaint):
    if name:
        other = exported(name)
        save_checkpoint(tmp_path / f"{name}.safetensors", other.name, other.config, other.encoder)
    with pytest.raises(ValueError, match=complaint):
        module.load_model(str(tmp_path / f"{name}.safetensors"))


def test_the_digest_of_a_folder_covers_its_code(one, tmp_path):
    write_hear(one, tmp_path / "my_encoder")
    before = load_encoder(f"hear:{tmp_path / 'my_encoder'}").digest
    with (tmp_path / "my_encoder" / "frontend.py").open("a") as file:
        file.write("# another line\n")
    assert load_encoder(f"hear:{tmp_path / 'my_encoder'}").digest != before


def test_two_folders_of_one_name_are_two_encoders(one, exported, tmp_path):
    write_hear(one, tmp_path / "a" / "encoder")
    write_hear(exported("melstats"), tmp_path / "b" / "encoder")
    widths = [
        load_encoder(f"hear:{tmp_path / place}").encoder.embed_dim for place in ("a/encoder", "b/encoder/__init__.py")
    ]
    assert widths == [96, 240]


@pytest.mark.parametrize(("name", "better"), [("my-encoder", "my_encoder"), ("v1.2", "v1_2"), ("1st", "my_encoder")])
def test_a_name_that_nothing_can_import_is_refused_with_one_that_can(one, tmp_path, name, better):
    with pytest.raises(NotExportableError, match=f"'{name}' is no name of a module; .*such as {better}"):
        write_hear(one, tmp_path / name)


def test_what_lies_there_is_left_alone(one, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(NotExportableError, match="taken is there already"):
        write_hear(one, tmp_path / "taken")
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "mine.txt"]
    (tmp_path / "empty").mkdir()
    write_hear(one, tmp_path / "empty")
    assert (tmp_path / "empty" / "__init__.py").is_file()


def test_a_writer_that_fails_half_way_leaves_nothing(one, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(packages, "save_checkpoint", full)
    with pytest.raises(OSError, match="no space"):
        write_hear(one, tmp_path / "half")
    assert list(tmp_path.iterdir()) == []


def test_everybody_may_read_what_others_may_read(folder):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    assert len(modes) == 1
