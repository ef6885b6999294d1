"""Names that strangers chose: terminal codes, line breaks, formulas, markup, bytes that are no text."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import parquet

from leveret import cli
from leveret.runs import find_runs

HOSTILE = (
    "\x1b[2J\x1b[31mred.wav", "\x1b]0;title\x07.wav", "a\nleveret: all is well.wav", "a\rb.wav", "-rf.wav",
    "--help.wav", "=cmd().wav", "+1.wav", "@SUM(A1).wav", "\tx.wav", "x" * 200 + ".wav", "\u202egnp.wav",
    "\u2066isolate.wav", "[red]x[", "[red]b[].wav", ":bomb:.wav", "~nobody.wav", "%s{}.wav", " .wav",
    "\x9b31m.wav", "\\x1b.wav", "a\\", "*.wav", "[!a].wav", "caf\u00e9.wav", "cafe\u0301.wav", "\U0001f4a3.wav",
    "nan", "NULL", '"quoted".wav', "a,b;c.wav", "'.wav",
)  # fmt: skip
NO_TEXT = b"caf\xe9.wav"


@pytest.fixture
def sounds(tmp_path):
    """A folder with a sound for each name."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for k, name in enumerate(HOSTILE):
        wave = 0.1 * np.random.default_rng(k).standard_normal(1_600)
        soundfile.write(folder / "made", wave, 16_000, format="WAV")
        (folder / "made").rename(folder / name)
    return folder


@pytest.fixture
def leveret(monkeypatch, capfdbinary):
    """A command line, run in this process: status, output, errors."""

    def run(*words: object, where: Path, given: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.chdir(where)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        capfdbinary.readouterr()
        status = cli.main([os.fspath(word) for word in words])
        out, err = (text.decode() for text in capfdbinary.readouterr())
        for text in (out, err):
            check_text(text)
        return status, out, err

    return run


def check_text(text: str) -> None:
    assert all(letter.isprintable() or letter == "\n" for letter in text), [
        letter for letter in text if not (letter.isprintable() or letter == "\n")
    ]
    assert not [line for line in text.splitlines() if line.startswith("leveret: all is well")]
    assert "Traceback" not in text


def test_hostile_names_are_embedded_and_written_as_they_are(leveret, sounds, tmp_path):
    listed = b"\n".join(os.fsencode(sounds / name) for name in HOSTILE if "\n" not in name and "\r" not in name)
    words = ("--encoder", "melstats", "--bad-files", "skip", "-o")
    status, _, err = leveret("embed", "-", *words, "listed.parquet", where=tmp_path, given=listed)
    assert status == 0, err
    expected = {name for name in HOSTILE if "\n" not in name and "\r" not in name}
    found = parquet.read_table(tmp_path / "listed.parquet")["file"].to_pylist()
    assert {Path(name).name for name in found} == expected
    status, out, err = leveret("embed", "sounds", *words, "below.npz", "--json", where=tmp_path)
    assert status == 0, err
    assert json.loads(out)["skipped"] == {}
    with np.load(tmp_path / "below.npz", allow_pickle=False) as file:
        found = {Path(name).name for name in file["files"].tolist()}
    assert found == {name for name in HOSTILE if name.endswith(".wav")}


def test_names_like_options_are_files_after_two_dashes_or_with_their_folder(leveret, sounds, tmp_path):
    options = ("--encoder", "melstats", "-o", tmp_path / "v.parquet")
    status, _, err = leveret("embed", "./-rf.wav", "./--help.wav", *options, where=sounds)
    assert status == 0, err
    status, _, err = leveret("embed", *options, "--", "-rf.wav", "--help.wav", where=sounds)
    assert status == 0, err
    assert sorted(parquet.read_table(tmp_path / "v.parquet")["file"].to_pylist()) == ["--help.wav", "-rf.wav"]


def test_hostile_names_of_broken_files_are_named_escaped_on_one_line_each(leveret, sounds, tmp_path):
    for name in HOSTILE:
        (sounds / name).write_bytes(b"words")
    soundfile.write(sounds / "good.wav", np.full(1_600, 0.1), 16_000)
    (sounds / "made").write_bytes(b"words")
    os.rename(sounds / "made", os.fsencode(sounds) + b"/" + NO_TEXT)
    words = ("embed", "sounds", "--encoder", "melstats", "-o", "v.parquet")
    status, _, err = leveret(*words, where=tmp_path)
    broken = [name for name in HOSTILE if name.endswith(".wav")]
    assert status == 2
    assert f"{len(broken) + 1} of {len(broken) + 2} clips cannot be used" in err
    assert len([line for line in err.splitlines() if line.startswith("  ")]) == len(broken) + 1
    assert not (tmp_path / "v.parquet").exists()
    status, out, err = leveret(*words, "--bad-files", "skip", where=tmp_path)
    assert status == 0
    said = [line for line in err.splitlines() if line.startswith("skipped: ")]
    assert len(said) == len(broken) + 1
    assert any("[!a].wav" in line for line in said)
    assert any(":bomb:.wav" in line for line in said)
    status, out, _ = leveret(*words, "--bad-files", "skip", "--json", where=tmp_path)
    assert {Path(name).name for name in json.loads(out)["skipped"]} == {*broken, os.fsdecode(NO_TEXT)}
    assert out.isascii()


def test_names_that_are_no_text_can_be_listed_and_be_the_output(leveret, sounds, tmp_path):
    output = os.fsdecode(os.fsencode(tmp_path) + b"/v\xe9.parquet")
    given = b"\n".join(os.fsencode(sounds) + b"/" + name for name in (b"+1.wav", NO_TEXT, b"nan"))
    (sounds / "*.wav").rename(Path(os.fsdecode(os.fsencode(sounds) + b"/" + NO_TEXT)))
    words = ("embed", "-", "--encoder", "melstats", "--bad-files", "skip", "-o", output)
    status, _, err = leveret(*words, where=tmp_path, given=given)
    assert status == 0, err
    assert "not UTF-8" in err
    assert Path(output).exists()


@pytest.fixture
def manifest(sounds, tmp_path):
    """Two tasks of hostile names with hostile labels, groups and sources; three files of each split are broken."""
    path = tmp_path / "set.csv"
    labels = ("=cmd()", "\x1b[31m", "[red]x[/red]", "a\nleveret: all is well", "@x", "\u202ey")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "split", "task", "group", "source"])
        for task, few in (("\x1b[2J[bold]\n=T", labels[:2]), ("../up", labels)):
            for k, name in enumerate(HOSTILE):
                split = "test" if k % 3 == 0 else "train"
                writer.writerow([f"sounds/{name}", few[k % len(few)], split, task, f"={name}", name])
    for k in (0, 1, 2, 15):
        (sounds / HOSTILE[k]).write_bytes(b"words")
    return path


