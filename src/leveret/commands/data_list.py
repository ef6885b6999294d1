"""`leveret data list`: published datasets and corpora beside the paper's table 1."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from leveret.commands.console import in_bytes, out, safe
from leveret.commands.finding_lines import print_pairs
from leveret.commands.table import print_table

if TYPE_CHECKING:
    from leveret.datasets.listing import Listed
    from leveret.published_audio import Archive


@dataclass(frozen=True, kw_only=True)
class List:
    """Published datasets and corpora: counts beside the paper's table 1, size, licence, how to get them.

    Examples:
      leveret data list

      leveret data list esc50 nsynth --data ~/datasets
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Datasets, corpora, tasks, or hares: these alone, with everything there is to say; by default a table of all."""
    data: tuple[str, ...] = ()
    """Where they may lie: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA. Tells what is there."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Look, print."""
        from leveret.dataroots import DataRoots
        from leveret.datasets.listing import listed
        from leveret.datasets.names import named, published

        rows = listed(named(self.names), DataRoots.parse(self.data, (), list(published())))
        if self.json:
            sys.stdout.write(json.dumps([row.described() for row in rows], indent=1) + "\n")
        elif self.names:
            for row in rows:
                _show(row)
        else:
            columns = ["name", "what", "paper", "official", "hours", "download", "licence", "get", "variants", "here"]
            cells = [_cells(row) for row in rows]
            # what a narrow terminal leaves out is told of each by its name
            print_table("datasets and corpora", columns, cells, (2, 3, 4, 5), prose=(1, 6), spare=(8, 6, 4, 3, 1))
            out.print("`leveret data list NAME` tells what the official count is made of, and how to get it")
        return 0


def _cells(row: "Listed") -> list[object]:
    get = "by hand" if row.get == "by hand" else "data get"
    return [
        row.name, row.title + (" (corpus)" if row.corpus else ""), row.paper, _counts(row), _hours(row), _size(row),
        row.licence, get, " ".join(row.variants), "yes" if row.there else "",
    ]  # fmt: skip


def _show(row: "Listed") -> None:
    out.print(f"[bold]{safe(row.title)}[/bold]", soft_wrap=True)
    pairs = [
        ("name", row.name), ("tasks", ", ".join(row.tasks)), ("table 1", row.paper),
        ("official", "; ".join(f"{_count(one.count)}: {one.how}" for one in row.official)),
        ("hours", _hours(row)), ("download", _size(row)), ("licence", row.licence),
        ("variants", ", ".join(row.variants)), ("archives", "; ".join(map(_archive, row.archives))),
        ("from", row.source), ("get", row.get), ("by hand", row.how), ("here", row.there or "no"),
    ]  # fmt: skip
    print_pairs([(name, value) for name, value in pairs if value])


def _archive(one: "Archive") -> str:
    size = [] if one.num_bytes is None else [in_bytes(one.num_bytes)]
    about = size + ([f"{', '.join(one.variants)} only"] if one.variants else [])
    return one.name + (f" ({', '.join(about)})" if about else "")


def _counts(row: "Listed") -> str:
    return " / ".join(_count(one.count) for one in row.official)


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _hours(row: "Listed") -> str:
    return "" if row.hours is None else f"{row.hours:,.{0 if row.hours >= 10 else 1}f}"


def _size(row: "Listed") -> str:
    return "" if row.num_bytes is None else in_bytes(row.num_bytes)
