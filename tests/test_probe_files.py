"""Trained probes in files: they come back as they were, and a stranger's file is believed in nothing."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from leveret.checkpoint import save_checkpoint
from leveret.contracts import Task
from leveret.probe_files import ProbeFileError, load_probe, save_probe, save_probes
from leveret.probes.knn import KnnReadout
from leveret.probes.linear import LinearReadout
from leveret.protocols import Protocol
from leveret.registry import look_up
from leveret.results import TaskResult
from leveret.runner import BEHAVIOUR_VERSIONS

ENCODER = {"spec": "melstats", "name": "melstats", "digest": "abc", "embed_dim": 4, "seed": 0, "layer": "mean"}
SLOTS = {
    "single": (("", ("a", "b", "c")),),
    "multi": (("", ("x", "y")),),
    "slots": (("action", ("on", "off")), ("thing", ("lamp", "door", "tv"))),
}
RESULT = TaskResult(
    task="t", suite="mine", domain="speech", stands_for="", kind="single", metric="accuracy", score=0.75,
    interval=(0.4, 0.6), interval_groups=20, interval_wide=False, metrics={}, per_class={}, chance=0.5,
    majority=0.5, floor=None, train_score=0.9, seeds={}, folds=[], probe={}, clips={}, skipped={},
    silent=[], coverage=1.0, unscored_classes=[], split_hash="h", notes="", seconds=1.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HandMade(Task):
    def folds(self):
        return []


def task(kind="single"):
    return HandMade(
        name="hand/made", domain="other", kind=kind, slots=SLOTS[kind], metric="accuracy", crop_seconds=1.5,
        suite="hand",
    )  # fmt: skip


def readouts(kind="single"):
    generator = torch.Generator().manual_seed(0)
    sizes = [len(labels) for _, labels in SLOTS[kind]]
    return [LinearReadout(torch.randn(2, size, 4, generator=generator), torch.zeros(2, size)) for size in sizes]


@pytest.fixture
def saved(tmp_path):
    protocol = Protocol(name="quick", average="probabilities")
    (path,) = save_probes(tmp_path / "probes", "made", task(), protocol, ENCODER, [readouts()], RESULT)
    return path


def rewrite(path, change=None, tensors=None):
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["leveret_probe"])
    if change:
        change(described)
    save_file(load_file(path) | (tensors or {}), path, metadata={"leveret_probe": json.dumps(described)})


@pytest.mark.parametrize("kind", SLOTS)
def test_a_probe_comes_back_as_it_was(tmp_path, kind):
    before = readouts(kind)
    (path,) = save_probes(tmp_path, "made", task(kind), Protocol(), ENCODER, [before], RESULT)
    found = load_probe(path)
    assert path.name == "made.safetensors"
    assert (found.kind, found.slots, found.task["name"]) == (kind, SLOTS[kind], "hand/made")
    assert (found.crop.seconds, found.crop.whole_clip, found.crop.hop) == (1.5, False, None)
    assert found.encoder == ENCODER
    assert found.versions == BEHAVIOUR_VERSIONS
    assert found.protocol["title"] == "cached"
    assert found.probe["class"] == "LinearProbe"
    assert (found.fold, found.folds, found.score) == (1, 1, 0.75)
    assert found.logits
    X = torch.randn(5, 4)
    for one, other in zip(found.readouts, before, strict=True):
        assert torch.equal(one.scores(X), other.scores(X))
    save_probe(tmp_path / "again.safetensors", found)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_each_fold_of_a_cross_validation_has_a_file_with_its_own_score(tmp_path):
    result = replace(RESULT, folds=[0.5, 1.0])
    paths = save_probes(tmp_path, "made", task(), Protocol(), ENCODER, [readouts(), readouts()], result)
    assert [path.name for path in paths] == ["made.fold-1.safetensors", "made.fold-2.safetensors"]
    assert [(found.fold, found.folds, found.score) for found in map(load_probe, paths)] == [(1, 2, 0.5), (2, 2, 1.0)]


def test_slots_that_share_their_training_vectors_are_written(tmp_path):
    X, rows = torch.randn(3, 4), torch.tensor([0, 1, 2])
    shared = [KnnReadout(X, rows, torch.tensor([0, 1, 0]), len(labels), 2) for _, labels in SLOTS["slots"]]
    protocol = Protocol(head="knn")
    (path,) = save_probes(tmp_path, "made", task("slots"), protocol, ENCODER, [shared], RESULT)
    found = load_probe(path)
    assert not found.logits
    assert found.protocol["title"] == "cached+knn"
    assert torch.equal(found.readouts[1].scores(X), shared[1].scores(X))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda it: it.update(version=99), "format 99, this leveret reads 1; upgrade"),
        (lambda it: it.pop("encoder"), "'encoder' is missing in its header"),
        (lambda it: it.update(encoder="melstats"), "trained probe that can be used"),
        (lambda it: it["encoder"].pop("digest"), "'digest' is missing"),
        (lambda it: it["encoder"].update(spec=["melstats"]), "spec is .* expected str"),
        (lambda it: it["encoder"].update(embed_dim=5), "expected any x 3 x 5"),
        (lambda it: it["encoder"].update(seed=2**64), "expected at most 64 bits"),
        (lambda it: it["probe"].pop("class"), "'class' is missing"),
        (lambda it: it.update(kind="several"), "kind 'several'; expected single, multi, slots"),
        (lambda it: it.update(slots=[["", ["a", "b"]]]), "expected any x 2 x 4"),
        (lambda it: it.update(slots=[["", ["a", "a", "b"]]]), "3 labels, 2 of them different"),
        (lambda it: it.update(slots=[["", ["a", "b", 3]]]), "a label is '3'"),
        (lambda it: it.update(slots=[["", "abc"]]), "labels is 'abc'"),
        (lambda it: it.update(slots=[["", ["a", "b", "c"]], ["", ["a"]]]), "2 slots for a task of kind 'single'"),
        (lambda it: it.update(slots=[]), "0 slots"),
        (lambda it: it.update(slots=7), "trained probe that can be used"),
        (lambda it: it.update(readouts=[]), "0 read-outs for 1 slots"),
        (lambda it: it.update(readouts=["linaer"]), "Did you mean 'linear'"),
        (lambda it: it.update(readouts=["mlp"]), "'hidden_weight' is missing"),
        (lambda it: it["crop"].update(seconds=1e9), "crop's seconds is 1000000000.0"),
        (lambda it: it["crop"].update(seconds=float("nan")), "crop's seconds is nan"),
        (lambda it: it["crop"].update(hop=1e-9), "crop's hop is 1e-09"),
        (lambda it: it["crop"].update(whole_clip="yes"), "whole_clip is 'yes'"),
        (lambda it: it["protocol"].update(average="median"), "average 'median'"),
        (lambda it: it.update(logits=1), "logits is '1'"),
        (lambda it: it.update(versions={"audio": "1"}), "audio is '1'"),
        (lambda it: it.update(score="high"), "score is 'high'"),
    ],
)
def test_a_header_that_does_not_fit_is_one_clear_error(saved, change, says):
    rewrite(saved, change)
    with pytest.raises(ProbeFileError, match=says) as refusal:
        load_probe(saved)
    assert str(saved) in str(refusal.value)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"0.weight": torch.zeros(2, 3, 5)}, "2 x 3 x 5 of float32; expected any x 3 x 4"),
        ({"0.weight": torch.zeros(2, 3, 4, dtype=torch.int64)}, "int64"),
        ({"0.bias": torch.zeros(1, 3)}, "1 x 3 of float32; expected 2 x 3"),
        ({"0.weight": torch.full((2, 3, 4), torch.inf)}, "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_one_clear_error(saved, tensors, says):
    rewrite(saved, tensors=tensors)
    with pytest.raises(ProbeFileError, match=says):
        load_probe(saved)


def places_of(value, path=()):
    """Every place of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places_of(part, (*path, key))


