"""`leveret data check`: whether datasets on disk are the published ones."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.commands.finding_lines import print_findings, print_verdict
from leveret.findings import counted

if TYPE_CHECKING:
    from leveret.datasets.checking import DataReport


@dataclass(frozen=True, kw_only=True)
class Check:
    """Examine datasets: counts against the published ones, missing and surplus files, headers, duplicates over splits.

    Exit status 0 where every dataset is well, 1 where one is not.

    Examples:
      leveret data check esc50 --data ~/datasets

      leveret data check hares --data ~/datasets --decode --json

      leveret data check manifest:labels.csv
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Datasets, corpora, hares, or any task spec: NAME, NAME:PATH, manifest:FILE, hear-tasks:DIR, xares-tars:DIR."""
    data: tuple[str, ...] = ()
    """Where they lie: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    variant: tuple[str, ...] = ()
    """NAME=VARIANT: which splits or version of a dataset (`leveret data list`)."""
    decode: bool = False
    """Decode every clip to its end, not only its header."""
    show: int = 10
    """Names of missing, unreadable, surplus and doubled files that are printed; --json has all."""
    threads: int | None = None
    """Threads for reading; by default the number of cores."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Exit status 1 where something is wrong."""
        from leveret.dataroots import DataRoots
        from leveret.datasets.checking import absent, examine
        from leveret.datasets.names import published
        from leveret.datasets.subjects import subject, words
        from leveret.published_audio import DatasetError
        from leveret.runner import Compute

        if not self.names:
            raise ValueError("no dataset to check; name one or more of `leveret data list`")
        threads = Compute(threads=self.threads).num_threads()
        data = DataRoots.parse(self.data, self.labels, list(published()), self.variant)
        reports = []
        for word in words(self.names):
            try:
                report = examine(subject(word, data), threads, ConsoleReporter(), self.decode)
            except DatasetError as error:
                report = absent(word, error)
            reports.append(report)
            if not self.json:
                _show(report, self.show)
        if self.json:
            sys.stdout.write(json.dumps([report.described() for report in reports], indent=1) + "\n")
        return 0 if all(report.well for report in reports) else 1


def _show(report: "DataReport", most: int) -> None:
    out.print(f"[bold]{safe(report.subject.title)}[/bold] {safe(report.subject.root or '')}", soft_wrap=True)
    print_findings(report.findings)
    doubled = [
        f"{each.task}: " + " = ".join(f"{clip} ({part})" for part, clip in each.clips) for each in report.duplicates
    ]
    for what, names in (
        ("missing", report.missing), ("unreadable", list(report.unreadable)), ("surplus", report.surplus),
        ("on both sides of a split", doubled),
    ):  # fmt: skip
        for name in names[:most]:
            out.print(f"  {what}: {safe(name)}", soft_wrap=True)
        if len(names) > most:
            out.print(f"  {what}: {len(names) - most:,} more (--show {len(names)}, or --json)", soft_wrap=True)
    print_verdict(report.well, "well" if report.well else "not well", counted(report.findings))
    out.print()
