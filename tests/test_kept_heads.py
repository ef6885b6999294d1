"""AudioSet by the classifier of supervised pretraining: training to scorecard, against a plain loop; refusals."""

import json
import os
from shutil import rmtree

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import average_precision_score
from tests.tasks.toy_environment import AUDIOSET, audioset_tree

from leveret import audio, batches, cli, runner
from leveret.audio import load, window_starts
from leveret.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from leveret.classifying import classify
from leveret.dataroots import DataRoots
from leveret.evaluation import Evaluation, evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.kept_heads import HeadError
from leveret.loading import find_tasks
from leveret.protocols import Protocol
from leveret.results import Scorecard
from leveret.runner import Compute
from leveret.runs import find_runs
from leveret.vectors import VectorFile, write_vectors

PRETRAIN = (
    "--encoder", "nfnet_tiny", "--objective", "supervised", "--batch", "8", "--steps", "3", "--crop-seconds", "0.5",
    "--workers", "0", "--track", "none", "--device", "cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("kept")
    tree = audioset_tree(root / "audioset")
    # the tree's tones make one eval file byte for byte a train file; here none may be
    path = tree / "audios" / "eval_segments" / "YYxxxxxxxxxx.wav"
    soundfile.write(path, 0.9 * soundfile.read(path)[0], 32_000, subtype="PCM_16")
    return root


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A checkpoint of supervised pretraining on the train segments of the toy AudioSet."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEVERET_HOME", str(folder / "home"))
        words = ["pretrain", *PRETRAIN, "--corpus", "audioset", "--data", str(root), "-o", str(folder / "run")]
        assert cli.main(words) == 0
    return folder / "run" / "checkpoint.safetensors"


@pytest.fixture
def config(root, tmp_path):
    return EvaluateConfig(
        compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", floor=False, data=DataRoots(root=root),
        protocol=Protocol(steps=10, check_rates=False),
    )  # fmt: skip


def changed(path, to, *, labels=None, beside=None):
    """A copy of a checkpoint with other labels, or other tensors beside the encoder."""
    found = load_checkpoint(path)
    extra = dict(found.extra) | ({} if labels is None else {"labels": labels})
    save_checkpoint(to, found.name, found.config, found.encoder, extra, found.beside if beside is None else beside)
    return to


