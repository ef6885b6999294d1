"""Every command and every Python snippet of README and documentation runs, on toy data, in the order of its page.

Names stand for stand-ins (`toy_world`), networks are tiny, trainings take two steps. What cannot run here is listed
with the reason, and still has to be understood by its parser.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from tests.documentation.blocks import PAGES, ROOT, blocks_of, leveret_words
from tests.documentation.toy_world import OTHER_RUN, RUN, TRAINED, expanded, make_shown, make_world

from leveret import cli
from leveret.listening.serving import ListenServer

ELSEWHERE = {
    "leveret data get ": "downloads from the owners of the data; tests/datasets gets from a server of its own",
    "leveret list recipes": "counts the operations of all networks, six seconds; tests/test_recipes.py counts some",
    "leveret evaluate --encoder hf:microsoft/wavlm-base-plus#download=yes ": "asks the hub of Hugging Face",
    "leveret doctor": "imports every package of the machine, which takes long; tests/test_doctor.py",
    "make ": "sets up the whole checkout",
    "pip install ": "asks the package index",
    "python -m heareval": "another project's program",
    "python -m xares.run ": "another project's program",
    "sbatch ": "asks a cluster's scheduler",
}
"""Beginning of a command -> why it does not run here."""
SNIPPETS_ELSEWHERE = {
    "from BEATs import": "the authors' file lies beside it",
    "import mteb": "tests/exporting/test_mteb_folder.py runs the folder; the package downloads its tasks",
}
"""What a snippet has in it -> why it does not run here."""
STATUS = {
    "leveret data check hares ": 1,  # toy trees have not the published numbers of clips
    "leveret data check esc50 ": 1,
    "leveret check py:my_encoder.py:MyEncoder": None,  # the page shows an encoder that fails
}
"""Beginning of a command -> its exit status, where that is not 0; None is any."""
GIVEN = {"audio": torch.zeros(2, 16_000)}
"""What snippets take for granted."""
STANDINS = {
    "slowfast_nfnet_f0": "slowfast_nfnet_tiny",
    "slowfast_nfnet_small": "slowfast_nfnet_tiny",
    "slowfast_nfnet_f0_table5": "slowfast_nfnet_tiny",
    "vit_base": "vit_tiny",
    "pkg:resemblyzer": "pkg:openwakeword",
    "mini": "manifest:labels.csv",
    "runs/A": RUN,
    "runs/RUN/probes/birds.safetensors": f"{RUN}/probes/birds.safetensors",
    "runs/B": OTHER_RUN,
    "runs/best-mini": OTHER_RUN,
    "/shared/datasets": "~/datasets",
    "/shared/run": "run",
    "/shared/run/checkpoint.safetensors": "run/checkpoint.safetensors",
    "wavlm=LibriLight": "best=LibriLight",
    "birdnet=Xeno-canto": "melstats=Xeno-canto",
}


SOME_OF_HARES = ("tut18", "fluent_speech_commands")
"""One label and slots; tests/tasks/test_hares.py takes all twelve."""


def smaller(words):
    """The same command for a network, a training and a probe that take seconds."""
    name, *options = [expanded(STANDINS.get(word, word)) for word in words if word != "--compile"]
    if name == "evaluate" and "--dry-run" not in options:
        options += ["--no-embedding-map"]
        if "--data" in options:  # long crops, many of them: nothing for a network
            options = [*without(options, "--encoder"), "--encoder", "melstats"]
            if "--only" not in options and {"hares", "tut18"} & {*options}:
                options += ["--only", *(SOME_OF_HARES if "hares" in options else SOME_OF_HARES[:1])]
        if "quick" not in options and "--probe" not in options and "--vectors" not in options:
            options += ["--steps", "2", "--no-check-rates"]
    if name == "report":
        trained = "run" if Path("run/log.jsonl").exists() else TRAINED
        options = [{"cached": "cached@2", "run": trained}.get(word, word) for word in options]
    if name == "check":
        options += ["--limit", "1"]
    if name == "embed" and "--encoder" not in options:
        options += ["--encoder", "melstats"]
    if name == "pretrain" and "--dry-run" not in options:
        if "--recipe" in options and "small" not in options:
            return [name, *options, "--dry-run"]
        options = without(options, "--batch", "--steps", "--encoder")
        options += ["--encoder", "slowfast_nfnet_tiny", "--batch", "16", "--steps", "2", "--workers", "0"]
        options += [] if "--recipe" in options else ["--setting", "hidden=[32]", "--crop-seconds", "0.5"]
    return [name, *options]


def without(options, *names):
    """Options less those of these names and the value of each."""
    gone = {at + k for at, word in enumerate(options) if word in names for k in (0, 1)}
    return [word for at, word in enumerate(options) if at not in gone]


def elsewhere(command):
    return next((reason for start, reason in ELSEWHERE.items() if f"{command} ".startswith(start)), None)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("documentation") / "world"
    root.mkdir()
    (root.parent / "exports").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("LEVERET_HOME", str(root.parent / "home"))
        make_world(root)
    return root


@pytest.fixture
def world(template, tmp_path, monkeypatch):
    """A page's own copy, in which it works, with a home folder beside; vectors are cached for all pages."""
    root = tmp_path / "world"
    shutil.copytree(template, root, ignore=shutil.ignore_patterns("datasets"))
    (tmp_path / "datasets").symlink_to(template / "datasets")
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LEVERET_HOME", str(template.parent / "home"))
    monkeypatch.setenv("LEVERET_DATA", str(template / "datasets"))
    monkeypatch.syspath_prepend(root)
    monkeypatch.setattr(ListenServer, "serve_forever", interrupted)
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    yield root
    for name in [name for name, module in sys.modules.items() if str(root) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def interrupted(server):
    raise KeyboardInterrupt


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_that_a_page_asks_for_runs(page, world, template, monkeypatch, capsys):
    names = {"__name__": "__page__"} | GIVEN
    blocks = blocks_of(page)
    for block in blocks:
        if block.kind == "file":  # all of them first, since a page may show a file below the command that reads it
            make_shown(world, block.title, block.text)
    for block in blocks:
        where = f"{page.name}:{block.line}"
        if block.kind == "python":
            run_snippet(block.text, where, names)
        elif block.kind == "command" and not elsewhere(block.text):
            run_command(block.text, where, template.parent / "exports", monkeypatch, capsys)


def run_snippet(text, where, names):
    code = compile(text, where, "exec")
    if not any(part in text for part in SNIPPETS_ELSEWHERE):
        for name, standin in STANDINS.items():
            text = text.replace(f'"{name}"', f'"{standin}"')
        code = compile(text, where, "exec")
        exec(code, names)


def run_command(command, where, store, monkeypatch, capsys):
    before, _, _ = command.rpartition(" | ")
    given = subprocess.run(before, shell=True, check=True, capture_output=True, text=True).stdout if before else ""
    monkeypatch.setattr("sys.stdin", given.splitlines(keepends=True))
    words = leveret_words(command)
    assert words, f"{where}: nobody knows how to run {command!r}"
    if words[0] == "export":
        status = exported(words[1:], store)
    elif words[0] in ("list", "describe"):
        status = 0 if (store / command).exists() else called(words)  # they only tell, so once is enough
        (store / command).touch()
    else:
        status = called(words)
    captured = capsys.readouterr()
    expected = next((status for start, status in STATUS.items() if command.startswith(start)), 0)
    if expected is not None:
        assert status == expected, f"{where}: {command}\n{captured.out}\n{captured.err}"
    assert "Traceback" not in captured.err, f"{where}: {command}\n{captured.err}"


def called(words):
    """Exit status."""
    try:
        return cli.main(smaller(words))
    except SystemExit as done:  # how tyro ends a usage error
        return done.code


def exported(words, store):
    """Exit status of an export; one that a page has made before is copied, for all checkpoints are the same here."""
    asked = cli.parsed("export", words)
    made, target = store / f"{asked.to}{asked.run_folder is not None}", Path.cwd() / asked.output
    if made.exists():
        shutil.copytree(made, target, dirs_exist_ok=True) if made.is_dir() else shutil.copy(made, target)
        return 0
    if asked.to in ("onnx", "torch"):
        words = ["byola_cnn_tiny", *words[1:]]  # the smallest graph
    status = called(["export", *words])
    shutil.copytree(target, made) if target.is_dir() else shutil.copy(target, made)
    return status


COMMANDS = sorted({block.text for page in PAGES for block in blocks_of(page) if block.kind == "command"})


def test_the_pages_have_commands_and_snippets():
    assert len(COMMANDS) > 60
    assert sum(block.kind == "python" for page in PAGES for block in blocks_of(page)) > 10


@pytest.mark.parametrize("start", ELSEWHERE)
def test_no_exception_is_left_over(start):
    assert any(f"{command} ".startswith(start) for command in COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if elsewhere(command)])
