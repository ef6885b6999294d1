from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from leveret.contracts import FittedProbe, Probe, Table
from leveret.probes.holdout import score
from leveret.registry import entries

# Small enough for a test, and a rate that learns in so few steps; each probe takes the settings it has.
QUICK = {"batch": 32, "steps": 400, "warmup_steps": 40, "peak_rate": 0.01, "check_rates": False}

every_probe = pytest.mark.parametrize("name", entries("probes"))
both_kinds = pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])


def quick(name: str, **settings: Any) -> Probe:
    probe = entries("probes")[name]
    known = {field.name for field in fields(probe)}
    return replace(probe, **{key: value for key, value in (QUICK | settings).items() if key in known})


def score_of(fitted: FittedProbe, table: Table) -> float:
    return score(fitted.scores(table.X)[0], table)


@every_probe
@both_kinds
def test_learns_what_can_be_known(name: str, multilabel: bool, make_table: Callable[..., Table]) -> None:
    train, test = (make_table(seed=seed, multilabel=multilabel) for seed in (0, 1))
    # The clouds lie about seven deviations apart, so the best possible score is 1 to three digits.
    assert score_of(quick(name).fit(train, None), test) > 0.95


@every_probe
@both_kinds
def test_a_column_for_every_class_and_a_score_for_every_row(
    name: str, multilabel: bool, make_table: Callable[..., Table]
) -> None:
    train = make_table(multilabel=multilabel)
    scores = quick(name).fit(train, None).scores(train.X[:7])
    assert scores.shape[1:] == (7, train.num_classes)
    assert scores.isfinite().all()


@every_probe
@both_kinds
def test_a_class_absent_from_training_survives(name: str, multilabel: bool, make_table: Callable[..., Table]) -> None:
    train = make_table(multilabel=multilabel, without=2)
    test = make_table(seed=1, multilabel=multilabel, without=2)
    fitted = quick(name).fit(train, None)
    scores = fitted.scores(test.X)
    assert scores.shape[2] == 4
    assert scores.isfinite().all()
    # A clip that resembles none of the classes is no clip of the absent one either.
    assert (scores[0].argmax(1) != 2).all()
    assert score_of(fitted, test) > 0.95


@every_probe
def test_a_class_of_one_clip_survives(name: str, make_table: Callable[..., Table]) -> None:
    train = make_table()
    targets = train.targets.clone()
    targets[targets == 3] = 0
    targets[17] = 3
    fitted = quick(name).fit(replace(train, targets=targets), None)
    assert fitted.scores(train.X).isfinite().all()


@every_probe
@both_kinds
def test_the_same_seed_gives_the_same_scores(name: str, multilabel: bool, make_table: Callable[..., Table]) -> None:
    train = make_table(multilabel=multilabel)
    first, second = (quick(name).fit(train, None).scores(train.X) for _ in range(2))
    assert torch.equal(first, second)


@every_probe
def test_half_precision_rows_score_as_well(name: str, make_table: Callable[..., Table]) -> None:
    train, test = make_table(), make_table(seed=1)
    halved, halved_test = (replace(table, X=table.X.half()) for table in (train, test))
    fitted = quick(name).fit(halved, None)
    assert fitted.scores(halved_test.X).dtype == torch.float32
    assert score_of(fitted, halved_test) > 0.95


@every_probe
def test_a_constant_feature_does_no_harm(name: str, make_table: Callable[..., Table]) -> None:
    train, test = make_table(), make_table(seed=1)
    for table in (train, test):
        table.X[:, 5] = 0.3
    assert score_of(quick(name).fit(train, None), test) > 0.95


@every_probe
def test_progress_rises_to_one(name: str, make_table: Callable[..., Table]) -> None:
    shares: list[float] = []
    quick(name).fit(make_table(), None, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@every_probe
def test_global_randomness_is_left_alone(name: str, make_table: Callable[..., Table]) -> None:
    train = make_table()
    before = torch.get_rng_state()
    quick(name).fit(train, None)
    assert torch.equal(torch.get_rng_state(), before)


def restored(fitted: FittedProbe, tensors: dict[str, Tensor], num_classes: int = 4) -> FittedProbe:
    return entries("probes", "READOUTS")[fitted.kind].from_tensors(tensors, 24, num_classes)


@every_probe
@both_kinds
def test_its_tensors_are_all_that_its_scores_depend_on(
    name: str, multilabel: bool, make_table: Callable[..., Table]
) -> None:
    train = make_table(multilabel=multilabel)
    fitted = quick(name, seeds=(0, 1)).fit(train, None)
    found = restored(fitted, fitted.tensors())
    assert type(found) is type(fitted)
    assert torch.equal(found.scores(train.X), fitted.scores(train.X))


@every_probe
@both_kinds
def test_tensors_of_another_width_or_vocabulary_are_refused(
    name: str, multilabel: bool, make_table: Callable[..., Table]
) -> None:
    train = make_table(embed_dim=23, num_classes=5, multilabel=multilabel)
    fitted = quick(name).fit(train, None)
    readout = entries("probes", "READOUTS")[fitted.kind]
    with pytest.raises(ValueError, match="expected"):
        readout.from_tensors(fitted.tensors(), 24, 5)
    with pytest.raises(ValueError, match=r"expected|beyond the"):
        readout.from_tensors(fitted.tensors(), 23, 4)


@every_probe
def test_a_missing_a_cut_and_a_torn_tensor_are_refused(name: str, make_table: Callable[..., Table]) -> None:
    fitted = quick(name).fit(make_table(), None)
    tensors = fitted.tensors()
    # knn's k may be of any clip, a linear layer's centre may be absent
    for key in tensors.keys() - {"centre"}:
        with pytest.raises(ValueError, match=f"{key}.*missing"):
            restored(fitted, {other: tensor for other, tensor in tensors.items() if other != key})
        with pytest.raises(ValueError, match=f"'{key}' is|does not count"):
            restored(fitted, tensors | {key: tensors[key].flatten()[:-1]})
    for key, tensor in tensors.items():
        if tensor.is_floating_point():
            with pytest.raises(ValueError, match="not finite"):
                restored(fitted, tensors | {key: tensor * torch.nan})


@every_probe
def test_it_says_whether_its_scores_are_logits(name: str) -> None:
    assert entries("probes")[name].logits in (True, False)


@every_probe
def test_several_seeds_give_a_score_each_or_one_where_nothing_is_drawn(
    name: str, make_table: Callable[..., Table]
) -> None:
    scores = quick(name, seeds=(3, 8)).fit(make_table(noise=2.0), None).scores(make_table().X)
    drawn = any(field.name == "seeds" for field in fields(entries("probes")[name]))
    assert len(scores) == (2 if drawn else 1)
