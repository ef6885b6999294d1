"""`leveret shards pack`: a corpus into tar shards."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from leveret.commands.console import ConsoleReporter, in_bytes, out, safe
from leveret.text import number_of


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Pack a corpus into tar shards: mono 16-bit FLAC in a shuffled order, with an index and checksums.

    A call that was stopped goes on where it was. Other loaders read the shards as WebDataset: KEY.flac and KEY.json.

    Examples:
      leveret shards pack audioset --data ~/datasets -o audioset-shards

      leveret shards pack recordings/ -o shards --rate 16000 --shard-bytes 5e8 --workers 8

      leveret shards pack task:manifest:labels.csv -o shards
    """

    source: tyro.conf.Positional[str]
    """A corpus (NAME or NAME:PATH), a folder, a table (column file), or task:SPEC for a task's training clips."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """A new folder, or one where this was begun."""
    data: tuple[str, ...] = ()
    """Where published audio lies: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    rate: int = 16_000
    """Hz of what is stored."""
    shard_bytes: float = 1e9
    """Of each shard, about."""
    workers: int | None = None
    """Shards made at once; by default the number of cores."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of the files may be unreadable; fail: none; skip: any number. All are counted and named."""
    json: bool = False
    """Print a summary as JSON on standard output."""

    def run(self) -> int:
        """Pack and tell."""
        from leveret.audio import LOWEST_RATE
        from leveret.bad_files import BadFilePolicy
        from leveret.corpora.opening import open_corpus
        from leveret.corpora.packing import pack
        from leveret.dataroots import DataRoots
        from leveret.datasets.names import published
        from leveret.runner import Compute

        if self.rate < LOWEST_RATE:
            raise ValueError(f"--rate {self.rate}: expected {LOWEST_RATE} Hz or more, such as 16000")
        if not 1e4 <= self.shard_bytes < float("inf"):
            raise ValueError(f"--shard-bytes {self.shard_bytes:g}: expected 1e4 or more, such as 1e9")
        reporter = ConsoleReporter()
        corpus = open_corpus(self.source, DataRoots.parse(self.data, self.labels, list(published())))
        for note in corpus.notes:
            reporter.say(note)
        done = pack(
            corpus, self.output, sample_rate=self.rate, shard_bytes=self.shard_bytes,
            threads=Compute(threads=self.workers).num_threads(), reporter=reporter,
            bad_files=BadFilePolicy(self.bad_files),
        )  # fmt: skip
        for reason in done.bad.values():
            reporter.say(f"left out: {reason}")
        if self.json:
            sys.stdout.write(json.dumps(asdict(done) | {"folder": str(done.folder)}, indent=1) + "\n")
            return 0
        packed = f"{number_of(done.num_clips, 'clip')}, {done.seconds / 3600:,.2f} h"
        out.print(
            f"{packed}, in {number_of(done.num_shards, 'shard')} ({done.num_kept:,} were there), "
            f"{in_bytes(done.num_bytes)}, {len(done.bad)} left out: {safe(done.folder)}",
            soft_wrap=True,
        )
        return 0
