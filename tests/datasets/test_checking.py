"""`data check`: whatever is wrong with a tree is counted, named and told what to do about."""

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile

from leveret import cli
from leveret.dataroots import DataRoots
from leveret.datasets.checking import examine
from leveret.datasets.listing import listed
from leveret.datasets.names import named, published
from leveret.datasets.subjects import of_published, subject
from leveret.progress import Reporter
from leveret.published_audio import Corpus, DataFolder


@pytest.fixture
def report(publish):
    """Examines the toy dataset in a folder, or another spec."""
    one = publish()

    def run(where, **options):
        found = subject(where, DataRoots()) if isinstance(where, str) else of_published(one, DataFolder(where))
        return examine(found, 2, Reporter(), **options)

    return run


def finding(report, name):
    (found,) = [one for one in report.findings if one.name == name]
    return found


def test_the_published_tree_is_well(report, toy):
    found = report(toy)
    assert found.well
    assert {one.status for one in found.findings} == {"pass", "note"}
    assert finding(found, "toy_pitch clips").seen == "train 12, test 12, as published"
    described = json.loads(json.dumps(found.described()))
    assert described["tasks"]["toy_pitch"]["clips"] == {"train": 12, "test": 12}
    assert len(described["tasks"]["toy_pitch"]["splits"]) == 64
    assert described["missing"] == described["surplus"] == described["duplicates"] == []


def test_the_split_hash_does_not_depend_on_the_place_but_on_the_splits(report, toy, tmp_path):
    moved = shutil.copytree(toy, tmp_path / "elsewhere")
    hashes = [one.described()["tasks"]["toy_pitch"]["splits"] for one in (report(toy), report(moved))]
    assert hashes[0] == hashes[1]
    text = (moved / "list.csv").read_text()
    (moved / "list.csv").write_text(text.replace("00.wav,train", "00.wav,test").replace("02.wav,test", "02.wav,train"))
    assert report(moved).described()["tasks"]["toy_pitch"]["splits"] != hashes[0]


def test_of_a_half_copied_tree_the_missing_files_are_named(report, toy):
    for number in (3, 5, 8, 9):
        (toy / "audio" / f"{number:02d}.wav").unlink()
    found = report(toy)
    assert not found.well
    assert finding(found, "files").seen == "4 of 24 missing: audio/05.wav, audio/08.wav, audio/09.wav and 1 more"
    assert "get them again from https://example.org/toy" in finding(found, "files").advice
    assert sorted(path.rsplit("/", 1)[1] for path in found.missing) == ["03.wav", "05.wav", "08.wav", "09.wav"]
    assert finding(found, "readable").seen.startswith("all 20 clips")


def test_a_list_shorter_than_the_published_one_fails(report, toy):
    lines = (toy / "list.csv").read_text().splitlines()
    (toy / "list.csv").write_text("\n".join(lines[:-2]) + "\n")
    found = finding(report(toy), "toy_pitch clips")
    assert (found.status, found.seen, found.expected) == ("fail", "train 12, test 10", "train 12, test 12")
    assert "take the list of https://example.org/toy" in found.advice


def test_surplus_audio_is_a_warning_and_other_files_are_none(report, toy):
    (toy / "README.md").write_text("hello")
    (toy / "old").mkdir()
    shutil.copy(toy / "audio" / "00.wav", toy / "old" / "another.wav")
    found = report(toy)
    assert found.well
    assert found.surplus == ["old/another.wav"]
    assert "two versions are mixed" in finding(found, "surplus").advice