def test_an_evaluation_of_hostile_names_writes_them_escaped_or_as_they_are(leveret, manifest, tmp_path):
    words = ("evaluate", "--encoder", "melstats", "slowfast_nfnet_tiny", "--tasks", f"manifest:{manifest}")
    status, out, err = leveret(*words, "--protocol", "quick", "--bad-files", "skip", "--no-floor", where=tmp_path)
    assert status == 0, err
    assert "\\x1b[2J[bold]\\n=T" in out, "the name of the task is not shown as it is, escaped"
    runs = find_runs(tmp_path / "runs")
    assert len(runs) == 2
    for run in runs:
        assert {path.name for path in run.folder.iterdir()} == {
            "scorecard.json",
            "config.json",
            "log.txt",
            "map",
            "predictions",
            "report.html",
        }
        assert all(path.name.isascii() for path in run.folder.rglob("*"))
        for name in ("scorecard.json", "config.json"):
            assert (run.folder / name).read_text().isascii()
        log = (run.folder / "log.txt").read_text()
        check_text(log)
        assert all(line.startswith("20") for line in log.splitlines()), "a name broke a line"
        assert {Path(clip).name for clip in run.scorecard.tasks[0].skipped} == {HOSTILE[k] for k in (0, 1, 2, 15)}
        keys = [path.stem for path in (run.folder / "predictions").iterdir()]
        clips = {Path(clip).name for key in keys for clip in run.predictions(key).clip}
        assert clips == {name for k, name in enumerate(HOSTILE) if k % 3 == 0} - {HOSTILE[k] for k in (0, 15)}
    folders = [run.folder for run in runs]
    for more in ((), ("--json",)):
        status, out, err = leveret("compare", *folders, *more, where=tmp_path)
        assert status == 0, err
    status, out, _ = leveret("cache", "ls", where=tmp_path)
    assert status == 0


@pytest.mark.parametrize("format", ["hear", "xares"])
def test_no_exported_csv_holds_a_formula(leveret, manifest, tmp_path, format):
    words = ("data", "export", f"manifest:{manifest}", "--bad-files", "skip", "-o", "out", "--format", format)
    status, _, err = leveret(*words, where=tmp_path)
    if format == "hear":
        assert status == 2
        assert "would run as formulas ('=cmd()'" in err
        assert not list((tmp_path / "out").glob("*"))
        return
    assert status == 0, err
    assert not list((tmp_path / "out").rglob("*.csv"))


def test_labels_that_only_begin_like_a_number_are_formulas_and_numbers_are_not():
    from leveret.suites.hear import formulas

    labels = ["=1", "@a", "\tx", "\rx", "-1+cmd()", "+x", "-", "-1", "+2.5", "-.", "a=b", "", "C+"]
    assert formulas(labels) == ["=1", "@a", "\tx", "\rx", "-1+cmd()", "+x", "-", "-."]
