"""Speed: crops a second without what is no training, and the share of a known processor's peak."""

import pytest
import torch

from leveret import training_speed
from leveret.training_speed import Speed, peak_flops


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""

    class Clock:
        now = 100.0

        def __init__(self):
            self.ticks = []

        def monotonic(self):
            return self.now

        def perf_counter(self):
            self.now += self.ticks.pop(0)
            return self.now

    made = Clock()
    monkeypatch.setattr(training_speed, "time", made)
    return made


def test_crops_a_second_are_those_since_the_last_line_without_pauses(clock):
    speed = Speed(torch.device("cpu"), 10)
    clock.now += 4
    assert speed.numbers(12, 64)["crops_per_second"] == 32
    clock.now += 1
    with speed.paused():
        clock.now += 1000
    numbers = speed.numbers(13, 64)
    assert numbers["crops_per_second"] == 64
    assert numbers["share_of_peak"] is None
    assert numbers["memory_bytes"] > 1e6


def test_the_share_is_of_the_peak(clock):
    speed = Speed(torch.device("cpu"), 0)
    speed.flops_of_step, speed.peak = 3e12, 100e12
    clock.now += 2
    assert speed.numbers(20, 64)["share_of_peak"] == pytest.approx(0.3)


def test_ten_products_are_timed_or_those_of_half_a_second(clock):
    cpu, operations = torch.device("cpu"), 2 * 1024**3
    clock.ticks = [0, 0.02, 0, 0.01] + 8 * [0, 0.04]
    assert training_speed.product_flops(cpu, torch.float32) == pytest.approx(operations / 0.01)
    clock.ticks = [0, 0.3, 0, 0.25]
    assert training_speed.product_flops(cpu, torch.float32) == pytest.approx(operations / 0.25)
    clock.ticks = [0, 3.0]
    assert training_speed.product_flops(cpu, torch.float32) == pytest.approx(operations / 3)
    assert not clock.ticks


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA A100-SXM4-40GB", "float32", 19.5e12),
        ("NVIDIA L40S", "bfloat16", 362e12),
        ("NVIDIA GeForce GTX 970", "float32", None),
    ],
)
def test_peaks_are_found_by_a_gpus_name(name, dtype, peak):
    assert peak_flops(name, dtype) == peak
