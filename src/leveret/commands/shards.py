"""`leveret shards`: corpora packed into tar archives. Each action has a file shards_ACTION.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Tar shards: a corpus in some hundred files, which is read front to back, with an index and checksums.

    pack: make them; a call that was stopped goes on where it was.

    check: read every byte and name what is missing, cut or changed.

    `leveret shards ACTION --help` tells an action's options.

    Examples:
      leveret shards pack audioset --data ~/datasets -o audioset-shards

      leveret shards check audioset-shards
    """

    ACTIONS: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType(
        {"pack": ("shards_pack", "Pack"), "check": ("shards_check", "CheckShards")}
    )
    """Action -> module of `leveret.commands` and class: what `leveret shards ACTION` runs."""

    action: tyro.conf.Positional[Literal["pack", "check"]]
    """What to do."""
