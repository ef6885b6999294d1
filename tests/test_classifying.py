"""From evaluation to labels: the very predictions of the run, and no other encoder than the probe's."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from leveret import embedding
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.checkpoint import save_checkpoint
from leveret.classifying import classify
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.loading import create_encoder
from leveret.probe_files import ProbeFileError, load_probe
from leveret.protocols import Protocol
from leveret.registry import entries, look_up
from leveret.runner import Compute

ONE_THREAD = Compute(device="cpu", threads=1)
KINDS = ("single", "multi", "slots")


@pytest.fixture
def config(tmp_path):
    return EvaluateConfig(compute=ONE_THREAD, output=tmp_path / "runs", floor=False, save_probes=True)


@pytest.fixture
def manifest_of(tone_manifest):
    """The tones as a task of each kind."""

    def write(kind):
        manifest = tone_manifest(kind)
        rows = list(csv.DictReader(manifest.read_text().splitlines()))
        tags = {"high": ["high|odd", "high"], "low": ["low", "low|odd"]}
        if kind == "multi":
            lines = ["file,split,label"]
            lines += [f"{row['file']},{row['split']},{tags[row['label']][k // 2 % 2]}" for k, row in enumerate(rows)]
            manifest.write_text("\n".join(lines))
        if kind == "slots":
            lines = ["file,split,label:pitch,label:place"]
            lines += [f"{row['file']},{row['split']},{row['label']},{'xyz'[k % 3]}" for k, row in enumerate(rows)]
            manifest.write_text("\n".join(lines))
        return manifest

    return write


def probe_of(run):
    (path,) = (run.folder / "probes").iterdir()
    return path


def clips_and_files(run, manifest):
    (task,) = [result.task for result in run.scorecard.tasks]
    predictions = run.predictions(task)
    return predictions, [manifest.parent / clip for clip in predictions.clip]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", entries("probes"))
def test_the_test_clips_of_a_run_get_its_very_predictions(manifest_of, config, kind, head):
    manifest = manifest_of(kind)
    protocol = Protocol(head=head, steps=300 if head in ("linear", "mlp") else None, check_rates=False, seeds=(4, 7))
    (run,) = evaluate("melstats", f"manifest:{manifest}", config=replace(config, protocol=protocol))
    predictions, files = clips_and_files(run, manifest)
    found = classify(files, probe_of(run), compute=ONE_THREAD)
    assert list(found.file) == [str(file) for file in files]
    assert {slot: list(labels) for slot, labels in found.vocabulary.items()} == predictions.vocabulary
    assert len(found.scores) == len(predictions.scores)
    for there, here in zip(predictions.scores, found.scores, strict=True):
        # the same rows out of the cache, in the same order, through the same arithmetic
        np.testing.assert_array_equal(here, there)
    assert found.meaning == ("probability" if entries("probes")[head].logits else "decision_value")
    if found.meaning == "probability" and kind != "multi":
        np.testing.assert_allclose(found.values[0].sum(1), 1, rtol=1e-5)
    assert found.about["task"]["name"] == run.scorecard.tasks[0].task


def test_windows_are_averaged_as_the_evaluation_averaged_them(tone_manifest, config):
    manifest = tone_manifest(seconds=1.3)
    for average in ("logits", "probabilities"):
        settings = replace(config, crop=0.5, protocol=Protocol(average=average))
        (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=settings)
        predictions, files = clips_and_files(run, manifest)
        found = classify(files, probe_of(run), compute=ONE_THREAD)
        np.testing.assert_allclose(found.scores[0], predictions.scores[0], rtol=1e-5)
        np.testing.assert_allclose(found.values[0].sum(1), 1, rtol=1e-5)
        assert list(found.seconds) == pytest.approx([1.3] * 20)
    by_window = classify(files, probe_of(run), window=0.5, hop=0.4, compute=ONE_THREAD)
    assert len(by_window.file) == 60
    assert list(by_window.start[:3]) == pytest.approx([0, 0.4, 0.8])
    assert list(by_window.seconds) == [0.5] * 60


def test_a_fold_gives_the_predictions_of_its_test_clips(tone_manifest, config):
    manifest = tone_manifest()
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    lines = ["file,label,fold", *(f"{row['file']},{row['label']},{k % 6 // 2}" for k, row in enumerate(rows))]
    manifest.write_text("\n".join(lines))
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    paths = sorted((run.folder / "probes").iterdir())
    assert [path.name for path in paths] == [f"manifest.fold-{n}.safetensors" for n in (1, 2, 3)]
    predictions, files = clips_and_files(run, manifest)
    found = classify(files[20:40], paths[1], compute=ONE_THREAD)
    np.testing.assert_allclose(found.scores[0], predictions.scores[0][20:40], rtol=1e-5)


def test_nothing_is_saved_unless_asked_for(tone_manifest, config):
    (run,) = evaluate("melstats", f"manifest:{tone_manifest()}", "quick", config=replace(config, save_probes=False))
    assert not (run.folder / "probes").exists()


@pytest.fixture
def trained(tone_manifest, config):
    """A run's probe and the files of its manifest."""
    manifest = tone_manifest()
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    return probe_of(run), sorted((manifest.parent / "audio").iterdir())


