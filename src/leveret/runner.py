"""Encoders made ready to embed, on a device, in a dtype, with everything that their rows depend on, and their speed.

Shapes: B batch, N samples, D embedding.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import inf
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

import leveret.distributed as distributed
from leveret.adapters.faults import AdapterError, blamed
from leveret.audio import AUDIO_VERSION
from leveret.augment import mix
from leveret.batches import Batch, CropRule, RowPlan
from leveret.drift import PRECISION, share
from leveret.frontend import FRONTEND_VERSION
from leveret.inference import for_inference
from leveret.loading import LoadedEncoder, batch_drift, fingerprint
from leveret.machine import num_cores
from leveret.precision import exact_float32
from leveret.registry import unknown_name

ROWS_VERSION = 3
"""Bumped by hand whenever the same clip and crop rule give other windows; part of every cache key."""

BEHAVIOUR_VERSIONS = {"audio": AUDIO_VERSION, "frontend": FRONTEND_VERSION, "rows": ROWS_VERSION}
"""With these the same weights, clip and crop rule give the same vectors."""

DEFAULT_BATCH_SIZE = 32
DEFAULT_BATCH_SECONDS = 320.0
"""Of sound at once: 32 of the longest windows that any task asks for. A CPU's memory gives no warning when it ends."""

NOT_IDENTITY = ("spec", "name", "pretraining", "warning")
"""What of an encoder's description its vectors do not depend on."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how encoders run.

    Attributes:
        device: "auto" (cuda, else mps, else cpu), or a torch device such as "cuda:1".
        dtype: Of the network; the front end and the vectors stay float32.
        batch_size: Rows at once; None is 32, fewer of windows above 10 s, halved whenever memory runs out.
        threads: Decoding threads and torch threads; None is the number of cores.
        compile: Compile the network (a minute once, then faster; needs a C++ compiler).
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: int | None = None
    threads: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}; expected 1 or more")

    def torch_device(self) -> torch.device:
        """The device that "auto" stands for here; under torchrun each process of a machine has a GPU of its own.

        Raises:
            ValueError: The device is not there.
        """
        world = distributed.world()
        if self.device in ("auto", "cuda") and world.size > 1 and torch.cuda.is_available():
            return torch.device("cuda", world.local_rank % torch.cuda.device_count())
        if self.device == "auto":
            mps = torch.backends.mps.is_available()
            return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
        try:
            found = torch.empty(0, device=self.device)
            found.cpu()  # which "meta", where nothing is ever computed, refuses
            return found.device
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {self.device!r} cannot be used here ({reason}); try --device cpu") from error

    def num_threads(self) -> int:
        """Threads for decoding; processes of one machine share its cores."""
        return self.threads or max(1, num_cores() // distributed.world().local_size)


class Network:
    """An encoder ready to embed: folded, on its device; several runners may read their layers out of one pass.

    Attributes:
        batch_size: Rows at once, at most.
        batch_seconds: Of sound at once, at most, unless one row is longer.
        audio_seconds: What it has embedded so far.
        seconds: That it took, without the decoding.
    """

    def __init__(self, loaded: LoadedEncoder, compute: Compute) -> None:
        changes = [f"dtype={compute.dtype}"] * (compute.dtype != "float32") + ["compile=True"] * compute.compile
        if changes and not loaded.encoder.convertible:
            raise ValueError(
                f"{loaded.name} is somebody else's encoder, whose network leveret does not change; leave out "
                f"{' and '.join(changes)}, for leveret's own only"
            )
        self.loaded = loaded
        self.device = compute.torch_device()
        self.batch_size = compute.batch_size or DEFAULT_BATCH_SIZE
        self.batch_seconds = inf if compute.batch_size else DEFAULT_BATCH_SECONDS
        self.audio_seconds = self.seconds = 0.0
        self.encoder = loaded.encoder.to(self.device)
        if loaded.encoder.convertible:
            dtype = getattr(torch, compute.dtype)
            self.encoder = for_inference(loaded.encoder, dtype=dtype, compile=compute.compile)

    def batches(self, plan: RowPlan, skip: NDArray[np.bool_] | None = None) -> list[tuple[int, int]]:
        """Those of `RowPlan.batches` that are embedded at once."""
        return plan.batches(self.batch_size, skip, self.batch_seconds)

    def vectors(self, batch: Batch, layers: Sequence[str | None]) -> list[Float[ndarray, "B _"]]:
        """Embed a batch, a result a layer; on running out of memory the batch is halved, down to one.

        Args:
            layers: Keys of the encoder's layers, or None for its default.
        """
        rate, started = self.loaded.encoder.sample_rate, perf_counter()
        waves, partners = self._long_enough(batch.waves[rate]), None
        if batch.partners:
            partners = self._long_enough(batch.partners[rate])
        done: list[list[Tensor]] = [[] for _ in layers]
        at = 0
        while at < len(waves):
            part = slice(at, at + self.batch_size)
            try:
                with torch.inference_mode(), exact_float32(), self._blamed(waves[part]):
                    features = self.encoder.frontend(waves[part].to(self.device))
                    if partners is not None:
                        assert batch.share is not None, batch
                        others = self.encoder.frontend(partners[part].to(self.device))
                        features = mix(features, others, batch.share[part])
                    found = [vectors.float().cpu() for vectors in self._embed(features, layers)]
                    self._check_widths(found, waves[part], layers)
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size = max(1, self.batch_size // 2)
                continue
            for vectors, new in zip(done, found, strict=True):
                vectors.append(new)
            at += len(found[0])
        self.seconds += perf_counter() - started
        self.audio_seconds += waves.numel() / rate
        return [torch.cat(vectors).numpy() for vectors in done]

    def _embed(self, features: Tensor, layers: Sequence[str | None]) -> list[Tensor]:
        if len(layers) == 1:
            return [self.encoder.embed(features, layers[0])]
        default = list(self.encoder.layers)[-1]
        names = [layer or default for layer in layers]
        by_name = self.encoder.embed_layers(features, list(dict.fromkeys(names)))
        return [by_name[name] for name in names]

    def _blamed(self, waves: Tensor) -> AbstractContextManager[None]:
        return blamed(self.loaded.spec, waves.shape) if self.loaded.foreign else nullcontext()

    def _check_widths(self, found: Sequence[Tensor], waves: Float[Tensor, "B N"], layers: Sequence[str | None]) -> None:
        """Somebody else's subclass of `Encoder` may give other vectors than it says."""
        encoder = self.loaded.encoder
        for vectors, layer in zip(found, layers, strict=True) if self.loaded.foreign else ():
            expected = (len(waves), encoder.embed_dim if layer is None else encoder.layers[layer])
            if vectors.shape != expected:
                raise AdapterError(
                    f"{self.loaded.spec} gave vectors {tuple(vectors.shape)} for {len(waves)} waves of "
                    f"{waves.shape[1] / encoder.sample_rate:.3g} s; {expected} were expected, as its embed_dim and "
                    "layers say: one vector a wave, of one width for all lengths"
                )

    def _long_enough(self, waves: Float[Tensor, "B N"]) -> Float[Tensor, "B n"]:
        return F.pad(waves, (0, max(0, self.loaded.encoder.min_samples - waves.shape[1])))


