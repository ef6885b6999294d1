"""What commands share on screen: progress bars for what takes over two seconds, sizes, safe text."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from leveret.progress import Advance, Reporter
from leveret.text import printable

PATIENCE_SECONDS = 2.0
LINE_SECONDS = 60.0  # between lines of progress where there is no terminal: in a file or a pipe

# results go to standard output, what happens meanwhile to standard error, so that a pipe gets results alone
# a pipe has no width of its own; eighty columns would fold what it gets
# no emoji: a file may well be called a:bomb:.wav
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False, emoji=False)


class ConsoleReporter(Reporter):
    """Bars with rate and time left on a terminal, elsewhere a line a minute; lines of text everywhere."""

    def say(self, text: str) -> None:
        """Print to standard error."""
        err.print(safe(text), soft_wrap=True)

    @contextmanager
    def stage(self, label: str, total: float, unit: str) -> Iterator[Advance]:
        """A bar that appears only once the work has taken two seconds."""
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=err,
            transient=True,
        )
        row = bar.add_task(safe(label), total=total, rate="")
        started = time.monotonic()
        done, first, shown, told = 0.0, None, False, 0.0

        def advance(amount: float) -> None:
            nonlocal done, first, shown, told
            done += amount
            if first is None:  # work that was cached counts as done, not as speed
                first = amount if unit and time.monotonic() - started < 0.05 else 0.0
            elapsed = time.monotonic() - started
            if elapsed > PATIENCE_SECONDS and not shown and err.is_terminal:
                bar.start()
                shown = True
            rate = f"{(done - first) / elapsed:,.0f} {unit}/s" if unit and elapsed > 0 else ""
            bar.update(row, completed=done, rate=rate)
            if not err.is_terminal and elapsed - told > LINE_SECONDS and first < done < total:
                told, left = elapsed, elapsed * (total - done) / (done - first)
                self.say(f"{label}: {done / total:.0%}{', ' * bool(rate)}{rate}, {in_time(left)} left")

        try:
            yield advance
        finally:
            if shown:
                bar.stop()


def safe(text: object) -> str:
    """Text with no markup, terminal codes or line breaks: file and class names come from strangers."""
    return escape(printable(text))


def in_bytes(size: float) -> str:
    """A size for people: 3.5 GB."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def in_time(seconds: float) -> str:
    """A duration for people: 3 min 20 s."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {seconds % 60:.0f} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def standard_input_lines() -> list[str]:
    """Names from standard input, one a line, empty lines left out; they may be no text, as names of files may."""
    if sys.stdin is None:
        raise ValueError("standard input is closed, and - reads names from it; send it a list, or name the files")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return [line.rstrip("\n") for line in sys.stdin if line.strip()]