def test_a_run_folder_stands_for_its_only_probe(trained, tmp_path):
    probe, files = trained
    run = probe.parents[1]
    for folder in (run, probe.parent):
        assert classify(files[:1], folder, compute=ONE_THREAD).values[0].shape == (1, 2)
    (probe.parent / "other.safetensors").touch()
    with pytest.raises(ProbeFileError) as caught:
        load_probe(run)
    assert str(caught.value) == f"{run} holds 2 probes: name one, {run}/probes/NAME.safetensors, of other, {probe.stem}"
    with pytest.raises(ProbeFileError, match=r"holds no probes; `leveret evaluate --save-probes` keeps them"):
        load_probe(tmp_path / "runs" / "..")


def test_the_highest_labels_come_first(trained):
    probe, files = trained
    found = classify(files[:3], probe, compute=ONE_THREAD)
    columns = found.top(0)
    assert list(columns) == ["file", "start", "seconds", "rank", "label", "probability"]
    assert columns["rank"] == [1, 2] * 3
    assert columns["label"] == ["low", "high", "high", "low", "low", "high"]  # files alternate
    assert columns["probability"][0] == pytest.approx(1 - columns["probability"][1], abs=1e-6)
    assert found.top(1)["label"] == ["low", "high", "low"]
    assert found.top(50) == columns
    with pytest.raises(ValueError, match="top=-1"):
        found.top(-1)


def test_slots_have_a_column(manifest_of, config):
    manifest = manifest_of("slots")
    (run,) = evaluate("melstats", f"manifest:{manifest}", "quick", config=config)
    columns = classify([manifest.parent / "audio" / "001.wav"], probe_of(run), compute=ONE_THREAD).top(1)
    assert columns["slot"] == ["pitch", "place"]
    assert columns["label"][0] == "high"


def test_bad_files_are_refused_or_skipped_by_name(trained):
    probe, files = trained
    files[1].write_text("not audio")
    with pytest.raises(TooManyBadFilesError, match=files[1].name):
        classify(files[:4], probe, compute=ONE_THREAD)
    found = classify(files[:4], probe, compute=ONE_THREAD, policy=BadFilePolicy("skip"))
    assert list(found.file) == [str(files[k]) for k in (0, 2, 3)]
    assert list(found.about["skipped"]) == [str(files[1])]


def test_rows_come_out_of_the_cache(trained, monkeypatch):
    probe, files = trained
    first = classify(files, probe, compute=ONE_THREAD)
    monkeypatch.setattr(embedding, "vectors_of_batch", lambda *rest: pytest.fail("embedded again"))
    np.testing.assert_array_equal(classify(files, probe, compute=ONE_THREAD).scores[0], first.scores[0])


def test_the_weights_of_a_bare_name_are_drawn_again_with_the_seed(tone_manifest, config):
    manifest = tone_manifest()
    (run,) = evaluate("slowfast_nfnet_tiny", f"manifest:{manifest}", "quick", config=replace(config, seed=3))
    predictions, files = clips_and_files(run, manifest)
    found = classify(files, probe_of(run), compute=ONE_THREAD)
    np.testing.assert_allclose(found.scores[0], predictions.scores[0], rtol=1e-4, atol=1e-4)


def tiny_checkpoint(path: Path, seed: int) -> Path:
    sizes = look_up("encoders", "slowfast_nfnet_tiny")
    torch.manual_seed(seed)
    save_checkpoint(path, "slowfast_nfnet_tiny", sizes, sizes.build())
    return path


def test_a_checkpoint_that_moved_is_named_and_another_is_refused(tone_manifest, config, tmp_path):
    manifest, path = tone_manifest(), tiny_checkpoint(tmp_path / "encoder.safetensors", 0)
    (run,) = evaluate(str(path), f"manifest:{manifest}", "quick", config=config)
    predictions, files = clips_and_files(run, manifest)
    probe = probe_of(run)
    moved = path.rename(tmp_path / "moved.safetensors")
    with pytest.raises(ProbeFileError, match=r"no checkpoint at .*; name it with --encoder"):
        classify(files, probe, compute=ONE_THREAD)
    found = classify(files, probe, encoder=str(moved), compute=ONE_THREAD)
    np.testing.assert_allclose(found.scores[0], predictions.scores[0], rtol=1e-4, atol=1e-4)
    other = tiny_checkpoint(tmp_path / "other.safetensors", 1)
    for wrong in (str(other), "melstats"):
        with pytest.raises(ProbeFileError, match="other weights or other code"):
            classify(files, probe, encoder=wrong, compute=ONE_THREAD)
    other.rename(path)  # under the name that the probe knows
    with pytest.raises(ProbeFileError, match="other weights or other code"):
        classify(files, probe, compute=ONE_THREAD)


