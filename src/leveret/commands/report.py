"""`leveret report`: runs as a page to look at, or as a table."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leveret.commands.console import ConsoleReporter, err, in_bytes, out, safe
from leveret.text import number_of

ENDINGS = {"markdown": ".md", "csv": ".csv", "latex": ".tex"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Runs as one HTML page that needs nothing else: scores, intervals, confusions, comparisons, provenance.

    Runs of different protocols, and tasks of different suites, never share a table.

    The folder of a pretraining, finished or not, becomes a page of its curves, probes, speed, settings and corpus.

    Examples:
      leveret report runs/melstats-quick-20260101-120000 runs/small-quick-20260101-120000 -o report.html

      leveret report runs/ paper:sf_nfnet_f0_simclr --protocol cached

      leveret report runs/ --protocol quick --embed-audio -o to_mail.html

      leveret report runs/ --figures figures/

      leveret report runs/ --table latex -o table.tex

      leveret report pretraining/slowfast_nfnet_f0_simclr -o training.html
    """

    what: tyro.conf.Positional[tuple[str, ...]]
    """Run folders, folders of run folders; published rows to stand beside HARES (`leveret list published`), in place of
    those of the paper's table 4."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The file; by default report.html, of a pretraining pretraining.html, and standard output for a table."""
    table: Literal["markdown", "csv", "latex"] | None = None
    """A table in the layout of the paper's table 4 in place of the page."""
    figures: Path | None = None
    """A folder for the tables and embedding maps as SVG and PNG (pip install 'leveret[figures]')."""
    protocol: str | None = None
    """Only the runs of this protocol, such as quick or cached@20000."""
    embed_audio: bool = False
    """The page holds the first seconds of as many clips as 8 MB have room for; else it plays files where they lie."""
    compare: bool = True
    """With paired comparisons to the first run of each protocol: seconds, minutes for many runs."""

    def run(self) -> int:
        """Gather, write."""
        from leveret.report.training_run import is_training_run

        trainings = [name for name in self.what if is_training_run(Path(name))]
        return self._training(trainings) if trainings else self._evaluations()

    def _training(self, names: list[str]) -> int:
        """The page of a pretraining."""
        from leveret.report.rendering import write_page
        from leveret.report.training_page import TRAINING_REPORT, training_page
        from leveret.report.training_run import read_training_run
        from leveret.vectors import check_format

        if len(self.what) > 1 or self.table or self.figures:
            raise ValueError(
                f"{names[0]} is a pretraining, whose page stands alone and has no table or figures; give it alone, "
                "and runs of `leveret evaluate` in another call"
            )
        output = self.output if self.output is not None else Path(TRAINING_REPORT)
        check_format(output, (".html",))
        run = read_training_run(Path(names[0]))
        write_page(output, training_page(run))
        told = f"pretraining after step {run.done:,}, {in_bytes(output.stat().st_size)}: {safe(output)}"
        out.print(told, soft_wrap=True)
        return 0

    def _evaluations(self) -> int:
        from leveret.comparison import published_row
        from leveret.paper import PREFIX
        from leveret.registry import unknown_name
        from leveret.report.page import LARGEST_BYTES, REPORT, page
        from leveret.report.rendering import write_page
        from leveret.report.score_table import by_protocol, default_rows, score_tables
        from leveret.report.tables import FORMATS
        from leveret.runs import find_runs
        from leveret.vectors import check_format

        output = self.output if self.output is not None or self.table else Path(REPORT)
        if output is not None:
            check_format(output, (ENDINGS[self.table] if self.table else ".html",))
        asked = [name for name in self.what if name.startswith(PREFIX)]
        rows = [published_row(name) for name in asked] or default_rows()
        found = [run for name in self.what if not name.startswith(PREFIX) for run in find_runs(Path(name))]
        # a run and the folder that it lies in may both be named
        runs = list({run.folder.resolve(): run for run in found}.values())
        if not runs:
            raise ValueError("nothing to report: give at least one run folder; `leveret evaluate` makes them")
        if self.protocol is not None:
            if self.protocol not in (known := by_protocol(runs)):
                raise unknown_name("run of protocol", self.protocol, known)
            runs = known[self.protocol]
        tables = score_tables(runs, rows)
        if asked and all(column.run is not None for one in tables for column in one.columns):
            said = "note: none of these tasks is one of HARES's own, so the published rows have no score for them"
            err.print(said, soft_wrap=True)
        if self.figures is not None:
            from leveret.report.figures import write_figures

            drawn, note = write_figures(self.figures, runs, tables)
            err.print(
                f"{number_of(len(drawn), 'figure')}: {safe(self.figures)}" + (f"; {note}" if note else ""),
                soft_wrap=True,
            )
        if self.table:
            text = FORMATS[self.table](tables)
        else:
            if self.compare and len(runs) > 1:
                err.print(f"comparing {len(runs)} runs; --no-compare leaves it out", soft_wrap=True)
            folder = output.absolute().parent if output else None
            reporter = ConsoleReporter()
            text = page(
                runs, rows, compared=self.compare, folder=folder, embed_audio=self.embed_audio, reporter=reporter
            )
        if output is None:
            sys.stdout.write(text)
            return 0
        write_page(output, text)
        size = output.stat().st_size
        out.print(f"{number_of(len(runs), 'run')}, {in_bytes(size)}: {safe(output)}", soft_wrap=True)
        if size > LARGEST_BYTES:
            err.print("note: too large to be mailed; give fewer runs, or those of one protocol with --protocol")
        return 0
