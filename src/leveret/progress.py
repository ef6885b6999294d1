"""What long work tells whoever watches it; the library itself prints nothing.

The command line hands in a reporter that draws bars; the default says and draws nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[float], None]
"""Called with the units finished since the last call."""


def printable(text: object, kept: str = "") -> str:
    """Text without terminal codes, line breaks and turned writing, which names from strangers may hold: escaped.

    Args:
        kept: Letters that stay although they do not print, such as a line break between lines of one's own.
    """
    return "".join(letter if letter.isprintable() or letter in kept else repr(letter)[1:-1] for letter in str(text))


class Reporter:
    """Says nothing; the base of those that do."""

    def say(self, text: str) -> None:
        """One line that a user should read: a plan, a skipped file, a decision taken."""

    @contextmanager
    def stage(self, label: str, total: float, unit: str) -> Iterator[Advance]:
        """A piece of work of `total` units, such as "clips" or "steps"."""
        yield lambda amount: None


def shares(advance: Advance) -> Callable[[float], None]:
    """Turns finished shares, 0 to 1, into advances of a stage whose total is 1."""
    last = 0.0

    def report(share: float) -> None:
        nonlocal last
        advance(share - last)
        last = share

    return report
