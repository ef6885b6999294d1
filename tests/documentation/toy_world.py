"""The folder in which the documentation's commands are typed: small stand-ins for all that they name."""

import csv
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from tests.adapters.conftest import save_onnx, save_torchscript
from tests.tasks.toy_hares import TREES

from leveret import cli
from leveret.checkpoint import save_checkpoint
from leveret.registry import look_up

RATE = 16_000
CHECKPOINTS = (
    "best.safetensors", "my.safetensors", "my_checkpoint.safetensors", "runs/best.safetensors",
    "runs/best/checkpoint.safetensors", "run/checkpoint.safetensors",
    "pretraining/slowfast_nfnet_f0_simclr/checkpoint.safetensors",
)  # fmt: skip
DATASETS = ("esc50", "tut18", "fluent_speech_commands", "audioset")
FOLDERS = ("sounds", "recordings", "my-recordings")
RUN, OTHER_RUN = "runs/melstats-quick-20260101-120000", "runs/small-quick-20260101-120000"
TRAINED = "trained"
CACHED_RUN = "runs/melstats-cached-20260101-120000"
MY_ENCODER = """
import torch

class MyEncoder:
    sample_rate = 16_000

    def embed(self, wave):
        return torch.stack([wave.abs().mean(1), wave.square().mean(1), wave.diff(dim=1).abs().mean(1)], 1)
"""


def tone(path: Path, number: int, seconds: float = 0.4) -> None:
    """A sound of its own in whatever format the name says."""
    time = np.arange(round(RATE * seconds)) / RATE
    noise = np.random.default_rng(number).standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (500 + 700 * (number % 2) + 9 * number) * time) + 0.02 * noise, RATE)


def make_world(root: Path) -> None:
    """Audio, manifests, checkpoints, graphs, shards and finished runs, under the names that the documentation uses."""
    for name in FOLDERS:
        for k in range(24):
            tone(root / name / f"{k}.flac", k, 1.1)
    tone(root / "night.flac", 3, 4.0)
    rows = [{"file": f"sounds/{k}.flac", "label": ("low", "high")[k % 2], "group": f"g{k // 4}",
             "split": ("train", "valid", "test")[k // 2 % 3]} for k in range(24)]  # fmt: skip
    for name in ("labels.csv", "birds.csv"):
        write_table(root / name, rows)
    (root / "shards").mkdir()
    with tarfile.open(root / "shards" / "000.tar", "w") as tar:
        for k in range(3):
            tar.add(root / "sounds" / f"{k}.flac", f"{k}.flac")
    (root / "my_encoder.py").write_text(MY_ENCODER)
    save_onnx(root / "model.onnx")
    save_torchscript(root / "model.pt")
    save_wavlm(root / "models" / "wavlm")
    torch.manual_seed(0)
    config = look_up("encoders", "nfnet_tiny")
    save_checkpoint(root / CHECKPOINTS[0], "nfnet_tiny", config, config.build())
    for name in CHECKPOINTS[1:]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / CHECKPOINTS[0], root / name)
    for name in DATASETS:
        TREES[name](root / "datasets" / name)
    quick = ["evaluate", "--protocol", "quick", "--save-probes", "--tasks", "manifest:labels.csv", "manifest:birds.csv"]
    assert cli.main([*quick, "--encoder", "melstats", "runs/best.safetensors", "-o", "made"]) == 0
    for name, made in zip((RUN, OTHER_RUN), sorted((root / "made").iterdir(), key=_is_checkpoint), strict=True):
        made.rename(root / name)
    cached = ["evaluate", "--steps", "2", "--no-check-rates", "--no-embedding-map", "--tasks", "manifest:labels.csv"]
    assert cli.main([*cached, "--encoder", "melstats", "-o", "made"]) == 0
    next((root / "made").iterdir()).rename(root / CACHED_RUN)
    trained = ["pretrain", "--recipe", "slowfast_nfnet_f0_simclr", "--scale", "small", "--encoder", "nfnet_tiny"]
    trained += ["--corpus", "recordings", "--batch", "16", "--steps", "2", "--workers", "0", "-o", TRAINED]
    assert cli.main(trained) == 0
    shutil.copy(root / RUN / "probes" / "birds.safetensors", root / "birds.safetensors")
    for layout, folder in (("hear", "hear-2021.0.6/tasks"), ("xares", "env/esc50")):
        assert cli.main(["data", "export", "manifest:labels.csv", "--format", layout, "-o", folder]) == 0


def save_wavlm(folder: Path) -> None:
    """A tiny WavLM with nine layers to choose from, as save_pretrained writes it."""
    from leveret.adapters.hf import _import_transformers, _quiet

    _import_transformers("hf:")
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    config = WavLMConfig(
        hidden_size=16, num_hidden_layers=9, num_attention_heads=2, intermediate_size=16, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    with _quiet():
        WavLMModel(config).save_pretrained(folder)
        Wav2Vec2FeatureExtractor().save_pretrained(folder)


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    """A manifest."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def make_shown(root: Path, name: str, text: str) -> None:
    """A file that a page shows, and the sounds that it names."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    if name.endswith(".csv"):
        for number, row in enumerate(csv.DictReader(text.splitlines())):
            sound = (root / name).parent / row["file"]
            if not sound.exists():
                tone(sound, number, 12.0 if row.get("end") else 0.4)


def _is_checkpoint(run: Path) -> bool:
    return not run.name.startswith("melstats")


def expanded(word: str) -> str:
    """What a shell makes of a word: the home folder for its tilde."""
    return os.path.expanduser(word) if word.startswith("~/") else word
