"""Batch norm across ranks; that two ranks are one is in objectives/test_contract.py, against torch's in one process."""

import copy

import pytest
import torch
from torch import nn

import leveret.distributed as distributed
import leveret.replica_norm as replica_norm
from leveret.distributed import World
from leveret.encoders.byola_cnn import ENCODERS
from leveret.inference import for_inference
from leveret.replica_norm import BatchNorm1d, BatchNorm2d, across_ranks, has_batch_norm


@pytest.fixture
def as_one_of_two(monkeypatch):
    """This process as the first of two ranks, the second of which holds what is given."""

    def place(other):
        monkeypatch.setattr(distributed, "_world", World(0, 2))
        var, mean = torch.var_mean(other, [0, *range(2, other.ndim)], correction=0)
        monkeypatch.setattr(replica_norm, "gathered", lambda own: torch.cat([own, torch.stack([mean, var])[None]]))

    return place


def test_every_batch_norm_is_replaced_and_keeps_its_tensors():
    encoder = ENCODERS["byola_cnn_tiny"].build()
    before = dict(encoder.state_dict(keep_vars=True))
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    assert across_ranks(encoder) is encoder
    after = dict(encoder.state_dict(keep_vars=True))
    assert list(before) == list(after)
    assert all(before[key] is after[key] for key in before)
    assert sum(type(module) is BatchNorm2d for module in encoder.modules()) == norms > 0
    wave = 0.1 * torch.randn(2, 8000)
    torch.testing.assert_close(for_inference(encoder)(wave), encoder.eval()(wave))  # folding knows it still


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (6, 5)), (nn.BatchNorm1d, (6, 5, 4)), (nn.BatchNorm2d, (6, 5, 4, 3))]
)
def test_a_rank_normalises_by_the_examples_of_both(as_one_of_two, kind, shape, momentum):
    torch.manual_seed(0)
    norm = kind(5, momentum=momentum).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    ours = across_ranks(nn.Sequential(copy.deepcopy(norm)))[0]
    x = 2 * torch.randn(shape, dtype=torch.float64) + 3
    for _ in range(2):
        expected = norm(x)
    as_one_of_two(x[3:])
    for _ in range(2):
        found = ours(x[:3])
    torch.testing.assert_close(found, expected[:3], rtol=0, atol=1e-12)
    for key, value in norm.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), norm.eval()(x))


def test_half_precision_is_normalised_in_float32(as_one_of_two):
    x = torch.randn(8, 3) + 100
    as_one_of_two(x.bfloat16().float()[4:])
    norm = BatchNorm1d(3)
    found = norm(x[:4].bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), nn.BatchNorm1d(3)(x.bfloat16().float())[:4], rtol=1e-2, atol=1e-2)


def test_a_norm_without_gain_or_running_statistics_is_normalised_too(as_one_of_two):
    x = torch.randn(8, 3)
    as_one_of_two(x[4:])
    norm = across_ranks(nn.Sequential(nn.BatchNorm1d(3, affine=False, track_running_stats=False)))
    torch.testing.assert_close(norm(x[:4]), nn.BatchNorm1d(3)(x)[:4])


def test_which_networks_have_batch_norm():
    assert has_batch_norm(nn.Sequential(nn.Linear(2, 2), BatchNorm1d(2)))
    assert not has_batch_norm(nn.Sequential(nn.GroupNorm(1, 2), nn.InstanceNorm2d(2)))
