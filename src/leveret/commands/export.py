"""`leveret export`: an encoder in a form that others read."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from leveret.commands.console import ConsoleReporter, out, safe

TOLERANCE = 1e-4
"""Of one number of a vector, against torch; beyond it an export is an error. `docs/export.md` tells what is usual."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write an encoder as ONNX, torch.export, HEAR module, Hugging Face folder, MTEB encoder or Haiku parameters.

    What was written is read again and compared with torch, where leveret can read it.

    Examples:
      leveret export runs/best.safetensors --to onnx -o best.onnx

      leveret export runs/best.safetensors --to hf --run runs/best-mini -o my-encoder

      leveret export slowfast_nfnet_small --to torch -o small.pt2

      leveret embed sounds/ --encoder onnx:best.onnx -o vectors.parquet
    """

    encoder: tyro.conf.Positional[str]
    """FILE.safetensors, or a name of `leveret list encoders`, whose weights are random."""
    to: str
    """onnx, torch, hear, hf, mteb, haiku: `leveret list formats` tells what each is."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where it goes: a file (.onnx, .pt2, .npz) or a folder (hear, hf, mteb)."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of a run that evaluated these weights; its scores go into the model card (hf)."""
    force: bool = False
    """Replace an export that is there."""
    json: bool = False
    """Print a summary as JSON on standard output."""

    def run(self) -> int:
        """Write, read again, compare, tell."""
        from leveret.exporting.writing import check_target, greatest_difference, to_export, write
        from leveret.registry import look_up

        reporter = ConsoleReporter()
        chosen = look_up("exporting", self.to, "FORMATS")
        check_target(chosen, self.output, self.force)
        exported, origin = to_export(self.encoder, self.run_folder)
        if origin.startswith("random"):
            reporter.say(
                f"WARNING: {self.encoder} has {origin}: what is written has learned nothing; give a checkpoint for "
                "trained weights"
            )
        write(exported, chosen, self.output)
        difference = greatest_difference(exported, self.to, self.output)
        if self.json:
            summary = {
                "output": str(self.output), "format": self.to, "encoder": exported.name, "origin": origin,
                "sample_rate": exported.encoder.sample_rate, "embed_dim": exported.encoder.embed_dim,
                "difference": difference,
            }  # fmt: skip
            sys.stdout.write(json.dumps(summary) + "\n")
        else:
            compared = "not compared with torch" if difference is None else f"at most {difference:.1e} from torch"
            out.print(
                f"{safe(exported.name)}, {origin}, {exported.encoder.sample_rate} Hz to "
                f"{exported.encoder.embed_dim} numbers, {compared}: {safe(self.output)}",
                soft_wrap=True,
            )
        if difference is not None and not difference < TOLERANCE:  # nor is NaN below it
            reporter.say(f"the vectors differ from torch by {difference:.1e}, more than {TOLERANCE:g}: do not use it")
            return 1
        return 0
