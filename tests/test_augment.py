import numpy as np
import pytest
import torch
from torch.nn import functional as F

import leveret.distributed as distributed
from leveret.augment import MIX_BLOCK, mix, mix_blocks, mix_energies, mixed, pairing, random_resize_crop
from leveret.distributed import World
from leveret.draws import beta_5_2, of_batch


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


def test_mixing_is_the_golden_one(golden):
    table = golden("losses")
    one, other = (torch.from_numpy(table[f"mix/{name}"])[:, None, None] for name in ("xa", "xb"))
    share = torch.full((6,), 0.7, dtype=torch.float64)
    linear = mix(one, other, share)
    torch.testing.assert_close(linear[:, 0, 0], torch.from_numpy(table["mix/lin_0.7"]), rtol=0, atol=1e-10)
    energies = mix_energies(one, other, share)
    torch.testing.assert_close(energies[:, 0, 0], torch.from_numpy(table["mix/logexp_0.7"]), rtol=0, atol=1e-10)


def test_all_of_an_examples_own_energy_is_the_example():
    one, other = torch.randn(2, 1, 4, 3), torch.randn(2, 1, 4, 3)
    torch.testing.assert_close(mix_energies(one, other, torch.ones(2)), one, rtol=0, atol=1e-5)


def shares_of(draws):
    """Share of every example in each mixed one."""
    marks, _ = mixed(torch.eye(len(draws), dtype=torch.float64), draws)
    return marks


@pytest.mark.parametrize("count", [2, 7, 16, 33, 64])
def test_an_example_is_mixed_with_another_one_of_its_block(count):
    shares = shares_of(of_batch(0, 0, 0, count))
    assert ((shares > 0).sum(1) == 2).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(count, dtype=torch.float64))
    np.testing.assert_allclose(shares.diagonal().numpy(), beta_5_2(of_batch(0, 0, 0, count), "share"))
    for block in mix_blocks(count):
        assert min(count, MIX_BLOCK) <= block.stop - block.start < 2 * MIX_BLOCK
        assert shares[block].sum() == pytest.approx(shares[block, block].sum())
    assert sum(block.stop - block.start for block in mix_blocks(count)) == count


def test_any_other_example_of_the_block_is_as_likely():
    counts = torch.zeros(5, 5)
    for step in range(400):
        counts += shares_of(of_batch(0, step, 0, 5)) > 0
    others = counts[~torch.eye(5, dtype=torch.bool)]
    assert (others - 100).abs().max() < 4 * 100**0.5


def test_an_example_alone_is_not_mixed():
    assert shares_of(of_batch(0, 0, 0, 1)).item() == pytest.approx(1)


def test_ranks_mix_as_one_process_does(monkeypatch):
    whole = shares_of(of_batch(0, 0, 0, 64))
    monkeypatch.setattr(distributed, "_world", World(1, 2))
    torch.testing.assert_close(shares_of(of_batch(0, 0, 32, 32)), whole[32:, 32:], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"24 examples on each of 2 ranks .* take a batch that is a multiple of 32"):
        mixed(torch.zeros(24, 3), of_batch(0, 0, 24, 24))


@pytest.mark.parametrize(("frames", "mels"), [(95, 64), (96, 80), (10, 7), (1, 3)])
def test_a_random_resize_crop_is_torchs_bicubic_interpolation_of_a_part_of_the_canvas(frames, mels):
    draws = of_batch(0, 0, 0, 40).at("view")
    x = torch.randn(40, 1, frames, mels, dtype=torch.float64)
    found = random_resize_crop(x, draws)
    numbers = draws.uniform("resize crop", 2, 2)
    width = int(1.5 * frames)
    canvas = torch.zeros(40, 1, width, mels, dtype=torch.float64)
    start = (width - frames) // 2
    canvas[:, :, start : start + frames] = x
    heights = set()
    for n in range(40):
        h, w = (
            min(max(int((0.6 + 0.9 * size) * length), 1), most)
            for size, length, most in ((numbers[n, 0, 0], frames, width), (numbers[n, 1, 0], mels, mels))
        )
        i, j = int(numbers[n, 0, 1] * (width - h + 1)), int(numbers[n, 1, 1] * (mels - w + 1))
        part = canvas[n : n + 1, :, i : i + h, j : j + w]
        expected = F.interpolate(part, (frames, mels), mode="bicubic", align_corners=True)
        torch.testing.assert_close(found[n : n + 1], expected, rtol=0, atol=1e-10)
        heights.add(h)
    assert len(heights) > 20 or frames < 50
