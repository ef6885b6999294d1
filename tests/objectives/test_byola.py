"""BYOL-A: the golden loss, the target's average, the memory, and both normalisations."""

import pytest
import torch
from tests.objectives.toy_steps import built, clips

from leveret.encoders.bidir_cpc import ENCODERS as WAVE_ENCODERS
from leveret.encoders.byola_cnn import ENCODERS
from leveret.hollow import hollow
from leveret.objectives.byola import BYOLAConfig, distances


def test_the_loss_is_the_golden_value(golden):
    table = golden("losses")
    za, zb = (torch.from_numpy(table[f"simclr/{name}"]) for name in ("za", "zb"))
    found = distances(za, zb)
    torch.testing.assert_close(found, torch.from_numpy(table["byol/loss_q1z2"]), rtol=0, atol=1e-10)
    assert found.mean().item() == pytest.approx(float(table["byol/mean"]), abs=1e-10)


def test_its_gradient_is_that_of_finite_differences(golden):
    za, zb = (torch.from_numpy(golden("losses")[f"simclr/{name}"])[:3].requires_grad_() for name in ("za", "zb"))
    assert torch.autograd.gradcheck(distances, (za, zb.detach()))


def test_each_prediction_is_held_against_the_other_views_target():
    objective = built("byola")
    one, two, other = torch.eye(3)[:, None].expand(3, 4, 3)
    with torch.no_grad():
        views = objective.views(clips(objective, count=4))
    assert objective.loss([(one, two), (two, one)], views)[0].item() == pytest.approx(0)
    assert objective.loss([(one, one), (two, two)], views)[0].item() == pytest.approx(4)
    assert objective.loss([(one, two), (other, one)], views)[0].item() == pytest.approx(2)


def test_sizes_are_the_sources():
    with hollow():
        objective = BYOLAConfig().build(ENCODERS["byola_cnn_64mels_dataset"].build(), ())
    assert [tuple(p.shape) for p in objective.projector.parameters() if p.ndim == 2] == [(4096, 2048), (256, 4096)]
    assert [tuple(p.shape) for p in objective.predictor.parameters() if p.ndim == 2] == [(4096, 256), (256, 4096)]
    assert objective.memory.shape == (2048, 1, 95, 64)


def test_the_target_follows_by_a_hundredth():
    objective = built("byola")
    with torch.no_grad():
        for parameter in (*objective.encoder.parameters(), *objective.projector.parameters()):
            parameter += 1
    before = [parameter.clone() for parameter in objective.target.parameters()]
    objective.after_step(0)
    for old, new in zip(before, objective.target.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.01, rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_memory_holds_the_last_unmixed_inputs_in_the_order_of_the_global_batch():
    objective = built("byola")  # room for 48
    inputs = []
    for step in range(4):
        batch = clips(objective, step, 20)
        objective.views(batch)
        assert int(objective.remembered) == 20 * step, "a step's inputs are taken up after it"
        objective.after_step(step)
        inputs.append(objective.encoder.frontend(batch.waves[:, 0]))
    everything = torch.cat(inputs)
    place = torch.arange(32, 80) % 48
    assert torch.equal(objective.memory[place], everything[-48:])
    objective.after_step(4)
    assert int(objective.remembered) == 80, "without a batch nothing is taken up"


@torch.no_grad()
def test_a_batch_larger_than_the_memory_leaves_its_last_inputs():
    objective = built("byola")
    batch = clips(objective, count=50)
    objective.views(batch)
    objective.after_step(0)
    assert torch.equal(objective.memory.roll(-2, 0), objective.encoder.frontend(batch.waves[:, 0])[2:])


@torch.no_grad()
def test_statistics_are_those_of_everything_so_far():
    objective = built("byola")
    inputs = []
    for step in range(3):
        batch = clips(objective, step, 16)
        batch.waves.mul_(step + 1)
        objective.views(batch)
        objective.after_step(step)
        inputs.append(objective.encoder.frontend(batch.waves[:, 0]))
    var, mean = torch.var_mean(torch.cat(inputs), correction=0)
    torch.testing.assert_close(objective.mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(objective.var, var, rtol=1e-5, atol=1e-5)
    for encoder in (objective.encoder, objective.target[0]):
        torch.testing.assert_close(encoder.dataset_norm.mean, mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(encoder.dataset_norm.std, var.sqrt(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_network_sees_both_views_normalised_together():
    objective = built("byola")
    for step in range(2):
        views = objective.views(clips(objective, step, 16))
        seen = torch.stack([objective.encoder.prepare(view.features) for view in views.inputs])
        var, mean = torch.var_mean(seen, correction=0)
        assert mean.item() == pytest.approx(0, abs=1e-4)
        assert var.item() == pytest.approx(1, abs=1e-3)
        assert not torch.equal(seen[0], seen[1])
        objective.after_step(step)


@torch.no_grad()
def test_inputs_are_mixed_with_the_memory_from_the_second_step_on():
    objective = built("byola")
    normed, zero, one = torch.randn(16, *objective.memory.shape[1:]), torch.zeros(()), torch.ones(())
    draws = clips(objective, count=16).draws
    assert torch.equal(objective._mixed(normed, zero, one, draws), normed)
    objective.memory[:3] = 2.0
    objective.remembered += 3
    share = (objective._mixed(normed, zero, one, draws).exp() - normed.exp()) / (torch.tensor(2.0).exp() - normed.exp())
    each = share.flatten(1).median(1).values
    assert ((each >= 0) & (each <= 0.4)).all()
    assert each.max() > 0.3
    assert each.min() < 0.1


def test_an_encoder_of_waves_is_refused():
    with pytest.raises(ValueError, match="BidirCPC takes waves; take an encoder of spectrograms"):
        BYOLAConfig(crop_seconds=0.3).build(WAVE_ENCODERS["bidir_cpc_tiny"].build(), ())
