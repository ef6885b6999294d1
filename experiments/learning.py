"""Does every objective learn? Small trainings on real audio, scored on labelled tasks beside their own random weights.

    python experiments/learning.py run MANIFEST RUNS [--only simclr-0 cpc] [--steps-factor 0.5] [--dtype bfloat16]
    python experiments/learning.py table RUNS
    python experiments/learning.py curves RUNS FIGURE.svg

`run` trains the recipes at scale small, one after the other, on the clips that MANIFEST has in no validation or test
split, then scores each encoder and its random start by `quick`. What is there is not done again, and a training that
was stopped goes on. `table` prints means over all tasks and over the domains, `curves` draws the losses.
"""

import argparse
import csv
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from leveret.recipes import find_recipe
from leveret.report.training_run import read_training_run
from leveret.results import domain_means
from leveret.runs import Run, find_runs
from leveret.training_log import read_log

SPEECH = "speech"
"""Prefix of the tasks that the two speech objectives train on."""


@dataclass(frozen=True)
class Training:
    """One run.

    Attributes:
        options: Of `leveret pretrain`, behind the recipe.
        speech: Whether it trains on the clips of speech alone, joined within a speaker.
        encoder: In place of the recipe's.
    """

    recipe: str
    seed: int = 0
    options: tuple[str, ...] = ()
    speech: bool = False
    encoder: str | None = None

    @property
    def start(self) -> str:
        """What is trained, by name: with freshly drawn weights it is what the training is judged against."""
        return self.encoder or find_recipe(self.recipe).small_encoder


TRAININGS = {
    "simclr-0": Training("slowfast_nfnet_f0_simclr"),
    "cpc": Training("bidir_cpc_librispeech", speech=True),
    "wav2vec2": Training("wav2vec2_librispeech", speech=True),
    "byola": Training("byola_audioset"),
    "supervised": Training("slowfast_nfnet_f0_supervised"),
    "cola": Training("slowfast_nfnet_f0_simclr", options=("--objective", "cola")),
    "simclr-1": Training("slowfast_nfnet_f0_simclr", seed=1),
    "simclr-2": Training("slowfast_nfnet_f0_simclr", seed=2),
    "simclr-cola-frontend": Training("slowfast_nfnet_f0_simclr", encoder="slowfast_nfnet_small_cola"),
}


