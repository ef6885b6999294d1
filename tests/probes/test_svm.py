"""The machines reach scikit-learn's optimum, choose C as asked, and take classes as they come."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from leveret.contracts import Table
from leveret.probes.holdout import score
from leveret.probes.squared_hinge import SquaredHinge
from leveret.probes.svm import PAPER_CS, UNSEEN, SvmProbe


def objective(X: np.ndarray, own: np.ndarray, weight: np.ndarray, bias: np.ndarray, C: float) -> float:
    """LIBLINEAR's, written out."""
    signs = np.where(own, 1.0, -1.0)
    short = np.maximum(0, 1 - signs * (X @ weight.T + bias))
    return float(0.5 * (weight**2).sum() + 0.5 * (bias**2).sum() + C * (short**2).sum())


@pytest.fixture(params=[(240, 24), (60, 200)], ids=["more rows", "more features"])
def table(request: pytest.FixtureRequest, make_table: Callable[..., Table]) -> Table:
    num_clips, embed_dim = request.param
    made = make_table(num_clips=num_clips, embed_dim=embed_dim, noise=2.0)
    # scales of an encoder: features differ by orders of magnitude and move together
    mixing = torch.randn(embed_dim, embed_dim, generator=torch.Generator().manual_seed(5))
    return replace(made, X=made.X @ mixing * torch.logspace(-2, 2, embed_dim) + 3)


@pytest.mark.parametrize("C", [3e-5, 3e-3, 1.0])
def test_the_objective_is_that_of_linear_svc(table: Table, C: float) -> None:
    readout = SvmProbe(grid=(C,)).fit(table, None)
    scaler = StandardScaler().fit(table.X.double().numpy())
    X, targets = scaler.transform(table.X.double().numpy()), table.targets[table.rows].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when it stops early; the comparison below would show it
        theirs = LinearSVC(C=C, dual="auto", tol=1e-7, max_iter=200_000).fit(X, targets)
    own = targets[:, None] == np.arange(table.num_classes)
    weight = (readout.weight[0].double().numpy()) * scaler.scale_
    ours = objective(X, own, weight, readout.bias[0].double().numpy(), C)
    expected = objective(X, own, theirs.coef_, theirs.intercept_, C)
    assert ours == pytest.approx(expected, rel=1e-4)
    assert readout.facts["objective"] == pytest.approx(ours, rel=1e-4)
    assert readout.facts["converged"]
    difference = readout.scores(table.X)[0].numpy() - theirs.decision_function(X)
    assert np.abs(difference).max() < 0.02  # of a margin of 1


def test_a_warm_start_ends_where_a_cold_one_does(table: Table) -> None:
    X = table.X - table.X.mean(0)
    X /= X.std(0)
    signs = (table.targets[table.rows, None] == torch.arange(4)).float() * 2 - 1
    problem = SquaredHinge(X, signs)
    warm = problem.minimise(1e-2, problem.minimise(1e-3), tolerance=1e-7)
    cold = problem.minimise(1e-2, tolerance=1e-7)
    torch.testing.assert_close(warm.objective, cold.objective, rtol=1e-6, atol=0)
    assert warm.newton_steps <= cold.newton_steps


def test_c_is_chosen_on_valid_and_of_equals_the_smallest(make_table: Callable[..., Table]) -> None:
    train, valid = make_table(noise=0.2), make_table(seed=1, noise=0.2)
    readout = SvmProbe().fit(train, valid)
    assert readout.facts["chosen_on"] == "valid"
    assert list(readout.facts["grid"]) == [f"{C:g}" for C in PAPER_CS]
    scores = readout.facts["grid"].values()
    assert readout.facts["C"] == next(C for C, value in zip(PAPER_CS, scores, strict=True) if value == max(scores))
    assert readout.facts["grid"][f"{readout.facts['C']:g}"] == score(readout.scores(valid.X)[0], valid)


def test_without_valid_whole_groups_are_held_out_and_all_of_train_is_fitted(make_table: Callable[..., Table]) -> None:
    train = make_table()
    readout = SvmProbe().fit(train, None)
    assert readout.facts["chosen_on"] == "groups"
    alone = SvmProbe(grid=(readout.facts["C"],)).fit(train, None)
    assert torch.equal(readout.weight, alone.weight)


def test_a_settled_probe_chooses_no_more(make_table: Callable[..., Table]) -> None:
    train = make_table()
    probe = SvmProbe()
    settled = probe.settled(probe.fit(train, make_table(seed=1)).facts)
    readout = settled.fit(make_table(seed=2), None)
    assert readout.facts["chosen_on"] is None
    assert readout.facts["grid"] == {}


def test_a_class_without_a_row_never_wins(make_table: Callable[..., Table]) -> None:
    train = make_table(without=2)
    scores = SvmProbe(grid=(1e-3,)).fit(train, None).scores(train.X)[0]
    assert (scores[:, 2] == UNSEEN).all()
    assert (scores.argmax(1) != 2).all()
