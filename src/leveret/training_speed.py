"""How fast a run goes: crops a second, the share of what the processor could do, memory.

Source: data sheets of the GPUs for their peaks: dense products, no sparsity.
Departures: multiply-adds of the backward pass count as twice those of the forward pass; what the loss and the optimizer
compute does not count.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from leveret.arithmetic import counting
from leveret.gradient_cache import represented, unmoved
from leveret.machine import resident_bytes
from leveret.pretext import Objective, Views

PEAK_FLOPS = {
    "H200": {"bfloat16": 989e12, "float32": 67e12},
    "H100 PCIe": {"bfloat16": 756e12, "float32": 51e12},
    "H100": {"bfloat16": 989e12, "float32": 67e12},
    "A100": {"bfloat16": 312e12, "float32": 19.5e12},
    "L40S": {"bfloat16": 362e12, "float32": 91.6e12},
    "L4": {"bfloat16": 121e12, "float32": 30.3e12},
}
"""Part of a GPU's name -> dtype -> floating-point operations a second; the first that fits counts."""


def peak_flops(name: str, dtype: str) -> float | None:
    """Of a GPU by its name; None where it is not known."""
    return next((peaks.get(dtype) for part, peaks in PEAK_FLOPS.items() if part in name), None)


def product_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of products of square matrices, the fastest of ten: what a step may hope for a part of.

    Of fewer, where half a second is over: a processor without bfloat16 takes seconds for one.
    """
    side = 4096 if device.type == "cuda" else 1024
    one = torch.randn(side, side, device=device).to(dtype)
    seconds: list[float] = []
    while len(seconds) < 10 and sum(seconds) < 0.5:
        started = time.perf_counter()
        (one @ one)[0, 0].item()  # which waits for it
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


class Speed:
    """Measures from one log line to the next.

    Args:
        done: Steps that are done already.
    """

    def __init__(self, device: torch.device, done: int) -> None:
        self.device = device
        self.done = done
        self.started = time.monotonic()
        self.counted = False
        self.flops_of_step: float | None = None
        self.peak: float | None = None

    def count(self, objective: Objective, views: Views, dtype: torch.dtype) -> None:
        """Count this process's operations in a step, once, on a GPU.

        On any GPU, its peak known or not: batch norm over all ranks waits for each of them, whatever GPU it has.
        """
        if self.counted:
            return
        self.counted = True
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
            self.peak = peak_flops(name, str(dtype).removeprefix("torch."))
            self.flops_of_step = step_flops(objective, views, dtype)

    def numbers(self, done: int, crops: int) -> dict[str, float | None]:
        """What a log line says, since the one before it.

        Args:
            done: Steps that are done now.
            crops: Of a step, over all processes.
        """
        now = time.monotonic()
        steps_a_second = (done - self.done) / max(now - self.started, 1e-9)
        self.started, self.done = now, done
        share = None
        if self.flops_of_step is not None and self.peak is not None:
            share = self.flops_of_step * steps_a_second / self.peak
        on_gpu = self.device.type == "cuda"
        memory = torch.cuda.max_memory_allocated(self.device) if on_gpu else resident_bytes(peak=True)
        return {"crops_per_second": crops * steps_a_second, "share_of_peak": share, "memory_bytes": memory}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Work that is no training."""
        stopped = time.monotonic()
        yield
        self.started += time.monotonic() - stopped


def step_flops(objective: Objective, views: Views, dtype: torch.dtype) -> float:
    """Floating-point operations of a step of this process: those of one example, times what a step has.

    It is counted on two examples, since a batch norm refuses one.
    """
    macs = 0.0
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), unmoved(objective):
        for view in views.inputs:
            some = view[:2]
            with counting(objective) as counter:
                represented(objective, some, dtype)
            macs += counter.macs / len(some) * len(view)
    return 2 * 3 * macs  # a MAC is two operations, a backward pass costs two forward ones
