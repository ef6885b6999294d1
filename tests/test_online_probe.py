"""Probes while a run goes on: the scores of `evaluate`, a training that notices nothing, and tasks that fail."""

from pathlib import Path

import pytest
import soundfile

from leveret.dataroots import DataRoots
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.online_probe import OnlineProbe
from leveret.progress import Reporter
from leveret.registry import UnknownNameError
from leveret.runner import Compute
from leveret.training_log import read_log


class Heard(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def probed(toy, tmp_path):
    """A run whose encoder is probed on tasks, and what was said of them."""

    def run(folder, *manifests, **settings):
        config = toy.toy_config(probe_every=5, probe_tasks=tuple(f"manifest:{path}" for path in manifests), **settings)
        heard = Heard()
        probe = OnlineProbe(config, DataRoots(), folder / ".probe", Compute(device="cpu"), heard)
        toy.toy_run(folder, config, probe=probe)
        return probe, heard.lines

    return run


def test_the_scores_are_those_of_evaluate_and_training_notices_nothing(toy, tone_manifest, probed, tmp_path):
    manifest = tone_manifest()
    toy.toy_run(tmp_path / "alone")
    _, said = probed(tmp_path / "run", manifest)
    lines = read_log(tmp_path / "run")
    assert [line["loss"] for line in lines if "loss" in line] == [line["loss"] for line in read_log(tmp_path / "alone")]
    one, other = (tmp_path / name / "checkpoint.safetensors" for name in ("alone", "run"))
    probes = [line for line in lines if "probe_seconds" in line]
    assert [line["step"] for line in probes] == [0, 5, 8]
    assert set(probes[0]) == {"step", "probe/tones", "melstats/tones", "probe_seconds"}
    assert not (tmp_path / "home" / "embeddings").exists()
    assert not (tmp_path / "run" / ".probe").exists()
    config = EvaluateConfig(compute=Compute(device="cpu"), output=tmp_path / "runs")
    found = evaluate([str(one), str(other), "melstats"], f"manifest:{manifest}", "quick", config=config)
    scores = [run.scorecard.tasks[0].score for run in found]
    assert scores[0] == scores[1] == probes[-1]["probe/tones"]
    assert {line["melstats/tones"] for line in probes} == {scores[2]}
    assert len(said) == 3
    assert said[1].startswith(f"probe after step 5: tones {100 * probes[1]['probe/tones']:.1f} (")


def test_several_tasks_have_a_mean(tone_manifest, probed, tmp_path):
    other = tone_manifest("other", num_clips=40, splits="train test")
    other.write_text(other.read_text().replace("tones,", "sounds,"))
    probed(tmp_path / "run", tone_manifest(), other)
    for line in (line for line in read_log(tmp_path / "run") if "probe_seconds" in line):
        for what in ("probe", "melstats"):
            assert line[f"{what}/mean"] == pytest.approx((line[f"{what}/tones"] + line[f"{what}/sounds"]) / 2)


def test_a_task_that_fails_says_so_once_and_is_tried_again(toy, tone_manifest, tmp_path):
    good, bad = tone_manifest(), tone_manifest("other")
    bad.write_text(bad.read_text().replace("tones,", "sounds,"))
    config = toy.toy_config(steps=4, probe_every=1, probe_tasks=(f"manifest:{good}", f"manifest:{bad}"))
    heard, away = Heard(), tmp_path / "away"
    probe = OnlineProbe(config, DataRoots(), tmp_path / ".probe", Compute(device="cpu"), heard)
    (bad.parent / "audio").rename(away)

    def mounted_again_after_two_steps(encoder, step):
        if step == 3:
            away.rename(bad.parent / "audio")
        return probe(encoder, step)

    toy.toy_run(tmp_path / "run", config, probe=mounted_again_after_two_steps)
    lines = [line for line in read_log(tmp_path / "run") if "probe_seconds" in line]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
    assert all(line["probe/tones"] > 0 for line in lines)
    assert [line["probe/sounds"] is None for line in lines] == [True, True, True, False, False]
    assert [line["probe/mean"] is None for line in lines] == [True, True, True, False, False]
    (told,) = (line for line in heard.lines if "has no score" in line)
    assert told.startswith("probe: sounds has no score (60 of 60 clips cannot be used, 0 may be")
    assert told.endswith("; the training goes on, and later probes try it again without a word")


def test_a_task_without_a_test_clip_that_can_be_read_does_not_end_the_run(tone_manifest, probed, tmp_path):
    manifest = tone_manifest(splits="train test")
    for line in manifest.read_text().splitlines()[1:]:
        if ",test," in line:
            soundfile.write(manifest.parent / line.split(",")[-1], [], 16_000)
    probe, said = probed(tmp_path / "run", manifest)
    assert probe.floors == {}
    assert said[0].startswith("probe: tones has no score (30 of 60 clips cannot be used")
    assert said[1].startswith("probe after step 0: no task has a score")


def test_a_misspelt_task_is_refused_before_anything_starts(toy, tmp_path):
    config = toy.toy_config(probe_every=1, probe_tasks=("esc_50",))
    with pytest.raises(UnknownNameError, match="Did you mean 'esc50'"):
        OnlineProbe(config, DataRoots(), Path(tmp_path / ".probe"), Compute(device="cpu"))
