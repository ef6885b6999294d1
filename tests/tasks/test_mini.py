import csv
import json
import os
from hashlib import sha256

import numpy as np
import pytest
import soundfile
import torch
from filelock import FileLock
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leveret import bootstrap, metrics
from leveret.frontend import LogMel
from leveret.tasks import mini
from leveret.tasks.mini_espeak import Phrase, SpeechError, spoken
from leveret.tasks.mini_sound import Sound, band_noise, finished, fitted, generator, noise, scaled


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    """The folder of the whole suite, made once for all processes of the tests."""
    here = tmp_path_factory.getbasetemp()
    everybody = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    folder = everybody / "mini" / "suite"
    with FileLock(everybody / "mini.lock"):
        if not folder.exists():
            shares = []
            assert mini.make_suite(folder, shares.append) == folder / "manifest.csv"
            assert shares == sorted(shares)
            assert shares[-1] == 1.0
    return folder


@pytest.fixture(scope="session")
def rows(suite):
    with (suite / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_file_is_listed_with_its_digest(suite, rows):
    listing = json.loads((suite / "listing.json").read_text(encoding="utf-8"))["sha256"]
    found = {str(path.relative_to(suite)) for path in suite.rglob("*") if path.is_file()}
    assert found == {*listing, "listing.json"}
    assert {row["file"] for row in rows} == {name for name in listing if name.endswith(".flac")}
    assert len(rows) == mini.NUM_CLIPS
    for name, digest in listing.items():
        assert sha256((suite / name).read_bytes()).hexdigest() == digest


@pytest.mark.soak
def test_the_same_bytes_are_made_again(suite, tmp_path):
    mini.make_suite(tmp_path / "again")
    assert (tmp_path / "again/listing.json").read_bytes() == (suite / "listing.json").read_bytes()


def test_a_suite_that_is_there_is_not_made_again(suite, monkeypatch):
    monkeypatch.setattr(mini, "_sounds", None)
    assert mini.make_suite(suite) == suite / "manifest.csv"


@pytest.mark.parametrize("task", mini.MINI)
def test_train_and_test_share_no_group(rows, task):
    groups = {
        split: {row["group"] for row in rows if (row["task"], row["split"]) == (task, split)}
        for split in ("train", "test")
    }
    assert not groups["train"] & groups["test"]
    assert len(groups["test"]) >= bootstrap.MIN_GROUPS


@pytest.mark.parametrize("task", ["mini_pitch", "mini_instrument"])
def test_no_recording_is_heard_in_both_splits(rows, task):
    heard = {
        split: {row["source"].split(", ")[1] for row in rows if (row["task"], row["split"]) == (task, split)}
        for split in ("train", "test")
    }
    assert not heard["train"] & heard["test"]


@pytest.mark.parametrize("task", mini.MINI)
def test_every_class_is_in_both_splits(rows, task):
    labels = {
        split: {
            label for row in rows if (row["task"], row["split"]) == (task, split) for label in row["label"].split("|")
        }
        for split in ("train", "test")
    }
    assert labels["train"] == labels["test"]


@pytest.mark.parametrize("task", mini.MINI)
def test_statistics_of_the_spectrogram_leave_room(suite, rows, task):
    # mean, standard deviation, and first half less second half over time of the log-mel: a floor, not an encoder
    rows = [row for row in rows if row["task"] == task]
    vectors = np.array([_statistics(suite / row["file"]) for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    names = sorted({label for row in rows for label in row["label"].split("|")})
    hot = np.array([[name in row["label"].split("|") for name in names] for row in rows]).astype(int)
    probe = LogisticRegression(C=0.1, max_iter=3000)
    if mini.MINI[task].kind == "multi":
        fitted_probe = make_pipeline(StandardScaler(), OneVsRestClassifier(probe)).fit(vectors[train], hot[train])
        score = metrics.mean_average_precision(fitted_probe.decision_function(vectors[~train]), hot[~train])
    else:
        fitted_probe = make_pipeline(StandardScaler(), probe).fit(vectors[train], hot[train].argmax(1))
        score = metrics.accuracy(fitted_probe.decision_function(vectors[~train]), hot[~train].argmax(1))
    assert 0.3 < score < 0.95


def _statistics(path):
    wave, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    mels = LogMel()(torch.from_numpy(wave)[None])[0, 0].numpy()
    half = len(mels) // 2
    return np.concatenate([mels.mean(0), mels.std(0), mels[:half].mean(0) - mels[half:].mean(0)])


def test_the_tasks_say_what_they_are(suite):
    tasks = mini.mini_tasks(str(suite))
    assert [task.name for task in tasks] == list(mini.MINI)
    assert [task.domain for task in tasks] == ["music"] * 2 + ["speech"] * 2 + ["environment"] * 2
    assert {task.suite for task in tasks} == {"mini"}
    for task in tasks:
        assert "not a benchmark" in task.notes
        assert "GPL" in task.notes
        assert "{" not in task.notes
        fold = task.folds()[0]
        assert {len(clip.group) > 0 for clip in (*fold.train, *fold.test)} == {True}


def test_the_suite_is_kept_in_the_home(suite, tmp_path, monkeypatch):
    monkeypatch.setenv("LEVERET_HOME", str(tmp_path))
    (tmp_path / "mini-v1").symlink_to(suite)
    assert len(mini.mini_tasks()) == 6


def a_few(count):
    rng = generator("a test")
    for number in range(count):
        split = "train" if number % 2 else "test"
        yield Sound("mini_pitch", split, ("60",), f"preset-{number}", "noise", finished(noise(rng, 800), -20.0))


def test_an_interrupted_making_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "_sounds", lambda scratch: a_few(9))

    def interrupt(share):
        if share > 3 / mini.NUM_CLIPS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mini.make_suite(tmp_path / "suite", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_processes_wins(tmp_path, monkeypatch):
    folder = tmp_path / "suite"

    def overtaken(scratch):
        yield from a_few(3)
        monkeypatch.setattr(mini, "_sounds", lambda scratch: a_few(5))
        mini.make_suite(folder)  # the other process, meanwhile

    monkeypatch.setattr(mini, "_sounds", overtaken)
    manifest = mini.make_suite(folder)
    assert len(manifest.read_text(encoding="utf-8").splitlines()) == 6
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_of_something_else_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "_sounds", lambda scratch: a_few(2))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(FileExistsError, match="not the suite mini"):
        mini.make_suite(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_missing_packages_are_named_with_their_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "find_font", lambda: None)
    monkeypatch.setattr(mini, "find_spec", lambda name: None)
    with pytest.raises(mini.MissingExtraError, match=r"pretty_midi and espeakng-loader.*pip install 'leveret\[mini\]'"):
        mini.make_suite(tmp_path / "suite")


def test_a_voice_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SpeechError, match="no voice xx"):
        spoken([Phrase("hello", "xx", 175, 50)], tmp_path)


def test_loudness_is_in_decibels():
    wave = noise(generator("a test"), 16_000, "brown")
    assert np.sqrt(np.mean(scaled(wave, -20.0) ** 2)) == pytest.approx(0.1, rel=1e-5)
    assert np.abs(finished(wave * 100, 0.0)).max() <= 0.9901
    assert not scaled(np.zeros(10, dtype=np.float32), 0.0).any()


def test_band_noise_stays_in_its_band():
    power = np.abs(np.fft.rfft(band_noise(generator("a test"), 16_000, 1000.0, 2000.0))) ** 2
    assert power[900:2200].sum() / power.sum() > 0.99


def test_a_wave_is_cut_or_padded_where_it_is_placed():
    wave = np.ones(3, dtype=np.float32)
    np.testing.assert_array_equal(fitted(wave, 5, 1), [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(fitted(wave, 2), [1, 1])
    np.testing.assert_array_equal(fitted(wave, 2, 4), [0, 0])
