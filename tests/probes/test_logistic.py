import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from leveret.contracts import Table
from leveret.frontend import LogMel
from leveret.probes.holdout import hold_out, score
from leveret.probes.logistic import LogisticProbe


class Reference:
    """scikit-learn's logistic regression in float64 on features standardised with the same weights."""

    def __init__(self, table: Table, C: float) -> None:
        counts = np.bincount(table.rows.numpy())
        weights = 1.0 / counts[table.rows.numpy()]
        self.scaler = StandardScaler().fit(table.X.double().numpy(), sample_weight=weights)
        X = self.scaler.transform(table.X.double().numpy())
        targets = table.targets.numpy()[table.rows.numpy()]
        columns = targets.T if table.multilabel else [targets]
        # A tolerance far below the default, so that the optimum itself is compared.
        settings: dict[str, Any] = {"C": C, "tol": 1e-9, "max_iter": 20_000}
        self.models = [LogisticRegression(**settings).fit(X, column, sample_weight=weights) for column in columns]
        self.objective = 0.0
        for model, column in zip(self.models, columns, strict=True):
            likely = model.predict_proba(X)
            place = np.searchsorted(model.classes_, column)
            self.objective -= float(weights @ np.log(likely[np.arange(len(X)), place]))
            self.objective += float(np.square(model.coef_).sum()) / (2 * C)

    def scores(self, table: Table) -> NDArray[np.float64]:
        """Decision values of every row."""
        X = self.scaler.transform(table.X.double().numpy())
        return np.column_stack([model.decision_function(X) for model in self.models])


def weighed(make_table: Callable[..., Table], seed: int = 0, **settings: Any) -> Table:
    """A table whose features have unlike sizes and hang together, with 1 to 5 rows a clip."""
    table = make_table(seed=seed, max_rows=5, noise=2.5, **settings)
    mixing = torch.randn(24, 24, generator=torch.Generator().manual_seed(5)) * torch.logspace(0, -2, 24)[:, None]
    return replace(table, X=table.X @ mixing + 3)


@pytest.mark.parametrize("C", [1e-3, 1e-1, 10.0])
@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
def test_reaches_the_optimum_of_scikit_learn(C: float, multilabel: bool, make_table: Callable[..., Table]) -> None:
    table, test = (weighed(make_table, seed, multilabel=multilabel) for seed in (0, 1))
    reference = Reference(table, C)
    fitted = LogisticProbe(grid=(C,)).fit(table, None)
    assert fitted.facts["converged"]
    assert fitted.facts["objective"] == pytest.approx(reference.objective, rel=1e-4)
    theirs = score(torch.from_numpy(reference.scores(test)).float(), test)
    assert score(fitted.scores(test.X)[0], test) == pytest.approx(theirs, abs=0.005)


def test_rows_weigh_as_one_over_the_rows_of_their_clip(make_table: Callable[..., Table]) -> None:
    table = weighed(make_table)
    likely = LogisticProbe(grid=(1.0,)).fit(table, None).scores(table.X)[0].softmax(1)
    reference = Reference(table, 1.0)
    X = reference.scaler.transform(table.X.double().numpy())
    # The optimum is flat: an objective equal to 1e-7 leaves a few thousandths in a single probability.
    np.testing.assert_allclose(likely.numpy(), reference.models[0].predict_proba(X), atol=5e-3)
    unweighted = LogisticRegression(C=1.0, tol=1e-9, max_iter=20_000).fit(X, table.targets[table.rows].numpy())
    assert np.abs(likely.numpy() - unweighted.predict_proba(X)).max() > 0.05


def test_copies_of_a_row_change_nothing(make_table: Callable[..., Table]) -> None:
    table = make_table(max_rows=1, noise=2.0)
    copies = torch.arange(table.num_clips) % 5 + 1
    copied = replace(table, X=table.X.repeat_interleave(copies, 0), rows=table.rows.repeat_interleave(copies))
    first, second = (LogisticProbe().fit(one, None) for one in (table, copied))
    assert first.facts["C"] == second.facts["C"]
    torch.testing.assert_close(first.scores(table.X), second.scores(table.X), atol=1e-2, rtol=1e-2)


def test_c_is_the_best_on_the_validation_clips_and_these_are_not_trained_on(
    make_table: Callable[..., Table],
) -> None:
    train, valid = (weighed(make_table, seed) for seed in (0, 1))
    fitted = LogisticProbe(usual=0.0).fit(train, valid)  # no value of the grid is usual, so the best stands
    by_c = {
        C: score(LogisticProbe(grid=(C,)).fit(train, None).scores(valid.X)[0], valid)
        for C in map(float, fitted.facts["grid"])
    }
    assert fitted.facts["chosen_on"] == "valid"
    assert fitted.facts["chosen_score"] == max(fitted.facts["grid"].values())
    # The search stops a little short of each optimum, which may tip a clip or two of 240.
    assert by_c[fitted.facts["C"]] == pytest.approx(max(by_c.values()), abs=0.01)
    alone = LogisticProbe(grid=(fitted.facts["C"],)).fit(train, None)
    assert fitted.facts["objective"] == pytest.approx(alone.facts["objective"], rel=1e-5)


def test_a_few_validation_clips_cannot_displace_the_usual_c_and_many_can(make_table: Callable[..., Table]) -> None:
    train, valid = (weighed(make_table, seed) for seed in (0, 1))
    many = LogisticProbe(usual=1e-4).fit(train, valid).facts
    assert many["C"] > 1e-4
    assert many["chosen_score"] > many["grid"]["0.0001"]
    few = LogisticProbe().fit(train, valid.take(torch.arange(4))).facts
    assert few["C"] == 0.1


