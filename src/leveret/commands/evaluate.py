"""`leveret evaluate`: score encoders on tasks."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from leveret.commands.console import ConsoleReporter
from leveret.commands.plans import plan_lines, print_plan
from leveret.commands.scores import show_runs, warnings_of
from leveret.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from leveret.contracts import Task

MOST_SEEDS = 1000  # far more than anybody waits for; a number with too many digits would only fill memory


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score encoders on tasks; ends with the run folders' paths.

    Examples:
      leveret evaluate --encoder melstats slowfast_nfnet_small --tasks mini --protocol quick

      leveret evaluate --encoder py:my_encoder.py:MyEncoder hf:models/wavlm#layer=9 --tasks manifest:labels.csv

      leveret evaluate --encoder slowfast_nfnet_f0 --layer all --tasks esc50 --data ~/datasets

      leveret evaluate --vectors vectors.parquet --tasks manifest:labels.csv --only birds

      torchrun --nproc-per-node 8 -m leveret evaluate --encoder slowfast_nfnet_f0 --tasks hares --data ~/datasets
    """

    encoder: tuple[str, ...] = ()
    """Encoder specs: names (`leveret list encoders`), FILE.safetensors, py:FILE:CLASS, hear:MODULE, hf:MODEL,
    onnx:FILE, torchscript:FILE, pkg:NAME."""
    tasks: tuple[str, ...] = ("mini",)
    """Task specs: hares, a dataset or one of its tasks (`leveret list tasks`), mini, manifest:FILE, hear-tasks:DIR,
    xares-tars:DIR."""
    only: tuple[str, ...] = ()
    """Keep only the tasks of these names."""
    data: tuple[str, ...] = ()
    """Where published datasets lie: ROOT (with a folder a dataset), or NAME=PATH; else LEVERET_DATA."""
    labels: tuple[str, ...] = ()
    """NAME=FILE: a dataset's metadata file, where its audio lies elsewhere than its archive puts it."""
    variant: tuple[str, ...] = ()
    """NAME=VARIANT: which splits or version of a dataset (`leveret data list`)."""
    layer: tuple[str, ...] = ()
    """Layers to read out, each scored by itself; `all` takes every layer, in one pass."""
    vectors: tuple[Path, ...] = ()
    """Parquet files of vectors made elsewhere (columns file, vector), scored like encoders."""
    protocol: Literal["paper", "cached", "quick"] = "cached"
    """paper: a new random crop at each step. cached: the paper's probe on windows embedded once. quick: logistic
    regression, seconds a task."""
    probe: str | None = None
    """Read-out in place of the protocol's own (`leveret list probes`); named in the result's protocol."""
    head: Literal["auto", "probe", "pretraining"] = "auto"
    """auto: AudioSet is scored by the classifier that a checkpoint kept of supervised pretraining on its labels, as in
    the paper. probe: a new one. pretraining: the kept one on every task."""
    steps: int | None = None
    """Optimizer steps of `paper` and `cached` in place of the task's own; named in the result."""
    seeds: int = 1
    """Train each probe with seeds 0 to N-1."""
    check_rates: bool = True
    """Tell under-fitted probes by training at 0.1, 10 and 100 times the rate too."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the windows of a clip."""
    crop: str | None = None
    """Seconds of a window, or `clip` for whole clips, in place of each task's own."""
    floor: bool = True
    """Also score melstats, the floor that any useful encoder beats."""
    bad_files: Literal["few", "fail", "skip"] = "few"
    """few: up to 1 % of a task's clips may be unreadable; fail: none; skip: any number. All are counted and named."""
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
    seed: int = 0
    """Draws the weights of an encoder given by its bare name."""
    save_probes: bool = False
    """Keep the fitted probes in the run folder, for `leveret classify`."""
    embedding_map: bool = True
    """Lay each task's test clips (up to 800) out on a plane by t-SNE, for the page: about a second a task."""
    contamination: Path | None = None
    """Report of `leveret data overlap` about what the encoders were trained on; without one, the files that a
    checkpoint was trained on are met with the test clips by their digests."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs")
    """Folder for the run folders."""
    dry_run: bool = False
    """Print the plan (windows, bytes, time from 32 windows) and stop."""
    json: bool = False
    """Print the scorecards, or the plan of a dry run, as JSON on standard output."""

    def run(self) -> int:
        """Plan, evaluate, show."""
        import torch

        import leveret.distributed as distributed
        from leveret.bad_files import BadFilePolicy
        from leveret.dataroots import DataRoots
        from leveret.entrants import FLOOR
        from leveret.evaluation import Evaluation
        from leveret.evaluation_config import EvaluateConfig
        from leveret.loading import datasets
        from leveret.protocols import Protocol
        from leveret.runner import Compute

        if not 1 <= self.seeds <= MOST_SEEDS:
            raise ValueError(f"--seeds {self.seeds}: expected how many to train with, 1 to {MOST_SEEDS}")
        protocol = Protocol(
            name=self.protocol, head=self.probe, steps=self.steps, seeds=tuple(range(self.seeds)),
            check_rates=self.check_rates, average=self.average,
        )  # fmt: skip
        compute = Compute(
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            threads=self.threads,
            compile=self.compile,
        )
        if self.threads:
            torch.set_num_threads(self.threads)
        config = EvaluateConfig(
            encoders=self.encoder, tasks=self.tasks, only=self.only, layers=self.layer,
            data=DataRoots.parse(self.data, self.labels, list(datasets()), self.variant), protocol=protocol,
            head=self.head, crop=_crop(self.crop),
            vectors=self.vectors, floor=self.floor, policy=BadFilePolicy(self.bad_files), compute=compute,
            seed=self.seed, save_probes=self.save_probes, embedding_map=self.embedding_map,
            contamination=self.contamination, output=self.output,
        )  # fmt: skip
        distributed.start()
        reporter = ConsoleReporter() if distributed.is_first() else Reporter()
        if self.dtype == "bfloat16" and compute.torch_device().type == "cpu" and not _has_bfloat16():
            reporter.say("note: this processor has no bfloat16 arithmetic, so it is emulated, several times slower")
        evaluation = Evaluation(config, reporter)
        for line in _remarks(work.task for work in evaluation.works) if distributed.is_first() else []:
            reporter.say(line)
        plan = evaluation.plan() if distributed.is_first() else None
        floor = FLOOR if evaluation.hidden_floor else ""
        if self.dry_run:
            if plan:
                print_plan(plan, floor, as_json=self.json)
            return 0
        for line in plan_lines(plan, floor) if plan else []:
            reporter.say(line)
        runs = evaluation.run()
        if not distributed.is_first():
            return 0
        if self.json:
            for warning in warnings_of(runs):
                reporter.say(warning)
            sys.stdout.write("[" + ",\n".join(run.scorecard.to_json() for run in runs) + "]\n")
        else:
            show_runs(runs, evaluation.missing)
        return 0


def _remarks(tasks: "Iterable[Task]") -> "Iterator[str]":
    """What was guessed of the user's own tasks, or is odd about them; tasks of one remark in one line."""
    from leveret.tasks.divided import DividedTask

    names: dict[str, list[str]] = {}
    for task in tasks:
        if isinstance(task, DividedTask):
            for remark in task.remarks:
                names.setdefault(remark, []).append(task.name)
    for remark, of in names.items():
        yield f"{', '.join(of)}: {remark}"


def _has_bfloat16() -> bool:
    import torch

    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _crop(text: str | None) -> float | str | None:
    if text is None or text == "clip":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--crop {text}: expected seconds, such as 3.0, or `clip`") from None
