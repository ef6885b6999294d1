"""`leveret compare`: runs and published rows side by side."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from leveret.commands.console import out, safe
from leveret.commands.table import print_table
from leveret.text import percent

if TYPE_CHECKING:
    from leveret.comparison import Cell


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Runs and published rows side by side, on the clips that all runs share; differences are to the first run.

    Examples:
      leveret compare runs/melstats-quick-20260101-120000 runs/small-quick-20260101-120000

      leveret compare runs/ paper:sf_nfnet_f0_simclr
    """

    what: tyro.conf.Positional[tuple[str, ...]]
    """Run folders, folders of run folders, published rows (`leveret list published`)."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Compare, print."""
        from leveret.comparison import compare, layers_apart, published_row
        from leveret.paper import PREFIX
        from leveret.runs import find_runs

        rows = [published_row(name) for name in self.what if name.startswith(PREFIX)]
        runs = [run for name in self.what if not name.startswith(PREFIX) for run in find_runs(Path(name))]
        if not runs:
            raise ValueError("nothing to compare: give at least one run folder; `leveret evaluate` makes them")
        compared = compare(runs, rows)
        if self.json:
            sys.stdout.write(json.dumps(asdict(compared), indent=1) + "\n")
            return 0
        encoder, names = layers_apart(runs)
        lines: list[list[object]] = []
        grey: list[tuple[int, int]] = []
        starred = {number for task in compared.tasks for number, cell in enumerate(task.cells) if _differs(cell)}
        for task in (*compared.tasks, *compared.means):
            cells: list[object] = [task.task, task.metric, task.num_clips]
            for number, cell in enumerate(task.cells):
                if cell.other_clips:
                    grey.append((len(lines), 3 + number))
                text = percent(cell.score)
                if cell.difference is not None and cell.low is not None and cell.high is not None:
                    # those without a star leave its place, so that numbers stand below each other
                    star = "*" if _differs(cell) else " " * (number in starred)
                    text += f" ({100 * cell.difference:+.1f} [{100 * cell.low:+.1f}, {100 * cell.high:+.1f}]){star}"
                cells.append(text)
            lines.append(cells)
        columns = ["task", "metric", "clips", *names, *compared.columns[len(runs) :]]
        title = f"protocol {compared.protocol}: score x 100"
        title += f" (difference to {names[0]}, the first run [95 % interval])" if len(runs) > 1 else ""
        title += f", layers of {encoder}" if encoder else ""
        print_table(title, columns, lines, numbers=range(2, len(columns)), grey=grey, keys=3)
        if len(runs) > 1:
            which = "* differs" if starred else "none differs"
            by = "after Holm's correction, paired on the same resamples of groups"
            out.print(f"{which} at p < 0.05 {by}", soft_wrap=True)
        for note in compared.notes:
            out.print(f"note: {safe(note)}", soft_wrap=True)
        return 0


def _differs(cell: "Cell") -> bool:
    return cell.p is not None and cell.p < 0.05
