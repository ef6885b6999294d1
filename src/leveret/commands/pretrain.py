"""`leveret pretrain`: audio to a trained encoder."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.progress import Reporter

if TYPE_CHECKING:
    from leveret.corpora.corpus import TrainingCorpus
    from leveret.training_config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train an encoder on audio; ends with the path of its checkpoint.

    The same command again goes on with what the run folder holds: a run that was killed, stopped by Ctrl-C, or lost its
    machine continues from its last state, with the losses of a run that was left alone.

    Examples:
      leveret pretrain --encoder slowfast_nfnet_small --data recordings/ --batch 128 --steps 5000 -o run

      leveret pretrain --objective supervised --corpus task:esc50 --data ~/datasets --batch 64 --steps 2000 -o run

      leveret pretrain --objective simclr --corpus audioset --data ~/datasets --micro-batch 64 --dtype bfloat16 -o run

      torchrun --nproc-per-node 8 --max-restarts 3 -m leveret pretrain --corpus audioset --data ~/datasets -o run
    """

    encoder: str = "slowfast_nfnet_f0"
    """What is trained (`leveret list encoders`), from freshly drawn weights."""
    objective: str = "simclr"
    """What it learns by (`leveret list objectives`)."""
    data: tuple[str, ...] = ()
    """What is trained on: a folder of audio or of tar shards, FILE.csv, task:NAME. Beside --corpus: where published
    datasets lie, ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    corpus: str | None = None
    """What is trained on, where it is found below --data: audioset, librispeech, task:NAME."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run folder: new, or one where this was begun."""
    batch: int = 4096
    """Clips a step, over all processes."""
    steps: int = 200_000
    """Optimizer steps."""
    rate: float = 2e-4
    """Peak of the learning rate."""
    warmup_steps: int | None = None
    """Steps in which the rate rises; by default 5,000, or 5 % of a run of fewer than 100,000 steps."""
    crop_seconds: float | None = None
    """Length of a crop; by default the objective's."""
    setting: tuple[str, ...] = ()
    """NAME=VALUE: other settings of the objective, such as temperature=0.2."""
    join: Literal["none", "group"] = "none"
    """group: clips of one group (speaker, recording, folder) are joined where one is shorter than the crop."""
    seed: int = 0
    """Draws the weights, the order of clips, crops, and everything else."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast of the networks; weights and losses stay float32."""
    compile: bool = False
    """Compile the encoder: some minutes once, then faster."""
    recompute: bool = False
    """Compute activations again in the backward pass: a third slower, much less memory."""
    micro_batch: int | None = None
    """Clips that a process takes at once, for a batch that does not fit its memory; loss and gradient stay the whole
    batch's."""
    allow_batch_norm: bool = False
    """Take --micro-batch for an encoder with batch norm too, whose statistics are then the micro-batch's."""
    ema_decay: float | None = None
    """Keep a moving average of the weights in their place, such as 0.999."""
    deterministic: bool = True
    """The same losses bit for bit after a restart, also on a GPU; somewhat slower there."""
    checkpoint_every: int = 1000
    """Steps from state to state."""
    keep: int = 3
    """States that stay on disk."""
    log_every: int = 10
    """Steps from line to line of log.jsonl."""
    track: Literal["auto", "none", "tensorboard", "wandb"] = "auto"
    """Curves; auto is TensorBoard where it is installed."""
    digests: bool = True
    """Keep the digest of every training file in the checkpoint, so that test clips among them are found; reads all
    files once."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of the clips may be unreadable; fail: none; skip: any number. All are counted and named."""
    workers: int | None = None
    """Processes that read audio; by default one a core, at most 8; 0 reads in the process that trains."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    json: bool = False
    """Print a summary as JSON on standard output."""

    def run(self) -> int:
        """Open the corpus, train, tell."""
        if self.deterministic:  # cuBLAS reads it when CUDA starts
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        import leveret.distributed as distributed
        from leveret.batches import BadFilePolicy
        from leveret.corpora.streaming import CropStream, crop_batches
        from leveret.pretext import Objective
        from leveret.runner import Compute
        from leveret.training import pretrain
        from leveret.training_folder import TrainingData

        config = self._config()
        compute = Compute(device=self.device)
        distributed.start()
        reporter = ConsoleReporter() if distributed.is_first() else Reporter()
        corpus = self._corpus()
        distributed.require_same("the corpus", corpus.digest)
        for note in corpus.notes:
            reporter.say(note)
        digests = []
        if self.digests:
            reporter.say(f"{corpus.num_clips:,} clips: digests of their files, read once and remembered")
            digests = corpus.content_digests(compute.num_threads())
        streams: list[CropStream] = []

        def batches(objective: Objective, first_step: int) -> CropStream:
            rate = objective.encoder.sample_rate
            streams.append(
                crop_batches(
                    corpus, batch=config.batch, crops=objective.crops,
                    crop_samples=round(objective.crop_seconds * rate), sample_rate=rate, seed=config.seed,
                    first_step=first_step, join=self.join, bad_files=BadFilePolicy(self.bad_files),
                    workers=min(8, compute.num_threads()) if self.workers is None else self.workers,
                )
            )  # fmt: skip
            return streams[-1]

        def facts() -> Mapping[str, float]:
            return {"trivial_pairs": streams[-1].trivial_share, "padded": streams[-1].padded_share}

        about = {"corpus": corpus.spec, "digest": corpus.digest, "num_clips": corpus.num_clips, "join": self.join}
        done = pretrain(
            config, self.output, batches, data=TrainingData(corpus.labels, about, digests), facts=facts,
            device=compute.torch_device(), track=self.track, reporter=reporter,
        )  # fmt: skip
        for line in (warning for stream in streams for warning in stream.warnings()):
            reporter.say(line)
        if distributed.is_first():
            self._tell(done.step, done.checkpoint)
        if done.stopped_by is not None:
            reporter.say(f"stopped after step {done.step:,} of {config.steps:,}; the same command goes on from there")
            return 128 + done.stopped_by
        return 0

    def _config(self) -> "PretrainConfig":
        """The settings of the run.

        Raises:
            ValueError: One does not fit, or is none of the objective's.
        """
        from leveret.optim import WARMUP_STEPS
        from leveret.training_config import changed_objective, named_config

        values: dict[str, Any] = {}
        for given in self.setting:
            name, equals, text = given.partition("=")
            if not equals:
                raise ValueError(f"--setting {given}: expected NAME=VALUE, such as temperature=0.2")
            try:
                values[name] = json.loads(text)
            except ValueError:
                values[name] = text
        if self.crop_seconds is not None:
            values["crop_seconds"] = self.crop_seconds
        warmup = min(WARMUP_STEPS, self.steps // 20) if self.warmup_steps is None else self.warmup_steps
        return named_config(
            self.encoder, self.objective, objective_config=changed_objective(self.objective, values),
            batch=self.batch, steps=self.steps, rate=self.rate, warmup_steps=warmup, seed=self.seed, dtype=self.dtype,
            compile=self.compile, recompute=self.recompute, micro_batch=self.micro_batch,
            allow_batch_norm=self.allow_batch_norm, ema_decay=self.ema_decay, deterministic=self.deterministic,
            checkpoint_every=self.checkpoint_every, keep=self.keep, log_every=self.log_every,
        )  # fmt: skip

    def _corpus(self) -> "TrainingCorpus":
        from leveret.corpora.opening import open_corpus
        from leveret.dataroots import DataRoots
        from leveret.datasets.names import published

        if self.corpus is not None:
            return open_corpus(self.corpus, DataRoots.parse(self.data, self.labels, list(published())))
        if len(self.data) != 1:
            raise ValueError(
                f"{len(self.data)} values of --data; expected one thing to train on, such as --data recordings/, or "
                "--corpus NAME and where it lies"
            )
        return open_corpus(self.data[0])

    def _tell(self, step: int, checkpoint: Path) -> None:
        if self.json:
            sys.stdout.write(json.dumps({"step": step, "checkpoint": str(checkpoint)}) + "\n")
        else:
            out.print(f"{step:,} steps: {safe(checkpoint)}", soft_wrap=True)
