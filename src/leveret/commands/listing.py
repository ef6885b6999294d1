"""`leveret list`: what there is by name."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import tyro

from leveret.commands.console import out
from leveret.commands.table import print_table

_SPARE = ("model", "encoder", "tables", "data", "layers", "objective", "batch", "steps")
"""Columns that a narrow terminal does without, the first of them first: a name tells its model or encoder."""

OVERVIEW = ("room", "entries", "examples", "listed by")
NAMES_SHOWN = 2
"""Of each room in the overview."""


@dataclass(frozen=True, kw_only=True)
class List:
    """Encoders, adapters, tasks, probes, objectives, recipes, export formats and the paper's published rows, by name.

    Examples:
      leveret list

      leveret list encoders --json
    """

    what: tyro.conf.Positional[
        Literal["all", "encoders", "adapters", "tasks", "probes", "objectives", "recipes", "formats", "published"]
    ] = "all"
    """Which room; all is a line a room."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Look, print."""
        from leveret.registry import ROOMS

        if self.what == "all" and not self.json:
            print_table("what there is by name", list(OVERVIEW), _overview(), numbers=[1], spare=[2])
            out.print("`leveret data list`: datasets. `leveret list --json`: everything, with all that is known of it.")
            return 0
        # to estimate a training its network's operations are counted, which takes seconds
        others: dict[str, Callable[[], list[dict[str, object]]]] = {
            "recipes": partial(_recipes, timed=self.what == "recipes"),
            "published": _published,
        }
        rooms = [*ROOMS, "recipes", "formats", "published"] if self.what == "all" else [self.what]
        if self.what == "encoders":
            rooms.append("adapters")  # the other encoders that a spec can name
        found = {room: others[room]() if room in others else _entries(room) for room in rooms}
        if self.json:
            sys.stdout.write(json.dumps(found, indent=1) + "\n")
            return 0
        for room, rows in found.items():
            if not rows:
                out.print(f"[bold]{room}[/bold]\nnone in this version")
                continue
            columns = list(rows[0])
            cells = [[_cell(column, row[column]) for column in columns] for row in rows]
            numbers = [k for k, column in enumerate(columns) if isinstance(rows[0][column], int | float)]
            prose = [k for k, column in enumerate(columns) if column == "what"]
            spare = [columns.index(column) for column in _SPARE if column in columns]
            print_table(room, columns, cells, numbers, prose=prose, spare=spare)
        return 0


def _cell(column: str, value: object) -> object:
    if column == "layers":
        first, *others = str(value).split()
        return f"{len(others) + 1}: {first} ... {others[-1]}" if others else f"1: {first}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value


def _overview() -> list[list[object]]:
    """A line a room, without looking into its entries, which takes seconds."""
    from leveret.paper import PREFIX, published
    from leveret.recipes import recipes
    from leveret.registry import ROOMS, entries

    names: dict[str, list[str]] = {room: list(entries(room)) for room in ROOMS}
    names |= {
        "recipes": list(recipes()),
        "formats": list(entries("exporting", "FORMATS")),
        "published": [f"{PREFIX}{name}" for name in published()],
    }
    return [
        [
            room,
            len(of),
            ", ".join(of[:NAMES_SHOWN]) + (", ..." if len(of) > NAMES_SHOWN else ""),
            f"leveret list {room}",
        ]
        for room, of in names.items()
    ]


def _entries(room: str) -> list[dict[str, object]]:
    from leveret.registry import entries

    if room == "encoders":
        return [_encoder(name) for name in entries(room)]
    if room == "formats":
        return [
            {"name": name, "writes": entry.suffix or "folder", "what": entry.what}
            for name, entry in entries("exporting", "FORMATS").items()
        ]
    colon = ":" if room == "adapters" else ""  # what follows it is the first word of what they are
    return [
        {"name": f"{name}{colon}", "what": getattr(entry, "title", None) or _first_line(entry)}
        for name, entry in entries(room).items()
    ]


def _encoder(name: str) -> dict[str, object]:
    from leveret.hollow import hollow
    from leveret.registry import look_up

    with hollow():
        encoder = look_up("encoders", name).build()
    return {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "width": encoder.embed_dim,
        "layers": " ".join(encoder.layers),
    }


def _recipes(timed: bool) -> list[dict[str, object]]:
    from leveret.recipes import GPU, in_days, recipes

    return [
        {
            "name": recipe.name,
            "encoder": recipe.encoder,
            "objective": recipe.objective,
            "data": recipe.row.pretrain_data,
            "batch": recipe.batch,
            "steps": recipe.steps,
            **({f"{GPU}, estimated": in_days(recipe.gpu_seconds)} if timed else {}),
            "tables": " ".join(map(str, recipe.row.tables)),
            "HARES": recipe.row.averages["hares"],
        }
        for recipe in recipes().values()
    ]


def _published() -> list[dict[str, object]]:
    from leveret.paper import PREFIX, published

    return [
        {
            "name": f"{PREFIX}{row.name}",
            "model": row.model,
            "objective": row.objective,
            "data": row.pretrain_data,
            "HARES": row.averages["hares"],
        }
        for row in published().values()
    ]


def _first_line(entry: object) -> str:
    text = (getattr(entry, "__doc__", None) or "").strip()
    return text.splitlines()[0] if text else ""
