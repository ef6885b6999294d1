"""The paper's pretrainings: each row that it trained itself, of tables 2, 3 and 6 to 9, as a config; 29 in all.

Source: paper, section 3 (batches, steps, crops, data) and appendix C (rate, schedule, temperature; for CPC and wav2vec
2.0 crops of 10 s, batch 256, and 80k steps on LibriSpeech); BYOL-A by the settings of nttcslab/byol-a: Adam, 3e-4 from
beginning to end, batch 256, 100 epochs.
Departures: BYOL-A's epochs are counted in the 1.9 million clips of AudioSet that table 1 prints; its encoder has the
source's 64 mels and dataset norm, and the mean over time of all other rows. Scale `small` is ours, for two cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from leveret.description import in_words, macs
from leveret.hollow import hollow
from leveret.optim import PEAK_RATE, WARMUP_STEPS, Schedule
from leveret.paper import DOMAINS, PublishedRow, published_row
from leveret.registry import look_up, unknown_name
from leveret.text import number_of
from leveret.training_config import FREE, ROUNDING, PretrainConfig, Scale, changed_objective, named_config
from leveret.training_speed import PEAK_FLOPS, product_flops

AUDIOSET_CLIPS = 1_900_000
"""As the paper prints them: "#Samples 1.9m"."""

GPU, GPU_MEMORY = "A100", "80 GB"
SHARE_OF_PEAK = 0.35
"""Of a GPU's bfloat16 peak: what dense networks commonly reach, and an assumption here."""
MANY = 64
"""GPUs of the second estimate, as if they lost nothing to each other."""

SMALL_BATCH = 128
SMALL_CROP_SECONDS = 1.0
SMALL_HIDDEN = 512
"""Width of hidden layers of projectors and predictors."""

_NETWORKS = {  # network -> its stand-in at small scale, SimCLR's steps in half an hour
    "byola_cnn": ("byola_cnn_tiny", 6_000),
    "efficientnet_b0": ("efficientnet_tiny", 5_000),
    "cnn14": ("cnn14_tiny", 3_000),
    "vit_base": ("vit_tiny", 16_000),
    "resnet50": ("resnet_tiny", 8_000),
    "slowfast_resnet50": ("slowfast_resnet_tiny", 6_000),
    "nfnet_f0": ("nfnet_tiny", 5_000),
    "slowfast_nfnet_f0": ("slowfast_nfnet_small", 750),
    "slowfast_resnet50_no_norm": ("slowfast_resnet_tiny_no_norm", 6_000),
    "slowfast_resnet50_ln": ("slowfast_resnet_tiny_ln", 6_000),
    "slowfast_resnet50_in": ("slowfast_resnet_tiny_in", 6_000),
    "slowfast_nf_resnet50": ("slowfast_nf_resnet_tiny", 6_000),
}
_ON_NETWORKS = {"supervised": (1024, 100_000), "simclr": (4096, 200_000)}  # objective -> batch, steps
_WAVEFORM = {  # name -> encoder, objective, stand-in, its steps in half an hour
    "bidir_cpc": ("bidir_cpc", "cpc", "bidir_cpc_small", 1_400),
    "wav2vec2": ("wav2vec2_base", "wav2vec2", "wav2vec2_small", 1_300),
}
_WAVEFORM_STEPS = {"audioset": 200_000, "librispeech": 80_000}

_PASSES = {"supervised": 3, "cpc": 3, "wav2vec2": 3, "simclr": 2 * 3, "cola": 2 * 3, "byola": 2 * (3 + 1)}
"""Forward passes that a clip costs: a view's own, its backward pass as two, BYOL-A's target another."""