class Runner:
    """One layer of a network, with its fingerprint: what a cache store and a result belong to.

    Attributes:
        layer: A key of the encoder's layers; None is its default embedding.
        name: The encoder's, and the layer's where one is named.
        width: D.
        warning: What makes its vectors doubtful; empty where nothing does.
    """

    def __init__(self, network: Network, compute: Compute, layer: str | None = None) -> None:
        encoder = network.loaded.encoder
        if layer is not None and layer not in encoder.layers:
            raise unknown_name("layer", layer, encoder.layers)
        self.network, self.loaded, self.compute, self.layer = network, network.loaded, compute, layer
        self.name = self.loaded.name if layer is None else f"{self.loaded.name}/{layer}"
        self.width = encoder.embed_dim if layer is None else encoder.layers[layer]
        spec, device, foreign = self.loaded.spec, network.device, self.loaded.foreign
        self.fingerprint = fingerprint(encoder, device, layer, spec, foreign)
        drift = batch_drift(encoder, device, self.fingerprint, layer, spec) if foreign else 0.0
        self.warning = "" if drift <= PRECISION else (
            f"{spec}: vectors depend on the rest of the batch (by {share(drift)} of their length); its scores depend "
            "on --batch-size; `leveret check` tells more"
        )  # fmt: skip

    def described(self) -> dict[str, Any]:
        """For scorecards and cache identities."""
        about = self.loaded.described() | ({"warning": self.warning} if self.warning else {})
        return (
            about if self.layer is None else about | {"name": self.name, "layer": self.layer, "embed_dim": self.width}
        )

    def identity(self, crop: CropRule, clips: str) -> dict[str, Any]:
        """Everything that the rows depend on."""
        return {
            "encoder": {key: value for key, value in self.described().items() if key not in NOT_IDENTITY},
            # a foreign encoder may keep its weights where no digest sees them
            "behaviour": sha256(self.fingerprint.tobytes()).hexdigest() if self.loaded.foreign else "",
            "dtype": self.compute.dtype,
            "crop": asdict(crop),
            "clips": clips,
            "versions": dict(BEHAVIOUR_VERSIONS),
        }


def runners_of(encoders: Sequence[LoadedEncoder], compute: Compute, layers: Sequence[str] = ()) -> list[Runner]:
    """A runner an encoder, or an encoder and layer.

    Args:
        layers: Names of layers, or "all"; empty reads each encoder's default embedding.

    Raises:
        UnknownNameError: An encoder has no such layer.
    """
    found = []
    for loaded in encoders:
        network = Network(loaded, compute)
        names = list(loaded.encoder.layers) if list(layers) == ["all"] else layers
        found += [Runner(network, compute, layer) for layer in names or (None,)]
    return found


def vectors_of_batch(runners: Sequence[Runner], batch: Batch) -> list[Float[ndarray, "B _"]]:
    """The vectors of each runner; those of one network come out of one pass."""
    found: dict[int, Float[ndarray, "B _"]] = {}
    for network in dict.fromkeys(runner.network for runner in runners):
        own = [k for k, runner in enumerate(runners) if runner.network is network]
        vectors = network.vectors(batch, [runners[k].layer for k in own])
        found |= dict(zip(own, vectors, strict=True))
    return [found[k] for k in range(len(runners))]
