"""`leveret shards check`: whether shards are what was written."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.text import number_of


@dataclass(frozen=True, kw_only=True)
class CheckShards:
    """Read every byte of a folder of shards, and name what is missing, cut off or changed; the exit status tells too.

    Examples:
      leveret shards check audioset-shards

      leveret shards check audioset-shards --json
    """

    folder: tyro.conf.Positional[Path]
    """Of the shards."""
    threads: int | None = None
    """Shards read at once; by default the number of cores."""
    json: bool = False
    """Print the problems as JSON on standard output."""

    def run(self) -> int:
        """Read and tell: 0 where all is well, 1 otherwise."""
        from leveret.runner import Compute
        from leveret.shards import check_shards

        problems = check_shards(self.folder, Compute(threads=self.threads).num_threads(), ConsoleReporter())
        if self.json:
            sys.stdout.write(json.dumps(problems, indent=1) + "\n")
        else:
            for problem in problems:
                out.print(safe(problem), soft_wrap=True)
            verdict = f"{number_of(len(problems), 'problem')} in" if problems else "all is as it was written:"
            out.print(f"{verdict} {safe(self.folder)}", soft_wrap=True)
        return 1 if problems else 0
