"""What an encoder costs: parameters, multiplications, clips a second, memory.

Shapes: B batch, N samples.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leveret.arithmetic import counting
from leveret.machine import forget_peak, resident_bytes
from leveret.stimuli import noise

CLIP_SECONDS = 3.0
BATCHES = (1, 8)
REPEATS = 3

Call = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Costs:
    """Figures of one encoder on one device.

    Attributes:
        parameters: Numbers that torch knows of.
        gmacs: Billions of multiply-adds for a clip of 3 s; None where torch does not see them.
        gmacs_note: Why there is none.
        clips_a_second: Batch -> clips of 3 s a second, the median of a few batches.
        weight_bytes: Of the parameters.
        peak_bytes: Memory that the largest of those batches takes beside the weights; None is unknown.
    """

    parameters: int
    weight_bytes: int
    gmacs: float | None = None
    gmacs_note: str = ""
    clips_a_second: dict[int, float] | None = None
    peak_bytes: int | None = None

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def clips(batch: int, sample_rate: int) -> Tensor:
    """Noise (B, N), 3 s each."""
    num_samples = round(CLIP_SECONDS * sample_rate)
    return torch.from_numpy(noise(5, batch * num_samples).reshape(batch, num_samples))


def count_gmacs(call: Call, network: nn.Module, sample_rate: int) -> tuple[float | None, str]:
    """Billions of multiply-adds for one clip of 3 s, as `arithmetic` counts them, and why there are none."""
    with counting(network) as counter:
        call(clips(1, sample_rate))
    if not counter.macs:
        return None, "its arithmetic is not torch's, or has no products that torch counts"
    return counter.macs / 1e9, ""


def measure_speed(call: Call, batch: int, sample_rate: int) -> float:
    """Clips of 3 s a second: the median of a few batches, after one that does not count."""
    waves = clips(batch, sample_rate)
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        call(waves)
        seconds.append(time.perf_counter() - started)
    return batch / statistics.median(seconds[1:])


def peak_memory(call: Call, waves: Tensor, device: torch.device) -> int | None:
    """Bytes that a call takes at its largest, above what stood before; None where the system does not tell.

    On a graphics card that is torch's own account; elsewhere the process's resident memory, which includes what other
    libraries take.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call(waves)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu" or not forget_peak():
        return None
    resident = resident_bytes()
    call(waves)
    peak = resident_bytes(peak=True)
    return None if peak is None or resident is None else max(0, peak - resident)
