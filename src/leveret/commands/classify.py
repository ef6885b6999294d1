"""`leveret classify`: audio files to labels, by a trained probe."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe, standard_input_lines
from leveret.commands.table import print_table
from leveret.text import number_of, printable

SHOWN_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Audio files get the labels that a trained probe gives them.

    Probes come from `leveret evaluate --save-probes`.

    Examples:
      leveret classify --probe runs/RUN/probes/birds.safetensors recordings/

      leveret classify --probe birds.safetensors night.flac --window 3 --hop 1 -o night.csv

      leveret classify --probe birds.safetensors recordings/ --top 1 --json
    """

    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders, glob patterns, or - for a list on standard input."""
    probe: Path
    """The trained probe: RUN/probes/TASK.safetensors, or RUN where it holds no other."""
    encoder: str | None = None
    """The probe's encoder, where it lies elsewhere or is somebody else's code; it must be the very same."""
    window: float | None = None
    """Seconds of a window, one result each; by default one result a file."""
    hop: float | None = None
    """Seconds from window to window; by default the window."""
    top: int = 3
    """Labels of each file or window, the highest first; 0 for all."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """FILE.parquet, FILE.csv or FILE.json in place of a table on the screen."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of the files may be unreadable; fail: none; skip: any number. All are counted and named."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the network; the front end and the vectors stay float32."""
    batch_size: int | None = None
    """Windows at once; by default 32, fewer of windows above 10 s, halved whenever memory runs out."""
    json: bool = False
    """Print the rows as JSON on standard output."""

    def run(self) -> int:
        """Classify, then show or write."""
        from leveret.bad_files import BadFilePolicy
        from leveret.classifying import classify
        from leveret.records import RECORD_FORMATS, as_json, write_records
        from leveret.runner import Compute
        from leveret.vectors import check_format

        if self.output is not None:
            check_format(self.output, RECORD_FORMATS)
        if self.top < 0:
            raise ValueError(f"--top {self.top}: expected a number of labels, or 0 for all")
        names = [name for given in self.inputs for name in (standard_input_lines() if given == "-" else [given])]
        reporter = ConsoleReporter()
        found = classify(
            names, self.probe, encoder=self.encoder, window=self.window, hop=self.hop,
            compute=Compute(device=self.device, dtype=self.dtype, batch_size=self.batch_size),
            policy=BadFilePolicy(self.bad_files), reporter=reporter,
        )  # fmt: skip
        for reason in found.about["skipped"].values():
            reporter.say(f"skipped: {reason}")
        if found.meaning == "decision_value":
            reporter.say(
                f"note: {found.about['probe']['class']} gives decision values, no probabilities: higher is likelier"
            )
        columns = found.top(self.top)
        if self.output is not None:
            write_records(self.output, columns)
        if self.json:
            sys.stdout.write(as_json(columns))
        elif self.output is None:
            _print(columns, found.meaning)
        if self.output is not None and not self.json:
            num_files = len(set(found.file))
            out.print(
                f"{number_of(len(columns['file']), 'row')} of {number_of(num_files, 'file')}, "
                f"{number_of(len(found.about['skipped']), 'file')} skipped: "
                f"{safe(self.output)}",
                soft_wrap=True,
            )
        return 0


def _print(columns: Mapping[str, list[Any]], meaning: str) -> None:
    shown = [name for name in columns if name != "seconds" and (name != "start" or any(columns["start"]))]
    rows = [
        [f"{value:.3f}" if isinstance(value, float) else printable(value) for value in row]
        for row in zip(*(columns[name][:SHOWN_ROWS] for name in shown), strict=True)
    ]
    titles = [name.replace("_", " ") for name in shown]
    print_table("", titles, rows, numbers=[k for k, name in enumerate(shown) if name in ("start", "rank", meaning)])
    if len(columns["file"]) > SHOWN_ROWS:
        out.print(f"and {len(columns['file']) - SHOWN_ROWS:,} rows more; -o FILE.csv or --json give all of them")
