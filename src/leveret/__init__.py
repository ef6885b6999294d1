"""Leveret measures, trains and serves universal audio representations.

    import leveret
    encoder = leveret.create_encoder("slowfast_nfnet_f0")
    vectors = leveret.embed(["sounds/"], "slowfast_nfnet_f0").vector
    runs = leveret.evaluate("melstats", "mini", "quick")

The names are resolved at first use: importing torch alone takes two seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leveret.version import __version__

if TYPE_CHECKING:
    from leveret.checkpoint import load_checkpoint, save_checkpoint
    from leveret.classifying import classify
    from leveret.contracts import Encoder, Task
    from leveret.evaluation import evaluate
    from leveret.evaluation_config import EvaluateConfig
    from leveret.file_embedding import embed
    from leveret.loading import create_encoder
    from leveret.paper import published
    from leveret.probe_files import load_probe
    from leveret.protocols import Protocol
    from leveret.runner import Compute
    from leveret.runs import find_runs

_HOMES = {
    "Compute": "runner",
    "Encoder": "contracts",
    "EvaluateConfig": "evaluation_config",
    "Protocol": "protocols",
    "Task": "contracts",
    "classify": "classifying",
    "create_encoder": "loading",
    "embed": "file_embedding",
    "evaluate": "evaluation",
    "find_runs": "runs",
    "load_checkpoint": "checkpoint",
    "load_probe": "probe_files",
    "published": "paper",
    "save_checkpoint": "checkpoint",
}

__all__ = [
    "Compute",
    "Encoder",
    "EvaluateConfig",
    "Protocol",
    "Task",
    "__version__",
    "classify",
    "create_encoder",
    "embed",
    "evaluate",
    "find_runs",
    "load_checkpoint",
    "load_probe",
    "published",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'leveret' has no attribute {name!r}")
    return getattr(import_module(f"leveret.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
