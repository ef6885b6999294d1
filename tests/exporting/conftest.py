"""Exported encoders, and a Python that has neither leveret nor jaxtyping."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leveret.exporting.formats import Exported
from leveret.loading import create_encoder
from leveret.registry import look_up

BLOCKED = "import sys\nsys.modules['leveret'] = sys.modules['jaxtyping'] = None\n"


@pytest.fixture(scope="session")
def exported() -> Callable[..., Exported]:
    """An encoder of the room, no parameter of which is switched off."""

    def make(name: str = "slowfast_nfnet_tiny", **others: Any) -> Exported:
        encoder = create_encoder(name, 5)
        with torch.no_grad():
            for parameter in encoder.parameters():
                if not parameter.any():
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(6)))
        return Exported(name, look_up("encoders", name), encoder, **{"extra": {}, **others})

    return make


@pytest.fixture(scope="session")
def without_leveret() -> Callable[[str, Path], str]:
    """Runs a program in a folder, in a process that cannot import leveret; gives what it printed."""

    def run(program: str, folder: Path) -> str:
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HF_HOME")}
        environment |= {"HF_HOME": str(folder / "hf_home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", BLOCKED + "sys.path.insert(0, '.')\n" + program],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def waves() -> torch.Tensor:
    """Two waves of 0.7 s, one loud and one quiet."""
    noise = torch.randn(2, 11_200, generator=torch.Generator().manual_seed(7))
    return noise * torch.tensor([[0.3], [0.01]])
