"""`leveret pretrain`: audio to a trained encoder."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.progress import Reporter
from leveret.text import number_of

if TYPE_CHECKING:
    from leveret.corpora.corpus import TrainingCorpus
    from leveret.online_probe import OnlineProbe
    from leveret.recipes import Recipe
    from leveret.runner import Compute
    from leveret.training_config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train an encoder on audio; ends with the path of its checkpoint.

    The same command again goes on with what the run folder holds.

    A run that was killed or stopped continues from its last state, with the losses of a run that was left alone.

    Examples:
      leveret pretrain --recipe slowfast_nfnet_f0_simclr --data ~/datasets --dry-run

      leveret pretrain --recipe slowfast_nfnet_f0_simclr --scale small --corpus recordings/ -o run

      leveret pretrain --encoder slowfast_nfnet_small --corpus recordings/ --batch 128 --steps 5000 -o run

      leveret pretrain --objective supervised --corpus task:esc50 --data ~/datasets --batch 64 --steps 2000 -o run

      leveret pretrain --objective simclr --corpus audioset --data ~/datasets --micro-batch 64 --dtype bfloat16 -o run

      leveret pretrain --corpus recordings/ --steps 5000 --probe-tasks esc50 mini --probe-every 500 -o run

      torchrun --nproc-per-node 8 --max-restarts 3 -m leveret pretrain --corpus audioset --data ~/datasets -o run
    """

    recipe: str | None = None
    """A training of the paper (`leveret list recipes`), corpus and all; other options change it."""
    scale: Literal["paper", "small"] = "paper"
    """Of the recipe; small is a small encoder of the same family, crops of a second and a batch of 128: half an hour on
    two cores."""
    dry_run: bool = False
    """Print what would be trained, with the recipe's time and scores, and train nothing."""
    encoder: str | None = None
    """What is trained (`leveret list encoders`), from freshly drawn weights; by default the recipe's, else
    slowfast_nfnet_f0."""
    objective: str | None = None
    """What it learns by (`leveret list objectives`); by default the recipe's, else simclr."""
    data: tuple[str, ...] = ()
    """What is trained on: a folder of audio or of tar shards, FILE.csv, task:NAME. Beside --corpus or --recipe: where
    published datasets lie, ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    corpus: str | None = None
    """What is trained on: audioset, librispeech, task:NAME, found below --data; or anything that --data takes alone. By
    default the recipe's."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The run folder: new, or one where this was begun; by default pretraining/RECIPE."""
    batch: int | None = None
    """Clips a step, over all processes; by default the recipe's, else 4096."""
    steps: int | None = None
    """Optimizer steps; by default the recipe's, else 200000."""
    rate: float | None = None
    """Peak of the learning rate; by default the recipe's, else 2e-4."""
    warmup_steps: int | None = None
    """Steps in which the rate rises; by default the recipe's, else 5000; 5 % of the steps where that is less."""
    schedule: Literal["cosine", "constant"] | None = None
    """Of the rate after that; by default the recipe's, else cosine, down to zero."""
    crop_seconds: float | None = None
    """Length of a crop; by default the recipe's, else the objective's."""
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
    probe_tasks: tuple[str, ...] = ()
    """Labelled tasks to score the encoder on as the training goes on, by `quick` and beside melstats: esc50,
    manifest:FILE and so on, as for `leveret evaluate`; datasets as for --corpus."""
    probe_every: int | None = None
    """Steps from probe to probe; by default a tenth of the steps. There is one before the first step and after the last
    one, too."""
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
        from leveret.bad_files import BadFilePolicy
        from leveret.corpora.streaming import CropStream, crop_batches
        from leveret.machine import keep_freed_memory
        from leveret.pretext import Objective
        from leveret.provenance import about_this_start
        from leveret.recipes import find_recipe
        from leveret.runner import Compute
        from leveret.training import pretrain
        from leveret.training_folder import TrainingData
        from leveret.training_log import SkippedClips

        recipe = None if self.recipe is None else find_recipe(self.recipe)
        config = self._config(recipe)
        if self.dry_run:
            self._show(recipe, config)
            return 0
        output = self._output(config)
        compute = Compute(device=self.device)
        if compute.torch_device().type == "cpu":
            keep_freed_memory()
        distributed.start()
        reporter = ConsoleReporter() if distributed.is_first() else Reporter()
        probe = self._probe(config, output, compute, reporter)  # first: a misspelt task must not wait for the digests
        corpus = self._corpus(recipe)
        distributed.require_same("the corpus", corpus.digest)
        for note in corpus.notes:
            reporter.say(note)
        if recipe is not None:
            config = self._of_recipe(recipe, config, corpus, compute.num_threads(), reporter)
        digests = []
        if self.digests:
            reporter.say(f"{number_of(corpus.num_clips, 'clip')}: digests of their files, read once and remembered")
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

        skipped = SkippedClips(output, distributed.world().rank)

        def facts() -> Mapping[str, float]:
            stream = streams[-1]
            skipped.write(stream.bad)
            return {"trivial_pairs": stream.trivial_share, "padded": stream.padded_share, "skipped": len(stream.bad)}

        about = {"corpus": corpus.spec, "digest": corpus.digest, "num_clips": corpus.num_clips, "join": self.join}
        done = pretrain(
            config, output, batches, data=TrainingData(corpus.labels, about, digests), facts=facts,
            environment=about_this_start(compute), probe=probe, device=compute.torch_device(), track=self.track,
            reporter=reporter,
        )  # fmt: skip
        for line in (line for stream in streams for warning in stream.warnings() for line in warning.splitlines()):
            reporter.say(line)
        if distributed.is_first():
            self._tell(done.step, done.checkpoint)
        if done.stopped_by is not None:
            reporter.say(f"stopped after step {done.step:,} of {config.steps:,}; the same command goes on from there")
            return 128 + done.stopped_by
        return 0

    def _config(self, recipe: "Recipe | None") -> "PretrainConfig":
        """The settings of the run: the recipe's or the defaults, changed by what was given.

        Raises:
            ValueError: One does not fit, or is none of the objective's.
        """
        from leveret.optim import WARMUP_STEPS
        from leveret.registry import look_up
        from leveret.training_config import changed_objective, named_config

        if recipe is None and self.scale != "paper":
            raise ValueError(f"--scale {self.scale} without a recipe; name one with --recipe (`leveret list recipes`)")
        base = named_config("slowfast_nfnet_f0", "simclr") if recipe is None else recipe.config(self.scale)
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
        other = self.objective not in (None, base.objective)
        changed: dict[str, Any] = {
            "objective": self.objective or base.objective,
            "objective_config": changed_objective(
                self.objective or base.objective, values, None if other else base.objective_config
            ),
        }
        if self.encoder not in (None, base.encoder):
            changed |= {"encoder": self.encoder, "encoder_config": look_up("encoders", str(self.encoder))}
        if self.steps is not None:
            shorter = min(WARMUP_STEPS, self.steps // 20)
            changed["warmup_steps"] = shorter if recipe is None else recipe.warmup(self.steps)
        for name in ("batch", "steps", "rate", "warmup_steps", "schedule"):
            if getattr(self, name) is not None:
                changed[name] = getattr(self, name)
        if self.probe_every and not self.probe_tasks:
            raise ValueError(
                f"--probe-every {self.probe_every} without tasks; name some with --probe-tasks, such as esc50"
            )
        steps = changed.get("steps", base.steps)
        probe_every = (max(1, steps // 10) if self.probe_every is None else self.probe_every) * bool(self.probe_tasks)
        return replace(
            base, **changed, probe_every=probe_every, probe_tasks=self.probe_tasks,
            seed=self.seed, dtype=self.dtype, compile=self.compile, recompute=self.recompute,
            micro_batch=self.micro_batch, allow_batch_norm=self.allow_batch_norm, ema_decay=self.ema_decay,
            deterministic=self.deterministic, checkpoint_every=self.checkpoint_every, keep=self.keep,
            log_every=self.log_every,
        )  # fmt: skip

    def _of_recipe(
        self, recipe: "Recipe", config: "PretrainConfig", corpus: "TrainingCorpus", threads: int, reporter: Reporter
    ) -> "PretrainConfig":
        """With the crop that suits the corpus, where that is asked for, and a note of all that is changed."""
        from leveret.training_config import changed_objective

        crop = config.objective_config.crop_seconds
        if self.scale == "small" and self.crop_seconds is None and recipe.contrasts_crops:
            lengths = corpus.lengths(threads)
            if lengths.common_crop(crop) < crop:
                reporter.say(f"clips are short (median {lengths.median:.2f} s), and so are the crops")
                crop = lengths.common_crop(crop)
        shorter = changed_objective(config.objective, {"crop_seconds": crop}, config.objective_config)
        config = replace(config, objective_config=shorter)
        named = corpus.spec if corpus.shards is None else corpus.shards.facts.source
        config = replace(config, changed=recipe.changes(config, named, self.join))
        if config.changed:
            reporter.say(
                f"recipe {recipe.name}, scale {config.scale}, changed (and its own): {', '.join(config.changed)}"
            )
        return config

    def _output(self, config: "PretrainConfig") -> Path:
        if self.output is not None:
            return self.output
        if not config.recipe:
            raise ValueError("no run folder is named; give one with -o, such as -o run")
        return Path("pretraining") / (config.recipe if self.scale == "paper" else f"{config.recipe}-{self.scale}")

    def _corpus(self, recipe: "Recipe | None") -> "TrainingCorpus":
        from leveret.corpora.opening import open_corpus
        from leveret.dataroots import DataRoots
        from leveret.datasets.names import published
        from leveret.published_audio import MissingDatasetError

        if self.corpus is not None or recipe is not None:
            spec = self.corpus if self.corpus is not None or recipe is None else recipe.corpus
            try:
                return open_corpus(str(spec), DataRoots.parse(self.data, self.labels, list(published())))
            except MissingDatasetError as error:
                if self.corpus is not None:
                    raise
                other = self.data[0] if len(self.data) == 1 else "recordings/"
                raise MissingDatasetError(
                    f"{error}; to follow the recipe with other audio, name that: --corpus {other}"
                ) from error
        if len(self.data) != 1:
            raise ValueError(
                f"{len(self.data)} values of --data; expected one thing to train on, such as --data recordings/, or "
                "--corpus NAME and where it lies"
            )
        return open_corpus(self.data[0])

    def _probe(
        self, config: "PretrainConfig", output: Path, compute: "Compute", reporter: Reporter
    ) -> "OnlineProbe | None":
        """What scores the encoder meanwhile, at the process that does it."""
        import leveret.distributed as distributed
        from leveret.dataroots import DataRoots
        from leveret.datasets.names import published
        from leveret.online_probe import OnlineProbe

        if not config.probe_every or not distributed.is_first():
            return None
        # --data alone is what is trained on, and no root of datasets
        words = self.data if self.corpus is not None or self.recipe is not None else ()
        data = DataRoots.parse(words, self.labels, list(published()))
        return OnlineProbe(config, data, output / ".probe", compute, reporter)

    def _show(self, recipe: "Recipe | None", config: "PretrainConfig") -> None:
        """The recipe's header, then what this run would do, how long here and with what."""
        from leveret.recipes import time_here
        from leveret.runner import Compute

        if recipe is not None:
            corpus = recipe.corpus if self.corpus is None else self.corpus
            config = replace(config, changed=recipe.changes(config, corpus, self.join))
        if self.json:
            sys.stdout.write(json.dumps(config.as_json(), indent=1) + "\n")
            return
        if recipe is not None:
            for line in ("the recipe, as the paper has it:", *recipe.header(), ""):
                out.print(safe(line), soft_wrap=True)
        told = f"{config.encoder} by {config.objective}; batch {config.batch:,}, {number_of(config.steps, 'step')}, "
        told += f"crops of {config.objective_config.crop_seconds:g} s"
        told += f"; scale {config.scale}" if recipe is not None else ""
        told += f"; changed (in brackets the recipe's own): {', '.join(config.changed)}" if config.changed else ""
        out.print(safe(f"this run {told}"), soft_wrap=True)
        compute = Compute(device=self.device)
        out.print(f"here     {time_here(config, compute.torch_device())}", soft_wrap=True)
        if not (self.data or self.corpus or os.environ.get("LEVERET_DATA")):
            out.print("data     none is named yet: --corpus or --data")
            return
        data = self._corpus(recipe)
        median = data.lengths(compute.num_threads()).median
        few = "; fewer than a batch has, so a step meets clips again" if data.num_clips < config.batch else ""
        out.print(safe(f"data     {data.spec}: {data.num_clips:,} clips, median {median:.2g} s{few}"), soft_wrap=True)

    def _tell(self, step: int, checkpoint: Path) -> None:
        if self.json:
            sys.stdout.write(json.dumps({"step": step, "checkpoint": str(checkpoint)}) + "\n")
        else:
            out.print(f"{number_of(step, 'step')}: {safe(checkpoint)}", soft_wrap=True)
