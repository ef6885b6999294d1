import numpy as np
import pytest
import torch

from leveret.augment import mix, pairing


def test_every_clip_has_another_for_partner_and_is_one_once_in_each_pass():
    partners = pairing(7, 20, seed=0).partner
    assert (partners != np.arange(7)).all()
    assert (np.sort(partners, axis=1) == np.arange(7)).all()
    assert len({tuple(row) for row in partners}) > 15  # passes differ


def test_a_pass_is_drawn_by_its_number_alone():
    whole, part = pairing(9, 8, seed=3), pairing(9, 3, seed=3, first_pass=5)
    for all_of_it, drawn in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_of_it[5:], drawn)


def test_a_clip_alone_is_its_own_partner():
    assert pairing(1, 3, seed=0).partner.tolist() == [[0], [0], [0]]


def test_shares_are_the_larger_part_of_beta_5_2():
    shares = pairing(2000, 20, seed=0).share
    assert shares.min() >= 0.5
    expected = np.random.default_rng(0).beta(5, 2, 400_000)
    expected = np.maximum(expected, 1 - expected)
    # standard errors of 40,000 draws are below 1e-3
    assert shares.mean() == pytest.approx(expected.mean(), abs=4e-3)
    assert np.quantile(shares, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(expected, [0.1, 0.5, 0.9]), abs=6e-3)


def test_the_same_seed_pairs_alike_and_more_passes_change_none_of_the_first():
    few, many, other = pairing(9, 2, seed=3), pairing(9, 5, seed=3), pairing(9, 2, seed=4)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:2])
    assert (few.share != other.share).any()


def test_the_first_draws_stay_what_they_are():
    # guards cached rows: another numpy or platform must not pair anew
    pairs = pairing(4, 1, seed=0)
    assert pairs.partner.tolist() == [[3, 0, 1, 2]]
    np.testing.assert_allclose(pairs.share[0], [0.857404, 0.912756, 0.815854, 0.729497], atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 4, 3)])
def test_mixing_weighs_each_example_by_its_own_share(shape):
    one, other = torch.randn(shape), torch.randn(shape)
    mixed = mix(one, other, torch.tensor([1.0, 0.25]))
    torch.testing.assert_close(mixed[0], one[0], rtol=0, atol=0)
    torch.testing.assert_close(mixed[1], 0.25 * one[1] + 0.75 * other[1])