def test_a_command_that_runs_elsewhere_is_understood(command):
    program, *words = shlex.split(command)
    if program == "leveret":
        assert callable(cli.parsed(words[0], words[1:]).run)
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
        asked = re.findall(r"\[([\w,]+)\]", command)
        assert {name for group in asked for name in group.split(",")} <= extras
    else:
        assert program in ("python", "sbatch")


SCRIPTS = [block for page in PAGES for block in blocks_of(page) if block.title.endswith(".sbatch")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.title)
def test_bash_reads_the_scripts_for_a_cluster(script):
    subprocess.run(["bash", "-n"], input=script.text, text=True, check=True)
    assert "srun torchrun " in script.text


@pytest.mark.parametrize("command", [command for command in COMMANDS if "torchrun" in shlex.split(command)])
def test_torchrun_knows_its_options(command):
    from torch.distributed.run import get_args_parser

    words = shlex.split(command)
    words = words[words.index("torchrun") + 1 :]
    known = get_args_parser().parse_args(words)
    assert known.module
    assert known.training_script == "leveret"


def test_the_makefile_starts_a_command_that_is_understood():
    started = re.findall(r"^\t\$\(BIN\)/leveret (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert started
    for name, *words in map(str.split, started):
        assert callable(cli.parsed(name, words).run)


def test_a_page_that_asks_for_what_does_not_run_is_found(tmp_path, world, template, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("    leveret listen sounds/ --prt 8000\n")
    with pytest.raises(AssertionError, match="Unrecognized"):
        test_all_that_a_page_asks_for_runs(page, world, template, monkeypatch, capsys)
