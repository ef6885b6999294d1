"""Clips that cannot be read or embedded: how many of them a result may do without."""

from collections.abc import Mapping
from dataclasses import dataclass

MODES = ("few", "fail", "skip")
_NAMES = 100
_NAMES_OF_ALL = 10  # where every clip is bad, they are so for one reason


class TooManyBadFilesError(ValueError):
    """More clips than allowed have no vectors; the message names them."""


@dataclass(frozen=True)
class BadFilePolicy:
    """How many clips may be skipped before the work is refused.

    Attributes:
        mode: "fail" allows none, "skip" any number, "few" up to 1 %.
        whole: Clips of the task whose parts are checked one by one: the 1 % are of them.
    """

    mode: str = "few"
    whole: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"a policy for bad files {self.mode!r}; expected {', '.join(MODES[:-1])} or {MODES[-1]}")

    def check(self, bad: Mapping[str, str], num_clips: int) -> None:
        """Refuse when too many of the clips are bad.

        Raises:
            TooManyBadFilesError: They are named, up to a hundred, or ten where no clip is left.
        """
        whole = max(num_clips, self.whole)
        # no part may be left empty
        allowed = min({"fail": 0, "skip": whole, "few": whole // 100}[self.mode], max(num_clips - 1, 0))
        if len(bad) > allowed:
            none_left = len(bad) == num_clips
            shown = _NAMES_OF_ALL if none_left else _NAMES
            named = "\n".join(f"  {reason}" for reason in list(bad.values())[:shown])
            named += f"\n  and {len(bad) - shown:,} more" if len(bad) > shown else ""
            advice = "Mend or remove them, or give --bad-files skip to go on without them"
            if none_left:
                missing = any(reason.endswith("does not exist") for reason in bad.values())
                hint = "; where files are not found: paths in a table are relative to its folder" if missing else ""
                advice = f"None is left{hint}"
            raise TooManyBadFilesError(
                f"{len(bad)} of {num_clips if none_left else whole} clips cannot be used, {allowed} may be "
                f"(--bad-files {self.mode}):\n{named}\n{advice}"
            )


def policy_of(given: BadFilePolicy | str) -> BadFilePolicy:
    """A policy, which may be given by its mode alone."""
    return BadFilePolicy(given) if isinstance(given, str) else given
