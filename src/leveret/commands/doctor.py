"""`leveret doctor`: what is wrong with an installation, and what to do."""

import json
import sys
from dataclasses import dataclass

from leveret.commands.console import ConsoleReporter
from leveret.commands.finding_lines import print_findings, print_verdict
from leveret.findings import usable, with_status
from leveret.text import number_of


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Look at the installation: packages really imported, audio really decoded, devices, threads, disk, caches.

    Exit status 1 where something that leveret needs is broken.

    Examples:
      leveret doctor

      leveret doctor --json
    """

    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Exit status 1 where something needed is broken."""
        from leveret.doctor import examine

        findings = examine(ConsoleReporter())
        well = usable(findings)
        if self.json:
            described = {"well": well, "findings": [finding.described() for finding in findings]}
            sys.stdout.write(json.dumps(described, indent=1) + "\n")
        else:
            print_findings(findings)
            failed, warned = with_status(findings, "fail"), with_status(findings, "warn")
            why = "everything that leveret needs works" if well else ", ".join(finding.name for finding in failed)
            if warned:
                why += f"; {number_of(len(warned), 'warning')}"
            print_verdict(well, "well" if well else "broken", why)
        return 0 if well else 1
