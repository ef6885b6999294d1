"""The gradient cache: loss and gradient of the whole batch, whatever the micro-batch, and who is refused."""

import copy

import pytest
import torch
from torch import nn

from leveret.draws import of_batch
from leveret.encoders.resnet import Bottleneck
from leveret.gradient_cache import add_gradients, represented, require_independent
from leveret.layers import StochasticDepth
from leveret.pretext import View, Views
from leveret.registry import look_up
from leveret.training_speed import step_flops

NORMS = ["slowfast_nfnet_tiny", "slowfast_resnet_tiny_ln", "slowfast_resnet_tiny_in"]


@pytest.fixture
def made(toy):
    """An objective whose residual branches are all on, and the views of a batch."""

    def make(name, batch=8, dtype=torch.float32):
        torch.manual_seed(1)
        objective = toy.ToyConfig().build(look_up("encoders", name).build(), ()).train()
        for block in objective.modules():
            if isinstance(block, Bottleneck):  # has no stochastic depth of its own
                block.c = nn.Sequential(block.c, StochasticDepth(0.1, rescale=True))
        with torch.no_grad():  # the skip gains are zero at first, which would hide stochastic depth
            for parameter in objective.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        with torch.no_grad():
            # instance norm over a handful of cells would magnify rounding
            views = objective.views(next(toy.toy_batches(batch, samples=4000)(objective, 3)))
        if dtype == torch.float64:
            views = type(views)(tuple(View(v.features.double(), v.draws) for v in views.inputs), views.draws)
        return objective.to(dtype), views

    return make


def gradients(objective, views, **options):
    objective.zero_grad()
    loss, logs = add_gradients(objective, views, **options)
    return loss, logs, {name: one.grad.clone() for name, one in objective.named_parameters() if one.grad is not None}


def distance(found, expected):
    """Largest difference between the entries of two gradients, as a share of the gradient's length, about one."""
    assert found.keys() == expected.keys()
    length = torch.cat([one.flatten() for one in expected.values()]).norm().item()
    return max((found[name] - one).abs().max().item() for name, one in expected.items()) / length


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_micro_batches_give_the_loss_and_gradient_of_the_whole_batch(made, name, dtype, tolerance):
    objective, views = made(name, dtype=dtype)
    loss, logs, expected = gradients(objective, views)
    for micro_batch in (1, 3, 4):
        found, found_logs, cached = gradients(objective, views, micro_batch=micro_batch)
        assert float(found) == pytest.approx(float(loss), rel=tolerance)
        assert float(found_logs["alignment"]) == pytest.approx(float(logs["alignment"]), rel=10 * tolerance)
        assert distance(cached, expected) < tolerance


@pytest.mark.parametrize(("name", "passes"), [*((name, 1) for name in NORMS), ("slowfast_resnet_tiny", 2)])
def test_views_pass_together_where_no_example_looks_at_another(made, monkeypatch, name, passes):
    objective, views = made(name, dtype=torch.float64)
    objective.zero_grad()
    alone, _ = objective.loss([objective.represent(view) for view in views.inputs], views)
    alone.backward()
    expected = {name: one.grad.clone() for name, one in objective.named_parameters() if one.grad is not None}
    represent, seen = objective.represent, []
    monkeypatch.setattr(objective, "represent", lambda view: seen.append(len(view)) or represent(view))
    loss, _, found = gradients(objective, views)
    assert seen == [16 // passes] * passes
    assert float(loss) == pytest.approx(alone.item(), rel=1e-12)
    assert distance(found, expected) < 1e-12


@pytest.mark.parametrize("name", NORMS)
def test_stochastic_depth_takes_part_in_it(made, name):
    objective, views = made(name, dtype=torch.float64)
    _, _, expected = gradients(objective, views)
    others = type(views)(
        tuple(View(view.features, of_batch(9, 9, 0, 8).at(k)) for k, view in enumerate(views.inputs)), views.draws
    )
    _, _, found = gradients(objective, others, micro_batch=2)
    assert distance(found, expected) > 1e-3


def test_gradients_of_micro_batches_alone_would_be_others(made):
    objective, views = made("slowfast_nfnet_tiny", dtype=torch.float64)
    loss, _, _ = gradients(objective, views)
    parts = [type(views)(tuple(v[part] for v in views.inputs), views.draws[part]) for part in (slice(4), slice(4, 8))]
    assert abs(sum(float(gradients(objective, part)[0]) for part in parts) / 2 - float(loss)) > 0.1


def test_bfloat16_leaves_parameters_and_loss_in_float32_and_the_cache_exact(made):
    objective, views = made("slowfast_nfnet_tiny")
    (z,) = represented(objective, views.inputs[0], torch.bfloat16)
    assert z.dtype == torch.float32
    exact, _, _ = gradients(objective, views)
    loss, _, expected = gradients(objective, views, dtype=torch.bfloat16)
    assert loss.dtype == torch.float32
    assert 0 < abs(float(loss - exact)) < 0.05
    assert {one.dtype for one in expected.values()} == {torch.float32}
    found, _, cached = gradients(objective, views, dtype=torch.bfloat16, micro_batch=4)
    assert float(found) == pytest.approx(float(loss), abs=1e-3)
    assert distance(cached, expected) < 2e-3


def test_batch_norm_is_refused_unless_it_is_allowed(made):
    objective, views = made("slowfast_resnet_tiny")
    with pytest.raises(ValueError, match="slowfast_resnet_tiny has batch norm, so micro-batches would give"):
        require_independent(objective, "slowfast_resnet_tiny", allowed=False)
    require_independent(objective, "slowfast_resnet_tiny", allowed=True)
    other = copy.deepcopy(objective)
    gradients(objective, views, micro_batch=4)
    norm = next(m for m in objective.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 4, "two micro-batches of two views; the pass without a graph counts none"
    gradients(other, views)
    assert not torch.equal(norm.running_mean, next(other.buffers()))
    nfnet, _ = made("slowfast_nfnet_tiny")
    require_independent(nfnet, "slowfast_nfnet_tiny", allowed=False)
    nfnet.independent = False
    with pytest.raises(ValueError, match="Toy looks across the batch"):
        require_independent(nfnet, "slowfast_nfnet_tiny", allowed=False)


def test_operations_of_a_step_grow_with_the_batch_and_change_nothing(made):
    objective, views = made("slowfast_nfnet_tiny")
    _, few = made("slowfast_nfnet_tiny", batch=4)
    assert step_flops(objective, views, torch.float32) == 2 * step_flops(objective, few, torch.float32) > 1e6
    alone = Views(tuple(view[:1] for view in views.inputs), views.draws[:1])
    assert step_flops(objective, views, torch.float32) == 8 * step_flops(objective, alone, torch.float32)
