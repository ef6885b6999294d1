"""What a command is going to embed, said before the work: windows, bytes, time."""

import json
import sys
from typing import TYPE_CHECKING

from leveret.commands.console import in_bytes, in_time, out
from leveret.commands.table import print_table
from leveret.text import number_of

if TYPE_CHECKING:
    from leveret.workload import Plan


def plan_lines(plan: "Plan", floor: str = "") -> list[str]:
    """What the plan comes to.

    Args:
        floor: Encoder that nobody asked for, whose windows would be taken for too many of the others; "" for none.
    """
    if not plan.rows:
        return []
    windows = sum(row["windows"] for row in plan.rows)
    of_floor = sum(row["windows"] for row in plan.rows if row["encoder"] == floor)
    aside = f" ({of_floor:,} of {floor}, for the floor)" if floor else ""
    cached = sum(row["cached"] for row in plan.rows)
    size = sum(row["bytes"] for row in plan.rows)
    half = sorted({row["task"] for row in plan.rows if row["dtype"] == "float16"})
    time = "" if plan.seconds is None else f"; about {in_time(plan.seconds)} of embedding"
    lines = [
        f"plan: {number_of(windows, 'window')}{aside}, {cached:,} of them cached; {in_bytes(size)} of vectors{time}"
    ]
    if drawn := sum(row["drawn"] for row in plan.rows):
        lines.append(f"up to {drawn:,} of the windows are embedded as they are drawn, and not kept")
    if half:
        lines.append(f"stored as float16, since float32 would take over 10 GB: {', '.join(half)}")
    return lines


def print_plan(plan: "Plan", floor: str = "", as_json: bool = False) -> None:
    """A line a task and encoder, and what they come to, on standard output."""
    if as_json:
        counts = ("windows", "cached", "drawn", "bytes")
        lines = [{f"num_{name}" if name in counts else name: of for name, of in row.items()} for row in plan.rows]
        found = {"floor": floor or None, "embedding_seconds": plan.seconds, "rows": lines}
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    columns = ["task", "encoder", "windows", "cached", "vectors", "dtype"]
    rows = [
        [
            row["task"],
            row["encoder"],
            f"{row['windows']:,}",
            f"{row['cached']:,}",
            in_bytes(row["bytes"]),
            row["dtype"],
        ]
        for row in plan.rows
    ]
    print_table("plan", columns, rows, numbers=(2, 3, 4))
    for line in plan_lines(plan, floor):
        out.print(line, soft_wrap=True)
