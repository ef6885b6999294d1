"""`leveret check`: whether an encoder can be trusted with a score."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from leveret.commands.console import ConsoleReporter, in_bytes, out, safe
from leveret.commands.finding_lines import print_findings, print_pairs, print_verdict
from leveret.findings import counted

if TYPE_CHECKING:
    from leveret.checking.costs import Costs
    from leveret.checking.encoder import CheckReport


@dataclass(frozen=True, kw_only=True)
class Check:
    """Examine encoders: whether vectors depend on the sound, all of it, and on nothing else; and what they cost.

    Exit status 0 where every encoder is usable, 1 where one fails.

    Examples:
      leveret check py:my_encoder.py:MyEncoder

      leveret check melstats slowfast_nfnet_small --quick

      leveret check my_checkpoint.safetensors --audio sounds/ --json
    """

    encoders: tyro.conf.Positional[tuple[str, ...]]
    """Encoder specs: names (`leveret list encoders`), FILE.safetensors, py:FILE:CLASS."""
    quick: bool = False
    """Fewer sounds, clips up to 3 s, batches of one."""
    audio: tuple[Path, ...] = ()
    """Real sounds (files, folders) in place of made ones; their first second is used."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int | None = None
    """Threads for computing; by default torch's own choice."""
    limit: float = 600.0
    """Seconds for one encoder; what would exceed it is left out and named."""
    seed: int = 0
    """Draws the weights of a bare name."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Exit status 1 where an encoder fails."""
        import torch

        from leveret.checking.encoder import CheckConfig, check

        if not self.encoders:
            raise ValueError("no encoder to check; name one or more, as in `leveret check melstats`")
        if self.threads:
            torch.set_num_threads(self.threads)
        config = CheckConfig(
            quick=self.quick, limit=self.limit, audio=self.audio, seed=self.seed, device=self.device
        )  # fmt: skip
        reports = []
        for spec in self.encoders:
            reports.append(check(spec, config, ConsoleReporter()))
            if not self.json:
                if len(reports) > 1:
                    out.print()
                _show(reports[-1])
        if self.json:
            sys.stdout.write(json.dumps([report.described() for report in reports], indent=1) + "\n")
        return 0 if all(report.usable for report in reports) else 1


def _show(report: "CheckReport") -> None:
    about = report.about
    out.print(f"[bold]{safe(report.spec)}[/bold]", soft_wrap=True)
    if about:
        words = [f"{about['sample_rate']} Hz", f"{about['embed_dim']} numbers", about["origin"], about["device"]]
        out.print(f"[dim]{safe(', '.join(words))}[/dim]")
    out.print()
    print_findings(report.findings)
    if report.costs:
        out.print()
        print_pairs(_cost_pairs(report.costs), [finding.name for finding in report.findings])
    out.print()
    state = "usable" if report.usable else "not usable"
    print_verdict(report.usable, state, f"{counted(report.findings)}; {report.seconds:.0f} s")


def _cost_pairs(costs: "Costs") -> list[tuple[str, str]]:
    gmacs = "unknown" if costs.gmacs is None else f"{costs.gmacs:.3g} for a clip of 3 s"
    speeds = [
        f"{speed:,.{0 if speed >= 10 else 2}f} in batches of {batch}"
        for batch, speed in (costs.clips_a_second or {}).items()
    ]
    return [
        ("parameters", f"{costs.parameters:,}"),
        ("GMACs", gmacs + (f": {costs.gmacs_note}" if costs.gmacs_note else "")),
        ("clips a second", ", ".join(speeds) or "unknown"),
        ("memory", _memory(costs)),
    ]


def _memory(costs: "Costs") -> str:
    batch = max(costs.clips_a_second or {1: 0.0})
    work = "unknown" if costs.peak_bytes is None else in_bytes(costs.peak_bytes)
    return f"weights {in_bytes(costs.weight_bytes)}, batches of {batch} at most {work} more"
