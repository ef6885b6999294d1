import numpy as np
import pytest
import torch

from leveret.batches import CropRule
from leveret.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from leveret.contracts import Encoder
from leveret.loading import NotDeterministicError, NotFiniteError, create_encoder, fingerprint, load_encoder
from leveret.registry import UnknownNameError, look_up
from leveret.runner import Compute, runners_of

NAME = "slowfast_nfnet_tiny"
CPU = torch.device("cpu")


class Toy(Encoder):
    """Says of each wave how long and how loud it is; the answers can be made to differ."""

    embed_dim = 2

    def __init__(self, answers=lambda call: 1.0):
        super().__init__()
        self.layers = {"embedding": 2}
        self.answers = answers
        self.lengths = []

    def embed(self, features, layer=None):
        self.lengths.append(features.shape[1])
        scale = self.answers(len(self.lengths))
        return scale * torch.stack([torch.ones(len(features)), features.square().mean(1)], 1)


def weights(encoder):
    return torch.cat([parameter.detach().flatten() for parameter in encoder.parameters()])


def test_the_same_seed_draws_the_same_weights_and_another_does_not():
    first, again, other = (create_encoder(NAME, seed) for seed in (1, 1, 2))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert not first.training


def test_the_global_generators_are_left_as_they_were():
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002 - the legacy state is what must not move
    expected = torch.rand(2).tolist(), np.random.rand(2).tolist()  # noqa: NPY002
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    create_encoder(NAME, 3)
    assert (torch.rand(2).tolist(), np.random.rand(2).tolist()) == expected  # noqa: NPY002


def test_a_name_is_described_with_its_config_and_seed():
    loaded = load_encoder(NAME, 4)
    assert (loaded.spec, loaded.name, loaded.foreign) == (NAME, NAME, False)
    assert loaded.origin == "random weights, seed 4"
    assert loaded.config["encoder"] == NAME
    assert loaded.config["depths"] == [1, 1, 2, 1]
    described = loaded.described()
    assert described["parameters"] == len(weights(loaded.encoder))
    assert (described["sample_rate"], described["embed_dim"]) == (16_000, loaded.encoder.embed_dim)


def test_an_encoder_without_weights_says_so():
    assert load_encoder("melstats").origin == "no weights"
    assert load_encoder("melstats").num_parameters == 0


def test_a_checkpoint_has_the_digest_of_its_weights_whatever_its_name(tmp_path):
    encoder = create_encoder(NAME, 5)
    for name in ("best", "copy"):
        save_checkpoint(tmp_path / f"{name}.safetensors", NAME, look_up("encoders", NAME), encoder)
    best, copy = (load_encoder(str(tmp_path / f"{name}.safetensors")) for name in ("best", "copy"))
    assert (best.name, best.origin, best.foreign) == ("best", "checkpoint", False)
    assert best.digest == copy.digest == load_encoder(NAME, 5).digest
    assert best.config == load_encoder(NAME).config
    assert torch.equal(weights(best.encoder), weights(encoder))
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_encoder(str(tmp_path / "none.safetensors"))


def test_a_checkpoint_of_a_pretraining_is_called_by_its_run(tmp_path, monkeypatch):
    (tmp_path / "simclr-0").mkdir()
    path = tmp_path / "simclr-0" / "checkpoint.safetensors"
    save_checkpoint(path, NAME, look_up("encoders", NAME), create_encoder(NAME))
    assert load_encoder(str(path)).name == "simclr-0"
    monkeypatch.chdir(path.parent)
    assert load_encoder("checkpoint.safetensors").name == "simclr-0"


def test_a_checkpoint_may_be_named_by_text_or_by_a_path(tmp_path):
    path = tmp_path / "x.safetensors"
    save_checkpoint(str(path), NAME, look_up("encoders", NAME), create_encoder(NAME))
    assert load_encoder(path).described() == load_encoder(str(path)).described()
    assert load_checkpoint(str(path)).name == NAME


def test_an_encoder_object_is_taken_as_it_is_in_eval_mode():
    toy = Toy().train()
    loaded = load_encoder(toy)
    assert loaded.encoder is toy
    assert not toy.training
    assert loaded.foreign


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("slowfast_nfnet_tinny", "'slowfast_nfnet_tiny'"),
        ("melstat", "'melstats'? `leveret list encoders` names all of them"),
        ("microsoft/wavlm-base", "; a model of the Hugging Face hub is hf:microsoft/wavlm-base"),
        ("runs/best.pt", "FILE.safetensors"),
        ("best.pt", "FILE.safetensors"),
        ("her:module", "hear:..."),
        ("", "melstats"),
    ],
)
def test_an_unknown_spec_is_refused_with_the_nearest_and_the_forms(spec, hint):
    with pytest.raises(UnknownNameError, match=f"no encoder {spec!r}") as caught:
        load_encoder(spec)
    assert hint in str(caught.value)


def test_a_fingerprint_is_the_same_each_time_and_tells_encoders_apart():
    first, again, other = (fingerprint(create_encoder(NAME, seed), CPU) for seed in (1, 1, 2))
    assert first.shape == (8, create_encoder(NAME).embed_dim)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.linalg.norm(first - other) > 0.02 * np.linalg.norm(first)


def test_the_eight_waves_of_a_fingerprint_are_different():
    found = fingerprint(Toy(), CPU)
    assert len(np.unique(found[:, 1])) == 8
    assert (found[:, 1] > 0).all()


def test_an_encoder_that_takes_long_waves_only_gets_them():
    toy = Toy()
    toy.min_samples = 20_000
    fingerprint(toy, CPU)
    assert toy.lengths == [20_000, 20_000]


@pytest.mark.parametrize(
    "answers",
    [lambda call: 1.0 + 0.01 * call, lambda call: float(call > 1), lambda call: float(call == 1)],
    ids=["drifts", "wakes up", "falls asleep"],
)
def test_an_encoder_that_changes_its_mind_is_refused(answers):
    with pytest.raises(NotDeterministicError, match="on a second call; put it in eval mode"):
        fingerprint(Toy(answers), CPU)


def test_an_encoder_that_gives_no_numbers_is_told_before_any_clip_is_blamed():
    with pytest.raises(NotFiniteError, match="NaN or infinity for ordinary noise"):
        fingerprint(Toy(lambda call: float("nan")), CPU)


def test_rounding_is_no_change_of_mind():
    fingerprint(Toy(lambda call: 1.0 + 1e-5 * call), CPU)
    fingerprint(Toy(lambda call: 0.0), CPU)


def test_dropout_that_was_left_on_is_found():
    class Careless(Toy):
        def embed(self, features, layer=None):
            return torch.nn.functional.dropout(super().embed(features), training=True)

    with pytest.raises(NotDeterministicError):
        fingerprint(Careless(), CPU)


def test_a_checkpoint_tells_its_pretraining_and_its_vectors_do_not_depend_on_it(tmp_path):
    sizes = look_up("encoders", "melstats")
    said = {"objective": "simclr", "recipe": "", "data": {"corpus": "manifest:birds.csv", "num_clips": 3}}
    runners = []
    for name, extra in (("told", said), ("silent", {}), ("strange", {"data": [1], "objective": 7, "recipe": None})):
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, "melstats", sizes, sizes.build(), extra)
        runners += runners_of([load_encoder(str(path))], Compute(device="cpu"))
    described = [runner.described().get("pretraining") for runner in runners]
    assert described == [{"objective": "simclr", "data": "manifest:birds.csv"}, None, None]
    identities = [runner.identity(CropRule(seconds=1.0), "clips") for runner in runners]
    assert identities[0] == identities[1] == identities[2]
