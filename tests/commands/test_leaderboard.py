import subprocess
import sys

import pytest
from tests.report.toy_runs import scored, single, write_run

from leveret import cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("one", "two", "three")):
        write_run(tmp_path / "runs" / name, [scored(single(0.25 + number / 4))], encoder=name)
    return tmp_path


def test_a_page_of_all_runs_without_torch(folder):
    script = (
        "import sys, leveret.cli\n"
        "assert leveret.cli.main(['leaderboard', 'runs', 'runs/one', '-o', 'board.html']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("3 runs, 0 left out, ")
    assert (folder / "board.html").read_text().count("<tr data-place=") == 3


def _no_card(run):
    (run / "scorecard.json").write_text("{")


def _no_predictions(run):
    (run / "predictions" / "farm.parquet").unlink()


def _torn_predictions(run):
    path = run / "predictions" / "farm.parquet"
    path.write_bytes(path.read_bytes()[:-9])


def _other_predictions(run):
    card = run / "scorecard.json"
    card.write_text(card.read_text().replace('"test": 40', '"test": 41'))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_no_card, "is not a leveret scorecard"),
        (_no_predictions, "farm.parquet is missing or damaged"),
        (_torn_predictions, "farm.parquet is missing or damaged"),
        (_other_predictions, "farm.parquet has 40 clips, 41 by the scorecard"),
    ],
)
def test_damaged_runs_are_counted_named_and_left_out(folder, capsys, damage, says):
    damage(folder / "runs" / "two")
    assert cli.main(["leaderboard", "runs"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("2 runs, 1 left out, ")
    assert "left out: runs/two: " in found.err
    assert says in found.err
    text = (folder / "leaderboard.html").read_text()
    assert "<code>runs/two</code>" in text
    assert text.count("<tr data-place=") == 2


def _all_damaged(folder):
    for run in (folder / "runs").iterdir():
        _no_card(run)


@pytest.mark.parametrize(
    ("words", "says", "before"),
    [
        (["none"], "no sound run below none", None),
        (["paper:sf_nfnet_f0_simclr"], "any folder: none was given", None),
        (["runs"], "and 3 that are left out", _all_damaged),
        (["runs", "-o", "board.pdf"], "expected .html", None),
        (["runs", "--trained-on", "one"], "expected NAME=DATA", None),
        (["runs", "--trained-on", "ome=birds"], "Did you mean 'one'", None),
    ],
)
def test_a_users_mistake_is_one_clear_error(folder, capsys, words, says, before):
    if before:
        before(folder)
    assert cli.main(["leaderboard", *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("leveret: error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert not (folder / "leaderboard.html").exists()
