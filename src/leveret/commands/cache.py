"""`leveret cache`: look at, verify and clear the embedding cache."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import tyro

from leveret.commands.console import in_bytes, out, safe
from leveret.commands.table import print_table
from leveret.text import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leveret.cache import StoredRows


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The embedding cache: ls lists it, verify reads every row and compares digests, gc deletes what is old.

    Examples:
      leveret cache ls

      leveret cache verify

      leveret cache gc --days 30
    """

    action: tyro.conf.Positional[Literal["ls", "verify", "gc"]] = "ls"
    """What to do."""
    days: float = 30.0
    """gc: delete what was not used for so many days; 0 deletes everything."""
    json: bool = False
    """Print JSON on standard output: of ls and verify what there is, of gc what was deleted."""

    def run(self) -> int:
        """Exit status 1 where verify finds damaged rows."""
        from leveret.cache import remove, stores
        from leveret.home import cache_root

        if not self.days >= 0:
            raise ValueError(f"--days {self.days:g}: expected 0, which deletes everything, or more")
        found = list(stores(cache_root(), verify=self.action == "verify"))
        if self.action == "gc":
            old = [store for store in found if time.time() - store.last_used >= 86_400 * self.days]
            for store in old:
                remove(store)
            if self.json:
                _write_json(old)
                return 0
            freed = sum(store.num_bytes for store in old)
            out.print(
                f"{len(old)} of {len(found)} stores deleted, {in_bytes(freed)} freed in {safe(cache_root())}",
                soft_wrap=True,
            )
            return 0
        if self.json:
            _write_json(found)
        else:
            cells = [
                [
                    store.key[:12],
                    _encoder_of(store),
                    f"{store.num_done:,} of {store.num_rows:,}",
                    store.width,
                    store.dtype,
                    in_bytes(store.num_bytes),
                    f"{store.num_damaged} damaged" if store.num_damaged else "",
                ]
                for store in found
            ]
            columns = ["key", "encoder", "rows", "width", "dtype", "size", ""]
            print_table(f"cache in {cache_root()}", columns, cells, numbers=(2, 3, 5))
            for store in found:
                if store.num_damaged:
                    rows_lost = number_of(store.num_damaged, "damaged row")
                    out.print(f"{safe(store.folder)}: {rows_lost}; the next run computes them again", soft_wrap=True)
                for name in store.spoilt:
                    out.print(f"{safe(store.folder)}: {name} is damaged; the next run mends it", soft_wrap=True)
        return 1 if any(store.num_damaged or store.spoilt for store in found) else 0


def _write_json(found: "Sequence[StoredRows]") -> None:
    rows = [asdict(store) | {"folder": str(store.folder)} for store in found]
    sys.stdout.write(json.dumps(rows, indent=1) + "\n")


def _encoder_of(store: "StoredRows") -> str:
    if not store.identity:
        return "?"
    encoder = store.identity["encoder"]
    config = encoder["config"]
    if "class" in config:  # somebody's own
        return f"py:{config['file']}:{config['class']}" if "file" in config else f"{config['class']} (object)"
    return str(config.get("encoder", encoder["origin"]))
