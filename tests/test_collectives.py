"""Means over ranks: of gradients, in exchanges of some size, a missing one as zero."""

import pytest
import torch
from torch import nn

import leveret.distributed as distributed
from leveret import collectives
from leveret.collectives import average_gradients, averaged
from leveret.distributed import RankLostError, World


@pytest.fixture
def exchanged(monkeypatch):
    """The place of rank 0 of two, whose fellow gives three times as much; sizes of the exchanges."""
    sizes = []

    def all_reduce(tensor):
        sizes.append(tensor.numel())
        tensor.mul_(4)

    monkeypatch.setattr(distributed, "_world", World(0, 2))
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(collectives, "_BUCKET_NUMBERS", 10)
    return sizes


def parameters():
    found = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (30,), (5,))]
    found.append(nn.Parameter(torch.zeros(2, dtype=torch.float64)))
    for number, one in enumerate(found):
        one.grad = torch.full_like(one, float(number))
    found[3].grad = None
    return found


def test_every_gradient_is_the_mean_of_the_ranks(exchanged):
    found = parameters()
    average_gradients(found)
    assert exchanged == [10, 30, 5, 2], "filled up to ten numbers, and one sort at a time"
    assert [float(one.grad.mean()) for one in found] == [0.0, 2.0, 4.0, 0.0, 8.0]
    assert all(one.grad.shape == one.shape and one.grad.dtype == one.dtype for one in found)


def test_a_mean_leaves_its_argument(exchanged):
    here = torch.tensor([1.0, 2.0], requires_grad=True)
    assert averaged(here).tolist() == [2.0, 4.0]
    assert here.tolist() == [1.0, 2.0]
    assert not averaged(here).requires_grad


def test_a_process_alone_keeps_its_own():
    found = parameters()
    average_gradients(found)
    assert found[3].grad is None
    assert averaged(torch.tensor(3.0)) == 3.0


def test_a_rank_that_is_gone_is_told(exchanged, monkeypatch):
    def broken(tensor):
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1234")

    monkeypatch.setattr(torch.distributed, "all_reduce", broken)
    with pytest.raises(RankLostError, match=r"ended or cannot be reached .Connection closed by peer"):
        average_gradients(parameters())
