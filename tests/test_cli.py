"""The command line: help, names, errors a person can act on."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leveret import cli
from leveret.evaluation import Evaluation
from leveret.vectors import read_vectors


def leveret(capsys, *words):
    """Exit status, standard output, standard error."""
    try:
        status = cli.main([str(word) for word in words])
    except SystemExit as done:  # how tyro ends help and usage errors
        status = int(done.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for k in range(4):
        soundfile.write(folder / f"{k}.wav", 0.1 * np.random.default_rng(k).standard_normal(16_000), 16_000)
    return folder


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_examples(capsys, name):
    status, out, _ = leveret(capsys, name, "--help")
    assert status == 0
    assert "Examples:" in out
    assert f"leveret {name}" in out.split("Examples:")[1]


@pytest.mark.parametrize("name", ["pretrain", "evaluate"])
def test_help_of_an_option_is_broken_where_the_line_ends_and_names_no_default_where_there_is_none(
    capsys, monkeypatch, name
):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = leveret(capsys, name, "--help")
    begin, end = 26, 78
    lines = [line for line in out.splitlines() if line.startswith("\u2502")]
    for one, other in pairwise(lines):
        text, more = one[begin:end].rstrip(), other[begin:end].split()
        if not other[1:begin].strip() and text and more and "--" not in one[:begin]:
            assert len(text) + 1 + len(more[0]) > end - begin, (one, other)
    assert "(default: None)" not in out
    assert "(default: )" not in out
    assert "\n\n\n" not in out


ACTIONS = [(name, action) for name in cli.COMMANDS for action in cli.action_classes(cli.command_class(name))]


@pytest.mark.parametrize(("name", "action"), ACTIONS)
def test_every_action_has_help_with_examples_and_stands_in_that_of_its_command(capsys, name, action):
    status, out, _ = leveret(capsys, name, action, "--help")
    assert status == 0
    assert f"leveret {name} {action}" in out.split("Examples:")[1]
    assert f"\n{action}: " in leveret(capsys, name, "--help")[1]


@pytest.mark.parametrize(
    "words",
    [[], *([*words, "--help"] for words in ([], ["evaluate"], ["embed"], ["pretrain"], ["data"], ["data", "get"]))],
)
def test_help_never_imports_torch(words):
    script = (
        "import sys, leveret.cli\n"
        "try: leveret.cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-c", script, *words], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evaluat"], "Did you mean 'evaluate'"),
        (["evaluate", "--encoder", "melstat"], "Did you mean 'melstats'"),
        (["evaluate", "--encoder", "melstats", "--tasks", "manifest:none.csv"], "no manifest at none.csv"),
        (["evaluate", "--encoder", "melstats", "--tasks", "/"], "no task '/', but a folder"),
        (["evaluate", "--encoder", "melstats", "--tasks"], "no tasks are named; name some, such as mini"),
        (["evaluate", "--encoder", "x.safetensors"], "no checkpoint at x.safetensors"),
        (["evaluate", "--encoder", "py:none.py:X"], "no file 'none.py'"),
        (["evaluate", "--encoder", "none.py:X"], "such as py:none.py:X"),
        (["evaluate", "--encoder", "melstats", "--tasks", "labels.csv"], "manifest:labels.csv"),
        (["evaluate", "--encoder", "hear:no_such_module"], "no module 'no_such_module' can be imported"),
        (["evaluate", "--encoder", "hf:nobody/nothing"], "no model 'nobody/nothing' here"),
        (["evaluate", "--encoder", "onnx:none.onnx"], "no file 'none.onnx'"),
        (["embed", "none.wav", "-o", "v.npz", "--encoder", "torchscript:none.pt"], "no file 'none.pt'"),
        (["evaluate", "--encoder", "pkg:resemblizer"], "Did you mean 'resemblyzer'"),
        (["evaluate", "--encoder", "melstats", "--crop", "long"], "expected seconds"),
        (["evaluate", "--encoder", "melstats", "--steps", "5", "--protocol", "quick"], "only of `paper` and `cached`"),
        (["evaluate", "--encoder", "melstats", "--seeds", "0"], "--seeds 0: expected how many to train with, 1 to"),
        (["evaluate", "--encoder", "melstats", "--seeds", "-1"], "--seeds -1: expected how many to train with, 1 to"),
        (["evaluate", "--encoder", "melstats", "--seed", f"{2**64}"], f"seed={2**64}; expected -2**63 to 2**64 - 1"),
        (["evaluate", "--encoder", "melstats", "--probe", "knm"], "Did you mean 'knn'"),
        (["evaluate", "--encoder", "melstats", "--probe", "knn", "--steps", "5"], "takes no steps"),
        (["classify", "--probe", "none.safetensors", "a.wav"], "no trained probe at none.safetensors"),
        (["classify", "--probe", "none.safetensors", "a.wav", "-o", "a.txt"], "ends in '.txt'"),
        (["classify", "--probe", "none.safetensors", "a.wav", "--top", "-1"], "--top -1"),
        (["embed", "none.wav", "-o", "v.parquet", "--encoder", "melstats"], "no audio at 'none.wav'"),
        (["embed", "none.wav", "-o", "v.csv"], "ends in '.csv'"),
        (["evaluate", "--encoder", "melstats", "--crop", "inf"], "crop=inf s; expected 0.025"),
        (["embed", "none.wav", "-o", "none/v.npz"], "does not exist"),
        (["evaluate", "--encoder", "melstats", "--tasks", "hear-tasks:none"], "no folder 'none'"),
        (["evaluate", "--encoder", "melstats", "--tasks", "xares-tars:."], "no task at '.'"),
        (["data", "export", "manifest:none.csv", "-o", "out"], "no manifest at none.csv"),
        (["compare", "none"], "no finished run at none"),
        (["compare", "paper:sf_nfnet_f0_simcl"], "Did you mean 'paper:sf_nfnet_f0_simclr'"),
        (["compare", "paper:sf_nfnet_f0_simclr"], "give at least one run folder"),
    ],
)
def test_a_users_mistake_is_one_clear_error(capsys, monkeypatch, tmp_path, words, says):
    monkeypatch.chdir(tmp_path)
    status, out, err = leveret(capsys, *words)
    assert status == 2
    assert err.startswith("leveret: error: ")
    assert says in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "runs").exists()
    assert not list((tmp_path / "home").glob("mini*")), "the suite was made first"


@pytest.mark.parametrize("words", [["--help"], ["embed", "--help"], ["--version"]])
@pytest.mark.parametrize(("where", "says"), [("/dev/full", "cannot be written (No space left"), ("&-", "is closed")])
def test_standard_output_that_takes_nothing_is_one_clear_error(words, where, says):
    shell = ["sh", "-c", f'exec "$0" -m leveret "$@" >{where}', sys.executable, *words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"leveret: error: standard output {says}")
    assert len(done.stderr.splitlines()) == 1


def test_closed_standard_streams_are_one_clear_error_or_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", None)
    status, _, err = leveret(capsys, "embed", "-", "-o", tmp_path / "v.npz", "--encoder", "melstats")
    assert (status, err.startswith("leveret: error: standard input is closed")) == (2, True)
    done = subprocess.run(["sh", "-c", 'exec "$0" -m leveret nothing 2>&-', sys.executable])
    assert done.returncode == 2


def test_what_was_wrong_before_is_told_where_standard_output_is_full_too():
    shell = 'exec "$0" -m leveret list nothing >/dev/full'
    done = subprocess.run(["sh", "-c", shell, sys.executable], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_ctrl_c_ends_the_process_without_a_word(capsys, monkeypatch):
    def stopped(name, words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", stopped)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert leveret(capsys, "list")[0] == 130
        assert signal.getsignal(signal.SIGINT) == before  # not that of a program which calls leveret
        monkeypatch.setattr("sys.argv", ["leveret", "list"])
        assert cli.main() == 130
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_choice_that_there_is_not_is_told_as_any_unknown_name(capsys):
    for words in (["--protocol", "qick"], ["--protocol=qick"]):
        status, _, err = leveret(capsys, "evaluate", "--encoder", "melstats", *words)
        assert status == 2
        assert err == "leveret: error: no --protocol 'qick'. Did you mean 'quick'? Known: paper, cached, quick\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_values_stand_in_help_as_a_reader_writes_them(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = leveret(capsys, name, "--help")
    assert not [line for line in out.splitlines() if "{None}" in line or "[STR" in line or "(default: )" in line]
    about = out.split("Examples:")[0].splitlines()
    assert max(map(len, about)) <= 120, "a paragraph is one line, which the terminal breaks anywhere"


def test_nothing_to_evaluate_says_so(capsys, tone_manifest):
    status, _, err = leveret(capsys, "evaluate", "--tasks", f"manifest:{tone_manifest()}")
    assert status == 2
    assert "nothing to evaluate" in err


def test_list_has_a_line_a_room_and_each_room_its_names_as_text_and_as_json(capsys):
    status, out, _ = leveret(capsys, "list")
    assert status == 0
    whole = json.loads(leveret(capsys, "list", "--json")[1])
    lines = {line.split()[0]: line for line in out.splitlines() if "leveret list " in line and line[0] != "`"}
    assert set(lines) == set(whole)
    for room, rows in whole.items():
        assert lines[room].split()[1] == str(len(rows))
        assert lines[room].rstrip().endswith(f"leveret list {room}")
    assert len(out.splitlines()) < 20
    status, out, _ = leveret(capsys, "list", "encoders")
    assert "slowfast_nfnet_f0" in out
    assert "62,970,654" in out
    status, out, _ = leveret(capsys, "list", "encoders", "--json")
    rooms = json.loads(out)
    assert [row["name"] for row in rooms["adapters"]] == ["hear:", "hf:", "onnx:", "pkg:", "py:", "torchscript:"]
    assert all(row["what"] for row in rooms["adapters"])
    found = {row["name"]: row for row in rooms["encoders"]}
    assert found["slowfast_nfnet_f0"]["parameters"] == 62_970_654
    assert found["slowfast_nfnet_f0"]["width"] == 3456


def test_embed_writes_one_vector_a_file(capsys, sounds, tmp_path):
    status, out, err = leveret(
        capsys, "embed", sounds, "-o", tmp_path / "v.parquet", "--encoder", "slowfast_nfnet_tiny"
    )
    assert status == 0, err
    assert out.startswith("4 vectors of 96 numbers, 0 files skipped")
    assert "random weights" in err
    vectors = read_vectors(tmp_path / "v.parquet")
    assert vectors.vector.shape == (4, 96)
    assert list(vectors.seconds) == [1.0] * 4
    assert vectors.about["encoder"]["name"] == "slowfast_nfnet_tiny"


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_embed_replaces_its_own_vectors_and_no_others_unless_forced(capsys, sounds, tmp_path, suffix):
    output = tmp_path / f"v{suffix}"
    words = ["embed", sounds, "-o", output, "--encoder"]
    assert leveret(capsys, *words, "melstats")[0] == 0
    assert leveret(capsys, *words, "melstats")[0] == 0, "the same again"
    kept = output.read_bytes()
    status, _, err = leveret(capsys, *words, "slowfast_nfnet_tiny")
    assert status == 2
    assert "holds vectors of melstats, other than those that slowfast_nfnet_tiny gives now; give another name" in err
    assert output.read_bytes() == kept
    assert leveret(capsys, *words, "slowfast_nfnet_tiny", "--force")[0] == 0
    assert leveret(capsys, *words, "slowfast_nfnet_tiny", "--layer", "stem")[0] == 2, "another layer"
    output.write_bytes(b"somebody's own")
    status, _, err = leveret(capsys, *words, "melstats")
    assert status == 2
    assert "no `leveret embed` wrote it" in err
    assert output.read_bytes() == b"somebody's own"


def test_embed_writes_windows_and_reads_names_from_standard_input(capsys, sounds, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", [f"{sounds}/0.wav\n", f"{sounds}/1.wav\n"])
    words = ["embed", "-", "-o", tmp_path / "v.npz", "--encoder", "melstats", "--window", "0.5", "--hop", "0.25"]
    status, out, err = leveret(capsys, *words, "--json")
    assert status == 0, err
    expected = {"output": str(tmp_path / "v.npz"), "rows": 6, "width": 240, "skipped": {}, "silent": []}
    assert json.loads(out) == expected
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert file["vector"].shape == (6, 240)
        assert list(file["start"]) == [0, 0.25, 0.5] * 2


@pytest.mark.parametrize("window", ["inf", "nan", "1e9", "-1", "0.02"])
def test_embed_refuses_a_window_that_no_vector_could_be_of(capsys, tmp_path, window):
    words = ["embed", "none.wav", "-o", tmp_path / "v.npz", "--encoder", "melstats", "--window", window]
    assert f"window={float(window)} s; expected 0.025 (one analysis window) to 3600" in leveret(capsys, *words)[2]


@pytest.mark.parametrize("hop", ["inf", "nan", "1e-9", "0", "-1"])
def test_embed_refuses_a_hop_below_that_of_the_front_end(capsys, tmp_path, hop):
    words = ["embed", "none.wav", "-o", tmp_path / "v.npz", "--encoder", "melstats", "--window", "1", "--hop", hop]
    assert f"hop={float(hop)} s; expected 0.01 (the hop of the front end) to 3600" in leveret(capsys, *words)[2]


def test_embed_says_which_files_are_digital_silence(capsys, sounds, tmp_path):
    for name in ("a", "b"):
        soundfile.write(sounds / f"{name}.wav", np.zeros(16_000), 16_000)
    words = ["embed", sounds, "-o", tmp_path / "v.npz", "--encoder", "melstats"]
    status, out, err = leveret(capsys, *words, "--json")
    assert status == 0, err
    assert f"note: digital silence in 2 files, first in '{sounds}/a.wav'\n" in err
    assert json.loads(out)["silent"] == [f"{sounds}/{name}.wav" for name in ("a", "b")]


def test_embed_tells_its_plan_first_and_the_time_of_large_work_alone(capsys, sounds, tmp_path):
    output = tmp_path / "v.npz"
    words = ["embed", sounds, "-o", output, "--encoder", "melstats", "--threads", "1", "--window", "0.5"]
    status, out, err = leveret(capsys, *words, "--dry-run")
    assert status == 0, err
    assert "plan: 8 windows, 0 of them cached; 8 kB of vectors\n" in out
    status, out, err = leveret(capsys, *words, "--hop", "0.01", "--dry-run")
    assert "plan: 204 windows, 0 of them cached; 196 kB of vectors; about " in out
    assert not output.exists()
    assert "plan: 8 windows, 0 of them" in leveret(capsys, *words)[2]
    assert "plan: 8 windows, 8 of them" in leveret(capsys, *words)[2]
    assert output.exists()


@pytest.mark.parametrize("how", ["named", "linked"])
def test_a_file_that_is_missing_is_counted_as_any_bad_one(capsys, sounds, tmp_path, monkeypatch, how):
    names = [f"{sounds}/0.wav\n", f"{sounds}/none.wav\n"] if how == "named" else [f"{sounds}\n"]
    if how == "linked":
        (sounds / "none.wav").symlink_to(tmp_path / "gone.wav")
    for policy, status in (("fail", 2), ("few", 2), ("skip", 0)):
        monkeypatch.setattr("sys.stdin", names)
        words = ["embed", "-", "-o", tmp_path / "v.npz", "--encoder", "melstats", "--bad-files", policy]
        found, out, err = leveret(capsys, *words)
        assert found == status, err
        assert "none.wav' does not exist" in err
    assert "1 file skipped" in out


def test_an_unreadable_file_is_refused_or_skipped_by_name(capsys, sounds, tmp_path):
    (sounds / "2.wav").write_text("not audio")
    words = ["embed", sounds, "-o", tmp_path / "v.parquet", "--encoder", "melstats"]
    status, _, err = leveret(capsys, *words)
    assert status == 2
    assert "2.wav" in err
    assert not (tmp_path / "v.parquet").exists()
    status, out, err = leveret(capsys, *words, "--bad-files", "skip")
    assert status == 0
    assert "3 vectors of 240 numbers, 1 file skipped" in out
    assert "2.wav" in err


def test_evaluate_compare_and_cache_work_together(capsys, tone_manifest, tmp_path):
    runs = tmp_path / "runs"
    words = ["evaluate", "--encoder", "melstats", "slowfast_nfnet_tiny", "--protocol", "quick", "-o", runs]
    status, out, err = leveret(capsys, *words, "--tasks", f"manifest:{tone_manifest()}")
    assert status == 0, err
    assert err.index("tones: taken as one label a clip") < err.index("plan: "), "what was guessed is said first"
    folders = out.splitlines()[-2:]
    assert [folder.split("/")[-1].split("-")[0] for folder in folders] == ["melstats", "slowfast_nfnet_tiny"]
    status, out, _ = leveret(capsys, "compare", *folders, "paper:sf_nfnet_f0_simclr")
    assert status == 0
    assert "tones" in out
    status, out, _ = leveret(capsys, "compare", *folders, "--json")
    (task,) = json.loads(out)["tasks"]
    assert task["num_clips"] == 20
    assert task["cells"][0]["difference"] is None
    assert task["cells"][1]["p"] is not None
    status, out, _ = leveret(capsys, "cache", "ls", "--json")
    assert len(json.loads(out)) == 6
    assert leveret(capsys, "cache", "verify")[0] == 0
    for days in ("-1", "nan"):
        status, _, err = leveret(capsys, "cache", "gc", "--days", days)
        assert (status, f"--days {days}: expected 0, which deletes everything, or more" in err) == (2, True)
    assert json.loads(leveret(capsys, "cache", "gc", "--json")[1]) == []
    (one, *others) = json.loads(leveret(capsys, "cache", "ls", "--json")[1])
    os.utime(Path(one["folder"]) / "identity.json", (0, 0))
    (deleted,) = json.loads(leveret(capsys, "cache", "gc", "--json")[1])
    assert (deleted["folder"], len(others)) == (one["folder"], 5)
    status, out, _ = leveret(capsys, "cache", "gc", "--days", "0")
    assert "5 of 5 stores deleted" in out
    status, out, _ = leveret(capsys, "cache", "ls", "--json")
    assert json.loads(out) == []


def test_an_own_encoder_is_warned_of_and_found_again_in_the_cache(capsys, tone_manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "class Look:\n    sample_rate = 16000\n    def embed(self, wave):\n"
        "        x = wave.unfold(1, 9, 9).square().mean(1)\n        return x - 0.5 * x.mean(0)\n"
    )
    manifest = tone_manifest()
    words = [
        "evaluate",
        "--encoder",
        "py:mine.py:Look",
        "--tasks",
        f"manifest:{manifest}",
        "--protocol",
        "quick",
    ]
    status, out, err = leveret(capsys, *words, "--no-floor", "--save-probes")
    assert status == 0
    warning = "py:mine.py:Look: vectors depend on the rest of the batch (by "
    assert err.replace("\n", " ").count(f"warning: {warning}") == 1
    assert f"  ! {warning}" in out
    folder = out.splitlines()[-1]
    assert (
        f"  1 probe kept, to be used as in: leveret classify SOUNDS --probe {folder}/probes/tones.safetensors\n" in out
    )
    assert json.loads(Path(folder, "scorecard.json").read_text())["encoder"]["warning"].startswith(warning)
    assert f"warning: {warning}" in Path(folder, "log.txt").read_text()
    assert "py:mine.py:Look" in leveret(capsys, "cache", "ls")[1]
    status, out, err = leveret(
        capsys, "embed", manifest.parent / "audio", "-o", "x.parquet", "--encoder", "py:mine.py:Look"
    )
    assert (status, f"warning: {warning}" in err) == (0, True)


def test_evaluate_prints_json_alone_on_standard_output(capsys, tone_manifest, tmp_path):
    words = ["evaluate", "--encoder", "melstats", "--protocol", "quick", "-o", tmp_path / "runs", "--json"]
    status, out, _ = leveret(capsys, *words, "--tasks", f"manifest:{tone_manifest()}")
    assert status == 0
    (card,) = json.loads(out)
    assert card["tasks"][0]["task"] == "tones"


def test_a_dry_run_prints_its_plan_as_json_alone_and_writes_nothing(capsys, tone_manifest, tmp_path):
    words = ["evaluate", "--encoder", "slowfast_nfnet_tiny", "--protocol", "quick", "-o", tmp_path / "runs", "--json"]
    status, out, err = leveret(capsys, *words, "--tasks", f"manifest:{tone_manifest()}", "--dry-run")
    assert status == 0, err
    plan = json.loads(out)
    assert (plan["floor"], plan["embedding_seconds"] > 0) == ("melstats", True)
    same = {"task": "tones", "num_windows": 60, "num_cached": 0, "num_drawn": 0, "dtype": "float32"}
    assert plan["rows"] == [
        {**same, "encoder": "melstats", "num_bytes": 60 * 240 * 4},
        {**same, "encoder": "slowfast_nfnet_tiny", "num_bytes": 60 * 96 * 4},
    ]
    assert not (tmp_path / "runs").exists()


def test_a_warning_is_said_once_and_the_floors_windows_are_told(capsys, tone_manifest, tmp_path):
    words = ["evaluate", "--encoder", "slowfast_nfnet_tiny", "--protocol", "quick", "-o", tmp_path / "runs"]
    words += ["--tasks", f"manifest:{tone_manifest()}"]
    status, out, err = leveret(capsys, *words)
    assert status == 0, err
    assert "plan: 120 windows (60 of melstats, for the floor), 0 of them cached; " in err
    warning = "slowfast_nfnet_tiny, tones: interval over 6 groups only"
    assert (out.count(warning), err.count("groups only")) == (1, 0)
    said = "tones, slowfast_nfnet_tiny: interval over 6 groups only"
    assert said in (Path(out.split()[-1]) / "log.txt").read_text()
    _, _, err = leveret(capsys, *words, "--json")
    assert warning in err, "standard output has the scorecards alone"
    _, _, err = leveret(capsys, *words, "--no-floor")
    assert "plan: 60 windows, 60 of them cached; " in err


def test_an_error_says_where_finished_tasks_are_kept_and_compare_what_to_do_with_them(
    capsys, tone_manifest, tmp_path, monkeypatch
):
    score, runs = Evaluation._score, tmp_path / "runs"

    def failing(self, reading, reporter):
        if reading.key == "tones-2":
            raise ValueError("something is wrong")
        return score(self, reading, reporter)

    words = ["evaluate", "--encoder", "melstats", "--protocol", "quick", "-o", runs, "--tasks"]
    words += [f"manifest:{tone_manifest(name)}" for name in ("one", "two")]
    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "_score", failing)
        status, _, err = leveret(capsys, *words)
    (partial,) = runs.iterdir()
    kept = f"finished tasks are kept in {partial}, and the same command goes on there"
    assert (status, err.splitlines()[-2:]) == (2, ["leveret: error: something is wrong", kept])
    for command in ("compare", "report"):
        status, _, err = leveret(capsys, command, partial)
        assert status == 2
        assert f"{partial} is of an unfinished run" in err
        assert f"or name the folder above, {runs}" in err
    status, _, err = leveret(capsys, *words)
    assert (status, "1 of 2 tasks are scored" in err.replace("\n", " ")) == (0, True)


@pytest.fixture
def probe(capsys, tone_manifest, tmp_path):
    """A trained probe, and the folder of the files that it knows."""
    manifest = tone_manifest()
    words = ["evaluate", "--encoder", "melstats", "--protocol", "quick", "--save-probes", "-o", tmp_path / "runs"]
    status, out, err = leveret(capsys, *words, "--tasks", f"manifest:{manifest}")
    assert status == 0, err
    return Path(out.split()[-1]) / "probes" / "tones.safetensors", manifest.parent / "audio"


def test_classify_prints_a_table_or_json(capsys, probe, monkeypatch):
    path, audio = probe
    status, out, err = leveret(capsys, "classify", "--probe", path, audio / "000.wav", audio / "001.wav", "--top", 1)
    assert status == 0, err
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert lines[0] == ["file", "rank", "label", "probability"]
    assert [line[1:3] for line in lines[1:]] == [["1", "low"], ["1", "high"]]
    monkeypatch.setattr("sys.stdin", [f"{audio}/000.wav\n"])
    status, out, _ = leveret(capsys, "classify", "--probe", path, "-", "--json", "--window", 0.2)
    rows = json.loads(out)
    assert [(row["start"], row["rank"], row["label"]) for row in rows] == [
        (0.0, 1, "low"), (0.0, 2, "high"), (0.2, 1, "low"), (0.2, 2, "high"),
    ]  # fmt: skip


def test_classify_writes_hostile_names_safely(capsys, probe, tmp_path):
    path, audio = probe
    names = ["=HYPERLINK(1).wav", "two\nlines.wav", "\x1b[2J.wav"]
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((audio / "000.wav").read_bytes())
    status, out, err = leveret(capsys, "classify", "--probe", path, folder, "--top", 1, "-o", tmp_path / "c.csv")
    assert status == 0, err
    assert out.startswith("3 rows of 3 files, 0 files skipped: ")
    assert len((tmp_path / "c.csv").read_bytes().splitlines()) == 4
    status, out, err = leveret(capsys, "classify", "--probe", path, folder, "--top", 1)
    assert status == 0
    assert "\x1b" not in out + err
    assert len([line for line in out.splitlines() if " low " in line]) == 3


def test_classify_starts_a_cell_of_a_formula_with_an_apostrophe(capsys, probe, tmp_path, monkeypatch):
    path, audio = probe
    monkeypatch.chdir(audio)
    (audio / "000.wav").rename("=1+1.wav")
    status, _, err = leveret(capsys, "classify", "--probe", path, "=1+1.wav", "-o", tmp_path / "c.csv")
    assert status == 0, err
    assert (tmp_path / "c.csv").read_text().splitlines()[1].startswith("'=1+1.wav,")


def test_classify_names_what_it_skips_and_says_what_votes_are(capsys, tone_manifest, tmp_path):
    manifest = tone_manifest()
    words = ["evaluate", "--encoder", "melstats", "--protocol", "quick", "--probe", "knn", "--save-probes"]
    status, out, err = leveret(capsys, *words, "--tasks", f"manifest:{manifest}", "-o", tmp_path / "runs")
    assert status == 0, err
    assert "protocol quick+knn" in out
    (manifest.parent / "audio" / "002.wav").write_text("not audio")
    path = Path(out.split()[-1]) / "probes" / "tones.safetensors"
    words = ["classify", "--probe", path, manifest.parent / "audio", "-o", tmp_path / "c.json"]
    status, _, err = leveret(capsys, *words)
    assert status == 2
    assert "002.wav" in err
    status, out, err = leveret(capsys, *words, "--bad-files", "skip")
    assert status == 0
    assert "118 rows of 59 files, 1 file skipped" in out
    assert "002.wav" in err
    assert "decision values, no probabilities" in err
    assert "decision_value" in json.loads((tmp_path / "c.json").read_text())[0]


def test_data_export_tells_what_it_wrote_and_what_it_left_out(capsys, tone_manifest, tmp_path):
    manifest = tone_manifest(num_clips=120)
    (manifest.parent / "audio" / "000.wav").write_text("not audio")
    words = ["data", "export", f"manifest:{manifest}", "-o", tmp_path / "out"]
    status, out, err = leveret(capsys, *words)
    assert status == 0, err
    assert "skipped: " in err
    assert "000.wav" in err
    assert "written" in out
    status, out, _ = leveret(capsys, *words, "--json")
    (row,) = json.loads(out)
    assert (row["task"], row["num_clips"], row["existed"]) == ("tones", 119, True)
    runs = ["-o", tmp_path / "runs", "--json"]
    spec = f"hear-tasks:{tmp_path / 'out'}"
    status, out, _ = leveret(capsys, "evaluate", "--encoder", "melstats", "--protocol", "quick", "--tasks", spec, *runs)
    assert status == 0
    assert json.loads(out)[0]["tasks"][0]["suite"] == "hear/out"


def test_data_export_says_that_16_bits_rounded(capsys, tone_manifest, tmp_path):
    manifest = tone_manifest()
    soundfile.write(manifest.parent / "audio" / "000.wav", np.full(6400, 0.1), 16_000, subtype="FLOAT")
    words = ["data", "export", f"manifest:{manifest}", "--format", "xares", "-o", tmp_path / "out"]
    status, _, err = leveret(capsys, *words)
    assert status == 0
    assert "16 bits rounded 1 clip and cut off 0 at full scale" in err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_options(capsys, shell):
    status, out, _ = leveret(capsys, "completion", shell)
    assert status == 0
    assert "--dry-run" in out
    assert "evaluate" in out
    assert "--keep-archives" in out
    assert " prepare " in out


def test_bash_accepts_the_completion(capsys):
    _, out, _ = leveret(capsys, "completion", "bash")
    script = out + "\nCOMP_WORDS=(leveret ev); COMP_CWORD=1; _leveret; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "evaluate"


def test_the_version_is_told(capsys):
    assert leveret(capsys, "--version")[1].startswith("leveret 0.")