SOURCE = """
import torch
class Mine:
    sample_rate = 16000
    def embed(self, wave):
        return torch.stack([wave.mean(1), wave.std(1), wave.abs().amax(1), wave.diff(dim=1).std(1)], 1)
"""


def test_no_code_runs_because_a_probe_asks_for_it(tone_manifest, config, tmp_path):
    manifest, source = tone_manifest(), tmp_path / "mine.py"
    source.write_text(SOURCE)
    spec = f"py:{source}:Mine"
    (run,) = evaluate(spec, f"manifest:{manifest}", "quick", config=config)
    predictions, files = clips_and_files(run, manifest)
    probe = probe_of(run)
    source.write_text(SOURCE + "\nopen('ran', 'w')\n")
    with pytest.raises(ProbeFileError, match="no code runs because a file asks for it"):
        classify(files, probe, compute=ONE_THREAD)
    assert not Path("ran").exists()
    source.write_text(SOURCE)
    found = classify(files, probe, encoder=spec, compute=ONE_THREAD)
    np.testing.assert_allclose(found.scores[0], predictions.scores[0], rtol=1e-5)
    source.write_text(SOURCE + "\n# changed\n")
    with pytest.raises(ProbeFileError, match="other weights or other code"):
        classify(files, probe, encoder=spec, compute=ONE_THREAD)


def test_an_encoder_object_is_handed_in_again(tone_manifest, config):
    manifest, encoder = tone_manifest(), create_encoder("slowfast_nfnet_tiny")
    (run,) = evaluate(encoder, f"manifest:{manifest}", "quick", config=config)
    predictions, files = clips_and_files(run, manifest)
    with pytest.raises(ProbeFileError, match="name the encoder 'SlowFast"):
        classify(files, probe_of(run), compute=ONE_THREAD)
    found = classify(files, probe_of(run), encoder=encoder, compute=ONE_THREAD)
    np.testing.assert_allclose(found.scores[0], predictions.scores[0], rtol=1e-4, atol=1e-4)


def test_a_layer_that_was_read_out_is_read_out_again(tone_manifest, config):
    manifest = tone_manifest()
    layers = list(create_encoder("slowfast_nfnet_tiny").layers)
    assert len(layers) > 1
    settings = replace(config, layers=(layers[0],))
    (run,) = evaluate("slowfast_nfnet_tiny", f"manifest:{manifest}", "quick", config=settings)
    predictions, files = clips_and_files(run, manifest)
    assert load_probe(probe_of(run)).encoder["layer"] == layers[0]
    found = classify(files, probe_of(run), compute=ONE_THREAD)
    np.testing.assert_array_equal(found.scores[0], predictions.scores[0])
    assert found.about["encoder"]["layer"] == layers[0]


def test_other_behaviour_versions_are_refused(trained):
    probe, files = trained
    read = load_probe(probe)
    with pytest.raises(ProbeFileError, match=r"audio 0 there and \d here"):
        classify(files, replace(read, versions={**read.versions, "audio": 0}), compute=ONE_THREAD)


def test_a_window_is_judged_before_the_work(trained):
    probe, files = trained
    with pytest.raises(ValueError, match=r"hop=1.0 s goes with a window, and none is given"):
        classify(files, probe, hop=1.0)
    with pytest.raises(ValueError, match=r"hop=0.0 s; expected 0.01 \(the hop of the front end\) to 3600"):
        classify(files, probe, window=1.0, hop=0.0)


def test_a_single_file_may_stand_by_itself_and_text_for_a_path(trained):
    probe, files = trained
    (expected,) = classify(files[:1], probe, compute=ONE_THREAD).scores
    assert load_probe(str(probe)).encoder == load_probe(probe).encoder
    for single in (files[0], str(files[0])):
        np.testing.assert_array_equal(classify(single, str(probe), compute=ONE_THREAD).scores[0], expected)


def test_the_probe_says_what_it_is_in_plain_json(trained):
    probe, files = trained
    about = classify(files[:1], probe, compute=ONE_THREAD).about
    assert json.loads(json.dumps(about))["probe"]["class"] == "LogisticProbe"
