"""`leveret verify`: is a run what it says."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any, Literal

import tyro

from leveret.commands.console import ConsoleReporter, err, out, safe
from leveret.commands.table import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leveret.runs import Run
    from leveret.verifying.checks import Check


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Make sure that runs say what their predictions, their encoder and their data say; exit status 1 if not.

    Scores are made again from the predictions; encoder and splits are compared by digest.

    Some test clips of each task, drawn anew each time, are embedded again.

    They are scored by the probes that the run kept, or, under the protocol quick, by a probe trained again.

    The verdict is kept for `leveret leaderboard --verified`.

    Examples:
      leveret verify runs/melstats-quick-20260101-120000

      leveret verify runs/wavlm-quick-20260101-120000 --encoder hf:models/wavlm --data ~/datasets

      leveret verify runs/ --sample 64 --again
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or folders of run folders."""
    encoder: str | None = None
    """The encoder, where it lies elsewhere or is somebody else's code; it must be the very same."""
    tasks: tuple[str, ...] = ()
    """Task specs in place of the run's own, where a manifest lies elsewhere."""
    data: tuple[str, ...] = ()
    """Where published datasets lie: ROOT, or NAME=PATH; else LEVERET_DATA."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    sample: int = 16
    """Test clips of each task that are embedded again."""
    again: bool = False
    """Train all probes again, whatever the protocol costs and even where the run kept them."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of the network; by default the run's."""
    json: bool = False
    """Print the checks as JSON on standard output."""

    def run(self) -> int:
        """Verify, show; 0 if all runs are verified."""
        from leveret.dataroots import DataRoots
        from leveret.loading import datasets
        from leveret.runner import Compute
        from leveret.runs import find_sound_runs
        from leveret.verifying.checks import faults
        from leveret.verifying.verify import VerifyConfig, verify

        data = DataRoots.parse(self.data, self.labels, list(datasets()))
        found = [find_sound_runs(path) for path in self.runs]
        runs = list({run.folder.resolve(): run for some, _ in found for run in some}.values())
        damaged = {str(path): why for _, some in found for path, why in some.items()}
        if not (runs or damaged):
            where = ", ".join(map(str, self.runs)) or "anywhere: none was given"
            raise ValueError(f"no finished run at {where}; `leveret evaluate` makes them")
        verified = 0
        shown: list[dict[str, Any]] = [{"run": run, "verified": False, "checks": []} for run in damaged]
        for name, why in damaged.items():
            err.print(f"not verified: {safe(name)}: {safe(why)}", soft_wrap=True)
        for run in runs:
            config = VerifyConfig(
                encoder=self.encoder, tasks=self.tasks, data=data, sample=self.sample, again=self.again,
                compute=Compute(device=self.device, dtype=self.dtype or _dtype(run.scorecard.run.get("dtype"))),
            )  # fmt: skip
            checks = verify(run, config, ConsoleReporter())
            wrong = faults(checks)
            verified += not wrong
            shown.append({"run": str(run.folder), "verified": not wrong, "checks": [asdict(check) for check in checks]})
            if not self.json:
                rows = [[check.what, check.task, check.state, check.said] for check in checks]
                print_table(str(run.folder), ["check", "task", "result", "what was found"], rows, prose=(3,))
                out.print(safe(_verdict(run, checks, self.encoder)) if wrong else "verified", soft_wrap=True)
        if self.json:
            sys.stdout.write(json.dumps(shown, indent=1) + "\n")
        elif len(shown) > 1:
            out.print(f"{verified} of {len(shown)} runs verified")
        return 0 if verified == len(shown) else 1


def _verdict(run: "Run", checks: "Sequence[Check]", encoder: str | None) -> str:
    """Why a run is not verified, in short; where only its owner's code is missing, the command that names it."""
    from leveret.loading import is_own
    from leveret.verifying.checks import faulty

    first = faulty(checks)[0]
    where = f" of {first.task}" if first.task else ""
    verdict = f"not verified: {first.what}{where} {first.state}, as the table says"
    spec = str(run.scorecard.encoder.get("spec", ""))
    kind, _, rest = spec.partition(":")
    here = kind == "py" and Path(rest.rpartition(":")[0]).is_file()
    if first.what == "encoder" and first.state == "not checked" and encoder is None and here and not is_own(spec):
        typed = join(["leveret", "verify", str(run.folder), "--encoder", spec])
        verdict = f"not verified: encoder not checked; if you trust its code: {typed}"
    return verdict


def _dtype(value: object) -> Literal["float32", "bfloat16"]:
    return "bfloat16" if value == "bfloat16" else "float32"
