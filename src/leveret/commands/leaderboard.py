"""`leveret leaderboard`: all runs below a folder as one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from leveret.commands.console import err, in_bytes, out, safe
from leveret.text import number_of


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All runs below a folder as one HTML page: a ranking for each protocol and suite, with filters and plots.

    Scores of two protocols, or of two suites, are never ranked together. Runs that are damaged are counted and named.

    Examples:
      leveret leaderboard runs/ -o leaderboard.html

      leveret leaderboard runs/ --verified

      leveret leaderboard runs/ paper:sf_nfnet_f0_simclr --trained-on wavlm=LibriLight
    """

    what: tyro.conf.Positional[tuple[str, ...]]
    """Folders of run folders; published rows to stand beside HARES (`leveret list published`), in place of all that
    are complete."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("leaderboard.html")
    """The file."""
    verified: bool = False
    """Only runs that passed `leveret verify` on this machine and are still what was verified; others are named."""
    trained_on: tuple[str, ...] = ()
    """NAME=DATA: the pretraining data of an encoder, where its run does not tell."""

    def run(self) -> int:
        """Gather, write."""
        from leveret.comparison import published_row
        from leveret.paper import PREFIX
        from leveret.predictions import RunError
        from leveret.registry import unknown_name
        from leveret.report.leaderboard import leaderboard, published_rows
        from leveret.report.rendering import write_page
        from leveret.runs import Run, find_sound_runs
        from leveret.vectors import check_format
        from leveret.verifying.records import why_not_verified

        check_format(self.output, (".html",))
        rows = [published_row(name) for name in self.what if name.startswith(PREFIX)] or published_rows()
        folders = [Path(name) for name in self.what if not name.startswith(PREFIX)]
        runs: list[Run] = []
        left_out: dict[str, str] = {}
        for folder in folders:
            found, damaged = find_sound_runs(folder)
            runs += found
            left_out |= {str(path): why for path, why in damaged.items()}
        runs = list({run.folder.resolve(): run for run in runs}.values())
        doubts = {run.folder: why_not_verified(run.folder) for run in runs}
        if self.verified:
            left_out |= {str(run.folder): doubts[run.folder] for run in runs if doubts[run.folder]}
            runs = [run for run in runs if not doubts[run.folder]]
        for name, why in left_out.items():
            err.print(f"left out: {safe(name)}: {safe(why)}", soft_wrap=True)
        if not runs:
            raise RunError(
                f"no sound run below {', '.join(map(str, folders)) or 'any folder: none was given'}"
                + (f", and {len(left_out)} that are left out" if left_out else "; `leveret evaluate` makes them")
            )
        names = {str(run.scorecard.encoder["name"]) for run in runs}
        trained_on = dict(_pair(text) for text in self.trained_on)
        for name in trained_on:
            if name not in names:
                raise unknown_name("encoder among the runs", name, sorted(names))
        marks = {folder: "verified" for folder, why in doubts.items() if not why}
        text = leaderboard(runs, rows, left_out=left_out, marks=marks, trained_on=trained_on, verified=self.verified)
        write_page(self.output, text)
        size = in_bytes(self.output.stat().st_size)
        count = f"{number_of(len(runs), 'run')}, {len(left_out)} left out"
        out.print(f"{count}, {size}: {safe(self.output)}", soft_wrap=True)
        return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, data = text.partition("=")
    if not (name and equals and data):
        raise ValueError(f"--trained-on {text}: expected NAME=DATA, such as wavlm=LibriLight")
    return name, data
