"""What an examination found: a status, what was seen, what was expected, what to do; and the verdict over all.

`leveret check` and `leveret doctor` both report in these, to people and as JSON.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from leveret.text import number_of

Status = Literal["pass", "note", "warn", "fail"]
"""note: worth knowing, neither good nor bad; also what was not examined, and why."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: Only "fail" makes the whole unusable.
        name: What was looked at, in a word or two; unique in a report.
        seen: With the number.
        expected: In the same unit; empty where it goes without saying.
        advice: What to do; empty where there is nothing to do.
    """

    status: Status
    name: str
    seen: str
    expected: str = ""
    advice: str = ""

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def with_status(findings: Iterable[Finding], status: Status) -> list[Finding]:
    """Those of one status, in their order."""
    return [finding for finding in findings if finding.status == status]


def usable(findings: Iterable[Finding]) -> bool:
    """Whether nothing fails."""
    return not with_status(findings, "fail")


def counted(findings: Sequence[Finding]) -> str:
    """How many there are of each status that matters: "2 of 14 fail (rate, silence); 1 warning"."""
    failed, warned = with_status(findings, "fail"), with_status(findings, "warn")
    names = ", ".join(finding.name for finding in failed)
    parts = [f"{len(failed)} of {len(findings)} fail ({names})" if failed else f"{len(findings)} checks, none fails"]
    if warned:
        parts.append(number_of(len(warned), "warning"))
    return "; ".join(parts)
