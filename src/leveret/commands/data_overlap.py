"""`leveret data overlap`: whether what an encoder was trained on holds test clips."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.commands.table import print_table
from leveret.text import number_of

if TYPE_CHECKING:
    from leveret.overlap.report import OverlapReport


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Look for test clips of tasks in a corpus: by ids of recordings, equal samples, and acoustic fingerprints.

    The report is for `leveret evaluate --contamination`.

    Examples:
      leveret data overlap audioset esc50 --data ~/datasets -o audioset-esc50.json

      leveret data overlap my-recordings/ mini manifest:labels.csv

      leveret data overlap manifest:train.csv esc50 --data ~/datasets --json
    """

    pretrain: tyro.conf.Positional[str]
    """What is trained on: a corpus (NAME or NAME:PATH), a folder or a table (column file) of audio, or a task spec, of
    which the training clips of all folds are taken."""
    tasks: tyro.conf.Positional[tuple[str, ...]]
    """Task specs whose test clips are looked for."""
    data: tuple[str, ...] = ()
    """Where published datasets lie: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    variant: tuple[str, ...] = ()
    """NAME=VARIANT: which splits or version of a dataset (`leveret data list`)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("overlap.json")
    """Where the report goes."""
    show: int = 10
    """Clips of each task that are printed; the report has all."""
    threads: int | None = None
    """Threads for reading; by default the number of cores."""
    json: bool = False
    """Print the report on standard output too, in place of the summary."""

    def run(self) -> int:
        """Search, write, show."""
        from leveret.dataroots import DataRoots
        from leveret.datasets.names import published
        from leveret.loading import find_tasks
        from leveret.overlap.finding import find_overlap, pretraining
        from leveret.runner import Compute

        if not self.tasks:
            raise ValueError("no task to look for; name one or more of `leveret list tasks`")
        if not self.output.absolute().parent.is_dir():
            raise ValueError(f"no folder {self.output.absolute().parent} for the report; make it, or choose another")
        threads = Compute(threads=self.threads).num_threads()
        data = DataRoots.parse(self.data, self.labels, list(published()), self.variant)
        reporter = ConsoleReporter()
        found = find_tasks(self.tasks, data=data)
        for task, why in found.missing.items():
            reporter.say(f"not looked for, {task}: {why}")
        report = find_overlap(pretraining(self.pretrain, data), found.tasks, threads, reporter)
        text = report.to_json()
        self.output.write_text(text, encoding="ascii")
        if self.json:
            sys.stdout.write(text)
        else:
            _show(report, self.show)
            out.print(safe(self.output), soft_wrap=True)
        return 0


def _show(report: "OverlapReport", most: int) -> None:
    columns = ["task", "test clips", "found", "unchecked", "by"]
    rows = []
    for one in report.tasks:
        by = ", ".join(f"{means} {count:,}" for means, count in one.by_means().items())
        rows.append([one.task, f"{one.clips:,}", f"{len(one.found):,}", f"{len(one.unchecked):,}", by])
    title = f"test clips in {report.pretrain} ({number_of(report.pretrain_clips, 'clip')})"
    print_table(title, columns, rows, numbers=(1, 2, 3), prose=(4,))
    for one in report.tasks:
        for each in one.found[:most]:
            at = "" if each.offset_seconds is None else f" at {each.offset_seconds:+.2f} s"
            score = "" if each.score is None else f", {each.score:.0%} of the signs"
            more = f", and in {each.others:,} more" if each.others else ""
            line = f"  {one.task}: {each.clip} in {each.pretrain}{at}, by {each.means}{score}{more}"
            out.print(safe(line), soft_wrap=True)
        if len(one.found) > most:
            out.print(f"  {safe(one.task)}: {len(one.found) - most:,} more, in the report", soft_wrap=True)
    for reason, count in report.pretrain_unchecked.items():
        out.print(
            f"  {number_of(count, 'clip')} of {safe(report.pretrain)} not searched: {safe(reason)}", soft_wrap=True
        )
