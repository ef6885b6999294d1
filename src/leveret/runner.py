"""An encoder made ready to embed, on a device, in a dtype, with everything that its rows depend on.

Shapes: B batch, N samples, D embedding.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from leveret.audio import AUDIO_VERSION
from leveret.batches import CropRule
from leveret.frontend import FRONTEND_VERSION
from leveret.inference import for_inference
from leveret.loading import LoadedEncoder, fingerprint
from leveret.machine import num_cores

ROWS_VERSION = 1
"""Bumped by hand whenever the same clip and crop rule give other windows; part of every cache key."""

DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how encoders run.

    Attributes:
        device: "auto" (cuda, else mps, else cpu), or a torch device such as "cuda:1".
        dtype: Of the network; the front end and the vectors stay float32.
        batch_size: Rows at once; None is 32, halved whenever memory runs out.
        threads: Decoding threads and torch threads; None is the number of cores.
        compile: Compile the network (a minute once, then faster; needs a C++ compiler).
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: int | None = None
    threads: int | None = None
    compile: bool = False

    def torch_device(self) -> torch.device:
        """The device that "auto" stands for here.

        Raises:
            ValueError: The device is not there.
        """
        if self.device == "auto":
            mps = torch.backends.mps.is_available()
            return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
        try:
            return torch.empty(0, device=self.device).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {self.device!r} cannot be used here ({reason}); try --device cpu") from error

    def num_threads(self) -> int:
        """Threads for decoding."""
        return self.threads or num_cores()


class Runner:
    """An encoder ready to embed: folded, on its device, with its fingerprint."""

    def __init__(self, loaded: LoadedEncoder, compute: Compute) -> None:
        if not loaded.encoder.convertible and (compute.compile or compute.dtype != "float32"):
            raise ValueError(
                f"{loaded.name} is somebody else's encoder, whose network leveret does not change: "
                f"dtype={compute.dtype} and compile={compute.compile} are for leveret's own; leave them out"
            )
        self.loaded = loaded
        self.compute = compute
        self.device = compute.torch_device()
        self.batch_size = compute.batch_size or DEFAULT_BATCH_SIZE
        self.fingerprint = fingerprint(loaded.encoder.to(self.device), self.device)
        self.encoder = loaded.encoder
        if loaded.encoder.convertible:
            dtype = getattr(torch, compute.dtype)
            self.encoder = for_inference(loaded.encoder, dtype=dtype, compile=compute.compile)

    def vectors(self, waves: Float[Tensor, "B N"]) -> Float[ndarray, "B D"]:
        """Embed; on running out of memory the batch is halved, down to one."""
        missing = self.loaded.encoder.min_samples - waves.shape[1]
        if missing > 0:
            waves = F.pad(waves, (0, missing))
        done: list[Tensor] = []
        at = 0
        while at < len(waves):
            part = waves[at : at + self.batch_size].to(self.device)
            try:
                with torch.inference_mode():
                    done.append(self.encoder(part).float().cpu())
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size = max(1, self.batch_size // 2)
                continue
            at += len(part)
        return torch.cat(done).numpy()

    def identity(self, crop: CropRule, clips: str) -> dict[str, Any]:
        """Everything that the rows depend on."""
        return {
            "encoder": {key: value for key, value in self.loaded.described().items() if key not in ("spec", "name")},
            # a foreign encoder may keep its weights where no digest sees them
            "behaviour": sha256(self.fingerprint.tobytes()).hexdigest() if self.loaded.foreign else "",
            "dtype": self.compute.dtype,
            "crop": asdict(crop),
            "clips": clips,
            "versions": {"audio": AUDIO_VERSION, "frontend": FRONTEND_VERSION, "rows": ROWS_VERSION},
        }
