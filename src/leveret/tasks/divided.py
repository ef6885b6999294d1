"""The task whose clips somebody has divided already: a manifest, a published list, a rule over them.

Source: leveret's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leveret.clips import Fold
from leveret.contracts import Task


@dataclass(frozen=True, kw_only=True)
class DividedTask(Task):
    """A task that holds its folds.

    Attributes:
        remarks: What its owner must know before the work: what was guessed, what is odd. Its notes say it too.
    """

    parts: Sequence[Fold]
    remarks: tuple[str, ...] = ()

    def folds(self) -> Sequence[Fold]:
        """As they were divided."""
        return self.parts
