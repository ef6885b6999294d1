"""The engine on hand-made rows: windows are averaged, clips without vectors are left out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from leveret import clip_scoring, protocols
from leveret.clips import Clip, Fold
from leveret.contracts import Task
from leveret.disk_rows import DiskRows
from leveret.drawing import EmbeddedCrops
from leveret.mapped import MappedRows
from leveret.probes import holdout
from leveret.probes.svm import SvmProbe
from leveret.protocols import Protocol
from leveret.registry import UnknownNameError, entries
from leveret.scoring import Vectors, score_task


@dataclass(frozen=True, kw_only=True)
class HandMade(Task):
    parts: tuple[Fold, ...]

    def folds(self):
        return self.parts


class FirstNumbers:
    """Its decision values are the first K numbers of a row."""

    facts: dict = {}  # noqa: RUF012 - nothing is found

    def __init__(self, num_classes):
        self.num_classes = num_classes

    def scores(self, X):
        return X[None, :, : self.num_classes]


@dataclass(frozen=True)
class Untrained:
    logits: ClassVar[bool] = True

    def fit(self, train, valid, progress=None):
        return FirstNumbers(train.num_classes)


@pytest.fixture
def task():
    clips = [Clip(f"{k}", Path(f"{k}"), ("ab"[k % 2],), f"g{k}") for k in range(6)]
    return HandMade(
        name="hand", domain="other", kind="single", slots=(("", ("a", "b")),), metric="accuracy", crop_seconds=1.0,
        suite="hand", parts=(Fold(clips[:2], [], clips[2:]),),
    )  # fmt: skip


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(protocols, "look_up", lambda room, name: Untrained())


def vectors(rows):
    return Vectors({name: np.array(block, np.float32) for name, block in rows.items()}, 2)


ROWS = {
    "0": [[1, 0]], "1": [[0, 1]],
    "2": [[3, 0], [0, 1], [0, 1]],  # by logits 1 to 2/3: a
    "3": [[0, 1]],
    "4": [[0, 5]],
    "5": [[0, 2], [1, 0]],
}  # fmt: skip


def test_decision_values_are_averaged_over_the_windows_of_a_clip(task, untrained):
    outcome = score_task(task, task.folds(), vectors(ROWS), Protocol(name="quick"), torch.device("cpu"))
    np.testing.assert_allclose(outcome.predictions.scores[0][0], [1, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(outcome.predictions.scores[0][3], [0.5, 1], rtol=1e-6)
    assert outcome.values["score"] == 0.75
    assert outcome.values["per_class"] == {"a": 0.5, "b": 1.0}
    assert outcome.values["train_score"] == 1.0


def test_probabilities_on_request_can_turn_a_verdict(task, untrained):
    protocol = Protocol(name="quick", average="probabilities")
    outcome = score_task(task, task.folds(), vectors(ROWS), protocol, torch.device("cpu"))
    # one sure window against two that lean the other way
    by_hand = (1 / (1 + np.exp(-3)) + 2 / (1 + np.exp(1))) / 3
    assert outcome.predictions.scores[0][0, 0] == pytest.approx(by_hand, rel=1e-6)
    assert outcome.predictions.scores[0][0].argmax() == int(by_hand < 0.5)


def test_clips_without_vectors_are_left_out_and_an_empty_split_is_refused(task, untrained):
    some = {name: rows for name, rows in ROWS.items() if name != "4"}
    outcome = score_task(task, task.folds(), vectors(some), Protocol(name="quick"), torch.device("cpu"))
    assert list(outcome.predictions.clip) == ["2", "3", "5"]
    none = {name: rows for name, rows in ROWS.items() if name in "01"}
    with pytest.raises(ValueError, match="no test clip"):
        score_task(task, task.folds(), vectors(none), Protocol(name="quick"), torch.device("cpu"))


def test_a_class_without_a_test_clip_is_named(task, untrained):
    some = {name: rows for name, rows in ROWS.items() if name in "01357"}
    outcome = score_task(task, task.folds(), vectors(some), Protocol(name="quick"), torch.device("cpu"))
    assert outcome.values["unscored_classes"] == ["a"]


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ({}, "cached"),
        ({"steps": 500}, "cached@500"),
        ({"name": "paper"}, "paper"),
        ({"name": "paper", "steps": 500}, "paper@500"),
        ({"name": "quick"}, "quick"),
        ({"name": "quick", "average": "probabilities"}, "quick+probabilities"),
        ({"head": "mlp"}, "cached+mlp"),
        ({"head": "mlp", "steps": 500, "average": "probabilities"}, "cached@500+mlp+probabilities"),
        ({"head": "linear"}, "cached+linear"),
        ({"name": "quick", "head": "knn"}, "quick+knn"),
        ({"name": "quick", "head": "logistic"}, "quick"),
    ],
)
def test_the_title_names_all_that_makes_scores_incomparable(settings, title):
    assert Protocol(**settings).title == title


def test_an_unknown_protocol_lists_the_known():
    with pytest.raises(UnknownNameError, match="paper, cached, quick"):
        Protocol(name="fast")


def test_a_head_in_place_of_the_protocols_own_gets_the_settings_that_it_has(task):
    task = replace(task, batch=32, steps=7_000, head="mlp")
    own = Protocol(seeds=(3, 4), check_rates=False).probe(task)
    assert (type(own).__name__, own.batch, own.steps, own.seeds, own.check_rates) == (
        "MlpProbe",
        32,
        7000,
        (3, 4),
        False,
    )
    other = Protocol(head="linear", steps=50).probe(task)
    assert (type(other).__name__, other.batch, other.steps) == ("LinearProbe", 32, 50)
    assert Protocol(head="knn").probe(task) == entries("probes")["knn"]
    assert type(Protocol(name="quick").probe(task)).__name__ == "LogisticProbe"
    assert type(Protocol(name="quick", head="mlp").probe(task)).__name__ == "MlpProbe"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"head": "knnn"}, "Did you mean 'knn'"),
        ({"head": "knn", "steps": 100}, "which takes no steps"),
        ({"head": "knn", "average": "probabilities"}, "no logits"),
        ({"name": "paper", "head": "knn"}, "draws no crops"),
        ({"name": "paper", "head": "logistic"}, "draws no crops"),
    ],
)
def test_what_a_head_cannot_follow_is_refused(task, settings, says):
    with pytest.raises(ValueError, match=says):
        Protocol(**settings).probe(task)


SLOTS = {
    "single": (("", ("a", "b", "c")),),
    "multi": (("", ("x", "y", "z")),),
    "slots": (("action", ("off", "on")), ("thing", ("door", "lamp", "tv")), ("place", ("in", "out"))),
}
METRIC = {"single": "accuracy", "multi": "map", "slots": "exact_match"}


def learnable(kind, num_clips=180):
    """A task of that kind and rows (one to three a clip) that say each label in a number of their own."""
    generator = np.random.default_rng(5)
    places = {(slot, label): k for k, (slot, label) in enumerate((s, n) for s, names in SLOTS[kind] for n in names)}
    clips, rows_of = [], {}
    for k in range(num_clips):
        if kind == "multi":
            labels = tuple(name for name in SLOTS[kind][0][1] if generator.random() < 0.4)
            said = [("", label) for label in labels]
        else:
            labels = tuple(names[generator.integers(len(names))] for _, names in SLOTS[kind])
            said = [(slot, label) for (slot, _), label in zip(SLOTS[kind], labels, strict=True)]
        vector = np.zeros(len(places))
        vector[[places[one] for one in said]] = 2.0
        noise = 0.3 * generator.standard_normal((generator.integers(1, 4), len(places)))
        rows_of[f"{k}"] = (vector + noise).astype(np.float32)
        clips.append(Clip(f"{k}", Path(f"{k}"), labels, f"g{k // 3}"))
    hand = HandMade(
        name="hand", domain="other", kind=kind, slots=SLOTS[kind], metric=METRIC[kind], crop_seconds=1.0,
        suite="hand", steps=1500, batch=32, parts=(Fold(clips[:90], clips[90:120], clips[120:]),),
    )  # fmt: skip
    return hand, Vectors(rows_of, len(places))


@pytest.mark.parametrize("kind", SLOTS)
@pytest.mark.parametrize("name", ["cached", "quick"])
@pytest.mark.parametrize("head", entries("probes"))
def test_every_probe_scores_every_kind_of_task(kind, name, head, monkeypatch):
    # a rate that learns in so few steps
    entry = entries("probes")[head]
    if hasattr(entry, "peak_rate"):
        monkeypatch.setitem(entries("probes"), head, replace(entry, peak_rate=0.02, warmup_steps=100))
    task, rows = learnable(kind)
    protocol = Protocol(name=name, head=head, check_rates=False)
    outcome = score_task(task, task.folds(), rows, protocol, torch.device("cpu"))
    # the labels lie about seven deviations apart: what can be known is known
    assert outcome.values["score"] > 0.95
    assert [scores.shape for scores in outcome.predictions.scores] == [(60, len(names)) for _, names in SLOTS[kind]]
    ((*probes,),) = outcome.probes
    assert len(probes) == len(SLOTS[kind])
    facts = outcome.values["probe"]
    assert facts["class"] == type(entry).__name__
    assert list(facts["slots"] if kind == "slots" else [""]) == [slot for slot, _ in SLOTS[kind]]


@pytest.mark.parametrize("kind", SLOTS)
def test_a_head_that_draws_crops_learns_from_them_alone(kind):
    task, rows = learnable(kind)
    protocol = Protocol(name="paper", steps=300, check_rates=False)
    from_rows = score_task(task, task.folds(), rows, protocol, torch.device("cpu"))
    # the same rows as crops: drawn alike, so learnt alike, whatever windows the training score is of
    first = {name: block[:1] for name, block in rows.rows_of.items() if int(name) >= 90 or int(name) % 9 == 0}
    as_crops = replace(rows, rows_of=first | {str(k): rows.rows_of[str(k)] for k in range(120, 180)})
    as_crops = replace(as_crops, crops=EmbeddedCrops({str(k): rows.rows_of[str(k)] for k in range(90)}))
    from_crops = score_task(task, task.folds(), as_crops, protocol, torch.device("cpu"))
    for one, other in zip(from_rows.probes[0], from_crops.probes[0], strict=True):
        assert torch.equal(one.weight, other.weight)
    for one, other in zip(from_rows.predictions.scores, from_crops.predictions.scores, strict=True):
        np.testing.assert_array_equal(one, other)
    facts = from_crops.values["probe"]
    crops = next(iter(facts["slots"].values()))["crops"] if kind == "slots" else facts["crops"]
    assert crops == {"from": sum(len(rows.rows_of[str(k)]) for k in range(90)), "embedded": "once"}


def test_slots_are_right_only_together(untrained):
    clips = [Clip(f"{k}", Path(f"{k}"), labels, f"g{k}") for k, labels in enumerate([("a", "x"), ("b", "y")] * 2)]
    slots = (("one", ("a", "b")), ("two", ("x", "y")))
    task = HandMade(
        name="hand", domain="other", kind="slots", slots=slots, metric="exact_match", crop_seconds=1.0,
        suite="hand", parts=(Fold(clips[:2], [], clips[2:]),),
    )  # fmt: skip
    # the first numbers of a row serve both slots: clip 2 is right in both, clip 3 in neither
    rows = {"0": [[1, 0]], "1": [[0, 1]], "2": [[1, 0]], "3": [[1, 0]]}
    outcome = score_task(task, task.folds(), vectors(rows), Protocol(name="quick"), torch.device("cpu"))
    assert outcome.values["score"] == 0.5
    assert outcome.values["metrics"] == {"exact_match": 0.5, "accuracy:one": 0.5, "accuracy:two": 0.5}
    assert outcome.values["per_class"] == {"one:a": 1.0, "one:b": 0.0, "two:x": 1.0, "two:y": 0.0}


@pytest.fixture
def crossed():
    """Three folds of a task that tunes on its first, and rows that no C tells apart by chance alone."""
    generator = np.random.default_rng(0)
    clips = [
        [Clip(f"{fold}-{k}", Path(f"{fold}-{k}"), ("ab"[k % 2],), f"{fold}-{k}") for k in range(20)]
        for fold in range(3)
    ]
    parts = tuple(Fold([clip for other in clips if other is not test for clip in other], (), test) for test in clips)
    task = HandMade(
        name="hand", domain="other", kind="single", slots=(("", ("a", "b")),), metric="accuracy", crop_seconds=1.0,
        suite="hand", head="svm", mixed_passes=3, tuned_on_first_fold=True, parts=parts,
    )  # fmt: skip
    plain, mixed = {}, {}
    for part in clips:
        for clip in part:
            centre = np.array([1.0, 0.0, 0.0]) * (1 if clip.labels == ("a",) else -1)
            plain[clip.id] = (centre + 1.5 * generator.standard_normal((1, 3))).astype(np.float32)
            mixed[clip.id] = (centre + 1.5 * generator.standard_normal((3, 3))).astype(np.float32)
    return task, Vectors(plain, 3, mixed)


def test_a_setting_is_tuned_on_the_first_fold_and_kept(crossed):
    task, rows = crossed
    outcome = score_task(task, task.folds(), rows, Protocol(), torch.device("cpu"))
    first, *others = outcome.values["probe"]["folds"]
    assert first["chosen_on"] == "valid"
    assert first["grid"][f"{first['C']:g}"] == max(first["grid"].values()) == outcome.values["folds"][0]
    assert [fold["C"] for fold in others] == [first["C"]] * 2
    assert all(fold["chosen_on"] is None for fold in others)


def test_the_nested_choice_is_made_on_training_folds_alone(crossed):
    task, rows = crossed
    nested = score_task(task, task.folds(), rows, Protocol(), torch.device("cpu")).values["metrics"]["nested_choice"]
    expected = []
    for k, fold in enumerate(task.folds()):
        inner = task.folds()[(k + 1) % 3].test
        rest = [clip for clip in fold.train if clip not in inner]
        grid = {}
        for C in SvmProbe().grid:
            grid[C] = _svm_accuracy(rows, rest, inner, C)
        expected.append(_svm_accuracy(rows, fold.train, fold.test, max(grid, key=grid.__getitem__)))
    assert nested == pytest.approx(np.mean(expected))


def _svm_accuracy(rows, train, test, C):
    X = np.concatenate([rows.mixed_of[clip.id] for clip in train])
    y = np.repeat(["ab".index(clip.labels[0]) for clip in train], 3)
    scaler = StandardScaler().fit(X)
    signs = np.where(y == 1, 1, -1)
    fitted = LinearSVC(C=C, tol=1e-8, max_iter=100_000).fit(scaler.transform(X), signs)
    scores = fitted.decision_function(scaler.transform(np.concatenate([rows.rows_of[clip.id] for clip in test])))
    return float(np.mean((scores > 0) == [clip.labels == ("b",) for clip in test]))


def test_quick_trains_on_plain_rows_and_tunes_on_nothing_that_is_scored(crossed):
    task, rows = crossed
    plain = Vectors(rows.rows_of, 3)
    protocol = Protocol(name="quick", head="svm")
    outcome = score_task(task, task.folds(), plain, protocol, torch.device("cpu"))
    assert protocol.mixed_passes(task) == 0
    assert "nested_choice" not in outcome.values["metrics"]
    assert all(fold["chosen_on"] == "groups" for fold in outcome.values["probe"]["folds"])


def on_disk(vectors, folder):
    """The same rows as one memory map."""
    table = np.concatenate(list(vectors.rows_of.values()))
    table.tofile(folder / "rows.bin")
    mapped = np.memmap(folder / "rows.bin", dtype=table.dtype, mode="r", shape=table.shape)
    ends = np.cumsum([len(rows) for rows in vectors.rows_of.values()])
    index = np.arange(len(table))
    return replace(
        vectors,
        rows_of={
            name: MappedRows((mapped,), index[end - len(rows) : end])
            for (name, rows), end in zip(vectors.rows_of.items(), ends, strict=True)
        },
    )


@pytest.mark.parametrize(
    ("kind", "head"),
    [("single", "linear"), ("multi", "linear"), ("slots", "linear"), ("multi", "mlp"), ("single", "logistic")],
)
@pytest.mark.parametrize("fits", [True, False])
def test_vectors_that_stay_on_disk_give_the_heads_and_scores_of_vectors_in_memory(
    kind, head, fits, tmp_path, monkeypatch
):
    task, vectors = learnable(kind)
    task = replace(task, steps=300)  # into a second chunk of draws
    protocol = Protocol(head=head)
    device = torch.device("cpu")
    expected = score_task(task, task.folds(), vectors, protocol, device)
    if not fits:
        monkeypatch.setattr(clip_scoring, "_most_in_memory", lambda device: 0)
        monkeypatch.setattr(clip_scoring, "_ROWS_AT_ONCE", 7)
        monkeypatch.setattr(holdout, "_ROWS_AT_ONCE", 7)
    found = score_task(task, task.folds(), on_disk(vectors, tmp_path), protocol, device)
    for one, other in zip(expected.probes[0], found.probes[0], strict=True):
        for name, tensor in one.tensors().items():
            torch.testing.assert_close(other.tensors()[name], tensor, rtol=0, atol=0)
    for one, other in zip(expected.predictions.scores, found.predictions.scores, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)  # the size of a block is that of a product
    assert found.values["probe"] == expected.values["probe"]
    assert found.values["train_score"] == expected.values["train_score"]


def test_of_very_many_training_clips_on_disk_some_are_scored_with_all_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_scoring, "ENOUGH_CLIPS", 30)
    task, vectors = learnable("single")
    clips = task.folds()[0].train
    X, counts = on_disk(vectors, tmp_path).matrix(clips, "train")
    some, rows, some_counts = clip_scoring.enough(clips, DiskRows(X, torch.device("cpu")), counts)
    assert some == clips[::3]
    assert some_counts.tolist() == [len(vectors.rows_of[clip.id]) for clip in some]
    np.testing.assert_array_equal(rows.read(), np.concatenate([vectors.rows_of[clip.id] for clip in some]))


def test_a_probe_that_needs_all_vectors_at_once_says_how_much_memory_they_would_take(tmp_path, monkeypatch):
    task, vectors = learnable("single")
    monkeypatch.setattr(clip_scoring, "_most_in_memory", lambda device: 0)
    monkeypatch.setattr(clip_scoring, "memory_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"LogisticProbe needs all \d+ vectors in memory .* linear or mlp"):
        score_task(task, task.folds(), on_disk(vectors, tmp_path), Protocol(name="quick"), torch.device("cpu"))