def test_without_validation_clips_a_fifth_in_whole_groups_is_held_out(make_table: Callable[..., Table]) -> None:
    train = weighed(make_table)
    fitted = LogisticProbe().fit(train, None)
    assert fitted.facts["chosen_on"] == "groups"
    alone = LogisticProbe(grid=(fitted.facts["C"],)).fit(train, None)
    assert fitted.facts["objective"] == pytest.approx(alone.facts["objective"], rel=1e-5)


def test_of_equal_scores_the_strongest_regularisation_wins(make_table: Callable[..., Table]) -> None:
    facts = LogisticProbe(grid=(0.1, 1.0, 10.0, 100.0)).fit(make_table(noise=0.01), None).facts
    # Every value separates such clouds, and after two that gain nothing the search ends.
    assert facts["grid"] == {"0.1": 1.0, "1": 1.0, "10": 1.0}
    assert facts["C"] == 0.1


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
def test_a_constant_feature_takes_no_part(multilabel: bool, make_table: Callable[..., Table]) -> None:
    table = make_table(multilabel=multilabel)
    table.X[:, 5] = 1e4 / 3
    fitted = LogisticProbe().fit(table, None)
    assert (fitted.weight[0, :, 5] == 0).all()


def test_a_class_that_only_the_held_out_fifth_has_survives(make_table: Callable[..., Table]) -> None:
    train = make_table()
    held = hold_out(train).held
    targets = train.targets % 3
    targets[held[:5]] = 3
    fitted = LogisticProbe().fit(replace(train, targets=targets), None)
    assert fitted.scores(train.X).isfinite().all()
    assert fitted.facts["converged"]


def test_one_class_in_train_is_the_answer_to_everything(make_table: Callable[..., Table]) -> None:
    train = make_table()
    fitted = LogisticProbe().fit(replace(train, targets=torch.full_like(train.targets, 2)), None)
    assert (fitted.scores(train.X)[0].argmax(1) == 2).all()


def test_a_multilabel_class_that_every_clip_has_survives(make_table: Callable[..., Table]) -> None:
    train = make_table(multilabel=True)
    train.targets[:, 1] = 1
    fitted = LogisticProbe().fit(train, None)
    assert (fitted.scores(train.X)[0, :, 1] > 3).all()


def test_more_features_than_rows(make_table: Callable[..., Table]) -> None:
    train, test = (make_table(seed=seed, num_clips=40, embed_dim=300) for seed in (0, 1))
    fitted = LogisticProbe().fit(train, None)
    assert fitted.facts["converged"]
    assert score(fitted.scores(test.X)[0], test) > 0.95


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_vector_that_is_not_finite_is_named(value: float, make_table: Callable[..., Table]) -> None:
    train = make_table()
    train.X[11, 3] = value
    with pytest.raises(ValueError, match="row 11 "):
        LogisticProbe().fit(train, None)


@pytest.fixture(scope="module")
def real_tables(shared: Path) -> dict[str, Table]:
    """Mean and deviation of the log-mels of real recordings, by split; every second of those to train on."""
    folder = shared / "data" / "dev"
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no file {folder / 'manifest.csv'}")
    with (folder / "manifest.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["task"] == "env_esc50"]
    labels = sorted({line["label"] for line in lines})
    groups = sorted({line["group"] for line in lines})
    log_mel = LogMel()
    tables = {}
    for split in ("train", "test"):
        chosen = [line for line in lines if line["split"] == split][:: 2 if split == "train" else 1]
        vectors = []
        for line in chosen:
            features = log_mel(torch.from_numpy(soundfile.read(folder / line["file"], dtype="float32")[0])[None])[0, 0]
            vectors.append(torch.cat([features.mean(0), features.std(0)]))
        tables[split] = Table(
            torch.stack(vectors),
            torch.arange(len(chosen)),
            torch.tensor([labels.index(line["label"]) for line in chosen]),
            torch.tensor([groups.index(line["group"]) for line in chosen]),
            len(labels),
        )
    return tables


@pytest.mark.real
@pytest.mark.parametrize("C", [1e-3, 1e-1])
def test_equals_scikit_learn_on_real_recordings(C: float, real_tables: dict[str, Table]) -> None:
    train, test = real_tables["train"], real_tables["test"]
    reference = Reference(train, C)
    fitted = LogisticProbe(grid=(C,)).fit(train, None)
    assert fitted.facts["objective"] == pytest.approx(reference.objective, rel=1e-4)
    theirs = score(torch.from_numpy(reference.scores(test)).float(), test)
    assert score(fitted.scores(test.X)[0], test) == pytest.approx(theirs, abs=0.005)


@pytest.mark.real
def test_finds_a_good_c_on_real_recordings(real_tables: dict[str, Table]) -> None:
    train, test = real_tables["train"], real_tables["test"]
    fitted = LogisticProbe().fit(train, None)
    assert fitted.facts["converged"]
    chosen = score(fitted.scores(test.X)[0], test)
    best = max(score(LogisticProbe(grid=(C,)).fit(train, None).scores(test.X)[0], test) for C in (1e-3, 1e-2, 1e-1))
    # One clip in four hundred is a quarter of a point; the fifth held out decides within a few clips.
    assert chosen > best - 0.03
    assert chosen > 0.2  # ten times chance
