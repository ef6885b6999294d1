"""Maps on the page: positions as they were written, each sample of clips once, sound only where there is some."""

import json
import re
import wave
from base64 import b64decode

import numpy as np
import pytest
from tests.report.toy_runs import CLASSES, NUM_CLIPS, scored, single, slots, tags, write_run

from leveret.embedding_map import EmbeddingMap, write_map
from leveret.predictions import RunError
from leveret.progress import Reporter
from leveret.report import excerpts
from leveret.report.excerpts import ExcerptError
from leveret.report.map_details import label_numbers
from leveret.report.page import page, write_run_page

KINDS = {"farm": single(1.0), "tags": tags(0), "orders": slots(0)}


def add_map(run, key, clips, audio, start=0.0, end=None, seed=0):
    """A map of these clips at random places."""
    position = np.random.default_rng(seed).integers(0, 65536, (len(clips), 2)).astype(np.uint16)
    spans = [start] * len(clips), [end] * len(clips)
    found = EmbeddingMap(clips, position, [str(one) for one in audio], *spans, 4000, 30.0, 1.25)
    write_map(run.folder / "map" / f"{key}.parquet", found, run.folder)
    return found


def tones(folder, number, seconds=0.5):
    """So many files in a folder whose name needs to be escaped in an address."""
    folder.mkdir(parents=True)
    paths = [folder / f"{k}.wav" for k in range(number)]
    for k, path in enumerate(paths):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            tone = np.sin(np.arange(round(16_000 * seconds)) * (0.05 + k / 200))
            file.writeframes((20_000 * tone).astype("<i2").tobytes())
    return paths


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture
def runs(tmp_path):
    return [
        write_run(tmp_path / name, [scored(single(1.0)), scored(tags(0), "tags"), scored(slots(0), "orders")], name)
        for name in ("one", "two")
    ]


def test_positions_on_the_page_are_those_of_the_map_and_the_clips_of_two_encoders_stand_once(runs, tmp_path):
    files = [tmp_path / f"{k}.wav" for k in range(NUM_CLIPS)]
    for seed, run in enumerate(runs):
        for key, predictions in KINDS.items():
            add_map(run, key, predictions.clip, files, seed=seed)
    data = data_of(page(runs, compared=False))
    assert len(data["samples"]) == 3
    for task in data["tables"][0]["tasks"]:
        for seed, cell in enumerate(task["cells"]):
            written = np.random.default_rng(seed).integers(0, 65536, (NUM_CLIPS, 2))
            shown = np.frombuffer(b64decode(cell["map"]["xy"]), "<u2").reshape(-1, 2)
            np.testing.assert_array_equal(shown, written)
            assert (cell["map"]["of"], cell["map"]["perplexity"], cell["map"]["seconds"]) == (4000, 30.0, 1.2)
            sample = data["samples"][cell["map"]["sample"]]
            assert sample["clips"] == KINDS[task["title"]].clip
            lists = [data["classes"][number] for number in sample["classes"]]
            of_tags = task["title"] == "tags"
            named = [[lists[0 if of_tags else slot][n] for slot, n in enumerate(labels)] for labels in sample["labels"]]
            assert named == [list(labels) for labels in KINDS[task["title"]].labels]


def test_a_run_without_maps_has_none_on_the_page_and_a_damaged_one_is_an_error(runs):
    data = data_of(page(runs, compared=False))
    assert {cell["map"] for task in data["tables"][0]["tasks"] for cell in task["cells"]} == {None}
    (runs[0].folder / "map").mkdir()
    (runs[0].folder / "map" / "farm.parquet").write_bytes(b"no")
    with pytest.raises(RunError, match=r"farm\.parquet is damaged"):
        page(runs, compared=False)


def test_a_clip_of_the_map_that_has_no_prediction_is_left_out(runs, tmp_path):
    add_map(runs[0], "farm", ["clips/3.wav", "strange.wav", "clips/4.wav"], [tmp_path / "x.wav"] * 3)
    cell = data_of(page(runs[:1]))["tables"][0]["tasks"][0]["cells"][0]
    assert len(b64decode(cell["map"]["xy"])) == 8
    assert data_of(page(runs[:1]))["samples"][0]["clips"] == ["clips/3.wav", "clips/4.wav"]


