"""`leveret import`: the authors' parameters to a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from leveret.commands.console import out, safe


@dataclass(frozen=True, kw_only=True)
class Import:
    """Parameters of the authors' Haiku program to a checkpoint: an .npz, or a pickle, which is read without running it.

    Examples:
      leveret import params.npz -o slowfast.safetensors

      leveret import params.pkl -o fast.safetensors --encoder nfnet_f0_fast

      leveret embed sounds/ --encoder slowfast.safetensors -o vectors.parquet
    """

    file: tyro.conf.Positional[Path]
    """The parameters."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where the checkpoint goes, NAME.safetensors."""
    encoder: str = ""
    """A name of `leveret list encoders`; by default the one whose sizes fit."""
    force: bool = False
    """Replace a file that is there."""

    def run(self) -> int:
        """Read, fit, write."""
        from leveret.checkpoint import CHECKPOINT_SUFFIX, save_checkpoint
        from leveret.content import file_sha256
        from leveret.haiku_weights import from_haiku, read_haiku
        from leveret.registry import look_up

        if self.output.suffix != CHECKPOINT_SUFFIX:
            raise ValueError(f"{self.output} is no name of a checkpoint; end it in {CHECKPOINT_SUFFIX}")
        if self.output.exists() and not self.force:
            raise ValueError(f"{self.output} is there already; give another name, or --force to replace it")
        found = from_haiku(read_haiku(self.file), self.encoder)
        extra = {"imported": {"file": self.file.name, "sha256": file_sha256(self.file)}}
        save_checkpoint(self.output, found.name, look_up("encoders", found.name), found.encoder, extra)
        count = sum(parameter.numel() for parameter in found.encoder.parameters())
        out.print(f"{safe(found.name)}, {count:,} parameters")
        if found.unused:
            shown = ", ".join(found.unused[:3]) + (", ..." if len(found.unused) > 3 else "")
            out.print(f"not part of it, left out: {len(found.unused)} arrays ({safe(shown)})")
        out.print(safe(self.output))
        return 0
