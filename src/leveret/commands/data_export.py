"""`leveret data export`: tasks written for the harnesses of other suites."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.commands.table import print_table
from leveret.text import number_of

if TYPE_CHECKING:
    from leveret.suites.exporting import Exported


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write tasks in the layout of HEAR or X-ARES, whose harnesses then run them.

    Examples:
      leveret data export manifest:labels.csv --format hear --sample-rates 16000 48000 -o hear-tasks

      leveret data export mini --only mini_words --format xares -o env

      leveret evaluate --encoder melstats --tasks hear-tasks:hear-tasks
    """

    tasks: tyro.conf.Positional[tuple[str, ...]]
    """Task specs: mini, manifest:PATH, ..."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder in which each task becomes a folder; one that is there is never written over."""
    format: Literal["hear", "xares"] = "hear"
    """hear: folders for heareval. xares: tars and a task file for X-ARES."""
    only: tuple[str, ...] = ()
    """Names of tasks to keep; by default all."""
    sample_rates: tuple[int, ...] = (16_000,)
    """Hz of the written audio: for HEAR one folder each, for X-ARES one rate."""
    bits: Literal[16, 32] = 16
    """16, as the suites' own files have; 32 is float and keeps what 16 bits round or cut off."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of the clips may be unreadable; fail: none; skip: any number. All are counted and named."""
    json: bool = False
    """Print a summary as JSON on standard output."""

    def run(self) -> int:
        """Export and tell."""
        from leveret.bad_files import BadFilePolicy
        from leveret.loading import load_tasks
        from leveret.runner import Compute
        from leveret.suites.exporting import export_tasks

        reporter = ConsoleReporter()
        found = export_tasks(
            load_tasks(self.tasks, self.only), self.format, self.output, sample_rates=self.sample_rates,
            bits=self.bits, policy=BadFilePolicy(self.bad_files), threads=Compute().num_threads(), reporter=reporter,
        )  # fmt: skip
        for one in found:
            for reason in one.skipped.values():
                reporter.say(f"skipped: {reason}")
            if one.rounded:
                reporter.say(
                    f"{one.task}: 16 bits rounded {number_of(one.rounded, 'clip')} and cut off {one.clipped} at full "
                    "scale, which can move scores; --bits 32 keeps them as they are"
                )
        if self.json:
            rows = [asdict(one) | {"folder": str(one.folder)} for one in found]
            sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        else:
            _show(self.format, self.output, found)
        return 0


def _show(format: str, output: Path, found: "list[Exported]") -> None:
    rows = [
        [one.task, f"{one.num_clips:,}", len(one.skipped), "was there" if one.existed else "written", one.folder]
        for one in found
    ]
    print_table(f"tasks for {format}", ["task", "clips", "skipped", "", "folder"], rows, numbers=(1, 2))
    how = {
        "hear": f"python -m heareval.embeddings.runner MODULE --tasks-dir {output}",
        "xares": f"python -m xares.run ENCODER.py {output}/TASK/xares_task.py",
    }
    out.print(f"the harness runs them by: {safe(how[format])}", soft_wrap=True)
