"""The run folder: what an evaluation leaves on disk, and reading it back. Needs no torch.

`config.json` (enough to start it again), `scorecard.json`, `predictions/TASK.parquet` (a row a test clip with its
score for every class), `map/TASK.parquet` (test clips on a plane), `log.txt`; and, made of these, `report.html`. While
the run goes on the folder's name ends in `.partial` and `results/TASK.json` holds the finished tasks: the same command
takes them up again. It is renamed at the end, so a folder without the ending is whole.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

from filelock import FileLock, Timeout

from leveret.predictions import Predictions, RunError, num_predicted, read_predictions, write_predictions
from leveret.progress import Reporter
from leveret.results import Scorecard, TaskResult, task_result_from_json
from leveret.text import printable

PARTIAL = ".partial"


def check_place(folder: Path) -> None:
    """Refuse a folder that no run could be put in, before any work is done; it need not be there yet.

    Raises:
        ValueError: It, or what it would be made in, is a file or cannot be written in.
    """
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise ValueError(f"{there} is no folder; expected one to put run folders in: give another, or a new name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"the folder {there} cannot be written in; give another one for the runs than {folder}")


class RunWriter:
    """Writes one run folder; use `finish` at the end, or `abandon`."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Take up the unfinished run of this very config below the same parent, or start one.

        Args:
            folder: Where the finished run will lie; if it is taken, a number is appended.
            config: Plain values, the whole identity of the run.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        plain = json.loads(json.dumps(config))
        for candidate in sorted(folder.parent.glob(f"*{PARTIAL}")):
            if _read_json(candidate / "config.json") == plain and self._claim(candidate, new=False):
                return
        for number in count(1):
            name = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            if not name.exists() and self._claim(Path(f"{name}{PARTIAL}"), new=True):
                break
        for part in ("predictions", "results"):
            (self.partial / part).mkdir()
        _write_atomically(self.partial / "config.json", json.dumps(plain, indent=1) + "\n")

    def _claim(self, partial: Path, new: bool) -> bool:
        """Whether the folder is ours now: another process may be at work on the same command at this very moment.

        Args:
            new: It is made, and must not be there yet; otherwise it must be there still.
        """
        held = FileLock(f"{partial}.lock")
        try:
            held.acquire(blocking=False)
        except Timeout:
            return False
        self.partial, self._held = partial, held
        self.folder = partial.with_name(partial.name.removesuffix(PARTIAL))
        try:
            if new:
                partial.mkdir()
        except FileExistsError:
            pass
        else:
            # finished in the meantime by whoever held it: then the lock is nobody's, and so is the name
            if partial.exists() and not self.folder.exists():
                return True
            if new:
                partial.rmdir()
        if not partial.exists():
            Path(held.lock_file).unlink(missing_ok=True)
        held.release()
        return False

    def _unlock(self) -> None:
        Path(self._held.lock_file).unlink(missing_ok=True)
        self._held.release()

    def finished(self) -> dict[str, TaskResult]:
        """Task -> the result that an interrupted run of the same config left."""
        found = {}
        for path in sorted((self.partial / "results").glob("*.json")):
            try:
                found[path.stem] = task_result_from_json(_read_json(path))
            except (KeyError, TypeError, AttributeError):
                path.unlink()  # damaged: the task is done again
        return found

    def add(self, key: str, result: TaskResult, predictions: Predictions) -> None:
        """Record a finished task; the result comes last, and only then the task counts as finished."""
        write_predictions(self.partial / "predictions" / f"{key}.parquet", predictions)
        _write_atomically(self.partial / "results" / f"{key}.json", json.dumps(asdict(result)))

    def finish(self, scorecard: Scorecard, log: str) -> Path:
        """Write the scorecard and give the folder its final name."""
        _write_atomically(self.partial / "scorecard.json", scorecard.to_json())
        _write_atomically(self.partial / "log.txt", log)
        self.partial.rename(self.folder)
        # only now: a process killed before the rename still has its results
        rmtree(self.folder / "results")
        self._unlock()
        return self.folder

    def abandon(self) -> bool:
        """Remove the folder if no task was finished; otherwise it waits to be taken up again.

        Returns:
            Whether it waits.
        """
        if self.partial.exists() and not self.finished():
            rmtree(self.partial)
        waits = self.partial.exists()
        self._unlock()
        return waits


