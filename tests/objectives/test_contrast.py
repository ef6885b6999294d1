"""Contrastive losses: the golden values, the gradient of the plain formula, and rows taken some at a time."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from leveret.objectives import contrast
from leveret.objectives.contrast import bilinear, ntxent, row_losses


@pytest.fixture
def pair(golden):
    table = golden("losses")
    return [torch.from_numpy(table[f"simclr/{name}"]).requires_grad_() for name in ("za", "zb")]


def plain_ntxent(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([one, two]), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(one)))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_ntxent_is_the_golden_value(pair, golden, temperature):
    loss, _ = ntxent(*pair, temperature)
    assert loss.item() == pytest.approx(float(golden("losses")[f"ntxent/t{temperature}/loss"]), abs=1e-10)


def test_its_gradient_is_the_golden_one(pair, golden):
    loss, _ = ntxent(*pair, 0.1)
    (found,) = torch.autograd.grad(loss, pair[0])
    # central differences, which are good for some 2e-10
    expected = torch.from_numpy(golden("losses")["ntxent/t0.1/grad_za_numeric"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("cells", [1 << 22, 48, 1])
def test_rows_some_at_a_time_give_the_value_and_gradient_of_the_plain_formula(pair, monkeypatch, cells):
    monkeypatch.setattr(contrast, "_CELLS_AT_ONCE", cells)
    loss, accuracy = ntxent(*pair, 0.1)
    expected = plain_ntxent(*pair, 0.1)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    for found, right in zip(torch.autograd.grad(3 * loss, pair), torch.autograd.grad(3 * expected, pair), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-12)
    z = F.normalize(torch.cat(pair), dim=1)
    nearest = (z @ z.T).fill_diagonal_(-2).argmax(1)
    assert accuracy.item() == pytest.approx((nearest == torch.arange(16).roll(8)).double().mean().item())


def test_views_whose_logits_overflow_a_half_precision_are_compared_in_float32():
    one = torch.randn(6, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = ntxent(one, -one, 0.01)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain_ntxent(one.float(), -one.float(), 0.01))


def test_one_direction_is_the_golden_info_nce(pair, golden):
    rows, columns = (F.normalize(z, dim=1) for z in pair)
    for name, a, b in (("a2b", rows, columns), ("b2a", columns, rows)):
        loss, _ = row_losses(a / 0.1, b, torch.arange(8), None)
        assert loss.item() == pytest.approx(golden("losses")[f"infonce/t0.1/{name}"].mean(), abs=1e-10)


def test_bilinear_is_the_golden_value_and_has_the_gradient_of_the_plain_formula(pair, golden):
    weight = torch.from_numpy(golden("losses")["cola/W"]).requires_grad_()
    loss, _ = bilinear(*pair, weight)
    assert loss.item() == pytest.approx(float(golden("losses")["cola/loss"]), abs=1e-10)
    expected = F.cross_entropy(pair[0] @ weight @ pair[1].T, torch.arange(8))
    for found, right in zip(
        torch.autograd.grad(loss, [*pair, weight]), torch.autograd.grad(expected, [*pair, weight]), strict=True
    ):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-12)
