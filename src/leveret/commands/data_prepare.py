"""`leveret data prepare`: small copies of datasets, 16 kHz mono FLAC."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.text import number_of


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Copy a dataset with its audio as 16 kHz mono FLAC, which takes less room and is decoded faster.

    Layout and tables stay, so that `--data DIR` works on the copy. What an earlier call made is kept.

    Examples:
      leveret data prepare esc50 --data ~/datasets -o ~/datasets-16k

      leveret evaluate --encoder melstats --tasks esc50 --data ~/datasets-16k
    """

    name: tyro.conf.Positional[str]
    """A dataset or corpus (`leveret data list`)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Data root of the copy, which lies in OUTPUT/NAME."""
    data: tuple[str, ...] = ()
    """Where it lies: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    threads: int | None = None
    """Threads for converting; by default the number of cores."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of the files may be unreadable; fail: none; skip: any number. All are counted and named."""
    json: bool = False
    """Print a summary as JSON on standard output."""

    def run(self) -> int:
        """Copy and tell."""
        from leveret.bad_files import BadFilePolicy
        from leveret.dataroots import DataRoots
        from leveret.datasets.names import named, published
        from leveret.datasets.preparing import prepare
        from leveret.loading import folder_of
        from leveret.results import HARES
        from leveret.runner import Compute

        if self.name == HARES:
            raise ValueError(f"{HARES} is several datasets; prepare them one by one (`leveret data list`)")
        (one,) = named([self.name])
        source = folder_of(one, DataRoots.parse(self.data, (), list(published()))).root
        reporter = ConsoleReporter()
        done = prepare(source, self.output / one.name, Compute(threads=self.threads).num_threads(), reporter)
        BadFilePolicy(self.bad_files).check(done.bad, done.num_audio + len(done.bad))
        for reason in done.bad.values():
            reporter.say(f"left out: {reason}")
        for name in done.left_out:
            reporter.say(f"left out: {name}, an archive")
        if done.clipped:
            reporter.say(f"16 bits cut {number_of(done.clipped, 'file')} off at full scale, which can move scores")
        if self.json:
            sys.stdout.write(json.dumps(asdict(done) | {"folder": str(done.folder)}, indent=1) + "\n")
            return 0
        out.print(
            f"{number_of(done.num_audio, 'audio file')} ({done.num_kept:,} were there), {done.num_others:,} others, "
            f"{len(done.bad)} left out: {safe(done.folder)}",
            soft_wrap=True,
        )
        return 0
