"""`data overlap` from planted copies to the scorecard; reports that are damaged or about other data."""

import csv
import io
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from leveret import cli
from leveret.clips import Clip
from leveret.dataroots import DataRoots
from leveret.loading import load_tasks
from leveret.overlap.finding import Pretraining, find_overlap, pretraining
from leveret.overlap.report import OverlapError, OverlapReport
from leveret.progress import Reporter
from leveret.published_audio import DatasetError
from leveret.results import Scorecard
from leveret.tasks.librispeech import OFFICIAL_CLIPS

LABELS = ("high", "low")


@pytest.fixture
def planted(shared, tmp_path):
    """A manifest of eight test clips beside as many training clips, and a folder that holds some of them, changed."""
    root = shared / "data" / "dev" / "librispeech"
    sounds = [path for path in sorted(root.glob("*.ogg")) if soundfile.info(path).duration > 3][:16]
    (tmp_path / "task").mkdir()
    (folder := tmp_path / "corpus" / "part").mkdir(parents=True)
    rows = [("file", "split", "label")]
    for number, path in enumerate(sounds):
        wave, rate = soundfile.read(path)
        soundfile.write(tmp_path / "task" / f"{number:02d}.flac", wave, rate)
        rows.append((f"{number:02d}.flac", "test" if number < 8 else "train", LABELS[number % 2]))
        if number in (0, 1):
            soundfile.write(folder / f"crop{number}.ogg", 0.2 * wave[rate // 2 : rate * 5 // 2], rate)
        elif number == 2:
            wave, rate = soundfile.read(tmp_path / "task" / "02.flac", dtype="int16")
            soundfile.write(folder / "same.wav", wave, rate)
        elif number >= 8:
            soundfile.write(folder / f"other{number}.ogg", wave, rate)
    soundfile.write(tmp_path / "task" / "06.flac", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "task" / "07.flac", 0.1 * np.sin(np.arange(1_600)), 16_000)
    shutil.copy(tmp_path / "task" / "06.flac", folder / "silence.flac")
    (folder / "broken.wav").write_text("not audio")
    with (tmp_path / "task" / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def overlap(where, *words):
    return cli.main(
        ["data", "overlap", *words, f"manifest:{where / 'task' / 'm.csv'}", "-o", str(where / "report.json")]
    )


def evaluated(where, *words):
    task, report = f"manifest:{where / 'task' / 'm.csv'}", str(where / "report.json")
    encoders = ["--encoder", "melstats", "slowfast_nfnet_tiny", "--protocol", "quick"]
    return cli.main(
        ["evaluate", *encoders, "--tasks", task, "-o", str(where / "runs"), "--contamination", report, *words]
    )


@pytest.mark.real
def test_planted_copies_are_found_named_and_the_same_again(planted, capsys):
    assert overlap(planted, str(planted / "corpus")) == 0
    text = (planted / "report.json").read_text()
    said = " ".join(capsys.readouterr().out.split())
    assert "part/crop0.ogg at -0.50 s, by fingerprint" in said
    assert "1 clip of" in said
    assert "not searched: unreadable" in said
    report = OverlapReport.read(planted / "report.json")
    (task,) = report.tasks
    assert [(one.clip, one.pretrain, one.means) for one in task.found] == [
        ("00.flac", "part/crop0.ogg", "fingerprint"),
        ("01.flac", "part/crop1.ogg", "fingerprint"),
        ("02.flac", "part/same.wav", "same samples"),
    ]
    assert task.found[2].score == 1.0
    assert task.unchecked["06.flac"] == "silent"
    assert task.unchecked["07.flac"].startswith("too short or too even")
    assert len(task.unchecked) == 2
    assert report.pretrain_clips == 13
    assert dict(report.pretrain_unchecked) == {"silent": 1, "unreadable": 1}
    assert OverlapReport.from_json(text) == report
    assert str(report.contamination(task.suite, task.task, task.digest)) == (
        "3 clips (2 of 8 test clips and 2 of 13 training clips unchecked)"
    )
    assert overlap(planted, str(planted / "corpus"), "--threads", "1") == 0
    assert (planted / "report.json").read_text() == text


@pytest.mark.real
def test_a_table_of_spans_and_what_a_task_trains_on_can_be_searched(planted):
    (planted / "corpus" / "list.csv").write_text("file,start,end\npart/crop0.ogg,0,1.9\npart/other9.ogg,,\n")
    assert overlap(planted, str(planted / "corpus" / "list.csv")) == 0
    report = OverlapReport.read(planted / "report.json")
    assert [(one.clip, one.pretrain) for one in report.tasks[0].found] == [("00.flac", "part/crop0.ogg@0-1.9")]
    assert overlap(planted, f"manifest:{planted / 'task' / 'm.csv'}") == 0
    report = OverlapReport.read(planted / "report.json")
    assert (report.pretrain_clips, list(report.tasks[0].found)) == (8, [])


@pytest.mark.real
def test_the_scorecard_says_it_of_all_but_the_floor(planted, capsys):
    assert overlap(planted, str(planted / "corpus")) == 0
    capsys.readouterr()
    assert evaluated(planted, "--json") == 0
    captured = capsys.readouterr()
    cards = json.loads(captured.out)
    assert [card["tasks"][0]["contamination"] for card in cards] == [
        "unchecked", "3 clips (2 of 8 test clips and 2 of 13 training clips unchecked)",
    ]  # fmt: skip
    warnings = Scorecard.from_json(json.dumps(cards[1])).tasks[0].warnings
    assert any(one.startswith("test clips met in training: 3 clips") for one in warnings)
    assert "test clips met in training" in captured.err


@pytest.mark.real
def test_a_report_about_other_data_is_refused(planted, capsys):
    assert overlap(planted, str(planted / "corpus")) == 0
    table = planted / "task" / "m.csv"
    table.write_text(table.read_text().replace("05.flac,test", "05.flac,train"))
    assert evaluated(planted) == 2
    assert "about another list of test clips of m" in capsys.readouterr().err
    renamed = table.with_name("n.csv")
    table.rename(renamed)
    words = ["--encoder", "melstats", "--tasks", f"manifest:{renamed}", "--contamination"]
    assert cli.main(["evaluate", *words, str(planted / "report.json")]) == 2
    assert "is about none of these tasks, but about m;" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"clips": 8', '"clips": "8"'),
        lambda text: text.replace('"overlap_version": 1', '"overlap_version": "1"'),
        lambda text: text.replace('"found": []', '"found": [1]'),
        lambda text: text.replace('"unchecked": {}', '"unchecked": []'),
        lambda text: "\x00\x1b[31m",
    ],
)
def test_a_damaged_report_is_named(tmp_path, damage):
    whole = (
        '{"overlap_version": 1, "pretrain": "x", "pretrain_clips": 3, "pretrain_digest": "", "pretrain_unchecked": {}, '
        '"examples": {}, "tasks": [{"task": "t", "suite": "s", "clips": 8, "digest": "d", "found": [], '
        '"unchecked": {}}]}'
    )
    path = tmp_path / "report.json"
    path.write_text(whole)
    report = OverlapReport.read(path)
    assert str(report.contamination("s", "t", "d")) == "none found"
    assert str(report.contamination("s", "other", "d")) == "unchecked"
    unread = replace(report, pretrain_unchecked={"silent": 3})
    assert str(unread.contamination("s", "t", "d")) == "unchecked"
    path.write_text(damage(whole))
    with pytest.raises(OverlapError, match=r"report\.json is no overlap report, or a damaged one"):
        OverlapReport.read(path)


def test_a_report_that_is_not_there_or_is_newer_is_told(tmp_path):
    with pytest.raises(OverlapError, match="no overlap report at"):
        OverlapReport.read(tmp_path / "none.json")
    with pytest.raises(OverlapError, match="overlap_version 2, this leveret reads up to 1; upgrade"):
        OverlapReport.from_json('{"overlap_version": 2}')


def test_shared_recordings_are_found_without_their_audio(tmp_path, tone_manifest):
    manifest = tone_manifest(num_clips=12)
    text = manifest.read_text()
    for number in (2, 3):  # the test split
        name = f"1-77{number}-A-0.wav"
        (manifest.parent / "audio" / f"00{number + 2}.wav").rename(manifest.parent / "audio" / name)
        text = text.replace(f"audio/00{number + 2}.wav", f"audio/{name}")
    manifest.write_text(text)
    # what resembles AudioSet has no YouTube ids for that
    manifest.with_name("manifest.tasks.json").write_text('{"tones": {"stands_for": "audioset"}}')
    trained = Pretraining("mine", [("", [Clip(n, tmp_path / n, (), "") for n in ("5-773-B-9.wav", "773__a__b.wav")])])
    report = find_overlap(trained, load_tasks([f"manifest:{manifest}"]), 1, Reporter())
    (task,) = report.tasks
    assert [asdict(one) for one in task.found] == [
        {"clip": "audio/1-773-A-0.wav", "pretrain": "5-773-B-9.wav", "means": "freesound id", "offset_seconds": None,
         "score": None, "others": 1}
    ]  # fmt: skip
    assert dict(report.pretrain_unchecked) == {"unreadable": 2}


@pytest.mark.parametrize(("folder", "shared"), [("mine", 0), ("audioset-project", 0), ("audioset", 1)])
def test_two_files_of_one_name_are_one_video_only_where_something_else_says_so(tmp_path, tone_manifest, folder, shared):
    manifest = tone_manifest(num_clips=12)
    (manifest.parent / "audio" / "004.wav").rename(manifest.parent / "audio" / "Recording01.wav")
    manifest.write_text(manifest.read_text().replace("audio/004.wav", "audio/Recording01.wav"))
    clip = Clip("Recording01.wav", tmp_path / folder / "Recording01.wav", (), "")
    report = find_overlap(Pretraining("mine", [("", [clip])]), load_tasks([f"manifest:{manifest}"]), 1, Reporter())
    assert len(report.tasks[0].found) == shared


@pytest.mark.parametrize("spec", ["librispech", "librispech:/data/LibriSpeech"])
def test_a_misspelt_corpus_is_told_what_there_is(tmp_path, tone_manifest, capsys, spec):
    words = ["data", "overlap", spec, f"manifest:{tone_manifest()}", "-o", str(tmp_path / "report.json")]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert f"no corpus, task, folder or table {spec!r}. Did you mean 'librispeech'" in said
    assert "audioset" in said


def test_what_the_suite_trains_on_can_be_searched(tmp_path):
    with pytest.raises(DatasetError, match="none of the twelve HARES tasks is there"):
        pretraining("hares", DataRoots(root=tmp_path))


def test_a_corpus_as_parquet_is_unpacked(tmp_path):
    content = io.BytesIO()
    soundfile.write(content, np.zeros(8_000), 16_000, format="FLAC")
    (root := tmp_path / "librispeech").mkdir()
    names = [f"{subset}/19/198/19-198-{k:04d}.flac" for subset in OFFICIAL_CLIPS for k in range(2)]
    rows = [{"file": name, "audio": {"bytes": content.getvalue(), "path": name[-16:]}} for name in names]
    parquet.write_table(pa.Table.from_pylist(rows), root / "train-00000-of-00001.parquet")
    for spec, data in (("librispeech", DataRoots(root=tmp_path)), (f"librispeech:{root}", DataRoots())):
        found = list(pretraining(spec, data))
        assert [(owner, clip.id) for owner, clip in found] == [("librispeech", name) for name in names]
        assert all(clip.path.is_file() for _, clip in found)


def test_nothing_to_look_in_is_an_error(tone_manifest):
    with pytest.raises(OverlapError, match="mine has 0 clips and the tasks have 20 test clips; both need some"):
        find_overlap(Pretraining("mine", []), load_tasks([f"manifest:{tone_manifest()}"]), 1, Reporter())
