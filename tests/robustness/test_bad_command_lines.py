"""The command line on generated folders: exit status 0 or 2, no traceback, nothing half-written."""

import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leveret import cli
from leveret.vectors import read_vectors

QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
SOAK = settings(QUICK, max_examples=1000)

FILES = ("a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "f.wav")
STATES = ("good", "missing", "empty", "words", "cut", "silent", "nan", "3 ms", "folder")
NUMBER = count()


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def leveret(capsys, monkeypatch, tmp_path):
    """Runs a command line in a new folder; whatever happens there was no traceback."""

    def run(folder: Path, *words: object) -> Outcome:
        monkeypatch.chdir(folder)
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as done:  # how tyro refuses an option
            status = int(done.code or 0)
        said = capsys.readouterr()
        assert status in (0, 1, 2), said.err
        assert "Traceback" not in said.err
        assert (status == 0) == ("leveret: error: " not in said.err)
        assert not [path for path in folder.rglob("*") if "partial" in path.name or path.name.startswith(".")]
        return Outcome(status, said.out, said.err)

    return run


def write_sound(path: Path, state: str, number: int) -> None:
    wave = 0.1 * np.random.default_rng(number).standard_normal(1_600)
    if state == "folder":
        path.mkdir()
    elif state in ("empty", "words"):
        path.write_bytes(b"" if state == "empty" else b"these are words\n" * 9)
    elif state != "missing":
        wave = {"silent": 0 * wave, "nan": np.nan * wave, "3 ms": wave[:48]}.get(state, wave)
        soundfile.write(path, wave, 16_000, subtype="FLOAT" if state == "nan" else "PCM_16")
        if state == "cut":
            path.write_bytes(path.read_bytes()[:200])


def new_folder(root: Path, states) -> Path:
    folder = root / f"{next(NUMBER)}"
    folder.mkdir()
    for number, (name, state) in enumerate(zip(FILES, states, strict=True)):
        write_sound(folder / name, state, number)
    return folder


states = st.tuples(*[st.sampled_from(("good",) * 9 + STATES)] * len(FILES))
policies = st.sampled_from(["few", "fail", "skip"])
windows = st.sampled_from(
    [[], ["--window", "0.05"], ["--window", "0.05", "--hop", "0.02"], ["--window", "nan"], ["--hop", "1"]]
)


def check_embed(leveret, root: Path, states, policy, windows, ending) -> None:
    folder = new_folder(root, states)
    output = folder / f"v.{ending}"
    words = ["embed", *FILES, "-o", output, "--encoder", "melstats", "--bad-files", policy, "--json", *windows]
    found = leveret(folder, *words)
    assert output.exists() == (found.status == 0)
    if found.status:
        assert found.out == ""
        return
    said = json.loads(found.out)
    bad = {name for name, state in zip(FILES, states, strict=True) if state not in ("good", "silent")}
    assert set(said["skipped"]) == bad
    assert all(name in found.err for name in bad)
    if ending == "parquet":
        assert set(read_vectors(output).file) == set(FILES) - bad


@QUICK
@given(states=states, policy=policies, windows=windows, ending=st.sampled_from(["parquet", "npz"]))
def test_embed_writes_all_that_it_promises_or_nothing(leveret, tmp_path, states, policy, windows, ending):
    check_embed(leveret, tmp_path, states, policy, windows, ending)


@pytest.mark.soak
@SOAK
@given(states=states, policy=policies, windows=windows, ending=st.sampled_from(["parquet", "npz"]))
def test_a_thousand_embeds_write_all_or_nothing(leveret, tmp_path, states, policy, windows, ending):
    check_embed(leveret, tmp_path, states, policy, windows, ending)


rows = st.lists(
    st.tuples(
        st.sampled_from([*FILES, *FILES, "", "none.wav", "a\nb.wav", "/etc", "=cmd()", "\0"]),
        st.sampled_from(["x", "y", "x|y", "||", "", "=cmd()", "\x1b[2J", "[red]", "a\nb"]),
        st.sampled_from(["train", "test", "valid", "train", "test", "tset", ""]),
        st.sampled_from(["", "", "", "0", "0.05", "9", "-1", "x"]),
        st.sampled_from(["", "", "", "0.1", "0.06", "9", "0"]),
    ),
    max_size=12,
)
# a manifest that works, in which single cells are then spoilt
sound_rows = st.permutations(FILES).map(
    lambda names: [(name, "xy"[k % 2], "train" if k < 4 else "test", "", "") for k, name in enumerate(names)]
)


@st.composite
def mostly_sound(draw):
    made = [list(row) for row in draw(sound_rows)]
    for spoilt in draw(rows.map(lambda rows: rows[:2])):
        column = draw(st.integers(0, 4))
        made[draw(st.integers(0, 5))][column] = spoilt[column]
    return made


options = st.sampled_from(
    [[], [], [], ["--crop", "clip"], ["--crop", "0.05"], ["--crop", "0"], ["--crop", "nan"], ["--crop", "-1"],
     ["--only", "none"], ["--seeds", "0"], ["--dry-run"], ["--batch-size", "0"], ["--threads", "0"],
     ["--threads", "-1"], ["--batch-size", "-3"], ["--protocol", "cached", "--steps", "2"],
     ["--average", "probabilities"]]
)  # fmt: skip


def check_evaluate(leveret, root: Path, states, policy, rows, options) -> None:
    folder = new_folder(root, states)
    text = "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows)
    (folder / "set.csv").write_text(f"file,label,split,start,end\n{text}\n", newline="")
    words = ["evaluate", "--encoder", "melstats", "--tasks", "manifest:set.csv", "--no-floor", "--bad-files", policy]
    protocol = [] if "--protocol" in options else ["--protocol", "quick"]
    found = leveret(folder, *words, *protocol, *options)
    cards = list(folder.rglob("scorecard.json"))
    assert len(cards) == (found.status == 0 and "--dry-run" not in options)
    for card in cards:
        said = json.loads(card.read_text())["tasks"][0]
        assert 0 <= said["score"] <= 1
        # a map where the test clips are enough for one
        assert {path.name for path in card.parent.iterdir()} - {"map"} == {
            "scorecard.json",
            "config.json",
            "log.txt",
            "predictions",
            "report.html",
        }
    if found.status:
        assert not (folder / "runs").exists() or not list((folder / "runs").iterdir())


@QUICK
@given(states=states, policy=policies, rows=rows | mostly_sound(), options=options)
def test_evaluate_leaves_a_whole_run_or_nothing(leveret, tmp_path, states, policy, rows, options):
    check_evaluate(leveret, tmp_path, states, policy, rows, options)


@QUICK
@given(
    states=states.filter(lambda states: states.count("good") > 4),
    policy=st.just("skip"),
    rows=mostly_sound(),
    options=options,
)
def test_evaluate_of_what_is_mostly_sound_leaves_a_whole_run_or_nothing(
    leveret, tmp_path, states, policy, rows, options
):
    check_evaluate(leveret, tmp_path, states, policy, rows, options)


@pytest.mark.soak
@SOAK
@given(states=states, policy=policies, rows=rows | mostly_sound(), options=options)
def test_a_thousand_evaluations_leave_whole_runs_or_nothing(leveret, tmp_path, states, policy, rows, options):
    check_evaluate(leveret, tmp_path, states, policy, rows, options)
