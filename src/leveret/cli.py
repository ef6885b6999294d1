"""The command line: dispatched on its first word before anything imports torch, so that help is instant.

Each command is a dataclass in `leveret.commands`; tyro makes its options from the fields.
"""

import ast
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from inspect import cleandoc, getsource
from itertools import pairwise
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from leveret.distributed import RankLostError, launched, leave
from leveret.registry import unknown_name
from leveret.text import printable

COMMANDS = {
    "evaluate": ("evaluate", "Evaluate", "score encoders on tasks"),
    "pretrain": ("pretrain", "Pretrain", "audio to a trained encoder"),
    "embed": ("embed", "Embed", "audio files to vectors"),
    "classify": ("classify", "Classify", "audio files to labels, by a trained probe"),
    "compare": ("compare", "Compare", "runs and published rows side by side, on the clips they share"),
    "report": ("report", "Report", "runs as one page to look at and send, or as a table for a paper"),
    "leaderboard": ("leaderboard", "Leaderboard", "all runs below a folder as one page with rankings and plots"),
    "verify": ("verify", "Verify", "is a run what it says, by its scores, encoder and splits"),
    "listen": ("listen", "Listen", "which sounds of a folder sound alike, on a page of this machine"),
    "check": ("check", "Check", "examine an encoder: can its scores be trusted, what does it cost"),
    "describe": ("describe", "Describe", "the layers of an encoder, their shapes, parameters and operations"),
    "doctor": ("doctor", "Doctor", "what is installed, what is broken, what to do"),
    "list": ("listing", "List", "encoders, tasks, probes, objectives, recipes, published rows"),
    "data": ("data", "Data", "list, get, check, prepare datasets; export tasks to other suites"),
    "export": ("export", "Export", "an encoder for ONNX, torch.export, HEAR, Hugging Face, MTEB"),
    "import": ("importing", "Import", "the authors' parameters to a checkpoint"),
    "shards": ("shards", "Shards", "pack a corpus to train on into tar archives; check them"),
    "cache": ("cache", "Cache", "look at, verify and clear the embedding cache"),
    "completion": ("completion", "Completion", "print a completion script for your shell"),
}

TOGETHER = ("evaluate", "embed", "pretrain")
"""Commands that several processes started by torchrun share out."""

USAGE = """\
leveret: measures, trains and serves universal audio representations

usage: leveret COMMAND [OPTIONS]

{commands}

`leveret COMMAND --help` tells a command's options, with examples. `leveret --version` tells the version.
LEVERET_HOME is where caches lie; LEVERET_DEBUG=1 shows tracebacks.

  leveret evaluate --encoder melstats --tasks mini --protocol quick
  leveret embed sounds/ --encoder my_checkpoint.safetensors -o vectors.parquet
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit status: 0, 1 where a command says so, 2 for a user's mistake, 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stderr is None:  # closed, as standard output may be: a file that is opened now would take its number
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    try:
        if sys.stdout is None:
            raise ValueError("standard output is closed; send it to a file, or to /dev/null")
        try:
            status = _answer(words)
        except SystemExit:  # how the help of a command ends
            _flush()
            raise
        except BaseException:
            with suppress(OSError):  # what was wrong before is what is told
                _flush()
            raise
        _flush()
        return status
    except RankLostError as error:
        # the rank that ended told why, and torchrun which one it was
        if int(os.environ.get("RANK", "0")) == 0:
            sys.stderr.write("leveret: error: " + printable(error) + "\n")
        return 2
    except KeyboardInterrupt:
        if arguments is None:  # as the whole program: a second one would break into what Python does at its exit
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stderr.write("\nleveret: stopped; what was finished is kept, and the same command goes on from there\n")
        return 130
    except BrokenPipeError:
        # the reader of a pipe went away: nothing to say, and nobody to say it to
        return 141
    except (ValueError, OSError) as error:
        if os.environ.get("LEVERET_DEBUG"):
            raise
        said = [error, *getattr(error, "__notes__", ())]
        sys.stderr.write("leveret: error: " + "\n".join(printable(one, keep="\n") for one in said) + "\n")
        return 2


def _answer(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        lines = [f"  {name:<12}{what}" for name, (_, _, what) in COMMANDS.items()]
        sys.stdout.write(USAGE.format(commands="\n".join(lines)))
        return 0 if words else 2
    if words[0] in ("--version", "-V", "version"):
        from leveret.version import __version__

        sys.stdout.write(f"leveret {__version__}\n")
        return 0
    return _run(words[0], words[1:])


def _flush() -> None:
    """Write what still waits for standard output: Python would tell of a full disk at its exit, by a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OSError(f"standard output cannot be written ({error.strerror}); send it elsewhere") from error


