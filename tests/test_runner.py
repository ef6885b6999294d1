"""Layers out of one pass, and mixtures between the front end and the network."""

import numpy as np
import pytest
import soundfile
import torch

from leveret import distributed, embedding
from leveret.batches import Batch, CropRule, RowPlan
from leveret.clips import Clip
from leveret.embedding import Job, embed_job
from leveret.loading import load_encoder
from leveret.registry import UnknownNameError
from leveret.runner import Compute, runners_of, vectors_of_batch

RATE = 16_000
COMPUTE = Compute(device="cpu", batch_size=3)


@pytest.fixture
def waves():
    return 0.1 * torch.randn(5, 8000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", ["slowfast_nfnet_tiny", "melstats"])
def test_every_layer_of_one_pass_is_what_the_layer_gives_alone(spec, waves):
    loaded = load_encoder(spec)
    runners = runners_of([loaded], COMPUTE, ["all"])
    assert [runner.layer for runner in runners] == list(loaded.encoder.layers)
    assert len({id(runner.network) for runner in runners}) == 1
    together = vectors_of_batch(runners, Batch(0, {RATE: waves}))
    for runner, vectors in zip(runners, together, strict=True):
        assert vectors.shape == (5, runner.width)
        (alone,) = runner.network.vectors(Batch(0, {RATE: waves}), [runner.layer])
        torch.testing.assert_close(torch.from_numpy(vectors), torch.from_numpy(alone), rtol=1e-5, atol=1e-6)
    default = runners_of([loaded], COMPUTE)[0]
    (plain,) = vectors_of_batch([default], Batch(0, {RATE: waves}))
    torch.testing.assert_close(torch.from_numpy(together[-1]), torch.from_numpy(plain), rtol=1e-5, atol=1e-6)


def test_one_pass_reads_all_layers(waves, monkeypatch):
    loaded = load_encoder("slowfast_nfnet_tiny")
    runners = runners_of([loaded], Compute(device="cpu"), ["all"])
    network = runners[0].network.encoder
    calls = []
    maps = type(network).maps
    monkeypatch.setattr(type(network), "maps", lambda self, x: calls.append(len(x)) or maps(self, x))
    vectors_of_batch(runners, Batch(0, {RATE: waves}))
    assert calls == [5]


def test_layers_have_names_identities_and_fingerprints_of_their_own():
    runners = runners_of([load_encoder("slowfast_nfnet_tiny")], COMPUTE, ["stem", "stage2"])
    assert [runner.name for runner in runners] == ["slowfast_nfnet_tiny/stem", "slowfast_nfnet_tiny/stage2"]
    assert runners[0].fingerprint.shape[1] == runners[0].width != runners[1].width
    described = runners[0].described()
    assert (described["layer"], described["embed_dim"]) == ("stem", runners[0].width)


def test_an_unknown_layer_is_told_with_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"no layer 'stage9'.*stage4"):
        runners_of([load_encoder("slowfast_nfnet_tiny")], COMPUTE, ["stage9"])


@pytest.mark.parametrize("spec", ["slowfast_nfnet_tiny", "melstats"])
def test_log_mels_are_mixed_before_the_network(spec, waves):
    (runner,) = runners_of([load_encoder(spec)], COMPUTE)
    others, share = waves.flip(0), torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6])
    (found,) = vectors_of_batch([runner], Batch(0, {RATE: waves}, partners={RATE: others}, share=share))
    encoder = runner.loaded.encoder
    with torch.no_grad():
        weight = share.view(-1, 1, 1, 1)
        mixed = weight * encoder.frontend(waves) + (1 - weight) * encoder.frontend(others)
        expected = encoder.embed(mixed)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)
    (plain,) = vectors_of_batch([runner], Batch(0, {RATE: waves}))
    assert abs(found[1:] - plain[1:]).max() > 1e-3
    assert abs(found[0] - plain[0]).max() < 1e-5


@pytest.mark.parametrize("device", ["meta", "hpu", "cuda:99", "gpu", ""])
def test_a_device_that_computes_nothing_here_is_refused(device):
    with pytest.raises(ValueError, match=rf"device '{device}' cannot be used here \(.+\); try --device cpu"):
        Compute(device=device).torch_device()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"dtype": "bfloat16"}, "leave out dtype=bfloat16, for"),
        ({"compile": True}, "leave out compile=True, for"),
        ({"dtype": "bfloat16", "compile": True}, "leave out dtype=bfloat16 and compile=True, for"),
    ],
)
def test_what_leveret_does_to_no_network_but_its_own_is_refused_by_name(asked, told):
    loaded = load_encoder("slowfast_nfnet_tiny")
    loaded.encoder.convertible = False
    with pytest.raises(ValueError, match=told):
        runners_of([loaded], Compute(device="cpu", **asked))


@pytest.mark.parametrize(
    ("seconds", "asked", "expected"), [(10.0, None, 32), (40.0, None, 8), (400.0, None, 1), (40.0, 20, 20)]
)
def test_long_windows_come_in_small_batches_unless_a_size_is_asked_for(seconds, asked, expected):
    (runner,) = runners_of([load_encoder("melstats")], Compute(device="cpu", batch_size=asked))
    each = np.zeros(100)
    plan = RowPlan([], each.astype(int), each, each + seconds, each, {})
    assert {stop - first for first, stop in runner.network.batches(plan)[:-1]} == {expected}


def test_all_ranks_cut_their_batches_by_the_smallest_of_them(tmp_path, monkeypatch):
    for k in range(7):
        soundfile.write(tmp_path / f"{k}.wav", np.full(8000, 0.1 * k), RATE)
    (runner,) = runners_of([load_encoder("melstats")], COMPUTE)
    crop = CropRule(seconds=0.5)
    job = Job.make("sounds", [Clip(str(k), tmp_path / f"{k}.wav", (), "") for k in range(7)], crop, 1)
    sizes = []
    real = embedding.vectors_of_batch
    monkeypatch.setattr(
        embedding, "vectors_of_batch", lambda runners, batch: sizes.append(batch.num_rows) or real(runners, batch)
    )
    # another rank ran out of memory before, and halved its batches
    monkeypatch.setattr(distributed, "gather", lambda value: [value, 2])
    embed_job(job, [runner], root=tmp_path / "cache")
    assert sizes == [2, 2, 2, 1]
