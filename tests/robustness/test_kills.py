"""kill -9 at any moment of a command, and two commands at once: the results are those of an undisturbed run.

The commands run as a person runs them, in processes of their own; moments are drawn over their whole duration, from the
first line of the command on.
"""

import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from subprocess import TimeoutExpired

import numpy as np
import pytest
from tests.processes import Started, with_home

from leveret.runs import PARTIAL, find_runs
from leveret.vectors import read_vectors

ENCODER = """
import time, torch
class Slow:
    sample_rate = 16000
    def embed(self, wave):
        time.sleep(0.005 * len(wave))
        return torch.stack([wave.mean(1), wave.std(1), wave.abs().amax(1), wave[:, 0]], 1)
"""
NUM_CLIPS = 120


@dataclass(frozen=True)
class Command:
    """A command line, the folder that holds its cache, and where its results go."""

    words: tuple[str, ...]
    home: Path
    output: Path

    def start(self, before: Callable[[], object] | None = None) -> Started:
        """Begin it.

        Args:
            before: Called in the new process before the command.
        """
        words = ["-m", "leveret", *self.words, "-o", self.output]
        return Started(words, with_home(self.home), before)

    def finish(self) -> float:
        """Run it to its end; the seconds it took."""
        started = time.monotonic()
        _, said = self.start().ended_well()
        assert "damaged" not in said
        return time.monotonic() - started

    def kill_after(self, seconds: float) -> bool:
        """Whether it was still at work."""
        process = self.start()
        try:
            process.communicate(timeout=seconds)
        except TimeoutExpired:
            process.kill()
            process.communicate()
        assert process.returncode in (0, -9)
        return process.returncode == -9

    def results(self) -> list[np.ndarray]:
        """Scores or vectors of everything that bears a final name."""
        if self.words[0] == "embed":
            return [read_vectors(self.output).vector] if self.output.exists() else []
        found = [path for path in self.output.glob("*") if path.suffix != PARTIAL and path.is_dir()]
        return [find_runs(path)[0].predictions("tones").scores[0] for path in found]

    def recorded(self) -> dict[str, list[bytes]]:
        """The whole lines of each journal."""
        return {
            path.parent.name: [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
            for path in self.home.rglob("journal.jsonl")
        }


@pytest.fixture(scope="module")
def command_in(tones_in, tmp_path_factory):
    """Makes a command of a kind, with its cache and results in a folder."""
    data = tmp_path_factory.mktemp("data")
    manifest, source = tones_in(data, num_clips=NUM_CLIPS, splits="train test"), data / "slow.py"
    source.write_text(ENCODER)
    common = ("--encoder", f"py:{source}:Slow", "--batch-size", "8")
    words = {
        "embed": ("embed", str(manifest.parent / "audio"), *common),
        "evaluate": (
            "evaluate",
            "--tasks",
            f"manifest:{manifest}",
            "--protocol",
            "quick",
            "--no-floor",
            "--no-embedding-map",
            *common,
        ),
    }

    def made(kind: str, folder: Path) -> Command:
        output = folder / ("v.parquet" if kind == "embed" else "runs")
        output.parent.mkdir(exist_ok=True)
        return Command(words[kind], folder / "home", output)

    return made


@pytest.fixture
def make(command_in, tmp_path):
    """Makes a command of a kind, with a cache and results of its own."""
    return lambda kind, name: command_in(kind, tmp_path / name)


@pytest.fixture(scope="module")
def undisturbed_run(command_in, tmp_path_factory):
    """A finished command of a kind that nobody disturbed, and the seconds that it took."""

    @cache
    def run(kind: str) -> tuple[Command, float]:
        command = command_in(kind, tmp_path_factory.mktemp("undisturbed"))
        return command, command.finish()

    return run


def check_after_kill(command: Command, expected: np.ndarray, before: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    """What has its final name is whole; no finished piece was lost."""
    for found in command.results():
        np.testing.assert_array_equal(found, expected)
    after = command.recorded()
    for store, lines in before.items():
        assert after[store][: len(lines)] == lines, "the journal did not grow"
    return after


def check_at_the_end(command: Command, undisturbed: Command, before: dict[str, list[bytes]]) -> None:
    """The same command ends well, with the same numbers, and embeds nothing that was embedded."""
    command.finish()
    (expected,) = undisturbed.results()
    after = check_after_kill(command, expected, before)
    assert command.results()
    pieces = [{store: len(lines) for store, lines in found.items()} for found in (after, undisturbed.recorded())]
    assert pieces[0] == pieces[1], "a piece was embedded twice"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embed", pytest.param("evaluate", marks=pytest.mark.soak)])
def test_five_kills_in_a_row_lose_no_finished_piece_and_change_no_number(make, undisturbed_run, kind):
    (undisturbed, duration), command = undisturbed_run(kind), make(kind, "killed")
    (expected,) = undisturbed.results()
    rng = np.random.default_rng(len(kind))
    recorded: dict[str, list[bytes]] = {}
    # one in each fifth of the duration, so that none of them is missed by chance
    for share in rng.permutation(5):
        command.kill_after(duration * (share + rng.random()) / 5)
        recorded = check_after_kill(command, expected, recorded)
    check_at_the_end(command, undisturbed, recorded)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["embed", "evaluate"])
def test_a_kill_at_any_of_25_moments_changes_no_number(make, undisturbed_run, kind):
    undisturbed, duration = undisturbed_run(kind)
    (expected,) = undisturbed.results()
    rng = np.random.default_rng(len(kind))
    for moment in range(25):
        command = make(kind, f"killed-{moment}")
        # the first run was slower than this one where the machine had other work: then sooner, in a new folder
        for attempt in count():
            if command.kill_after(duration * (moment + rng.random()) / 25):
                break
            duration *= 0.9
            command = make(kind, f"killed-{moment}-{attempt}")
        check_at_the_end(command, undisturbed, check_after_kill(command, expected, {}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embed", pytest.param("evaluate", marks=pytest.mark.soak)])
def test_two_processes_at_the_same_job_both_end_with_its_result(make, undisturbed_run, kind):
    (undisturbed, _), one = undisturbed_run(kind), make(kind, "together")
    (expected,) = undisturbed.results()
    # the same cache, and the same place for the results
    processes = [one.start(), one.start()]
    for process in processes:
        _, said = process.ended_well()
        assert "damaged" not in said
    for found in one.results():
        np.testing.assert_array_equal(found, expected)
    assert len(one.results()) == (1 if kind == "embed" else 2)
    assert one.recorded().keys() == undisturbed.recorded().keys()
    check_at_the_end(one, undisturbed, one.recorded())


@pytest.mark.slow
def test_two_processes_with_overlapping_jobs_both_end_with_their_results(make, tone_manifest, tmp_path):
    """Tasks and encoders in opposite orders: whoever waited for the other's lock would wait forever."""
    second = tone_manifest("second", num_clips=60, seconds=0.3, splits="train test")
    base = make("evaluate", "first")
    spec, first = base.words[base.words.index("--encoder") + 1], base.words[2]
    rest = ("--protocol", "quick", "--no-floor", "--batch-size", "8")
    tasks, encoders = (first, f"manifest:{second}"), (spec, "melstats")

    def command(turned: bool, name: str, home: str) -> Command:
        order = slice(None, None, -1 if turned else 1)
        words = ("evaluate", "--encoder", *encoders[order], "--tasks", *tasks[order], *rest)
        return Command(words, tmp_path / home, tmp_path / name / "runs")

    def scores(found: Command) -> dict[tuple[str, str], np.ndarray]:
        return {
            (run.scorecard.encoder["name"], result.suite): run.predictions(key).scores[0]
            for run in find_runs(found.output)
            for result, key in zip(run.scorecard.tasks, ("tones", "tones-2"), strict=True)
        }

    alone = command(False, "alone", "home-alone")
    alone.finish()
    together = [command(turned, f"together-{turned}", "home-together") for turned in (False, True)]
    for process in [one.start() for one in together]:
        _, said = process.ended_well()
        assert "damaged" not in said
    expected = scores(alone)
    assert len(expected) == 4
    for one in together:
        found = scores(one)
        assert found.keys() == expected.keys()
        for key, values in found.items():
            np.testing.assert_array_equal(values, expected[key])
    pieces = [sum(map(len, one.recorded().values())) for one in (alone, replace(alone, home=together[0].home))]
    assert pieces[0] <= pieces[1] <= 2 * pieces[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embed", pytest.param("evaluate", marks=pytest.mark.soak)])
def test_ctrl_c_at_any_moment_is_one_sentence_and_loses_nothing(make, undisturbed_run, kind):
    (undisturbed, duration), command = undisturbed_run(kind), make(kind, "stopped")
    (expected,) = undisturbed.results()
    rng = np.random.default_rng(1)
    recorded: dict[str, list[bytes]] = {}
    for share in (0.2, 0.4, 0.6, 0.8):  # before the first fifth Python itself is still starting
        process = command.start()
        try:
            process.communicate(timeout=duration * (share + 0.2 * rng.random()))
        except TimeoutExpired:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
            assert "Traceback" not in said
            # Python itself ends by the signal, and in silence, where that hits it before leveret has begun, or while it
            # compiles a string; to a shell both are 130
            assert process.returncode in (0, 130, -signal.SIGINT)
            assert process.returncode == 0 or "goes on from there" in said or (process.returncode < 0 and not said)
        recorded = check_after_kill(command, expected, recorded)
    check_at_the_end(command, undisturbed, recorded)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "limit"), [("embed", 500), ("evaluate", 3_000)])
def test_a_file_that_cannot_grow_any_more_is_one_error_and_nothing_half_written(make, undisturbed_run, kind, limit):
    """A limit on the size of files stands for a full disk: both end a write somewhere in the middle."""
    (undisturbed, _), command = undisturbed_run(kind), make(kind, "full")
    process = command.start(partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert said.count("leveret: error: ") == 1
    assert not command.results()
    assert not command.output.is_dir() or not list(command.output.iterdir())
    assert not [path for path in command.output.parent.rglob("*") if "partial" in path.name]
    check_at_the_end(command, undisturbed, {})