def by_hand(path, root, squash=lambda logits: logits):
    """Mean of the windows' values (M, K) and the labels (M, K): a plain loop over segments and ten windows of each."""
    found = load_checkpoint(path)
    weight, bias = (found.beside[f"objective.classifier.{name}"] for name in ("weight", "bias"))
    assert found.extra["labels"] == [f"Toy {k}, of 527" for k in range(527)]
    scores, targets = [], []
    for name, labels, seconds in AUDIOSET["eval_segments"]:
        if not seconds:
            continue
        wave = load(root / "audioset" / "audios" / "eval_segments" / f"Y{name}.wav", 16_000)
        windows = [
            np.pad(part, (0, 48_000 - len(part)))
            for start in window_starts(len(wave) / 16_000, 3.0, num_windows=10)
            for part in [wave[round(start * 16_000) :][:48_000]]
        ]
        with torch.no_grad():
            vectors = found.encoder(torch.from_numpy(np.stack(windows)))
            scores.append(squash(vectors @ weight.T + bias).mean(0).numpy())
        targets.append(np.isin(np.arange(527), labels))
    return np.stack(scores), np.stack(targets)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_audioset_is_scored_by_the_classifier_of_the_pretraining(root, trained, tmp_path, capsys, average):
    words = ["--encoder", str(trained), "--tasks", "audioset", "--data", str(root), "--no-floor", "--average", average]
    assert cli.main(["evaluate", *words, "--json", "-o", str(tmp_path / "runs")]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    result = card["tasks"][0]
    assert (result["head"], result["probe"]["class"]) == ("pretraining", "PretrainingClassifier")
    assert result["probe"]["objective"] == "supervised"
    assert (result["train_score"], result["clips"]) == (None, {"train": 0, "valid": 0, "test": 4})
    # train segments in the corpus are no contamination of eval
    assert (result["contamination"], result["contaminated"]) == ("none found", [])
    scores, targets = by_hand(trained, root, torch.sigmoid if average == "probabilities" else lambda logits: logits)
    (run,) = find_runs(tmp_path / "runs")
    np.testing.assert_allclose(run.predictions("audioset").scores[0], scores, atol=2e-5)  # windows in other batches
    present = targets.any(0)
    assert present.sum() == 3
    expected = np.mean([average_precision_score(targets[:, k], scores[:, k]) for k in np.flatnonzero(present)])
    assert result["score"] == pytest.approx(expected, abs=1e-6)
    assert Scorecard.from_json(json.dumps(card)).tasks[0].head == "pretraining"


def test_no_training_segment_is_read_where_nothing_is_trained(root, trained, config, monkeypatch):
    decoded, embedded = [], []
    read_span, vectors = audio.read_span, runner.Network.vectors
    monkeypatch.setattr(batches, "read_span", lambda path, *rest: decoded.append(path) or read_span(path, *rest))
    monkeypatch.setattr(
        runner.Network,
        "vectors",
        lambda self, batch, layers: embedded.append(batch.num_rows) or vectors(self, batch, layers),
    )
    evaluation = Evaluation(type(config)(**vars(config) | {"encoders": (str(trained),), "tasks": ("audioset",)}))
    (planned,) = evaluation.plan().rows
    embedded.clear()
    decoded.clear()
    (run,) = evaluation.run()
    assert {path.parent.name for path in decoded} == {"eval_segments"}
    assert sum(embedded) == planned["windows"] == 31  # ten of three clips, one of the clip of 2 s
    assert run.scorecard.tasks[0].head == "pretraining"


@pytest.mark.parametrize("protocol", ["paper", "cached", "quick"])
def test_the_floor_beside_it_is_still_trained(trained, config, protocol):
    steps = None if protocol == "quick" else 2
    settings = type(config)(
        **vars(config) | {"floor": True, "protocol": Protocol(name=protocol, steps=steps, check_rates=False)}
    )
    one, two = evaluate([str(trained), "nfnet_tiny"], "audioset", protocol, config=settings)
    assert [run.scorecard.tasks[0].head for run in (one, two)] == ["pretraining", "probe"]
    assert two.scorecard.tasks[0].clips["train"] == 6
    assert 0 < one.scorecard.tasks[0].floor <= 1


def test_a_probe_can_be_forced_and_says_with_what_it_cannot_be_compared(root, trained, tmp_path, capsys):
    words = ["evaluate", "--encoder", str(trained), "--tasks", "audioset", "--data", str(root), "--no-floor"]
    quickly = ["--steps", "10", "--no-check-rates", "-o", str(tmp_path / "runs")]
    assert cli.main([*words, *quickly]) == 0
    said = capsys.readouterr().out
    assert "run, head: pretraining (its own classifier, no new probe): audioset" in said
    assert "not comparable" not in said
    for more in (["--head", "probe"], ["--probe", "linear"]):
        assert cli.main([*words, *quickly, *more]) == 0
        said = capsys.readouterr().out
        assert "head: pretraining" not in said
        assert "not comparable with tables 6 and 8 of the paper" in said


def test_columns_go_by_name_whatever_their_order(root, trained, config, tmp_path):
    found = load_checkpoint(trained)
    order = np.random.default_rng(0).permutation(527).tolist()
    beside = {key: tensor[order] if "classifier" in key else tensor for key, tensor in found.beside.items()}
    labels = [found.extra["labels"][k] for k in order]
    shuffled = changed(trained, tmp_path / "shuffled.safetensors", labels=labels, beside=beside)
    one, two = evaluate([str(trained), str(shuffled)], "audioset", config=config)
    np.testing.assert_array_equal(*(run.predictions("audioset").scores[0] for run in (one, two)))


def test_a_classifier_of_other_labels_leaves_the_task_to_a_probe(trained, config, tmp_path):
    other = changed(trained, tmp_path / "other.safetensors", labels=[f"Other {k}" for k in range(527)])
    (run,) = evaluate(str(other), "audioset", config=config)
    assert run.scorecard.tasks[0].head == "probe"
    assert not any("not comparable" in one for one in run.scorecard.tasks[0].warnings)


def test_it_can_be_asked_for_on_another_task_and_says_so(tone_manifest, tmp_path, config, capsys):
    manifest = tone_manifest(num_clips=12)
    words = ["pretrain", *PRETRAIN, "--crop-seconds", "0.2", "--data", str(manifest), "-o", str(tmp_path / "run")]
    assert cli.main(words) == 0
    path = str(tmp_path / "run" / "checkpoint.safetensors")
    task = f"manifest:{manifest}"
    assert evaluate(path, task, config=config)[0].scorecard.tasks[0].head == "probe"
    asked = type(config)(**vars(config) | {"head": "pretraining", "floor": True, "save_probes": True})
    (run,) = evaluate(path, task, config=asked)
    result = run.scorecard.tasks[0]
    assert result.head == "pretraining"
    assert result.floor is not None
    assert any(one.startswith("not comparable with probes trained on this task") for one in result.warnings)
    # the classifier that was saved gives the very scores again
    predictions = run.predictions("tones")
    files = [manifest.parent / name for name in predictions.clip]
    again = classify(files, run.folder / "probes" / "tones.safetensors", compute=config.compute)
    np.testing.assert_allclose(again.scores[0], predictions.scores[0], atol=2e-5)
    assert again.about["probe"]["class"] == "PretrainingClassifier"
    # verified by the classifier, not by a probe that nobody trained
    for saved in (True, False):
        assert cli.main(["verify", str(run.folder)]) == 0, capsys.readouterr().out
        if saved:
            rmtree(run.folder / "probes")
    assert "scored by the encoder's own classifier" in " ".join(capsys.readouterr().out.split())
    words = ["evaluate", "--encoder", path, "--tasks", task, "--no-floor", "--head", "pretraining"]
    for more, says in (
        (["--average", "probabilities"], "its softmax gives no probabilities"),
        (["--probe", "mlp"], "takes the place of a probe; leave one of them out"),
        (["--layer", "all"], "the classifier reads the layer"),
    ):
        assert cli.main([*words, *more, "-o", str(tmp_path / "runs")]) == 2
        said = capsys.readouterr().err
        assert says in said
        assert "Traceback" not in said


def test_it_is_refused_where_there_is_none_or_its_labels_are_others(root, trained, config, tmp_path, capsys):
    words = ["evaluate", "--tasks", "audioset", "--data", str(root), "--head", "pretraining", "-o", str(tmp_path / "r")]
    labels = ["Speech", *(f"Toy {k}, of 527" for k in range(526))]
    other = changed(trained, tmp_path / "other.safetensors", labels=labels)
    bare = changed(trained, tmp_path / "bare.safetensors", beside={})
    for encoder, says in (
        ("nfnet_tiny", "nfnet_tiny on task 'audioset': it keeps no classifier; expected a checkpoint of"),
        (str(bare), "bare on task 'audioset': it keeps no classifier"),
        (str(other), "the classifier has 527 labels (1 that the task lacks, such as 'Speech'), the task has 527 (1 "
         "that the classifier lacks, such as 'Toy 526, of 527'); expected the same names"),
    ):  # fmt: skip
        assert cli.main([*words, "--encoder", encoder]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert says in said
        assert "Traceback" not in said
    assert not os.path.exists(tmp_path / "r")
    (task,) = find_tasks(["audioset"], data=config.data).tasks
    clips = [clip.id for fold in task.folds() for clip in (*fold.train, *fold.test)]
    made = VectorFile(clips, np.zeros(len(clips)), np.ones(len(clips)), np.eye(len(clips), 12, dtype=np.float32), {})
    write_vectors(tmp_path / "v.parquet", made)
    assert cli.main([*words, "--vectors", str(tmp_path / "v.parquet")]) == 2
    assert "vectors have no classifier" in capsys.readouterr().err
    with pytest.raises(HeadError, match="takes the place of a probe"):
        EvaluateConfig(head="pretraining", protocol=Protocol(head="mlp"))


@pytest.mark.parametrize("harm", ["no list", "twice", "shape", "not finite", "no bias"])
def test_a_damaged_classifier_is_told_and_a_probe_does_without_it(trained, config, tmp_path, harm):
    found = load_checkpoint(trained)
    beside, labels = dict(found.beside), list(found.extra["labels"])
    if harm == "no list":
        labels = "Toy"
    elif harm == "twice":
        labels[1] = labels[0]
    elif harm == "shape":
        beside["objective.classifier.weight"] = beside["objective.classifier.weight"][:, 1:]
    elif harm == "not finite":
        beside["objective.classifier.bias"] = torch.full((527,), torch.nan)
    else:
        del beside["objective.classifier.bias"]
    path = changed(trained, tmp_path / "damaged.safetensors", labels=labels, beside=beside)
    with pytest.raises(CheckpointError, match=r"classifier in .*damaged\.safetensors"):
        evaluate(str(path), "audioset", config=config)
