from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from leveret.contracts import Table
from leveret.optim import learning_rate
from leveret.probes import trainer
from leveret.probes.mlp import MlpNetwork, MlpProbe, first_layers
from leveret.probes.trainer import Windows, draw
from leveret.registry import look_up

SHORT = MlpProbe(batch=16, steps=500, peak_rate=2e-3, warmup_steps=50, hidden=32, check_rates=False)


def plain_loop(table: Table, probe: MlpProbe, seed: int) -> nn.Sequential:
    """The same training as anybody would write it: autograd and torch's optimizer."""
    D, K = table.X.shape[1], table.num_classes
    network = nn.Sequential(nn.Linear(D, probe.hidden), nn.ReLU(), nn.Linear(probe.hidden, K))
    with torch.no_grad():
        for layer, weight in zip((network[0], network[2]), first_layers(K, D, probe.hidden, seed), strict=True):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.999), eps=1e-8)
    windows = Windows.of(table)
    for step in range(probe.steps):
        clips, rows = (part[step % 256] for part in draw(windows, seed, step // 256, probe.batch))
        logits, targets = network(table.X[rows].float()), table.targets[clips]
        loss = (
            F.binary_cross_entropy_with_logits(logits, targets)
            if table.multilabel
            else F.cross_entropy(logits, targets)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate(step, probe.steps, probe.peak_rate, probe.warmup_steps)
        optimizer.step()
    return network


def assert_same(fitted: Any, network: nn.Sequential, seed: int = 0) -> None:
    for layer, reference in ((fitted.hidden, network[0]), (fitted.output, network[2])):
        # Both are float32 and add up in different orders; hundreds of steps of Adam magnify that a little.
        torch.testing.assert_close(layer.weight[seed], reference.weight.detach(), atol=1e-4, rtol=0)
        torch.testing.assert_close(layer.bias[seed], reference.bias.detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("product", ["torch", "numpy"])
def test_follows_a_plain_loop(
    multilabel: bool, product: str, make_table: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_mkl_is_slow", lambda: product == "numpy")
    table = make_table(multilabel=multilabel, noise=2.0)
    fitted, network = replace(SHORT, seeds=(3,)).fit(table, None), plain_loop(table, SHORT, seed=3)
    assert_same(fitted, network)
    torch.testing.assert_close(fitted.scores(table.X)[0], network(table.X).detach(), atol=1e-3, rtol=1e-3)


def test_follows_a_plain_loop_on_half_precision_rows(make_table: Callable[..., Table]) -> None:
    table = make_table(noise=2.0)
    table = replace(table, X=table.X.half())
    assert_same(SHORT.fit(table, None), plain_loop(table, SHORT, seed=0))


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
def test_seeds_together_equal_seeds_apart(multilabel: bool, make_table: Callable[..., Table]) -> None:
    table = make_table(multilabel=multilabel, noise=2.0)
    seeds = (0, 5, 11, 12, 13)  # on a CPU they are trained four and one at a time
    together = replace(SHORT, seeds=seeds, steps=200).fit(table, None)
    for place, seed in enumerate(seeds):
        apart = replace(SHORT, seeds=(seed,), steps=200).fit(table, None)
        for one, other in zip(together.tensors().values(), apart.tensors().values(), strict=True):
            torch.testing.assert_close(one[place], other[0], atol=1e-5, rtol=0)
    weight = together.tensors()["hidden_weight"]
    assert not torch.allclose(weight[0], weight[1], atol=1e-2)


def test_rates_together_equal_rates_apart(make_table: Callable[..., Table]) -> None:
    table = make_table(noise=2.0)
    settings: dict[str, Any] = {"seeds": (1, 2), "batch": 16, "steps": 200, "warmup_steps": 10}
    build = SHORT.network()
    together = trainer.train(build, table, peak_rates=(1e-4, 1e-2), **settings)
    for place, rate in enumerate((1e-4, 1e-2)):
        apart = trainer.train(build, table, peak_rates=(rate,), **settings)
        for one, other in zip(together.layers, apart.layers, strict=True):
            torch.testing.assert_close(one[:, place], other[:, 0], atol=1e-5, rtol=0)


def test_the_gradient_is_that_of_autograd(make_table: Callable[..., Table]) -> None:
    table = make_table(num_clips=20, max_rows=1)
    network = MlpNetwork((4,), 1, table, 20, lambda a, b, out: torch.bmm(a, b, out=out), hidden=8)
    leaves = [value.clone().requires_grad_() for value, _ in network.layers]
    hidden_weight, hidden_bias, weight, bias = (leaf[0, 0] for leaf in leaves)
    logits = F.relu(table.X @ hidden_weight.T + hidden_bias) @ weight.T + bias
    F.cross_entropy(logits, table.targets).backward()
    x = table.X[None]
    mine = network.forward(x.transpose(1, 2))
    torch.testing.assert_close(mine[0].T, logits.detach())
    wanted = F.one_hot(table.targets, 4).float()
    network.backward(x, ((mine[0].T.softmax(1) - wanted) / 20).T[None].contiguous())
    for leaf, (_, gradient) in zip(leaves, network.layers, strict=True):
        torch.testing.assert_close(gradient, leaf.grad, atol=1e-6, rtol=1e-5)


def test_learns_what_no_linear_layer_can(make_table: Callable[..., Table]) -> None:
    # exclusive or: opposite corners are one class
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(400, 2, generator=generator)
    clips = torch.arange(400)
    table = Table(X, clips, (X.prod(1) > 0).long(), clips, 2)
    probe = replace(SHORT, peak_rate=1e-2, steps=1500)
    linear = replace(look_up("probes", "linear"), batch=16, steps=1500, peak_rate=1e-2, check_rates=False)
    right = [(one.fit(table, None).scores(X)[0].argmax(1) == table.targets).float().mean() for one in (probe, linear)]
    assert right[0] > 0.95
    assert right[1] < 0.7


def test_badly_scaled_vectors_are_flagged_as_under_fitted(make_table: Callable[..., Table]) -> None:
    table = make_table()
    probe = replace(SHORT, peak_rate=2e-5, check_rates=True)
    facts = probe.fit(replace(table, X=table.X * 0.01), None).facts
    assert facts["under_fitted"]["factor"] in (10.0, 100.0)
    assert facts["under_fitted"]["gain"] > 0.01
    assert list(facts["rate_check"]) == ["0.1", "1", "10", "100"]


def test_a_vector_that_is_not_finite_stops_at_its_step(make_table: Callable[..., Table]) -> None:
    table = make_table(max_rows=1)
    table.X[7, 3] = float("nan")
    clips = draw(Windows.of(table), 0, 0, 16)[0]
    first = int(torch.nonzero((clips == 7).any(1))[0])
    with pytest.raises(ValueError, match=f"not finite at step {first} "):
        SHORT.fit(table, None)


def test_the_default_is_appendix_a() -> None:
    probe = look_up("probes", "mlp")
    assert (probe.hidden, probe.batch, probe.steps, probe.peak_rate) == (512, 128, 200_000, 2e-4)


def test_the_layers_draw_first_weights_of_their_own() -> None:
    hidden, output = first_layers(32, 32, 32, seed=5)
    assert not torch.equal(hidden, output)
    # A normal of deviation 1/sqrt(fan in), cut at two deviations, keeps 0.8796 of its deviation.
    for layer in first_layers(400, 300, 100, seed=5):
        assert layer.std().item() == pytest.approx(0.8796 / layer.shape[1] ** 0.5, rel=0.02)