def test_an_unreadable_file_fails_by_its_header_or_only_when_decoded(report, toy):
    (toy / "audio" / "00.wav").write_text("not audio")
    (toy / "audio" / "01.wav").write_bytes(b"")
    wave, rate = soundfile.read(toy / "audio" / "02.wav")
    soundfile.write(toy / "audio" / "02.flac", wave[:-100], rate)  # of a length that no other has
    (toy / "audio" / "02.wav").unlink()
    content = bytearray((toy / "audio" / "02.flac").read_bytes())
    content[len(content) // 8 :: 7] = bytes(len(content[len(content) // 8 :: 7]))  # the header stays
    (toy / "audio" / "02.flac").write_bytes(content)
    found = report(toy)
    assert not found.well
    assert sorted(path[-6:] for path in found.unreadable) == ["00.wav", "01.wav"]
    assert "by their headers" in finding(found, "readable").seen
    found = report(toy, decode=True)
    assert sorted(path[-7:] for path in found.unreadable) == ["/00.wav", "/01.wav", "02.flac"]
    assert "copy or convert these again" in finding(found, "readable").advice


def test_audio_on_both_sides_of_a_split_is_found_in_another_format_too(report, toy):
    audio = toy / "audio"
    shutil.copy(audio / "00.wav", audio / "02.wav")  # train over test, same bytes
    wave, rate = soundfile.read(audio / "01.wav", dtype="int32")
    (audio / "03.wav").unlink()
    soundfile.write(audio / "03.flac", wave, rate, "PCM_24")  # same samples, other bytes
    shutil.copy(audio / "04.wav", audio / "05.wav")  # both train: no matter of splits
    for decode in (False, True):
        found = report(toy, decode=decode)
        assert [each.clips for each in found.duplicates] == [
            (("test", "audio/02.wav"), ("train", "audio/00.wav")),
            (("test", "audio/03.wav"), ("train", "audio/01.wav")),
        ]
        one = finding(found, "toy_pitch duplicates")
        # the lists are not the user's to change
        assert one.status == "warn"
        assert one.seen.startswith("2 pieces of audio stand on both sides of a split: ")


def test_audio_that_differs_in_one_sample_is_not_the_same(report, toy):
    wave, rate = soundfile.read(toy / "audio" / "00.wav", dtype="int32")
    wave[-1] += 1 << 8
    soundfile.write(toy / "audio" / "02.wav", wave, rate, "PCM_24")
    assert report(toy).duplicates == []


def test_silence_on_both_sides_is_told_as_such(report, toy):
    for number in (0, 2):
        soundfile.write(toy / "audio" / f"{number:02d}.wav", np.zeros(6_615), 22_050)
    assert "1 pieces of audio stand on both sides of a split, 1 of them digital silence" in (
        finding(report(toy), "toy_pitch duplicates").seen
    )


def test_a_manifest_is_examined_too_and_its_splits_are_the_users(report, tone_manifest):
    manifest = tone_manifest()
    found = report(f"manifest:{manifest}")
    assert found.well
    assert finding(found, "tones clips").seen == "train 20, valid 20, test 20"
    audio = manifest.parent / "audio"
    shutil.copy(audio / "000.wav", audio / "004.wav")
    (audio / "010.wav").unlink()
    shutil.copy(audio / "001.wav", audio / "extra.wav")
    found = report(f"manifest:{manifest}")
    assert finding(found, "tones duplicates").status == "fail"
    assert found.duplicates[0].clips == (("test", "audio/004.wav"), ("train", "audio/000.wav"))
    assert finding(found, "files").status == "fail"
    assert found.surplus == [], "a table of a part of a folder is nothing to warn of"
    assert "surplus" not in {one.name for one in found.findings}


def test_with_folds_a_duplicate_stands_in_two_of_them(report, tmp_path):
    folder = tmp_path / "folds"
    folder.mkdir()
    with (folder / "m.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "label", "fold"))
        for k in range(12):
            soundfile.write(folder / f"{k}.wav", 0.1 * np.random.default_rng(k % 11).standard_normal(8000), 16_000)
            table.writerow((f"{k}.wav", "ab"[k % 2], k % 3))
    (folder / "12.wav").write_bytes((folder / "11.wav").read_bytes())
    found = report(f"manifest:{folder / 'm.csv'}")
    assert [each.clips for each in found.duplicates] == [(("fold 1", "0.wav"), ("fold 3", "11.wav"))]
    assert finding(found, "m clips").seen == "train 24, test 12, over 3 folds"


def test_spans_of_one_file_are_clips_of_their_own(report, tmp_path):
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(tmp_path / "a.wav", np.concatenate([wave, wave, -wave]), 16_000)
    rows = ["file,start,end,label,split", "a.wav,0,1,x,train", "a.wav,1,2,y,test", "a.wav,2,3,x,test"]
    (tmp_path / "m.csv").write_text("\n".join([*rows, "a.wav,0.5,1.25,y,train"]) + "\n")
    found = report(f"manifest:{tmp_path / 'm.csv'}")
    assert [each.clips for each in found.duplicates] == [(("test", "a.wav@1-2"), ("train", "a.wav@0-1"))]
    assert finding(found, "files").seen == "all 1 are there"


def test_a_corpus_has_clips_and_no_splits(toy):
    def clips(folder):
        return [one for part in of_toy(folder) for one in part]

    def of_toy(folder):
        from leveret.clips import Clip

        return [[Clip(path.name, path, (), path.name) for path in sorted((folder.root / "audio").iterdir())]]

    corpus = Corpus(name="toy", title="Toy", source="here", clips=clips)
    found = examine(of_published(corpus, DataFolder(toy)), 1, Reporter())
    assert [(one.status, one.name, one.seen) for one in found.findings[:2]] == [
        ("note", "toy clips", "clips 24"), ("pass", "files", "all 24 are there"),
    ]  # fmt: skip


def command(capsys, *words):
    status = cli.main(["data", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_says_well_or_not_by_its_status(publish, toy, capsys):
    publish()
    words = ("check", "toy", "--data", toy.parent)
    status, out, _ = command(capsys, *words)
    assert status == 0
    assert "well: 6 checks, none fails" in out
    for number in range(12):
        (toy / "audio" / f"{number:02d}.wav").unlink()
    status, out, _ = command(capsys, *words, "--show", "2")
    assert status == 1
    assert out.count("  missing: ") == 3
    assert "missing: 10 more (--show 12, or --json)" in out
    status, out, _ = command(capsys, *words, "--json")
    assert status == 1
    assert len(json.loads(out)[0]["missing"]) == 12


def test_what_is_not_there_or_has_a_wrong_list_is_not_well(publish, toy, capsys, monkeypatch):
    monkeypatch.delenv("LEVERET_DATA", raising=False)
    publish()
    status, out, _ = command(capsys, "check", "toy")
    assert status == 1
    said = " ".join(out.split())
    assert "FAIL folder nobody says where Toy lies" in said, "no tree is there that could be wrong"
    assert "`leveret data get toy --data ROOT` fetches it" in said
    assert "expected" not in said
    (toy / "list.csv").write_text("a,b\n1,2\n")
    status, out, _ = command(capsys, "check", "hares", "--data", toy.parent)
    assert status == 1
    assert "lacks the columns file, split, label" in " ".join(out.split())
    status, _, err = command(capsys, "check", "manifest:none.csv")
    assert status == 2
    assert "no manifest at none.csv" in err


def test_the_list_has_the_papers_count_and_the_official_one(capsys, tmp_path):
    (tmp_path / "esc50").mkdir()
    status, out, _ = command(capsys, "list", "--data", tmp_path)
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith("esc50")]
    assert line.split() == [
        "esc50", "ESC-50", "2.0k", "2,000", "2.8", "645", "MB", "CC", "BY-NC", "3.0", "data", "get", "yes",
    ]  # fmt: skip
    status, out, _ = command(capsys, "list", "esc50")
    assert "2,000: five folds of 400" in out
    assert "leveret data get esc50" in out
    status, out, _ = command(capsys, "list", "esc50", "--json", "--data", tmp_path)
    (row,) = json.loads(out)
    assert row["official"] == [{"count": 2000, "how": "five folds of 400"}]
    assert row["there"] == str(tmp_path / "esc50")


def test_every_dataset_is_listed_and_its_count_rounds_to_the_papers():
    rows = listed(published().values(), DataRoots())
    assert {row.name for row in rows} == set(published())
    for row in rows:
        for one, printed in zip(row.official, row.paper.split(" / "), strict=False):
            number = float(printed[:-1]) * {"k": 1e3, "m": 1e6}[printed[-1]]
            assert one.count is None or abs(one.count - number) <= 0.03 * number


@pytest.mark.real
def test_the_real_esc50_is_well(shared, capsys):
    data = f"esc50={shared / 'data' / 'dev' / 'esc50'}"
    labels = f"esc50={shared / 'meta' / 'esc50' / 'esc50.csv'}"
    status, out, _ = command(capsys, "check", "esc50", "--data", data, "--labels", labels)
    assert status == 0
    assert "train 8,000, test 2,000, over 5 folds, as published" in out
    assert "all 2,000 clips, by their headers" in out


def test_a_table_or_a_folder_in_the_place_of_a_dataset_is_told_what_is_wanted(tmp_path):
    with pytest.raises(ValueError, match=r"a table of your own is manifest:labels\.csv"):
        named(["labels.csv"])
    with pytest.raises(ValueError, match=r"is a folder, no published dataset; a table of its clips is manifest:FILE"):
        named([str(tmp_path)])
