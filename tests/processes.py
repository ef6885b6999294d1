"""Commands in processes of their own, each forked from one that has imported torch and leveret already.

They run as a person runs them, but for the seconds until torch is imported, which a hundred processes would pay one by
one. Tests of what an interpreter imports, or finds on its path, start one themselves.
"""

import os
import runpy
import shutil
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import mkdtemp

import torch

FORKSERVER = get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["torch.distributed.run", "sklearn.linear_model", "leveret.embedding", "leveret.evaluation", "leveret.training"]
)


class Started:
    """A command at work; as much of `subprocess.Popen` as tests ask for, with text.

    Args:
        words: A script with its arguments, or `-m`, a module and its arguments.
        environment: All variables of the new process.
        before: Called in the new process before the command; picklable.
    """

    def __init__(
        self,
        words: Sequence[object],
        environment: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        folder = Path(mkdtemp(prefix="leveret-process-"))
        weakref.finalize(self, shutil.rmtree, folder)
        self._said = [folder / name for name in ("out", "err")]
        self.args = list(map(str, words))
        variables = dict(os.environ if environment is None else environment)
        self._process = FORKSERVER.Process(target=_become, args=(self.args, variables, self._said, before))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it works; minus the signal that ended it."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to its output and to its error output, when it has ended.

        Raises:
            TimeoutExpired: It has not.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired(self.args, timeout or 0)
        out, said = (path.read_text() if path.exists() else "" for path in self._said)
        return out, said

    def ended_well(self) -> tuple[str, str]:
        """The same of a command that may take five minutes, and does not fail."""
        out, said = self.communicate(timeout=300)
        assert self.returncode == 0, said
        return out, said


def with_home(home: Path) -> dict[str, str]:
    """The variables of a command whose cache lies in a folder, and which is nobody's rank."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return inherited | {"LEVERET_HOME": str(home), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """One where processes of this machine can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def ranks(words: Sequence[object], environment: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """What the two processes of a command wrote, which meet without a launcher and both ended well."""
    shared = dict(os.environ if environment is None else environment) | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
    }  # fmt: skip
    commands = [Started(words, shared | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]
    return [command.ended_well() for command in commands]


def _become(
    words: list[str], environment: dict[str, str], said: Sequence[Path], before: Callable[[], object] | None
) -> None:
    for number, path in enumerate(said, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)  # which OMP_NUM_THREADS cannot say any more
    # a fork server is deaf to Ctrl-C, and so is what a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if before is not None:
        before()
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
