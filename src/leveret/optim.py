"""Adam with linear warm-up and cosine decay, the rate a pure function of the step.

Source: paper, appendix C: 0 to 2e-4 over 5k steps, then cosine down to 0; appendix A uses the same for the probes.
BYOL-A alone keeps one rate (nttcslab/byol-a).
"""

from math import cos, pi
from typing import Literal

Schedule = Literal["cosine", "constant"]
"""What the rate does after the warm-up."""

PEAK_RATE = 2e-4
WARMUP_STEPS = 5_000
ADAM_BETAS = (0.9, 0.999)
ADAM_EPS = 1e-8


def learning_rate(
    step: int,
    total_steps: int,
    peak: float = PEAK_RATE,
    warmup_steps: int = WARMUP_STEPS,
    schedule: Schedule = "cosine",
) -> float:
    """The rate at a step, counted from 0 to `total_steps`, where it is 0 again unless it is constant.

    Runs shorter than the warm-up only warm up.
    """
    # 1. linear warm-up
    if step < warmup_steps:
        return peak * step / warmup_steps
    # 2. no decay
    if schedule == "constant":
        return peak
    # 3. cosine decay to zero
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return peak * 0.5 * (1 + cos(pi * progress))
