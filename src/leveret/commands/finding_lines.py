"""How findings look on a terminal: a status, a name, what was seen; below what is not well, what to do."""

from collections.abc import Sequence
from textwrap import wrap

from leveret.commands.console import out, safe
from leveret.findings import Finding

_STYLES = {"pass": "green", "note": "cyan", "warn": "yellow", "fail": "bold red"}
_WIDEST = 100  # long lines are read badly
_MARK, _GAP = 4, 2
_LEAST_NAME = 14  # so that reports of one command are aligned with each other


def print_findings(findings: Sequence[Finding]) -> None:
    """A line each; what is not well also says what was expected and what to do."""
    names = _name_width([finding.name for finding in findings])
    for finding in findings:
        style = _STYLES[finding.status]
        mark = finding.status.upper() if finding.status == "fail" else finding.status
        _print_row(f"[{style}]{mark:<{_MARK}}[/{style}]", finding.name, names, finding.seen)
        if finding.status in ("warn", "fail") and finding.expected:
            _print_row(" " * _MARK, "", names, f"expected: {finding.expected}", "dim")
        if finding.advice:
            _print_row(" " * _MARK, "", names, f"to do: {finding.advice}", "bold" if finding.status == "fail" else "")


def print_pairs(pairs: Sequence[tuple[str, str]], names: Sequence[str] = ()) -> None:
    """Names and figures, aligned with findings of these names."""
    width = _name_width([*names, *(name for name, _ in pairs)])
    for name, value in pairs:
        _print_row(" " * _MARK, name, width, value)


def print_verdict(good: bool, state: str, why: str) -> None:
    """The last line: what it comes to."""
    style = "bold green" if good else "bold red"
    out.print(f"[{style}]{safe(state)}[/{style}]: {safe(why)}", soft_wrap=True)


def _name_width(names: Sequence[str]) -> int:
    return max(_LEAST_NAME, *(len(name) for name in names))


def _print_row(mark: str, name: str, name_width: int, text: str, style: str = "") -> None:
    left = _MARK + _GAP + name_width + _GAP
    for number, line in enumerate(wrap(text, max(30, min(out.width, _WIDEST) - left)) or [""]):
        shown = f"[{style}]{safe(line)}[/{style}]" if style else safe(line)
        start = f"{mark}{' ' * _GAP}{safe(f'{name:<{name_width}}')}{' ' * _GAP}" if number == 0 else " " * left
        out.print(f"{start}{shown}", soft_wrap=True)
