"""Tables on standard output in which nothing is broken or cut off, however narrow the terminal: names are to be copied.

What does not fit is folded between words, left out, or printed below, as each table's columns are declared. Where
standard output is no terminal, a table is as wide as its cells.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Text

from leveret.commands.console import out, safe
from leveret.text import printable

_LEAST_PROSE = 20  # narrower texts are read badly
_GAPS = (2, 1)  # columns stand one space apart only where two are too many


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    numbers: Sequence[int] = (),
    grey: Collection[tuple[int, int]] = (),
    *,
    prose: Collection[int] = (),
    spare: Sequence[int] = (),
    keys: int = 0,
    tail: int = 0,
) -> None:
    """A table, or several one under the other; without any of the last four, one too wide runs over the edge.

    Args:
        numbers: Indices of the columns that are aligned to the right.
        grey: Row and column of the published scores that are about other clips than those beside them.
        prose: Columns whose texts may be folded between words.
        spare: Columns that `--json` has too, left out one by one, in this order, where there is no room for them.
        keys: So many first columns stand in each table, if more than one is needed; of the others as many as fit, and
            one at least. 0 makes one table only.
        tail: So many last columns stay beside the one before them.
    """
    texts = [[printable(cell) for cell in row] for row in (columns, *rows)]
    whole = {k: max(cell_len(row[k]) for row in texts) for k in range(len(columns))}
    least = {k: _least(texts, k, k in prose) for k in whole}
    have, shown, left_out = room(), list(range(len(columns))), []
    if have is None:
        parts, gap, least = [shown], _GAPS[0], whole
    else:
        for k in spare:
            if _width(shown, least, _GAPS[-1]) > have:
                shown.remove(k)
                left_out.append(columns[k])
        divided = [(_parts(shown, least, gap, have, keys, tail), gap) for gap in _GAPS]
        parts, gap = min(divided, key=lambda one: (len(one[0]), _too_wide(one[0], least, one[1], have)))
    if title:
        out.print(f"[bold]{safe(title)}[/bold]", soft_wrap=True)
    for number, part in enumerate(parts):
        if number:
            out.print()
        widths = {k: least[k] for k in part}
        for k in part:
            spread = 0 if have is None else max(0, have - _width(part, widths, gap))
            widths[k] = min(whole[k], widths[k] + spread)
        for at, row in enumerate(texts):
            _print_row(
                {k: row[k] for k in part}, widths, gap, numbers, {k for k in part if (at - 1, k) in grey}, not at
            )
    if left_out:
        out.print(f"left out for want of room: {safe(', '.join(left_out))}; --json has all", soft_wrap=True)
    if grey:
        out.print("grey: the paper's split was never published, so its score is about other clips", soft_wrap=True)


def room() -> int | None:
    """Columns of the terminal; None where standard output is none, and nothing needs to fit."""
    return out.width if sys.stdout.isatty() else None


def _least(texts: Sequence[Sequence[str]], k: int, prose: bool) -> int:
    """The narrowest that a column can be: heads are folded between words too."""
    head, *cells = (row[k] for row in texts)
    width = max(map(cell_len, cells), default=0)
    longest = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
    words = [cell_len(word) for word in head.split()]
    return max(min(width, max(_LEAST_PROSE, longest)) if prose else width, *words, 0)


def _width(part: Sequence[int], widths: Mapping[int, int], gap: int) -> int:
    return sum(widths[k] for k in part) + gap * (len(part) - 1)


def _too_wide(parts: Sequence[Sequence[int]], widths: Mapping[int, int], gap: int, have: int) -> bool:
    return any(_width(part, widths, gap) > have for part in parts)


def _parts(
    shown: Sequence[int], widths: Mapping[int, int], gap: int, have: int, keys: int, tail: int
) -> list[list[int]]:
    """The columns of each table."""
    if not keys:
        return [list(shown)]
    first, last = list(shown[:keys]), len(shown) - tail
    together = [[k] for k in shown[keys : last - 1]] + [list(shown[last - 1 :])]
    parts = [first + together[0]]
    for more in together[1:]:
        if _width(parts[-1] + more, widths, gap) <= have:
            parts[-1] += more
        else:
            parts.append(first + more)
    return parts


def _print_row(
    cells: Mapping[int, str],
    widths: Mapping[int, int],
    gap: int,
    numbers: Collection[int],
    grey: Collection[int],
    head: bool,
) -> None:
    # a text that fits stands as it is: to fold it would take its double spaces
    folded = {k: [text] if cell_len(text) <= widths[k] else _folded(text, widths[k]) for k, text in cells.items()}
    for number in range(max(map(len, folded.values()))):
        line = Text(style="bold" if head else "")
        for k, lines in folded.items():
            text = lines[number] if number < len(lines) else ""
            blank = " " * (widths[k] - cell_len(text))
            line.append(" " * gap if line else "")
            line.append(blank + text if k in numbers else text + blank, "dim" if k in grey else None)
        line.rstrip()
        out.print(line, soft_wrap=True)


def _folded(text: str, width: int) -> list[str]:
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
