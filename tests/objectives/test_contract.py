"""What every objective of the room owes the loop: see ENCODERS and SETTINGS of toy_steps for a new one."""

import pytest
import torch
from tests.objectives.toy_steps import CASES, built, clips, two_steps
from tests.processes import ranks
from torch import Tensor

from leveret.pretext import Objective, Views
from leveret.registry import entries
from leveret.replica_norm import has_batch_norm

EVERY_CASE = pytest.mark.parametrize("case", CASES)


@torch.no_grad()
def views_of(objective: Objective, step: int = 0, count: int = 8, seed: int = 0) -> Views:
    return objective.views(clips(objective, step, count, seed=seed))


def loss_of(objective: Objective, views: Views) -> Tensor:
    loss, logs = objective.loss([objective.represent(view) for view in views.inputs], views)
    assert loss.shape == ()
    assert all(value.shape == () and not value.requires_grad and value.isfinite() for value in logs.values()), logs
    return loss


def test_every_objective_is_a_case():
    assert {name for name, _ in CASES.values()} == set(entries("objectives"))


@EVERY_CASE
def test_the_data_is_told_what_to_give(case):
    objective = built(case)
    config = entries("objectives")[CASES[case][0]]
    assert objective.crops >= 1
    assert config.crop_seconds > 0
    assert objective.independent or has_batch_norm(objective)
    assert objective.independent == (not has_batch_norm(objective))
    if objective.needs_labels:
        with pytest.raises(ValueError, match="learns labels, and this corpus has none"):
            config.build(objective.encoder, ())


@EVERY_CASE
def test_a_fixed_batch_is_learnt(case):
    objective = built(case)
    views = views_of(objective)
    learnt = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learnt, 1e-3)
    losses = []
    for step in range(20):
        loss = loss_of(objective, views)
        assert loss.isfinite()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step(step)
    assert sum(losses[-3:]) / 3 < losses[0], losses


@EVERY_CASE
def test_the_gradient_reaches_all_that_is_learnt_and_nothing_else(case):
    objective = built(case)
    loss_of(objective, views_of(objective)).backward()
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        else:
            assert parameter.grad is None, name
    reached = [
        parameter.grad is not None and bool(parameter.grad.any()) for parameter in objective.encoder.parameters()
    ]
    assert sum(reached) > 0.9 * len(reached)


@EVERY_CASE
def test_the_same_seed_gives_the_same_loss_and_another_another(case):
    first, again, other = (
        float(loss_of(objective, views_of(objective, seed=seed)).detach())
        for objective, seed in ((built(case), 0), (built(case), 0), (built(case), 1))
    )
    assert first == again
    assert first != other


@EVERY_CASE
def test_views_leave_the_waves_and_carry_no_gradient(case):
    objective = built(case)
    batch = clips(objective, count=8)
    untouched = batch.waves.clone()
    with torch.no_grad():
        views = objective.views(batch)
    assert torch.equal(batch.waves, untouched)
    assert all(len(view) == 8 and not view.features.requires_grad for view in views.inputs)


@torch.no_grad()
@EVERY_CASE
def test_micro_batches_see_the_same_draws(case):
    objective = built(case)
    if not objective.independent:
        objective.eval()  # by running statistics each example is for itself
    for view in views_of(objective).inputs:
        whole = objective.represent(view)
        parts = [objective.represent(view[part]) for part in (slice(0, 3), slice(3, 8))]
        for tensor, pieces in zip(whole, zip(*parts, strict=True), strict=True):
            torch.testing.assert_close(torch.cat(pieces), tensor, rtol=1e-5, atol=1e-5)


@EVERY_CASE
def test_its_state_is_all_that_it_goes_on_with(case):
    objective = built(case)
    for step in range(2):
        objective(clips(objective, step, 8))
        objective.after_step(step)
    again = built(case)
    again.load_state_dict(objective.state_dict())
    one, other = (float(loss_of(each, views_of(each, 2)).detach()) for each in (objective, again))
    assert one == other


@EVERY_CASE
def test_what_is_kept_lies_outside_of_the_encoder(case):
    objective = built(case)
    assert not set(objective.kept().values()) & set(objective.encoder.parameters())
    fresh = entries("encoders")[CASES[case][1]].build()
    assert set(objective.encoder.state_dict()) == set(fresh.state_dict())
    assert all(key.rpartition(".")[0] in dict(objective.named_modules()) for key in objective.kept())


@pytest.fixture(scope="module")
def of_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each of two gloo processes found; both do all cases in one start."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks(("-m", "tests.objectives.toy_steps", folder))
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@EVERY_CASE
def test_two_processes_give_the_loss_and_the_gradient_of_one(case, of_two_ranks):
    expected = two_steps(case)
    scale = max(float(value.abs().max()) for key, value in expected.items() if key.startswith("gradient"))
    for found in of_two_ranks:
        assert set(found[case]) == set(expected)
        for key, value in expected.items():
            tolerance = 1e-9 * (scale if key.startswith("gradient") else max(1.0, float(value.abs().max())))
            torch.testing.assert_close(found[case][key], value, rtol=0, atol=tolerance, msg=f"{case}: {key}")