class RunLog(Reporter):
    """Passes on, and keeps what was said for log.txt."""

    def __init__(self, reporter: Reporter) -> None:
        self.stage = reporter.stage  # type: ignore[method-assign]
        self.lines: list[str] = []
        self._reporter = reporter

    def say(self, text: str) -> None:
        """With the time, in the log."""
        self.note(text)
        self._reporter.say(text)

    def note(self, text: str) -> None:
        """For the log alone: what whoever watches is told at the end."""
        self.lines.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(text)}")


@dataclass(frozen=True)
class Run:
    """A finished run folder."""

    folder: Path
    scorecard: Scorecard

    def predictions(self, task: str) -> Predictions:
        """Scores of the task's test clips."""
        return read_predictions(self.folder / "predictions" / f"{task}.parquet")

    def keys(self) -> list[str]:
        """Names of its tasks' files, in the order of the scorecard."""
        return list(task_keys([(one.suite, one.task) for one in self.scorecard.tasks]))


def find_runs(path: str | Path) -> list[Run]:
    """The run at a path, or all runs below it, oldest first.

    Raises:
        RunError: There is none.
    """
    runs = [_run_of(card) for card in _scorecards(Path(path))]
    if not runs and Path(path).name.endswith((PARTIAL, f"{PARTIAL}.lock")):
        raise RunError(
            f"{path} is of an unfinished run, with which the same `leveret evaluate` goes on; leave it out, or name "
            f"the folder above, {Path(path).absolute().parent}, of which finished runs alone are taken"
        )
    if not runs:
        raise RunError(
            f"no finished run at {path}: expected a folder with scorecard.json; make one with `leveret evaluate`"
        )
    return sorted(runs, key=_finished)


def find_sound_runs(path: Path) -> tuple[list[Run], dict[Path, str]]:
    """All finished runs below a folder, oldest first, and of those that are damaged the reason by folder.

    A run is sound if its scorecard can be read and each task's predictions are there, one for each clip that it counts.
    """
    runs, damaged = [], {}
    for card in _scorecards(path):
        try:
            run = _run_of(card)
            if not run.scorecard.tasks:
                raise RunError(f"{card} has no task")
            for key, result in zip(run.keys(), run.scorecard.tasks, strict=True):
                file = run.folder / "predictions" / f"{key}.parquet"
                if (num := num_predicted(file)) != result.clips.get("test"):
                    raise RunError(f"{file} has {num} clips, {result.clips.get('test')} by the scorecard")
        except (ValueError, OSError) as error:
            damaged[card.parent] = str(error)
        else:
            runs.append(run)
    return sorted(runs, key=_finished), damaged


def _scorecards(path: Path) -> list[Path]:
    card = path / "scorecard.json"
    found = [card] if card.exists() else sorted(path.rglob(card.name))
    return [one for one in found if not any(part.endswith(PARTIAL) for part in one.parts)]


def _run_of(card: Path) -> Run:
    return Run(card.parent, Scorecard.from_json(card.read_text(encoding="utf-8", errors="replace"), str(card)))


def _finished(run: Run) -> str:
    return str(run.scorecard.run.get("finished", ""))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # something else whose name ends alike


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def task_keys(names: Sequence[tuple[str, str]]) -> Iterator[str]:
    """File names for (suite, task): the task's name made safe, with a number where two are alike."""
    seen: set[str] = set()
    for _, task in names:
        # 50 letters of four bytes each are well below the 255 bytes that a file name may have
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in task)[:50] or "task"
        key = next(key for n in count(1) if (key := safe if n == 1 else f"{safe}-{n}").casefold() not in seen)
        seen.add(key.casefold())  # some file systems tell no A from an a
        yield key
