"""`leveret data get`: published datasets onto the disk."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

from leveret.commands.console import ConsoleReporter, err, in_bytes, out, safe
from leveret.commands.finding_lines import print_findings
from leveret.text import number_of

if TYPE_CHECKING:
    from leveret.datasets.getting import Plan


@dataclass(frozen=True, kw_only=True)
class Get:
    """Download datasets, unpack them and look over what came; asks first, and goes on where it was stopped.

    Exit status 1 where something could not be got, or is to be got by hand.

    Examples:
      leveret data get esc50 --data ~/datasets

      leveret data get nsynth magnatagatune --data ~/datasets --yes

      leveret data get speech_commands --variant speech_commands=v0.01 --data ~/datasets
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Datasets, corpora, tasks, or hares for all that its twelve tasks need (`leveret data list`)."""
    data: tuple[str, ...] = ()
    """Where they shall lie: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    variant: tuple[str, ...] = ()
    """NAME=VARIANT: which version of a dataset (`leveret data list NAME` tells the archives of each)."""
    yes: bool = False
    """Do not ask; needed where nobody sits at a terminal."""
    keep_archives: bool = False
    """Keep what was downloaded, in ROOT/.leveret-downloads, once it is unpacked."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Ask, fetch, tell."""
        from leveret.dataroots import DataRoots
        from leveret.datasets.getting import get, plan_to_get
        from leveret.datasets.names import named, published

        if not self.names:
            raise ValueError("no dataset to get; name one or more of `leveret data list`")
        reporter = ConsoleReporter()
        data = DataRoots.parse(self.data, (), list(published()), self.variant)
        plans = [plan_to_get(one, data) for one in named(self.names)]
        wanted = [plan for plan in plans if plan.state == "fetched"]
        for plan in wanted:
            plan.require_space()
        if wanted and not self.yes and not _agreed(wanted):
            raise ValueError("nothing was downloaded")
        rows = []
        for plan in plans:
            row: dict[str, Any] = {"name": plan.published.name, "state": plan.state, "folder": str(plan.folder)}
            row |= {"variant": plan.variant} if plan.variant else {}
            if plan.state == "fetched":
                try:
                    got = get(plan, reporter, self.keep_archives)
                except (ValueError, OSError) as error:  # the next one may come all the same
                    reporter.say(f"{plan.published.name}: {error}")
                    row |= {"state": "failed", "error": str(error)}
                else:
                    row |= {"files": got.num_files, "findings": [one.described() for one in got.findings]}
                    if not self.json:
                        out.print(
                            f"{safe(plan.published.title)}: {number_of(got.num_files, 'file')} in {safe(plan.folder)}"
                        )
                        print_findings(got.findings)
            rows.append(row)
            if plan.published.how and plan.state != "there":
                row |= {"how": plan.published.how}
        if self.json:
            sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        else:
            _show(plans)
        return 0 if all(row["state"] in ("fetched", "there") for row in rows) else 1


def _show(plans: "Sequence[Plan]") -> None:
    for plan in plans:
        one, name = plan.published, safe(plan.published.title)
        if plan.state == "there":
            other = one.archives != plan.archives
            elsewhere = f"; another variant goes elsewhere, with --data {one.name}=PATH" if other else ""
            out.print(
                f"{name} is there already, in {safe(plan.folder)}: `leveret data check {one.name}` examines it; remove "
                f"it to get it anew{elsewhere}",
                soft_wrap=True,
            )
        elif plan.state == "by hand":
            out.print(
                f"{name} is to be got by hand, into {safe(plan.folder)}: {safe(one.how or one.source)}", soft_wrap=True
            )
        elif one.how:
            out.print(f"{name}, to do by hand: {safe(one.how)}", soft_wrap=True)


def _agreed(plans: "Sequence[Plan]") -> bool:
    """Ask at a terminal.

    Raises:
        ValueError: There is none.
    """
    for plan in plans:
        size = "of unknown size" if plan.num_bytes is None else f"{in_bytes(plan.num_bytes)} to download"
        licence = plan.published.licence or "licence unknown"
        title = plan.published.title + (f", variant {plan.variant}" if plan.variant else "")
        err.print(f"{safe(title)}: {size}, {safe(licence)}, into {safe(plan.folder)}", soft_wrap=True)
    if not sys.stdin.isatty():
        raise ValueError("nobody is there to be asked whether to download this; give --yes")
    err.print("Download? \\[y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
