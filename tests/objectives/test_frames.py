"""What CPC and wav2vec 2.0 have in common: one crop, examples by themselves, precision, refusals; and InfoNCE.

The loss's golden numbers are those of tests/golden/README.md.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from leveret.draws import of_batch
from leveret.hollow import hollow
from leveret.objectives.frames import directions, info_nce
from leveret.pretext import CropBatch, Objective, Representation
from leveret.registry import look_up

FITTING = {"cpc": "bidir_cpc", "wav2vec2": "wav2vec2"}
PARAMETERS = {"cpc": 38_327_296, "wav2vec2": 94_699_904}  # the paper: 38m and 95m
OBJECTIVES = pytest.mark.parametrize("name", FITTING)


def tiny(name: str, crop_seconds: float = 0.5) -> Objective:
    torch.manual_seed(0)
    config = dataclasses.replace(look_up("objectives", name), crop_seconds=crop_seconds)
    objective = config.build(look_up("encoders", f"{FITTING[name]}_tiny").build(), ())
    assert isinstance(objective, Objective)
    return objective.train()


def batch_of(waves: Tensor, step: int = 0, first: int = 0) -> CropBatch:
    draws = of_batch(5, step, first, len(waves))
    return CropBatch(waves[:, None], draws, None, [f"{n}.wav" for n in draws.examples])


def waves(count: int, seconds: float = 0.5) -> Tensor:
    """Clips that differ: tones of their own that change in the middle, and noise."""
    time = torch.arange(round(16_000 * seconds)) / 16_000
    pitch = 200 * torch.arange(1, count + 1)[:, None] * torch.where(time > seconds / 2, 1.5, 1.0)
    noise = torch.randn(count, len(time), generator=torch.Generator().manual_seed(3))
    return 0.2 * torch.sin(2 * torch.pi * pitch * time) + 0.02 * noise


def gradients(objective: Objective) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def losses(golden: Callable[[str], dict[str, Any]]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in golden("losses").items() if value.dtype == np.float64}


def test_info_nce_is_the_golden_one_in_value(losses: dict[str, Tensor]) -> None:
    cosines = directions(losses["simclr/za"]) @ directions(losses["simclr/zb"]).T / 0.1
    others = cosines.masked_fill(torch.eye(8, dtype=torch.bool), -torch.inf)
    a2b, b2a = info_nce(cosines.diagonal(), others), info_nce(cosines.diagonal(), others.T)
    torch.testing.assert_close(a2b, losses["infonce/t0.1/a2b"], rtol=0, atol=1e-10)
    torch.testing.assert_close(b2a, losses["infonce/t0.1/b2a"], rtol=0, atol=1e-10)
    torch.testing.assert_close((a2b + b2a).mean() / 2, losses["infonce/t0.1/sym_loss"], rtol=0, atol=1e-10)


def test_info_nce_is_the_golden_one_in_gradient(losses: dict[str, Tensor]) -> None:
    za = losses["simclr/za"].clone().requires_grad_()
    z = directions(torch.cat([za, losses["simclr/zb"]]))
    cosines = z @ z.T / 0.1
    partner = torch.arange(16).roll(8)
    positive = cosines[torch.arange(16), partner]
    taken = torch.eye(16, dtype=torch.bool)
    per_row = info_nce(positive, cosines.masked_fill(taken | taken[partner], -torch.inf))
    torch.testing.assert_close(per_row, losses["ntxent/t0.1/per_row"], rtol=0, atol=1e-10)
    per_row.mean().backward()
    # the stored gradient is numeric: central differences are good to some 1e-9
    torch.testing.assert_close(za.grad, losses["ntxent/t0.1/grad_za_numeric"], rtol=0, atol=1e-8)


def test_info_nce_without_any_negative_is_zero_and_has_a_gradient() -> None:
    positive = torch.zeros(3, requires_grad=True)
    loss = info_nce(positive, torch.full((3, 4), -torch.inf))
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(3))
    assert torch.equal(positive.grad, torch.zeros(3))


@OBJECTIVES
def test_full_size_is_the_papers(name: str) -> None:
    with hollow():
        objective = look_up("objectives", name).build(look_up("encoders", full_size(name)).build(), ())
    assert sum(p.numel() for p in objective.parameters()) == PARAMETERS[name]
    assert (objective.crops, objective.crop_seconds, objective.needs_labels, objective.independent) == (
        1, 10.0, False, True,
    )  # fmt: skip
    assert objective.kept() == {}


def full_size(name: str) -> str:
    return {"cpc": "bidir_cpc", "wav2vec2": "wav2vec2_base"}[name]


@OBJECTIVES
def test_an_encoder_of_another_kind_is_refused_with_those_that_fit(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot train a MelStats: .* choose one of {full_size(name)}, "):
        look_up("objectives", name).build(look_up("encoders", "melstats").build(), ())


@OBJECTIVES
def test_a_crop_that_is_too_short_is_refused(name: str) -> None:
    least = {"cpc": 955 + 14 * 320, "wav2vec2": 400 + 19 * 320}[name]
    tiny(name, least / 16_000)
    with pytest.raises(ValueError, match=rf"crops of .* s \({least - 1} samples\).* has {least} samples or more"):
        tiny(name, (least - 1) / 16_000)


@OBJECTIVES
def test_the_view_is_the_wave_without_augmentation(name: str) -> None:
    batch = batch_of(waves(3))
    (view,) = tiny(name).views(batch).inputs
    assert torch.equal(view.features, batch.waves[:, 0])


@OBJECTIVES
def test_the_loss_falls_on_a_fixed_batch(name: str) -> None:
    objective, batch = tiny(name), waves(4)
    optimizer = torch.optim.Adam(objective.parameters(), 2e-3)
    seen = []
    for step in range(20):
        optimizer.zero_grad()
        loss, logs = objective(batch_of(batch, step))
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
        assert all(value.isfinite() and not value.requires_grad for value in logs.values())
    # from step to step, with other draws, it wavers by a twentieth
    assert np.mean(seen[-3:]) < np.mean(seen[:3]) - 0.25, seen


@OBJECTIVES
def test_every_parameter_gets_a_gradient(name: str) -> None:
    objective = tiny(name)
    if name == "wav2vec2":
        objective.encoder.layer_drop = 0.0
    objective(batch_of(waves(4)))[0].backward()
    without = {key for key, p in objective.named_parameters() if p.grad is None or not p.grad.any()}
    # a key's bias adds the same to all of a query's products, which a softmax does not see
    assert {key for key in without if not key.endswith("attention.key.bias")} == set()


@OBJECTIVES
def test_the_same_draws_give_the_same_loss_and_others_another(name: str) -> None:
    objective, batch = tiny(name), waves(4)
    first = objective(batch_of(batch))[0]
    assert torch.equal(objective(batch_of(batch))[0], first)
    assert not torch.equal(objective(batch_of(batch, step=1))[0], first)


@OBJECTIVES
def test_micro_batches_are_the_whole(name: str) -> None:
    objective, batch = tiny(name).double(), waves(6).double()
    views = objective.views(batch_of(batch))
    whole = objective.represent(views.inputs[0])
    loss, _ = objective.loss([whole], views)
    loss.backward()
    expected = gradients(objective)
    objective.zero_grad()

    def cut(parts: Sequence[slice]) -> list[Representation]:
        return [objective.represent(views.inputs[0][part]) for part in parts]

    parts = [slice(0, 1), slice(1, 4), slice(4, 6)]
    with torch.no_grad():
        joined = [torch.cat(values) for values in zip(*cut(parts), strict=True)]
    cached = [value.requires_grad_() for value in joined]
    for found, value in zip(cached, whole, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=1e-10)
    again, _ = objective.loss([tuple(cached)], views)
    again.backward()
    for part in parts:
        outputs = objective.represent(views.inputs[0][part])
        torch.autograd.backward(outputs, [value.grad[part] for value in cached])
    torch.testing.assert_close(again, loss, rtol=0, atol=1e-10)
    for key, gradient in gradients(objective).items():
        torch.testing.assert_close(gradient, expected[key], rtol=0, atol=1e-10, msg=key)


@OBJECTIVES
def test_silence_has_a_finite_loss_and_gradient(name: str) -> None:
    objective = tiny(name)
    for mode in (True, False):
        loss, _ = objective.train(mode)(batch_of(torch.zeros(3, 8_000)))
        loss.backward()
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients(objective).values())


@OBJECTIVES
def test_bfloat16_keeps_the_loss_in_float32(name: str) -> None:
    objective, batch = tiny(name), batch_of(waves(4))
    exact, _ = objective(batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(batch)
    assert loss.dtype == torch.float32
    loss.backward()
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0)
    assert all(gradient.isfinite().all() for gradient in gradients(objective).values())
