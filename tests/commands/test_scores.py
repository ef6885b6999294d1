"""What `evaluate` and `compare` say of runs."""

import pytest
from tests.report.toy_runs import scored, single, write_run

from leveret import cli
from leveret.commands.scores import show_runs
from leveret.runs import Run


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Makes run folders, in a folder of the test's own: name of the encoder -> its results."""
    monkeypatch.chdir(tmp_path)

    def make(found, layers=()):
        made = []
        for k, (name, results) in enumerate(found.items()):
            run = write_run(tmp_path / "runs" / f"{name.replace('/', '_')}-quick-20260101-120000", results, name)
            about = {**run.scorecard.encoder, **({"layer": layers[k]} if layers and layers[k] else {})}
            card = type(run.scorecard)(
                encoder=about, protocol=run.scorecard.protocol, tasks=run.scorecard.tasks, run={}
            )
            (run.folder / "scorecard.json").write_text(card.to_json())
            (run.folder / "report.html").touch()
            made.append(Run(run.folder.relative_to(tmp_path), card))
        return made

    return make


def shown(capsys, runs):
    show_runs(runs)
    return capsys.readouterr().out.splitlines()


def test_tasks_stand_by_domain_as_the_means_do(runs, capsys):
    found = [scored(single(0.5), name, domain=domain)
             for name, domain in (("song", "music"), ("word", "speech"), ("rain", "environment"))]  # fmt: skip
    lines = shown(capsys, runs({"one": found}))
    assert [line.split()[0] for line in lines[2:5]] == ["rain", "word", "song"]
    assert [line.split()[1] for line in lines[5:8]] == ["environment", "speech", "music"]
    assert lines[8].startswith("mean of 3 tasks  ")


def test_a_single_task_has_no_mean(runs, capsys):
    lines = shown(capsys, runs({"one": [scored(single(0.5))]}))
    assert not any(line.startswith("mean") for line in lines)


def test_means_of_several_suites_are_told_apart(runs, capsys):
    found = [scored(single(0.5), name, suite=suite) for name, suite in (("a", "w"), ("b", "w"), ("c", "v"))]
    means = [line for line in shown(capsys, runs({"one": found})) if line.startswith("mean")]
    assert [mean.split("  ")[0] for mean in means] == ["mean of 2 tasks (w)"]


def test_without_a_floor_there_is_no_column_for_it(runs, capsys):
    assert "floor" in shown(capsys, runs({"one": [scored(single(0.5))]}))[1]
    assert "floor" not in shown(capsys, runs({"two": [scored(single(0.5), floor=None)]}))[1]


def test_a_score_at_chance_is_marked_without_a_floor_too(runs, capsys):
    lines = shown(capsys, runs({"one": [scored(single(0.25), floor=None)]}))
    assert " !" in lines[2]
    assert "  ! one, farm: not above chance (25.0)" in lines


def test_what_was_not_checked_is_not_said_and_what_was_is_said_once_of_all(runs, capsys):
    unchecked, none = [scored(single(0.5))], [scored(single(0.5), contamination="none found")]
    lines = shown(capsys, runs({"one": unchecked, "two": none, "three": none}))
    assert [line for line in lines if "contamination" in line] == ["  two, three, contamination: none found"]


def test_the_last_lines_are_the_folders_and_before_them_stands_what_to_open(runs, capsys):
    (one,) = runs({"one": [scored(single(0.5))]})
    assert shown(capsys, [one])[-2:] == ["open report.html in:", "runs/one-quick-20260101-120000"]
    (two,) = runs({"two": [scored(single(0.5))]})
    assert shown(capsys, [one, two])[-4:] == [
        "one page of all: leveret report runs/*-20260101-120000 -o report.html", "open report.html in:",
        "runs/one-quick-20260101-120000", "runs/two-quick-20260101-120000",
    ]  # fmt: skip
    runs({"another call's": [scored(single(0.5))]})
    assert shown(capsys, [one, two])[-4] == (
        "one page of all: leveret report runs/one-quick-20260101-120000 runs/two-quick-20260101-120000 -o report.html"
    )
    (one.folder / "report.html").unlink()
    assert "open" not in " ".join(shown(capsys, [one, two]))


def test_layers_are_called_without_their_encoder_which_is_named_once(runs, capsys):
    found = [scored(single(0.5))]
    names = {"melstats": found, "slowfast_nfnet_tiny/stem": found, "slowfast_nfnet_tiny/slow1": found}
    made = runs(names, layers=(None, "stem", "slow1"))
    title, head, *_ = shown(capsys, made)
    assert title.endswith(", layers of slowfast_nfnet_tiny")
    assert head.split()[2:5] == ["melstats", "stem", "slow1"]
    # one layer alone, and layers of two encoders, go by their whole names
    assert shown(capsys, made[:2])[1].split()[2:4] == ["melstats", "slowfast_nfnet_tiny/stem"]
    (other,) = runs({"vit_tiny/stem": found}, layers=("stem",))
    assert shown(capsys, [made[1], other])[1].split()[2:4] == ["slowfast_nfnet_tiny/stem", "vit_tiny/stem"]
    assert cli.main(["compare", *(str(run.folder) for run in made[1:])]) == 0
    title, head, *_ = capsys.readouterr().out.splitlines()
    assert title.endswith("(difference to stem, the first run [95 % interval]), layers of slowfast_nfnet_tiny")
    assert head.split()[3:] == ["stem", "slow1"]


def test_compare_says_which_run_is_the_first_and_of_a_single_one_no_difference(runs, capsys):
    one, two = runs({"one": [scored(single(0.5))], "two": [scored(single(0.5))]})
    assert cli.main(["compare", str(one.folder), str(two.folder)]) == 0
    title, _, line, *_ = capsys.readouterr().out.splitlines()
    assert title == "protocol quick: score x 100 (difference to one, the first run [95 % interval])"
    assert line.endswith("50.0 (+0.0 [+0.0, +0.0])")
    assert cli.main(["compare", str(one.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "protocol quick: score x 100"


def test_tables_of_one_name_are_told_apart_by_their_folders(runs, capsys):
    found = [scored(single(0.5), name, suite=suite)
             for name, suite in (("labels", "birds/labels"), ("labels", "frogs/labels"), ("one", "rest"))]  # fmt: skip
    lines = shown(capsys, runs({"one": found}))
    assert [line.split()[0] for line in lines[2:5]] == ["birds/labels", "frogs/labels", "one"]


def test_classes_of_one_name_are_told_apart_by_their_files(runs, capsys):
    made = runs({name: [scored(single(0.1), "a", chance=0.5)] for name in ("one", "two", "three")})
    for run, file in zip(made, ("old.py", "new.py", "new.py"), strict=True):
        run.scorecard.encoder.update(name="Mine", config={"file": file, "class": "Mine"})
    said = "\n".join(shown(capsys, made))
    assert "old:Mine" in said
    assert "new:Mine" not in said
    assert "three-quick-20260101-120000" in said