@pytest.mark.parametrize(
    "planted",
    [None, True, -1, 10**400, 1e300, "x", [], {}, [[]], [["", ["a"]]], {"spec": 1}],
    ids=lambda it: str(it)[:9],
)
def test_whatever_stands_anywhere_in_a_header_is_read_or_refused(saved, planted):
    with safe_open(saved, framework="pt") as file:
        text = file.metadata()["leveret_probe"]
    refused = 0
    for path in list(places_of(json.loads(text)))[1:]:
        described = json.loads(text)
        at = described
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = planted
        save_file(load_file(saved), saved, metadata={"leveret_probe": json.dumps(described)})
        try:
            load_probe(saved)
        except ProbeFileError:
            refused += 1
    assert refused > 10


def test_flipped_bytes_are_read_or_refused(saved):
    whole, generator = saved.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        torn = bytearray(whole)
        torn[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
        saved.write_bytes(torn)
        with suppress(ProbeFileError):
            load_probe(saved)


def test_a_cut_file_a_checkpoint_and_none_are_told_apart(saved, tmp_path):
    with pytest.raises(ProbeFileError, match="no trained probe at"):
        load_probe(tmp_path / "none.safetensors")
    config = look_up("encoders", "melstats")
    save_checkpoint(tmp_path / "encoder.safetensors", "melstats", config, config.build())
    with pytest.raises(ProbeFileError, match="without leveret's header of a trained probe"):
        load_probe(tmp_path / "encoder.safetensors")
    saved.write_bytes(saved.read_bytes()[:-7])
    with pytest.raises(ProbeFileError, match="cut short"):
        load_probe(saved)