def test_files_are_linked_where_they_lie_as_seen_from_the_page(runs, tmp_path):
    paths = tones(tmp_path / "a b#:%", 2)
    clips = ["clips/0.wav", "clips/1.wav", "clips/2.wav", "clips/3.wav"]
    (tmp_path / "notes.txt").write_text("not audio")
    add_map(runs[0], "farm", clips, [*paths, tmp_path / "gone.wav", tmp_path / "notes.txt"], start=0.25, end=0.5)
    data = data_of(page(runs[:1], folder=tmp_path))
    assert data["audio"] == ["a%20b%23%3A%25/0.wav#t=0.25,0.5", "a%20b%23%3A%25/1.wav#t=0.25,0.5"]
    assert data["samples"][0]["audio"] == [0, 1, -1, -1]
    assert data_of(page(runs[:1]))["audio"] == []  # nobody knows where such a page will lie
    assert write_run_page(runs[0]) == ""
    own = data_of((runs[0].folder / "report.html").read_text())
    assert own["audio"][0] == "../a%20b%23%3A%25/0.wav#t=0.25,0.5"


class Said(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_excerpts_are_in_the_page_as_long_as_there_is_room(runs, tmp_path, monkeypatch):
    paths = tones(tmp_path / "tones", 6, seconds=7)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    clips = [f"clips/{k}.wav" for k in range(7)]
    add_map(runs[0], "farm", clips, [broken, *paths])
    said = Said()
    data = data_of(page(runs[:1], embed_audio=True, reporter=said))
    assert said.lines == ["6 of 7 clips can be heard, the first 5 s of each; 1 file could not be read"]
    assert data["samples"][0]["audio"] == [-1, 0, 1, 2, 3, 4, 5]
    assert data["excerptSeconds"] == 5
    (tmp_path / "a.mp3").write_bytes(b64decode(data["audio"][0].removeprefix("data:audio/mpeg;base64,")))
    from leveret.audio import load

    heard, original = load(tmp_path / "a.mp3", 16_000), load(paths[0], 16_000)[:80_000]
    assert 5 <= len(heard) / 16_000 < 5.2  # whole frames, and the coder's delay
    spectra = [np.abs(np.fft.rfft(wave[8000:40_000])) for wave in (heard, original)]
    assert spectra[0].argmax() == spectra[1].argmax()
    # a page that may be larger by three and a half excerpts than it is without any holds three
    size = len(page(runs[:1]).encode()) + round(3.5 * len(data["audio"][0])) + 10 * 7
    monkeypatch.setattr("leveret.report.page.LARGEST_BYTES", size)
    text = page(runs[:1], embed_audio=True)
    assert len(data_of(text)["audio"]) == 3
    assert len(text.encode()) < size


def test_the_tasks_take_turns_for_the_room(runs, tmp_path):
    first, second = tones(tmp_path / "first", 5), tones(tmp_path / "second", 5)
    add_map(runs[0], "farm", [f"clips/{k}.wav" for k in range(5)], first)
    add_map(runs[0], "tags", [f"tags/{k}.wav" for k in range(5)], second)
    samples = [[excerpts.Sound(str(path), 0.0, None) for path in paths] for paths in (first, second)]
    one = len(next(iter(excerpts.excerpts(samples[:1], 100_000, Reporter()).values())))
    found = excerpts.excerpts(samples, round(4.5 * one), Reporter())
    assert [sound.file for sound in found] == [str(path) for path in (first[0], second[0], first[1], second[1])]


def test_a_libsndfile_without_mp3_is_one_clear_error(runs, monkeypatch):
    monkeypatch.setattr("soundfile.available_formats", lambda: {"WAV": "Microsoft"})
    with pytest.raises(ExcerptError, match="cannot write MP3; install"):
        page(runs, compared=False, embed_audio=True)


def test_labels_are_numbers_in_the_lists_of_classes():
    assert label_numbers(single(1.0))["clips/5.wav"] == [5 % len(CLASSES)]
    assert label_numbers(slots(0))["slots/5.wav"] == [1, 2]
    found = label_numbers(tags(0))
    assert [len(found[f"tags/{k}.wav"]) for k in (0, 1)] == [1, 2]