def command_class(name: str) -> Any:
    """The dataclass of a command."""
    return _class(*COMMANDS[name][:2])


def action_classes(command: Any) -> dict[str, Any]:
    """The dataclass of each action of a command, such as `leveret data get`; of most commands there is none."""
    return {name: _class(*place) for name, place in getattr(command, "ACTIONS", {}).items()}


def _class(module: str, name: str) -> Any:
    return getattr(import_module(f"leveret.commands.{module}"), name)


def parsed(name: str, words: Sequence[str]) -> Any:
    """The command that a line means, with its options.

    Raises:
        UnknownNameError: There is no such command, or no such choice of an option.
        ValueError: The installation is broken.
    """
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    try:
        import tyro

        chosen = command_class(name)
        if words and words[0] in getattr(chosen, "ACTIONS", {}):
            chosen, name, words = action_classes(chosen)[words[0]], f"{name} {words[0]}", words[1:]
    except ImportError as error:
        raise ValueError(
            f"the command line cannot start ({error}); `{sys.executable} -m leveret.doctor` says what is broken"
        ) from error
    _check_choices(chosen, words)
    # tyro would drop the examples, which a docstring parser takes for a section of their own; an indented line begins
    # anew by itself, and an empty one before it would become two
    description = cleandoc(chosen.__doc__).replace("\n\n  ", "\n  ")
    return tyro.cli(_flowing(chosen), prog=f"leveret {name}", args=words, description=description)


@cache
def _flowing(command: Any) -> Any:
    """The command with what each option's docstring says as one paragraph, and no default where there is none to name.

    By itself tyro keeps the line breaks of a docstring that is indented, wherever they fall in a sentence.
    """
    import tyro

    (definition,) = ast.parse(getsource(command)).body
    assert isinstance(definition, ast.ClassDef), command
    hints = get_type_hints(command)
    for field, said in pairwise(definition.body):
        match field, said:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                several = get_origin(hints[name]) is tuple
                empty = getattr(command, name, () if several else "") in (None, ())
                about = tyro.conf.arg(
                    help=" ".join(text.split()),
                    metavar=_metavar(hints[name]),
                    help_behavior_hint="" if empty else None,
                )
                command.__annotations__[name] = Annotated[command.__annotations__[name], about]
    return command


def _metavar(hint: Any) -> str | None:
    """What stands for a value in help: STR, where tyro has {None}|STR or [STR [STR ...]]; None leaves it to tyro."""
    kinds = [kind for kind in get_args(hint) if kind not in (NoneType, Ellipsis)]
    if len(kinds) != 1 or not isinstance(kinds[0], type):
        return None
    return kinds[0].__name__.upper() + (" ..." if get_origin(hint) is tuple else "")


def _check_choices(command: Any, words: Sequence[str]) -> None:
    """Refuse a choice that there is not, with the nearest one, as any other unknown name."""
    hints = get_type_hints(command)
    options = {
        f"--{name.replace('_', '-')}": get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal
    }
    for option, value in [word.split("=", 1) for word in words if "=" in word] + [
        list(pair) for pair in pairwise(words)
    ]:
        if option in options and value not in options[option] and not value.startswith("-"):
            raise unknown_name(option, value, options[option])


def _run(name: str, words: Sequence[str]) -> int:
    if launched() and name not in TOGETHER:
        raise ValueError(f"`leveret {name}` is the work of one process; start it without torchrun")
    command = parsed(name, words)
    try:
        return int(command.run())
    finally:
        leave()