def main() -> None:
    """Train and score, or print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("manifest", type=Path)
    run.add_argument("runs", type=Path)
    run.add_argument("--only", nargs="+", default=list(TRAININGS), choices=list(TRAININGS))
    run.add_argument("--steps-factor", type=float, default=1.0, help="of the recipe's steps at scale small")
    run.add_argument("--dtype", default="float32")
    table = verbs.add_parser("table")
    table.add_argument("runs", type=Path)
    curves = verbs.add_parser("curves")
    curves.add_argument("runs", type=Path)
    curves.add_argument("figure", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "table":
        print(told(arguments.runs))
        return
    if arguments.verb == "curves":
        draw(arguments.runs, arguments.figure)
        return
    arguments.runs.mkdir(parents=True, exist_ok=True)
    tasks = ["--tasks", f"manifest:{arguments.manifest}", "--protocol", "quick", "--no-floor"]
    everything, speech = corpora(arguments.manifest, arguments.runs)
    for name in arguments.only:
        training = TRAININGS[name]
        recipe = find_recipe(training.recipe)
        options = ["--corpus", str(speech), "--join", "group"] if training.speech else ["--corpus", str(everything)]
        options += ["--steps", str(round(recipe.small_steps * arguments.steps_factor)), "--seed", str(training.seed)]
        output = arguments.runs / name
        leveret(
            ["pretrain", "--recipe", training.recipe, "--scale", "small", "--dtype", arguments.dtype,
             "--encoder", training.start, "-o", str(output), *options, *training.options]
        )  # fmt: skip
        for folder, encoder in (("trained", f"{output}/checkpoint.safetensors"), ("random", training.start)):
            if not finished(output / folder):
                leveret(
                    ["evaluate", "--encoder", encoder, "--seed", str(training.seed), "--dtype", arguments.dtype,
                     "-o", str(output / folder), *tasks]
                )  # fmt: skip
    if not finished(arguments.runs / "floor"):
        leveret(["evaluate", "--encoder", "melstats", "-o", str(arguments.runs / "floor"), *tasks])


def corpora(manifest: Path, folder: Path) -> tuple[Path, Path]:
    """Tables of the clips that train in all their tasks: all of them, and those of speech with their speakers."""
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    held = {row["file"] for row in rows if row["split"] != "train"}
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels[row["file"]] |= {f"{row['task']}:{label}" for label in row["label"].split("|")}
    found = []
    for name, prefix in (("all", ""), (SPEECH, SPEECH)):
        kept = {row["file"]: row for row in rows if row["file"] not in held and row["task"].startswith(prefix)}
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file", "label", "group", "seconds"])
            for row in kept.values():
                audio = str((manifest.parent / row["file"]).resolve())
                table.writerow([audio, "|".join(sorted(labels[row["file"]])), row["group"], row["seconds"]])
        found.append(path)
    return found[0], found[1]


def leveret(arguments: Sequence[str]) -> None:
    """One command, whose end is waited for."""
    subprocess.run([sys.executable, "-m", "leveret", *arguments], check=True)


def finished(folder: Path) -> list[Run]:
    """The runs in a folder, of which there may be none."""
    return find_runs(folder) if any(folder.rglob("scorecard.json")) else []


def told(runs: Path) -> str:
    """The table of all that is done, as Markdown."""
    lines = [
        "| encoder | steps | minutes | environment | speech | music | mean of the tasks | gain |",
        "|" + "---|" * 8,
    ]
    lines += [f"| melstats | | | {_shown(floor)} | |" for floor in finished(runs / "floor")]
    for name, training in TRAININGS.items():
        for before, after in zip(finished(runs / name / "random"), finished(runs / name / "trained"), strict=False):
            run = read_training_run(runs / name)
            minutes = "" if run.seconds is None else f"{run.seconds / 60:.0f}"
            gain = 100 * (mean_score(after) - mean_score(before))
            lines.append(f"| {training.start}, random weights, seed {training.seed} | 0 | | {_shown(before)} | |")
            lines.append(f"| {name} | {run.done:,} | {minutes} | {_shown(after)} | {gain:+.1f} |")
    return "\n".join(lines)


def draw(runs: Path, figure: Path) -> None:
    """The loss of each objective over its steps, those of several seeds in one panel."""
    from matplotlib import pyplot, rcParams

    rcParams.update({"svg.hashsalt": "leveret", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    panels: dict[str, list[Path]] = defaultdict(list)
    for name, training in TRAININGS.items():
        if (runs / name / "checkpoint.safetensors").exists():
            panels[name.removesuffix(f"-{training.seed}")].append(runs / name)
    columns = 3
    height = -(-len(panels) // columns)
    drawn, axes = pyplot.subplots(height, columns, figsize=(9, 2.2 * height), layout="constrained", squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, folders) in zip(axes.flat, panels.items(), strict=False):
        for folder in folders:
            lines = read_log(folder)
            axis.plot(
                [line["step"] for line in lines], [line["loss"] for line in lines], linewidth=1.2, label=folder.name
            )
        axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
        if len(folders) > 1:
            axis.legend(frameon=False, fontsize=8)
        axis.margins(x=0)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    for axis in axes[:, 0]:
        axis.set_ylabel("loss")
    drawn.savefig(figure, metadata={"Date": None})


def mean_score(run: Run) -> float:
    """Over all its tasks alike."""
    return fmean(result.score for result in run.scorecard.tasks)


def _shown(run: Run) -> str:
    means = [*domain_means(run.scorecard.tasks).values(), mean_score(run)]
    return " | ".join(f"{100 * value:.1f}" for value in means)


if __name__ == "__main__":
    main()
