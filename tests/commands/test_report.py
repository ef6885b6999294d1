import json
import subprocess
import sys

import pytest
from tests.report.test_map_details import add_map, tones
from tests.report.toy_runs import scored, single, write_run

from leveret import cli
from leveret.runs import find_runs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "one", [scored(single(0.5))], encoder="one")
    write_run(tmp_path / "runs" / "two", [scored(single(0.75))], encoder="two")
    write_run(tmp_path / "runs" / "three", [scored(single(1.0))], encoder="three", protocol="cached")
    return tmp_path


def test_a_page_of_all_runs_below_a_folder_without_torch(folder):
    script = (
        "import sys, leveret.cli\n"
        "assert leveret.cli.main(['report', 'runs', 'runs/one']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("3 runs, ")
    text = (folder / "report.html").read_text()
    assert text.count('<details class="run">') == 3  # a run that is named twice is one run
    assert [path.name for path in folder.iterdir() if "partial" in path.name] == []


def test_a_table_goes_to_standard_output_or_into_a_file(folder, capsys):
    assert cli.main(["report", "runs", "--table", "csv", "--protocol", "quick"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1] == "quick,mine,environment,farm,accuracy,50.0,75.0"
    assert cli.main(["report", "runs", "--table", "csv", "--protocol", "quick", "-o", "t.csv"]) == 0
    assert (folder / "t.csv").read_text() == printed
    assert not (folder / "report.html").exists()


def test_a_published_row_that_finds_no_place_is_told(folder, capsys):
    words = ("--protocol", "quick", "--table", "csv")
    assert cli.main(["report", "runs", "paper:sf_nfnet_f0_simclr", *words]) == 0
    assert "none of these tasks is one of HARES's own" in capsys.readouterr().err
    assert cli.main(["report", "runs", *words]) == 0
    assert not capsys.readouterr().err


def test_a_page_with_its_sounds_says_how_many_and_needs_no_torch(folder):
    (run, *_) = find_runs(folder / "runs" / "one")
    add_map(run, "farm", single(0.5).clip[:3], tones(folder / "tones", 3))
    script = (
        "import sys, leveret.cli\n"
        "assert leveret.cli.main(['report', 'runs', '--protocol', 'quick', '--embed-audio', '--no-compare']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "3 of 3 clips can be heard, the first 5 s of each" in done.stderr
    assert (folder / "report.html").read_text().count("data:audio/mpeg;base64,") == 3
    linked = ["report", "runs", "--protocol", "quick", "--no-compare"]
    assert cli.main(linked) == 0
    assert '"audio":["tones/0.wav","tones/1.wav","tones/2.wav"]' in (folder / "report.html").read_text()


def test_figures_come_beside_the_page_or_a_table(folder, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["report", "runs", "--figures", "pictures", "--table", "csv", "--protocol", "quick"]) == 0
    found = capsys.readouterr()
    assert found.err == "2 figures: pictures\n"
    assert found.out.startswith("protocol,suite,")
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == [
        "scores-quick-mine.png", "scores-quick-mine.svg"
    ]  # fmt: skip


def _later_schema(folder):
    path = folder / "runs" / "one" / "scorecard.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))


@pytest.mark.parametrize(
    ("words", "says", "before"),
    [
        (["none"], "no finished run at none", None),
        (["paper:sf_nfnet_f0_simclr"], "give at least one run folder", None),
        (["runs", "paper:sf_nfnet"], "Did you mean 'paper:sf_nfnet_f0", None),
        (["runs", "--protocol", "quik"], "Did you mean 'quick'", None),
        (["runs", "-o", "page.pdf"], "expected .html", None),
        (["runs", "-o", "none/page.html"], "does not exist", None),
        (["runs", "--table", "csv"], "2 protocols", None),
        (["runs", "--table", "latex", "-o", "t.md"], "expected .tex", None),
        (["runs"], "schema version 99", _later_schema),
    ],
)
def test_a_users_mistake_is_one_clear_error(folder, capsys, words, says, before):
    if before:
        before(folder)
    assert cli.main(["report", *words]) == 2
    found = capsys.readouterr()
    assert found.err.startswith("leveret: error: ")
    assert says in found.err
    assert len(found.err.splitlines()) == 1
    assert found.out == ""
    assert not (folder / "report.html").exists()
