"""Tasks -> folders that another suite's harness runs: decoded, resampled, written whole or not at all.

Each task's folder appears under its name only when all of it is there. A task that was exported before, by the same
splits and sample rates, is left as it is, so an interrupted export goes on with the next task.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float, Int16
from numpy import ndarray

from leveret.bad_files import BadFilePolicy
from leveret.batches import CropRule, RowPlan, plan_rows, read_batches
from leveret.clips import split_hash
from leveret.contracts import Task
from leveret.home import require_space
from leveret.progress import Reporter
from leveret.runs import task_keys
from leveret.suites.hear import HearWriter, formulas, misread_labels
from leveret.suites.parts import FORMAT_VERSION, ExportError, Parts, SuiteWriter, file_stem, parts_of
from leveret.suites.xares import XaresWriter

Format = Literal["hear", "xares"]
WRITERS: dict[str, Any] = {"hear": HearWriter, "xares": XaresWriter}
IDENTITY = "export.json"
FULL_SCALE = 32768
LOWEST_RATE, HIGHEST_RATE = 4000, 192_000
_BYTES_A_FILE = 1024  # headers, labels and what a file system rounds up, about


@dataclass(frozen=True)
class Exported:
    """One task's export.

    Attributes:
        folder: Where it lies.
        num_clips: Clips written; of an export that was there already, as many as it has.
        skipped: Clip id -> why it was left out.
        rounded: Clips that 16 bits do not hold exactly: from lossy files, resampled, of several channels.
        clipped: Clips with samples beyond full scale, which 16 bits cut off.
        existed: True where nothing had to be done.
    """

    task: str
    folder: Path
    num_clips: int
    skipped: dict[str, str]
    rounded: int
    clipped: int
    existed: bool


def export_tasks(
    tasks: Sequence[Task],
    format: Format,
    output: Path,
    *,
    sample_rates: Sequence[int] = (16_000,),
    bits: Literal[16, 32] = 16,
    policy: BadFilePolicy = BadFilePolicy(),
    threads: int = 2,
    reporter: Reporter | None = None,
) -> list[Exported]:
    """Write each task as a folder of `output`.

    Args:
        sample_rates: Hz of the written audio.
        bits: 16, as the suites' own files have, or 32 (float), which loses nothing: what a lossy file or a resampler
            puts between the steps of 16 bits, and beyond full scale, is kept.
        threads: Decoding threads.

    Raises:
        ExportError: A task has no shape in that suite, or something else lies where it should go.
        TooManyBadFilesError: More clips than the policy allows cannot be read.
        OSError: The disk has no room.
    """
    reporter = reporter or Reporter()
    if not tasks:
        raise ExportError("no tasks to export; name task specs, such as mini or manifest:labels.csv")
    for rate in sample_rates:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ExportError(f"sample rate {rate} Hz; expected {LOWEST_RATE} to {HIGHEST_RATE}")
    if not sample_rates or len(set(sample_rates)) < len(sample_rates):
        raise ExportError(f"sample rates {list(sample_rates)}; expected one or more different ones")
    jobs = []
    for task, key in zip(tasks, task_keys([(task.suite, task.name) for task in tasks]), strict=True):
        folds = task.folds()
        jobs.append(
            _Job(task, format, tuple(sample_rates), bits, parts_of(task, folds), split_hash(folds), output, key)
        )
    done = [job.existing() for job in jobs]  # what lies in the way is told before any work
    return [found or job.export(policy, threads, reporter) for job, found in zip(jobs, done, strict=True)]


@dataclass(frozen=True)
class _Job:
    task: Task
    format: str
    sample_rates: tuple[int, ...]
    bits: int
    parts: Parts
    split_hash: str
    output: Path
    key: str

    @property
    def version(self) -> str:
        """Of the data: another split or another clip is another version."""
        return f"leveret-{self.split_hash[:8]}"

    @property
    def folder(self) -> Path:
        # heareval's folders are called TASK-VERSION-MODE
        return self.output / (f"{self.key}-{self.version}-full" if self.format == "hear" else self.key)

    def identity(self) -> dict[str, Any]:
        """What an export is made from."""
        return {
            "format": [self.format, FORMAT_VERSION],
            "splits": self.split_hash,
            "sample_rates": list(self.sample_rates),
            "bits": self.bits,
            "task": self.parts.settings(self.task),
        }

    def existing(self) -> Exported | None:
        """The same export, made before."""
        if not self.folder.exists():
            return None
        try:
            said = json.loads((self.folder / IDENTITY).read_text(encoding="utf-8"))
            if said["identity"] == self.identity():
                return Exported(self.task.name, self.folder, **said["written"], existed=True)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # then it is not ours
        raise ExportError(
            f"{str(self.folder)!r} is there already and is not this export; remove it, or name another output folder"
        )

    def export(self, policy: BadFilePolicy, threads: int, reporter: Reporter) -> Exported:
        """Write beside, then rename."""
        if self.format == "hear" and (found := formulas(self.task.labels)):
            raise ExportError(
                f"{self.task.name!r} has labels that a spreadsheet would run as formulas "
                f"({', '.join(map(repr, found[:5]))}), and HEAR keeps its labels in a CSV file; rename them, or export "
                "with --format xares"
            )
        if self.format == "hear" and (misread := misread_labels(self.task.labels)):
            reporter.say(
                f"{self.task.name}: heareval reads labels with pandas, which takes {', '.join(map(repr, misread[:5]))} "
                "for something else, so it will stop there; leveret reads them right"
            )
        plan, bad = self._plan(policy, threads)
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"{str(self.output)!r} cannot be a folder ({error.strerror}); name another") from error
        seconds = float(plan.lengths.sum())
        num_bytes = self.bits // 8 * seconds * sum(self.sample_rates)
        num_bytes += _BYTES_A_FILE * len(plan.clips) * len(self.sample_rates)
        require_space(self.output, int(num_bytes), f"the export of {self.task.name!r}")
        with _made_whole(self.folder) as partial:
            writer: SuiteWriter = WRITERS[self.format](partial, self.task, self.parts, self.sample_rates, self.version)
            with closing(writer):
                rounded, clipped = self._write(writer, plan, bad, threads, reporter)
                policy.check(bad, len(self.parts.order))
                self._check_parts(bad)
                writer.finish()
            written: dict[str, Any] = {"num_clips": len(self.parts.order) - len(bad), "skipped": bad}
            written |= {"rounded": rounded, "clipped": clipped}
            about = {"identity": self.identity(), "written": written}
            (partial / IDENTITY).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        return Exported(self.task.name, self.folder, **written, existed=False)

    def _plan(self, policy: BadFilePolicy, threads: int) -> tuple[RowPlan, dict[str, str]]:
        plan = plan_rows(self.parts.order, CropRule(seconds=float("inf"), whole_clip=True), threads)
        bad = dict(plan.bad)
        policy.check(bad, len(self.parts.order))
        order = np.argsort(plan.clip)  # one row a clip, in the task's order in place of that of lengths
        return replace(plan, clip=plan.clip[order], start=plan.start[order], seconds=plan.seconds[order]), bad

    def _write(
        self, writer: SuiteWriter, plan: RowPlan, bad: dict[str, str], threads: int, reporter: Reporter
    ) -> tuple[int, int]:
        """Clips rounded, and clips cut off at full scale; those that break off while decoded join the bad."""
        part_of = self.parts.part_of()
        numbers = {clip.id: number for number, clip in enumerate(self.parts.order)}
        rounded = clipped = 0
        with reporter.stage(f"{self.task.name}: export", plan.num_rows, "clips") as advance:
            for batch in read_batches(
                plan, [(row, row + 1) for row in range(plan.num_rows)], self.sample_rates, threads
            ):
                clip = plan.clips[plan.clip[batch.first]]
                if batch.bad:
                    bad[clip.id] = batch.bad[batch.first]
                else:
                    waves = {rate: wave[0].numpy() for rate, wave in batch.waves.items()}
                    samples = {rate: to_int16(wave) for rate, wave in waves.items()} if self.bits == 16 else waves
                    if self.bits == 16:
                        clipped += any(bool((np.abs(wave) > 1).any()) for wave in waves.values())
                        rounded += any((samples[rate] != wave * FULL_SCALE).any() for rate, wave in waves.items())
                    writer.add(part_of[clip.id], clip, file_stem(numbers[clip.id], clip), samples)
                advance(1)
        return rounded, clipped

    def _check_parts(self, bad: dict[str, str]) -> None:
        for name, clips in self.parts.clips.items():
            if all(clip.id in bad for clip in clips):
                raise ExportError(f"task {self.task.name!r}: no clip of {name} can be written; mend them or add some")


def to_int16(wave: Float[ndarray, "N"]) -> Int16[ndarray, "N"]:
    """16-bit samples, cut off at full scale; what was read from 16 bits comes back exactly."""
    samples: ndarray = np.clip(np.rint(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return samples


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """An empty folder beside, which takes the wanted name when all went well and is removed otherwise."""
    partial = folder.with_name(f".{folder.name}.partial")
    lock = FileLock(f"{partial}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ExportError(f"another process is writing {str(folder)!r} at this moment; wait for it") from None
    try:
        rmtree(partial, ignore_errors=True)  # what a killed process left
        partial.mkdir()
        yield partial
        partial.rename(folder)
    finally:
        rmtree(partial, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