_ASIDE = {"encoder", "encoder_config", "objective_config", "seed", "dtype", "recipe", "scale", "changed"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training.

    Attributes:
        name: That of the published row, with `slowfast` for its `sf`.
        encoder: Key of the encoders room.
        objective: Key of the objectives room.
        corpus: What is trained on: audioset, librispeech.
        batch: Clips a step.
        rate: Peak of the learning rate.
        small_encoder: What stands for the encoder at small scale.
        small_steps: Take about half an hour on two cores, by measured steps.
    """

    name: str
    encoder: str
    objective: str
    corpus: str = "audioset"
    batch: int
    steps: int
    rate: float = PEAK_RATE
    warmup_steps: int = WARMUP_STEPS
    schedule: Schedule = "cosine"
    small_encoder: str
    small_steps: int

    @property
    def row(self) -> PublishedRow:
        """What the paper reports of it."""
        return published_row(self.name.replace("slowfast_", "sf_"))

    @property
    def contrasts_crops(self) -> bool:
        """Whether it compares two crops of a clip, which short clips leave no room for."""
        return self.objective == "simclr"

    def warmup(self, steps: int) -> int:
        """Of a run of so many steps: the recipe's, but in a shorter run at most 5 %."""
        return self.warmup_steps if steps >= self.steps else min(self.warmup_steps, steps // 20)

    def config(self, scale: Scale = "paper") -> PretrainConfig:
        """The training as it is in the paper, or as two cores can do it in about half an hour."""
        small = scale == "small"
        steps = self.small_steps if small else self.steps
        return named_config(
            self.small_encoder if small else self.encoder, self.objective, recipe=self.name, scale=scale,
            objective_config=changed_objective(self.objective, _small_settings(self.objective) if small else {}),
            batch=SMALL_BATCH if small else self.batch, steps=steps, rate=self.rate, warmup_steps=self.warmup(steps),
            schedule=self.schedule,
        )  # fmt: skip

    def changes(self, config: PretrainConfig, corpus: str, join: str) -> tuple[str, ...]:
        """What decides the result and is otherwise than in the recipe at its scale, as "batch=64 (4096)".

        Seed and dtype, of which the paper says nothing, are no change, nor is how the sums are computed.

        Args:
            corpus: What is trained on, as it is named.
            join: "none", or what clips are joined within.
        """
        name = self.corpus if corpus.partition(":")[0] == self.corpus else corpus
        ours = {"corpus": name, "join": join} | _told(config)
        theirs = {"corpus": self.corpus, "join": "none"} | _told(self.config(config.scale))
        return tuple(
            f"{key}={value} ({theirs[key]})" for key, value in ours.items() if key in theirs and value != theirs[key]
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the encoder for one crop."""
        return _macs(self.encoder, self.config().objective_config.crop_seconds)

    @property
    def gpu_seconds(self) -> float:
        """Estimate of the paper's training on one GPU, from the encoder's operations alone."""
        return seconds_of(self.config(), PEAK_FLOPS[GPU]["bfloat16"])

    @property
    def command(self) -> str:
        """That starts the paper's training."""
        return f"leveret pretrain --recipe {self.name} --data ROOT"

    def header(self) -> list[str]:
        """Row, training, command, time and scores in lines of text."""
        row, config = self.row, self.config()
        crop = config.objective_config.crop_seconds
        tables = ", ".join(map(str, row.tables))
        warmup = f"warm-up {number_of(self.warmup_steps, 'step')}" if self.warmup_steps else "no warm-up"
        time = f"{in_days(self.gpu_seconds)} on one {GPU} {GPU_MEMORY}, {in_days(self.gpu_seconds / MANY)} on {MANY}"
        averages = [f"{name} {_score(row.averages[name])}" for name in DOMAINS]
        tasks = [f"{task} {_score(score)}" for task, score in row.scores.items() if score is not None]
        return [
            f"recipe   {self.name}: tables {tables}, row {row.model}, {row.objective}, trained on {row.pretrain_data}",
            f"training {self.encoder} by {self.objective}; batch {self.batch:,}, {number_of(self.steps, 'step')}, "
            f"crops of {crop:g} s; Adam, rate {self.rate:g}, {warmup}, {self.schedule}",
            f"command  {self.command}",
            f"time     {time}: an estimate of the encoder's work alone, from {in_words(self.macs)}MACs a crop, "
            f"{_PASSES[self.objective]} passes a clip, {SHARE_OF_PEAK:.0%} of the bfloat16 peak; for one GPU "
            f"{float(f'{self.batch * self.steps / self.gpu_seconds:.2g}'):,.0f} clips a second must be read",
            f"paper    HARES {_score(row.averages['hares'])}; {', '.join(averages)}",
            f"         {', '.join(tasks)}",
        ]


def seconds_of(config: PretrainConfig, peak_flops: float) -> float:
    """Estimate of a training by its encoder alone, where products of matrices do so many operations a second."""
    macs_of_crop = _macs(config.encoder, config.objective_config.crop_seconds)
    flops = 2.0 * macs_of_crop * _PASSES[config.objective] * config.batch * config.steps
    return flops / (SHARE_OF_PEAK * peak_flops)


def time_here(config: PretrainConfig, device: torch.device) -> str:
    """The same estimate for this machine, as a line of text; products of matrices are timed for it."""
    seconds = seconds_of(config, product_flops(device, getattr(torch, config.dtype)))
    return f"about {in_days(seconds)} on {device}, estimated from products of matrices in {config.dtype}"


@cache
def recipes() -> Mapping[str, Recipe]:
    """All by name: table by table, rows as printed."""
    found = [
        Recipe(
            name=f"{encoder}_{objective}", encoder=encoder, objective=objective, batch=batch, steps=steps,
            small_encoder=small, small_steps=small_steps * (2 if objective == "supervised" else 1),
        )
        for objective, (batch, steps) in _ON_NETWORKS.items()
        for encoder, (small, small_steps) in _NETWORKS.items()
    ]  # fmt: skip
    found += [
        Recipe(
            name=f"{name}_{corpus}", encoder=encoder, objective=objective, corpus=corpus, batch=256, steps=steps,
            small_encoder=small, small_steps=small_steps,
        )
        for name, (encoder, objective, small, small_steps) in _WAVEFORM.items()
        for corpus, steps in _WAVEFORM_STEPS.items()
    ]  # fmt: skip
    byola = Recipe(
        name="byola_audioset", encoder="byola_cnn_64mels_dataset", objective="byola", batch=256,
        steps=steps_of_epochs(100, AUDIOSET_CLIPS, 256), rate=3e-4, warmup_steps=0, schedule="constant",
        small_encoder="byola_cnn_64mels_dataset_small", small_steps=1_500,
    )  # fmt: skip
    return {recipe.name: recipe for recipe in [*found, byola]}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownNameError: There is none.
    """
    known = recipes()
    if name not in known:
        raise unknown_name("recipe", name, known)
    return known[name]


def steps_of_epochs(epochs: int, clips: int, batch: int) -> int:
    """Steps that see every clip so many times; the last batch may go on into the next epoch."""
    return -(-epochs * clips // batch)


def in_days(seconds: float) -> str:
    """A long time, to two digits: it is an estimate."""
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0)):
        if seconds >= 2 * size:
            return f"{float(f'{seconds / size:.2g}'):,g} {unit}"
    minutes = float(f"{seconds / 60:.2g}")
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def _small_settings(objective: str) -> dict[str, Any]:
    """Crops of a second at most, negatives in proportion to the crop, narrow projectors."""
    declared = look_up("objectives", objective)
    crop = min(SMALL_CROP_SECONDS, declared.crop_seconds)
    settings: dict[str, Any] = {"crop_seconds": crop}
    for name in ("num_negatives", "num_own_negatives"):
        if hasattr(declared, name):
            settings[name] = round(getattr(declared, name) * crop / declared.crop_seconds)
    if hasattr(declared, "hidden"):
        hidden = declared.hidden
        settings["hidden"] = [SMALL_HIDDEN] * len(hidden) if isinstance(hidden, tuple) else SMALL_HIDDEN
    return settings


def _told(config: PretrainConfig) -> dict[str, object]:
    """Settings that decide the result, those of encoder and objective behind their names."""
    values = config.as_json()
    plain = {name: value for name, value in values.items() if name not in (*_ASIDE, *FREE, *ROUNDING)}
    parts = [(config.encoder, "encoder_config"), (config.objective, "objective_config")]
    return {"encoder": config.encoder, **plain} | {
        f"{owner}.{name}": value for owner, part in parts for name, value in values[part].items()
    }


@cache
def _macs(encoder: str, crop_seconds: float) -> int:
    with hollow():
        return macs(look_up("encoders", encoder).build(), crop_seconds)


def _score(score: float | None) -> str:
    return "not printed" if score is None else f"{score:.1f}"
