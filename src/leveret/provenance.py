"""What a result must say of the run that made it: device, versions, code, time, memory."""

import platform
import resource
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import leveret.distributed as distributed
from leveret.content import code_digest
from leveret.runner import Compute, Runner
from leveret.version import __version__


def about_this_run(compute: Compute, started: float, runner: Runner | None = None) -> dict[str, Any]:
    """Facts for a scorecard.

    Args:
        started: `time.monotonic()` when the run began.
        runner: Of the encoder, for its speed; None where vectors were made elsewhere.
    """
    speed = {}
    if runner is not None:
        # of this process, by the network alone: neither the decoding nor what was cached counts
        speed = {"embedding": {name: getattr(runner.network, name) for name in ("audio_seconds", "seconds")}}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "command": _command(),
        "finished": _now(),
        **_machine(compute),
        "dtype": compute.dtype,
        "compiled": compute.compile,
        "batch_size": compute.batch_size or "auto",
        "wall_seconds": time.monotonic() - started,
        "peak_memory_bytes": peak,
        **speed,
    }


def about_this_start(compute: Compute) -> dict[str, Any]:
    """Facts of a pretraining that begins, or goes on."""
    return {"command": _command(), "started": _now(), **_machine(compute)}


def _command() -> list[str] | None:
    return ["leveret", *sys.argv[1:]] if Path(sys.argv[0]).stem in ("leveret", "__main__") else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine(compute: Compute) -> dict[str, Any]:
    device = compute.torch_device()
    packages = ("torch", "numpy", "soundfile", "soxr", "scikit-learn")
    versions = {"leveret": __version__} | {name: version(name) for name in packages}
    return {
        "device": str(device),
        **({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
        "processes": distributed.world().size,
        "threads": compute.num_threads(),
        "torch_threads": torch.get_num_threads(),
        "versions": versions | {"python": platform.python_version()},
        "platform": f"{platform.system()} {platform.machine()}",
        "code": code_digest(),
    }
