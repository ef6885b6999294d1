"""Draws: the same number for the same (seed, step, example, place), and numbers that are as random as they claim."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from leveret.draws import Draws, JoinedDraws, Keyed, beta_5_2, of_batch, unkey
from leveret.layers import Dropout, StochasticDepth


def test_an_examples_numbers_do_not_depend_on_its_batch():
    whole = of_batch(3, 7, 0, 64).at("view").uniform("crop", 2, 3)
    part = of_batch(3, 7, 16, 8).at("view").uniform("crop", 2, 3)
    assert whole.shape == (64, 2, 3)
    np.testing.assert_array_equal(whole[16:24], part)
    np.testing.assert_array_equal(of_batch(3, 7, 0, 64)[16:24].at("view").uniform("crop", 2, 3), part)


def test_joined_draws_are_those_of_each_view():
    views = [of_batch(3, 7, 0, 5).at(number) for number in range(2)]
    joined = JoinedDraws(views)
    expected = np.concatenate([one.at("depth").uniform("x", 3) for one in views])
    assert len(joined) == 10
    np.testing.assert_array_equal(joined.at("depth").uniform("x", 3), expected)
    np.testing.assert_array_equal(joined[3:7].at("depth").uniform("x", 3), expected[3:7])
    np.testing.assert_array_equal(joined[6:].at("depth").uniform("x", 3), expected[6:])
    with pytest.raises(ValueError, match="'layers' asks for numbers that all examples share"):
        joined.shared("layers", 2)


@pytest.mark.parametrize(
    "other", [of_batch(4, 7, 0, 64), of_batch(3, 8, 0, 64), of_batch(3, 7, 64, 64), of_batch(3, 7, 0, 64).at("x")]
)
def test_another_seed_step_example_or_place_is_unrelated(other):
    numbers = of_batch(3, 7, 0, 64).uniform("crop", 50)
    assert abs(np.corrcoef(numbers.ravel(), other.uniform("crop", 50).ravel())[0, 1]) < 0.08


def test_numbers_are_uniform_and_unrelated_to_their_neighbours():
    numbers = of_batch(0, 0, 0, 1000).uniform("a", 100)
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # chi-squared with 99 degrees of freedom: 150 is one in a thousand
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.015


def test_shared_numbers_are_one_for_all_examples():
    np.testing.assert_array_equal(of_batch(1, 2, 0, 4).shared("layer", 5), of_batch(1, 2, 100, 7).shared("layer", 5))


def test_beta_5_2_has_its_mean_and_spread():
    shares = beta_5_2(of_batch(0, 0, 0, 20_000), "share")
    assert shares.mean() == pytest.approx(5 / 7, abs=0.005)
    assert shares.std() == pytest.approx(0.160, abs=0.005)
    assert (shares < 0.5).mean() == pytest.approx(7 / 64, abs=0.008)


@pytest.mark.parametrize("layer", [StochasticDepth(0.3), StochasticDepth(0.3, rescale=True), Dropout(0.3)])
def test_a_keyed_layer_drops_the_same_in_a_micro_batch(layer):
    layer.train()
    x = torch.rand(8, 4, 5, 6) + 1
    of_batch(0, 0, 0, 8).key(layer)
    whole = layer(x)
    of_batch(0, 0, 0, 8)[2:5].key(layer)
    assert torch.equal(layer(x[2:5]), whole[2:5])
    of_batch(0, 1, 0, 8).key(layer)
    assert not torch.equal(layer(x), whole)
    with pytest.raises(ValueError, match="a batch of 3 examples passes a layer that was keyed for 8"):
        layer(x[:3])
    unkey(layer)
    assert layer(x[:3]).shape == x[:3].shape


def test_a_keyed_layers_numbers_are_uniform_and_unrelated():
    layer = Keyed()
    of_batch(0, 0, 0, 500).key(layer)
    numbers = layer.uniform(torch.empty(500), 200).double().numpy()
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 150
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.015


def test_a_layers_single_number_is_the_first_of_many():
    layer = Keyed()
    of_batch(0, 0, 0, 5).key(layer)
    assert torch.equal(layer.uniform(torch.empty(5), 1), layer.uniform(torch.empty(5), 3)[:, :1])


class Operations(TorchDispatchMode):
    """Counts what a GPU would be asked to do, one by one."""

    def __init__(self):
        super().__init__()
        self.num = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.num += 1
        return function(*args, **(kwargs or {}))


def test_the_numbers_of_all_layers_that_take_one_are_drawn_together():
    found = []
    for depth in (1, 11):
        network = torch.nn.Sequential(*(StochasticDepth(0.3) for _ in range(depth)))
        with Operations() as operations:
            of_batch(0, 0, 0, 4).key(network)
            network(torch.ones(4, 3, 1, 1))
        found.append(operations.num)
    assert found[1] - found[0] <= 10 * 8  # drawn layer by layer it were ten times thirty


def test_two_layers_of_a_network_draw_apart():
    network = torch.nn.Sequential(Keyed(), Keyed())
    of_batch(0, 0, 0, 100).key(network)
    first, second = (layer.uniform(torch.empty(100), 20).ravel() for layer in network)
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.08


def test_dropout_keeps_the_mean_and_is_nothing_in_eval():
    layer = Dropout(0.3)
    assert layer(torch.ones(10, 10_000)).mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(torch.ones(2, 3)), torch.ones(2, 3))


def test_draws_know_their_length():
    assert len(Draws(0, 0, np.arange(3))) == 3
