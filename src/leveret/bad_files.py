"""Clips that cannot be read or embedded: how many of them a result may do without."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


class TooManyBadFilesError(ValueError):
    """More clips than allowed have no vectors; the message names them."""


@dataclass(frozen=True)
class BadFilePolicy:
    """How many clips may be skipped before the work is refused.

    Attributes:
        mode: "fail" allows none, "skip" any number, "few" up to 1 %.
        whole: Clips of the task whose parts are checked one by one: the 1 % are of them.
    """

    mode: Literal["fail", "skip", "few"] = "few"
    whole: int = 0

    def check(self, bad: Mapping[str, str], num_clips: int) -> None:
        """Refuse when too many of the clips are bad.

        Raises:
            TooManyBadFilesError: They are named, up to a hundred.
        """
        whole = max(num_clips, self.whole)
        # no part may be left empty
        allowed = min({"fail": 0, "skip": whole, "few": whole // 100}[self.mode], max(num_clips - 1, 0))
        if len(bad) > allowed:
            named = "\n".join(f"  {reason}" for reason in list(bad.values())[:100])
            named += f"\n  and {len(bad) - 100} more" if len(bad) > 100 else ""
            raise TooManyBadFilesError(
                f"{len(bad)} of {num_clips if len(bad) == num_clips else whole} clips cannot be used, {allowed} may be "
                f"(--bad-files {self.mode}):\n{named}\n"
                "Mend or remove them, or give --bad-files skip to score without them"
            )
