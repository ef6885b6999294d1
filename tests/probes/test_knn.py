from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from leveret.contracts import Table
from leveret.probes import knn
from leveret.probes.holdout import hold_out, score
from leveret.probes.knn import KnnProbe, KnnReadout


def by_brute_force(train: Table, X: torch.Tensor, k: int) -> np.ndarray:
    """The definition, row by row and clip by clip, in float64."""
    rows, vectors = train.rows.numpy(), train.X.double().numpy()
    by_clip = [vectors[rows == clip] for clip in range(train.num_clips)]
    found = np.zeros((len(X), train.num_classes))
    for r, query in enumerate(X.double().numpy()):
        cosines = [
            max(float(query @ one) / np.linalg.norm(query) / np.linalg.norm(one) for one in block) for block in by_clip
        ]
        for clip in np.argsort(cosines)[::-1][:k]:
            target = train.targets[clip].numpy()
            votes = target if train.multilabel else np.eye(train.num_classes)[target]
            found[r] += (1 + cosines[clip]) / 2 * votes / k
    return found


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("rows_at_once", [3, 50, 8192])
def test_equals_the_definition(
    multilabel: bool, rows_at_once: int, make_table: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    # blocks smaller than a clip, blocks that end inside of one, and a single block
    monkeypatch.setattr(knn, "_TRAIN_ROWS_AT_ONCE", rows_at_once)
    monkeypatch.setattr(knn, "_ROWS_AT_ONCE", 7)
    train, test = (make_table(seed=seed, multilabel=multilabel, num_clips=60, max_rows=5, noise=2.0) for seed in (0, 1))
    scores = KnnProbe(grid=(4,)).fit(train, None).scores(test.X[:20])
    np.testing.assert_allclose(scores[0].numpy(), by_brute_force(train, test.X[:20], 4), atol=1e-5)


def test_equals_scikit_learn_where_a_clip_is_a_row(make_table: Callable[..., Table]) -> None:
    train, test = (make_table(seed=seed, max_rows=1, noise=2.0) for seed in (0, 1))
    theirs = KNeighborsClassifier(5, metric="cosine", weights=lambda distance: 1 - distance / 2)
    theirs.fit(train.X.numpy(), train.targets.numpy())
    ours = KnnProbe(grid=(5,)).fit(train, None).scores(test.X)[0]
    likely = theirs.predict_proba(test.X.numpy())
    np.testing.assert_allclose((ours / ours.sum(1, keepdim=True)).numpy(), likely, atol=1e-5)


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
def test_k_is_the_best_on_the_validation_clips(multilabel: bool, make_table: Callable[..., Table]) -> None:
    train, valid = (make_table(seed=seed, multilabel=multilabel, noise=3.0) for seed in (0, 1))
    facts = KnnProbe(grid=(1, 5, 20), usual=1).fit(train, valid).facts
    alone = {str(k): score(KnnProbe(grid=(k,)).fit(train, None).scores(valid.X)[0], valid) for k in (1, 5, 20)}
    assert facts["grid"] == pytest.approx(alone)
    assert facts["chosen_on"] == "valid"
    assert facts["chosen_score"] == max(alone.values())
    assert facts["k"] != 1  # far noisier than the distance of the clouds: one neighbour is surely worse


def test_windows_of_one_clip_do_not_vote_for_each_other_when_k_is_chosen(make_table: Callable[..., Table]) -> None:
    # Every clip is five copies of a vector that says nothing of its class: one's own windows would be right always.
    noise = make_table(num_clips=200, max_rows=1, noise=0.0)
    X = torch.randn(200, 24, generator=torch.Generator().manual_seed(3)).repeat_interleave(5, 0)
    train = replace(noise, X=X, rows=torch.arange(200).repeat_interleave(5))
    facts = KnnProbe(grid=(1, 3)).fit(train, None).facts
    assert facts["chosen_on"] == "groups"
    assert max(facts["grid"].values()) < 0.5  # four classes: chance is 0.25


def test_copies_of_a_row_change_nothing(make_table: Callable[..., Table]) -> None:
    table, test = make_table(max_rows=1, noise=2.0), make_table(seed=1)
    copies = torch.arange(table.num_clips) % 5 + 1
    copied = replace(table, X=table.X.repeat_interleave(copies, 0), rows=table.rows.repeat_interleave(copies))
    first, second = (KnnProbe().fit(one, None) for one in (table, copied))
    assert first.facts["k"] == second.facts["k"]
    torch.testing.assert_close(first.scores(test.X), second.scores(test.X), atol=1e-5, rtol=0)


def test_all_of_train_votes_and_the_held_out_fifth_alone_chooses(make_table: Callable[..., Table]) -> None:
    train = make_table(noise=2.0)
    fitted = KnnProbe(grid=(1, 3)).fit(train, None)
    division = hold_out(train)
    held = train.take(division.held)
    alone = KnnProbe(grid=(3,)).fit(train.take(division.kept), None).scores(held.X)[0]
    assert fitted.facts["grid"]["3"] == pytest.approx(score(alone, held))
    assert torch.equal(fitted.X, train.X)


def test_a_few_of_many_held_out_clips_choose(make_table: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "MAX_CHOOSING_CLIPS", 10)
    facts = KnnProbe().fit(make_table(num_clips=400), None).facts
    assert all(value * 10 == pytest.approx(round(value * 10)) for value in facts["grid"].values())


def test_more_neighbours_than_clips_are_all_clips(make_table: Callable[..., Table]) -> None:
    train = make_table(num_clips=6)
    fitted = KnnProbe(grid=(50,)).fit(train, None)
    assert fitted.k == 6
    assert fitted.scores(train.X).isfinite().all()


def test_one_training_clip_is_the_answer_to_everything(make_table: Callable[..., Table]) -> None:
    train = make_table(num_clips=1)
    scores = KnnProbe().fit(train, None).scores(make_table().X)[0]
    assert (scores.argmax(1) == train.targets[0]).all()


def test_a_vector_of_nothing_but_zeros_gets_finite_scores(make_table: Callable[..., Table]) -> None:
    train = make_table()
    assert KnnProbe().fit(train, None).scores(torch.zeros(3, 24)).isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_vector_that_is_not_finite_is_named(value: float, make_table: Callable[..., Table]) -> None:
    train = make_table()
    train.X[11, 3] = value
    with pytest.raises(ValueError, match="row 11 "):
        KnnProbe().fit(train, None)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rows", torch.tensor([0, 0, 2]), "does not count"),
        ("rows", torch.tensor([0, 1, 5]), "does not count"),
        ("targets", torch.tensor([0, 7]), "beyond the 3"),
        ("targets", torch.tensor([0, -1]), "beyond the 3"),
        ("k", torch.tensor(3), "expected 1 to 2"),
        ("k", torch.tensor(0), "expected 1 to 2"),
        ("X", torch.zeros(3, 9), "3 x 9 of float32; expected any x 4"),
    ],
)
def test_tensors_that_point_outside_are_refused(name: str, value: torch.Tensor, says: str) -> None:
    whole = KnnReadout(torch.randn(3, 4), torch.tensor([0, 0, 1]), torch.tensor([2, 0]), 3, k=2).tensors()
    assert KnnReadout.from_tensors(whole, 4, 3).k == 2
    with pytest.raises(ValueError, match=says):
        KnnReadout.from_tensors(whole | {name: value}, 4, 3)
