from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from leveret.contracts import Table
from leveret.probes import trainer
from leveret.probes.linear import LinearNetwork, LinearProbe
from leveret.probes.trainer import Windows, draw, first_weights, train

SHORT = LinearProbe(batch=16, steps=1000, peak_rate=2e-3, warmup_steps=100, check_rates=False)


def plain_loop(table: Table, probe: LinearProbe, seed: int) -> nn.Linear:
    """The same training as anybody would write it: autograd, torch's optimizer and scheduler, one example at a time."""
    layer = nn.Linear(table.X.shape[1], table.num_classes)
    with torch.no_grad():
        layer.weight.copy_(first_weights(table.num_classes, table.X.shape[1], seed))
        layer.bias.zero_()
    optimizer = torch.optim.Adam(layer.parameters(), lr=probe.peak_rate, betas=(0.9, 0.999), eps=1e-8)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / probe.warmup_steps)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, probe.steps - probe.warmup_steps)
    windows = Windows.of(table)
    for step in range(probe.steps):
        clips, rows = (part[step % 256] for part in draw(windows, seed, step // 256, probe.batch))
        X = torch.stack([table.X[row].float() for row in rows])
        targets = torch.stack([table.targets[clip] for clip in clips])
        logits = layer(X)
        loss = (
            F.binary_cross_entropy_with_logits(logits, targets)
            if table.multilabel
            else F.cross_entropy(logits, targets)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        (warm if step < probe.warmup_steps else cosine).step()
    return layer


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("product", ["torch", "numpy"])
def test_follows_a_plain_loop(
    multilabel: bool, product: str, make_table: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_mkl_is_slow", lambda: product == "numpy")
    table = make_table(multilabel=multilabel, noise=2.0)
    layer = plain_loop(table, SHORT, seed=3)
    fitted = replace(SHORT, seeds=(3,)).fit(table, None)
    # Both are float32 and add up in different orders; a thousand steps of Adam magnify that a little.
    torch.testing.assert_close(fitted.weight[0], layer.weight.detach(), atol=1e-4, rtol=0)
    torch.testing.assert_close(fitted.bias[0], layer.bias.detach(), atol=1e-4, rtol=0)


def test_follows_a_plain_loop_on_half_precision_rows(make_table: Callable[..., Table]) -> None:
    table = make_table(noise=2.0)
    table = replace(table, X=table.X.half())
    layer = plain_loop(table, SHORT, seed=0)
    torch.testing.assert_close(SHORT.fit(table, None).weight[0], layer.weight.detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
def test_seeds_together_equal_seeds_apart(multilabel: bool, make_table: Callable[..., Table]) -> None:
    table = make_table(multilabel=multilabel, noise=2.0)
    # Six: on a CPU they are trained four and two at a time.
    seeds = (0, 5, 11, 12, 13, 14)
    together = replace(SHORT, seeds=seeds).fit(table, None)
    for place, seed in enumerate(seeds):
        apart = replace(SHORT, seeds=(seed,)).fit(table, None)
        torch.testing.assert_close(together.weight[place], apart.weight[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.bias[place], apart.bias[0], atol=1e-5, rtol=0)
        assert together.facts["train_loss"][place] == pytest.approx(apart.facts["train_loss"][0], abs=1e-5)
    assert not torch.allclose(together.weight[0], together.weight[1], atol=1e-2)


def test_rates_together_equal_rates_apart(make_table: Callable[..., Table]) -> None:
    table = make_table(noise=2.0)
    settings: dict[str, Any] = {"seeds": (1, 2), "batch": 16, "steps": 300, "warmup_steps": 10}
    together = train(LinearNetwork, table, peak_rates=(1e-4, 1e-2), **settings)
    for place, rate in enumerate((1e-4, 1e-2)):
        apart = train(LinearNetwork, table, peak_rates=(rate,), **settings)
        torch.testing.assert_close(together.layers[0][:, place], apart.layers[0][:, 0], atol=1e-5, rtol=0)


def test_training_on_some_clips_equals_training_on_their_table(make_table: Callable[..., Table]) -> None:
    table = make_table(noise=2.0)
    chosen = torch.arange(3, 200, 2)
    settings: dict[str, Any] = {"seeds": (0,), "peak_rates": (1e-2,), "batch": 16, "steps": 300, "warmup_steps": 10}
    some, all_of_part = (
        train(LinearNetwork, table, chosen, **settings),
        train(LinearNetwork, table.take(chosen), **settings),
    )
    torch.testing.assert_close(some.layers[0], all_of_part.layers[0], atol=1e-6, rtol=0)


def test_clips_weigh_equally_whatever_their_number_of_rows() -> None:
    counts = torch.tensor([1, 2, 97])
    windows = Windows(counts.cumsum(0) - counts, counts)
    clips, rows = (torch.cat(part) for part in zip(*(draw(windows, 0, chunk, 64) for chunk in range(40)), strict=True))
    num_draws = clips.numel()
    # Six deviations of a binomial share: a false alarm once in 5e8 runs, were the seed not fixed.
    share = torch.bincount(clips.flatten(), minlength=3) / num_draws
    assert (share - 1 / 3).abs().max() < 6 * (2 / 9 / num_draws) ** 0.5
    within = torch.bincount(rows[clips == 2] - 3, minlength=97) / (clips == 2).sum()
    assert (within - 1 / 97).abs().max() < 6 * (1 / 97 / (num_draws / 3)) ** 0.5


def test_every_drawn_row_belongs_to_its_clip(make_table: Callable[..., Table]) -> None:
    table = make_table(max_rows=5)
    clips, rows = draw(Windows.of(table), 7, 3, 64)
    assert torch.equal(table.rows[rows], clips)


def test_copies_of_a_row_change_nothing(make_table: Callable[..., Table]) -> None:
    table = make_table(max_rows=1, noise=2.0)
    copies = torch.arange(table.num_clips) % 5 + 1
    copied = replace(table, X=table.X.repeat_interleave(copies, 0), rows=table.rows.repeat_interleave(copies))
    # Clips are drawn before rows, so both runs see the same vectors in the same order.
    assert torch.equal(SHORT.fit(copied, None).weight, SHORT.fit(table, None).weight)


def test_draws_depend_on_seed_and_chunk_alone(make_table: Callable[..., Table]) -> None:
    windows = Windows.of(make_table())
    assert torch.equal(draw(windows, 1, 2, 8)[1], draw(windows, 1, 2, 8)[1])
    assert not torch.equal(draw(windows, 1, 2, 8)[1], draw(windows, 2, 1, 8)[1])
    assert not torch.equal(draw(windows, 0, 1, 8)[1], draw(windows, 0, 2, 8)[1])


def test_first_weights_are_those_of_haiku() -> None:
    weight = first_weights(50, 400, seed=0)
    assert weight.abs().max() <= 2 / 20
    # A normal cut at two deviations keeps 0.8796 of its deviation.
    assert weight.std().item() == pytest.approx(0.8796 / 20, rel=0.02)


CHECKED = replace(SHORT, batch=32, peak_rate=2e-4, check_rates=True)


def test_badly_scaled_vectors_are_flagged_as_under_fitted(make_table: Callable[..., Table]) -> None:
    table = make_table()
    facts = CHECKED.fit(replace(table, X=table.X * 0.01), None).facts
    assert list(facts["rate_check"]) == ["0.1", "1", "10", "100"]
    assert facts["under_fitted"]["factor"] in (10.0, 100.0)
    assert facts["under_fitted"]["gain"] == pytest.approx(max(facts["rate_check"].values()) - facts["rate_check"]["1"])
    assert facts["under_fitted"]["gain"] > 0.01
    assert facts["rate_check_unit"] == "groups"


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
def test_well_scaled_vectors_are_not_flagged(multilabel: bool, make_table: Callable[..., Table]) -> None:
    facts = replace(CHECKED, peak_rate=1e-2).fit(make_table(multilabel=multilabel), None).facts
    assert facts["under_fitted"] is None
    assert facts["rate_check"]["1"] > 0.95


def test_the_rate_check_does_not_change_the_probe(make_table: Callable[..., Table]) -> None:
    table = make_table()
    checked, unchecked = (replace(CHECKED, steps=300, check_rates=check).fit(table, None) for check in (True, False))
    assert torch.equal(checked.weight, unchecked.weight)
    assert unchecked.facts["rate_check"] is None


def test_a_vector_that_is_not_finite_stops_at_its_step(make_table: Callable[..., Table]) -> None:
    table = make_table(max_rows=1)
    table.X[7, 3] = float("nan")
    clips = torch.cat([draw(Windows.of(table), 0, chunk, 16)[0] for chunk in range(4)])
    first = int(torch.nonzero((clips == 7).any(1))[0])
    with pytest.raises(ValueError, match=f"not finite at step {first} "):
        SHORT.fit(table, None)


def test_training_loss_is_that_of_the_last_hundred_steps(make_table: Callable[..., Table]) -> None:
    table = make_table(max_rows=1)
    probe = replace(SHORT, batch=4096, steps=256, peak_rate=0.05)
    fitted = probe.fit(table, None)
    final = F.cross_entropy(fitted.scores(table.X)[0], table.targets)
    # The batch is seventeen times the clips and the rate falls to nothing, so the whole table's loss is close by.
    assert fitted.facts["train_loss"][0] == pytest.approx(float(final), rel=0.5)
