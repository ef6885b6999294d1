"""Imports only go down, or stay in their own room."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "leveret"

LEVELS = {
    "home": -1, "mapped": -1, "text": -1, "parquet_files": -1,
    "version": 0, "registry": 0, "clips": 0, "tars": 0, "disk_rows": 0, "metrics": 0, "optim": 0, "results": 0,
    "distributed": 0, "progress": 0, "findings": 0, "bad_files": 0, "machine": 0, "stimuli": 0, "import_probe": 0,
    "draws": 0, "manifest_rows": 0, "drift": 0, "resampling": 0.5, "array_pickle": 0, "interrupts": 0,
    "audio": 1, "manifests": 1, "contracts": 1, "augment": 1, "frontend": 1, "layers": 1, "paper": 1,
    "predictions": 1, "runs": 1.5,
    "vectors": 1, "content": 1, "packages": 1, "journal": 1, "tensor_files": 1, "archives": 1, "published_audio": 1.5,
    "arithmetic": 1, "bootstrap": 1, "hollow": 1, "fused_adam": 1, "precision": 1, "collectives": 1, "pretext": 1.5,
    "replica_norm": 1.5,
    "batches": 2, "comparison": 2, "embedding_map": 2, "dataroots": 2, "records": 2, "shards": 2, "training_log": 2,
    "prediction_scores": 2,
    "encoders": 2, "adapters": 2, "tasks": 2, "probes": 2,
    "protocols": 3, "clip_scoring": 3, "objectives": 3, "checkpoint": 3, "cache": 3, "inference": 3, "suites": 3,
    "outcomes": 3, "description": 3, "haiku_weights": 3, "report": 3,
    "loading": 4, "scoring": 4, "gathering": 4, "gradient_cache": 4, "training_config": 4, "training_state": 4,
    "recompute": 5, "training_folder": 5, "training_speed": 5,
    "runner": 5, "hear": 5, "datasets": 5, "corpora": 5.5,
    "embedding": 6, "provenance": 6, "probe_files": 6,
    "evaluation_config": 6, "drawing": 6, "overlap": 6, "recipes": 6, "kept_heads": 5.5,
    "vector_rows": 7, "checking": 7, "exporting": 7, "workload": 7, "classifying": 7, "fresh_rows": 7, "entrants": 7.5,
    "evaluation": 8, "file_embedding": 8, "training": 8, "online_probe": 8, "verifying": 8, "listening": 8,
    "__init__": 9, "doctor": 9,
    "commands": 10, "cli": 11, "__main__": 12,
}  # fmt: skip
ROOMS = (
    "encoders",
    "adapters",
    "tasks",
    "probes",
    "objectives",
    "suites",
    "checking",
    "datasets",
    "exporting",
    "corpora",
    "overlap",
    "report",
    "listening",
    "verifying",
    "commands",
)
# completion lists the commands and their options, so it asks the module that knows them
ALLOWED = {("commands", "cli")}


def place_of(path: Path) -> str:
    """The module or room that a file belongs to."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def violations(path: Path, source: str) -> list[str]:
    """Imports of leveret's own modules that do not go down."""
    found = []
    here = place_of(path)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if node.module != "leveret" else [f"leveret.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "leveret":
                continue
            there = parts[1] if len(parts) > 1 else "__init__"
            own_room = there == here and here in ROOMS
            if not own_room and (here, there) not in ALLOWED and LEVELS[there] >= LEVELS[here]:
                found.append(f"{path.name}:{node.lineno} imports {name}, which is not below {here}")
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_a_lower_level_or_its_own_room(path):
    assert place_of(path) in LEVELS, f"give {place_of(path)} a level"
    assert violations(path, path.read_text()) == []


def test_a_planted_upward_import_is_found():
    planted = "def late():\n    from leveret.evaluation import evaluate\n"
    assert violations(PACKAGE / "audio.py", planted) == [
        "audio.py:2 imports leveret.evaluation, which is not below audio"
    ]


def test_a_planted_import_between_rooms_of_one_level_is_found():
    assert violations(PACKAGE / "probes" / "linear.py", "import leveret.encoders.nfnet\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_imports_from_the_package_itself(path):
    assert "from leveret import" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_can_be_held_in_the_head(path):
    assert len(path.read_text().splitlines()) <= 360
