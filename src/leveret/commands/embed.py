"""`leveret embed`: audio files to vectors."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe, standard_input_lines
from leveret.commands.plans import plan_lines, print_plan
from leveret.progress import Reporter
from leveret.text import number_of

if TYPE_CHECKING:
    from leveret.loading import LoadedEncoder


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Audio files become vectors in a Parquet or npz file.

    Examples:
      leveret embed sounds/ --encoder my_checkpoint.safetensors -o vectors.parquet

      leveret embed 'birds/**/*.flac' --encoder melstats --window 1 --hop 0.5 -o birds.npz

      find sounds -name '*.wav' | leveret embed - --encoder py:my_encoder.py:MyEncoder -o vectors.parquet

      torchrun --nproc-per-node 2 -m leveret embed 'shards/*.tar' --encoder my_checkpoint.safetensors -o v.parquet
    """

    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders, glob patterns, or - for a list on standard input."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where the vectors go: FILE.parquet or FILE.npz."""
    encoder: str = "slowfast_nfnet_f0"
    """Encoder spec: a name, FILE.safetensors, py:FILE:CLASS, hear:MODULE, hf:MODEL, onnx:FILE, torchscript:FILE,
    pkg:NAME. A network given by its bare name, as the default is, has random weights: name a trained one."""
    layer: str | None = None
    """Layer to read out; by default the encoder's last."""
    window: float | None = None
    """Seconds of each vector's window; by default one vector a file."""
    hop: float | None = None
    """Seconds from window to window; by default the window."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of the files may be unreadable; fail: none; skip: any number. All are counted and named."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the network; the front end and the vectors stay float32."""
    batch_size: int | None = None
    """Windows at once; by default 32, fewer of windows above 10 s, halved whenever memory runs out."""
    threads: int | None = None
    """Threads for decoding and computing; by default the number of cores."""
    compile: bool = False
    """Compile the network: a minute once, then faster."""
    force: bool = False
    """Replace OUTPUT even where it holds vectors of another encoder, or is somebody else's file."""
    dry_run: bool = False
    """Print the plan (windows, bytes, and of 200 windows or more the time) and stop."""
    json: bool = False
    """Print a summary, or the plan of a dry run, as JSON on standard output."""

    def run(self) -> int:
        """Plan, embed, write."""
        import torch

        import leveret.distributed as distributed
        from leveret.bad_files import BadFilePolicy
        from leveret.file_embedding import FileEmbedding
        from leveret.loading import load_encoder
        from leveret.runner import Compute
        from leveret.vectors import check_format, write_vectors

        check_format(self.output)
        distributed.start()
        with distributed.in_turn():
            loaded = load_encoder(self.encoder)
        if self.output.exists() and not self.force:
            _check_same(self.output, loaded, self.layer)
        names: list[str] = []
        if distributed.is_first():  # standard input can be read once
            names = [name for given in self.inputs for name in (standard_input_lines() if given == "-" else [given])]
        names = distributed.from_first(names)
        reporter = ConsoleReporter() if distributed.is_first() else Reporter()
        if loaded.note:
            reporter.say(f"note: {loaded.note}")
        compute = Compute(
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            threads=self.threads,
            compile=self.compile,
        )
        if self.threads:
            torch.set_num_threads(self.threads)
        embedding = FileEmbedding(
            names, loaded, layer=self.layer, window=self.window, hop=self.hop, compute=compute,
            policy=BadFilePolicy(self.bad_files), reporter=reporter,
        )  # fmt: skip
        plan = embedding.plan() if distributed.is_first() else None
        if self.dry_run:
            if plan:
                print_plan(plan, as_json=self.json)
            return 0
        for line in plan_lines(plan) if plan else []:
            reporter.say(line)
        vectors = embedding.run()
        if not distributed.is_first():
            return 0
        write_vectors(self.output, vectors)
        skipped, silent = vectors.about["skipped"], vectors.about["silent"]
        for reason in skipped.values():
            reporter.say(f"skipped: {reason}")
        if silent:
            reporter.say(f"note: digital silence in {number_of(len(silent), 'file')}, first in {silent[0]!r}")
        rows, width = vectors.vector.shape
        if self.json:
            summary = {"output": str(self.output), "rows": rows, "width": width, "skipped": skipped, "silent": silent}
            sys.stdout.write(json.dumps(summary) + "\n")
        else:
            found = f"{number_of(rows, 'vector')} of {number_of(width, 'number')}"
            out.print(f"{found}, {number_of(len(skipped), 'file')} skipped: {safe(self.output)}", soft_wrap=True)
        return 0


def _check_same(output: Path, encoder: "LoadedEncoder", layer: str | None) -> None:
    """Refuse to lose the vectors of another encoder, before any work is done."""
    from leveret.vectors import VectorsError, encoder_of

    theirs, ours = encoder_of(output), encoder.described()
    if not theirs:
        found = "is there already, and no `leveret embed` wrote it"
    elif (theirs.get("digest"), theirs.get("layer")) != (ours["digest"], layer):
        found = f"holds vectors of {theirs.get('name')}, other than those that {encoder.spec} gives now"
    else:
        return
    raise VectorsError(f"{output} {found}; give another name, or --force to replace it")
