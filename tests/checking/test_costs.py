import sys

import pytest
import torch
from torch import nn

from leveret.checking.costs import CLIP_SECONDS, clips, count_gmacs, measure_speed, peak_memory

RATE = 8_000
CPU = torch.device("cpu")


def test_clips_are_three_seconds():
    assert clips(2, RATE).shape == (2, 3 * RATE)
    assert CLIP_SECONDS == 3.0


def test_multiply_adds_of_a_linear_layer_by_hand():
    layer = nn.Linear(3 * RATE, 50)
    assert count_gmacs(layer, layer, RATE) == (pytest.approx(3 * RATE * 50 / 1e9), "")


def test_multiply_adds_of_a_convolution_by_hand():
    layer = nn.Conv1d(1, 8, 400, stride=160)
    frames = (3 * RATE - 400) // 160 + 1
    gmacs, _ = count_gmacs(lambda waves: layer(waves[:, None]), layer, RATE)
    assert gmacs == pytest.approx(8 * 400 * frames / 1e9)


@torch.no_grad()
def test_a_fused_transformer_layer_is_counted_too():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    frames = 3 * RATE // 160
    gmacs, _ = count_gmacs(lambda waves: layer(waves.view(1, -1, 160)[:, :, :16]), layer, RATE)
    # four projections, two products of attention, two linear layers
    assert gmacs == pytest.approx((4 * 16 * 16 * frames + 2 * frames**2 * 16 + 2 * 16 * 32 * frames) / 1e9)
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_torch_does_not_see_is_unknown():
    gmacs, why = count_gmacs(lambda waves: torch.from_numpy(waves.numpy() * 2), nn.Identity(), RATE)
    assert gmacs is None
    assert "not torch's" in why


@torch.no_grad()
def test_recurrent_layers_are_counted():
    layer = nn.GRU(1, 4, batch_first=True)
    gmacs, why = count_gmacs(lambda waves: layer(waves[:, ::8000, None])[0], layer, RATE)
    assert (gmacs, why) == (pytest.approx(3 * 3 * (4 + 4 * 4) / 1e9), "")


def test_speed_is_the_median_after_a_warm_up(monkeypatch):
    now = iter([0.0, 9.0, 10.0, 10.5, 11.0, 11.5, 12.0, 20.0])  # 9 s to warm up, then 0.5, 0.5 and 8 s
    monkeypatch.setattr("leveret.checking.costs.time.perf_counter", lambda: next(now))
    assert measure_speed(lambda waves: waves, 8, RATE) == 16.0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_peak_memory_is_what_the_call_takes_beyond_what_stood():
    def hungry(waves):
        return torch.ones(50_000_000).cumsum(0)[:1]  # 200 MB, then 200 MB more

    held = torch.ones(25_000_000)
    found = peak_memory(hungry, clips(1, RATE), CPU)
    assert held.sum() > 0
    assert found is not None
    assert 350e6 < found < 600e6
    found = peak_memory(lambda waves: waves, clips(1, RATE), CPU)
    assert found is not None
    assert found < 50e6


def test_a_device_that_does_not_tell_is_unknown():
    assert peak_memory(lambda waves: waves, clips(1, RATE), torch.device("mps")) is None
