"""MACs against hand computations on small networks."""

import pytest
import torch
from torch import nn

from leveret.arithmetic import counting


@torch.no_grad()
def counted(network, *inputs):
    with counting(network) as counter:
        network(*inputs)
    return counter.macs


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (nn.Linear(10, 4), (3, 10), 3 * 10 * 4),
        (nn.Conv1d(2, 8, 5, stride=2), (1, 2, 21), 9 * 8 * 2 * 5),
        (nn.Conv2d(4, 6, (3, 1), stride=(1, 2), padding=(1, 0)), (2, 4, 7, 9), 2 * (7 * 5) * 6 * 4 * 3),
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), (1, 8, 5, 5), 25 * 16 * (8 // 4) * 9),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.GELU(), nn.MaxPool2d(2)), (1, 1, 4, 4), 16 * 2),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_layers_by_hand(network, shape, expected, device):
    assert counted(network.to(device), torch.zeros(shape, device=device)) == expected


def test_fused_attention_is_four_projections_and_two_products():
    tokens, width = 7, 16
    layer = nn.TransformerEncoderLayer(width, 2, 32, batch_first=True).eval()
    expected = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * 32
    assert counted(layer, torch.zeros(1, tokens, width)) == expected
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_recurrent_layer_is_counted_once(kind, gates, directions, device):
    layer = kind(5, 6, num_layers=2, bidirectional=directions == 2, batch_first=True, device=device)
    first, second = 5 * 6 + 6 * 6, directions * 6 * 6 + 6 * 6
    assert counted(layer, torch.zeros(3, 10, 5, device=device)) == 3 * 10 * directions * gates * (first + second)


def test_each_module_has_its_own():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.states = nn.Sequential(nn.Linear(5, 5), nn.GRU(5, 6, batch_first=True))
            self.states_too = nn.RNN(6, 2, batch_first=True)

        def forward(self, features):
            return self.states_too(self.states(features)[0])[0]

    network = Two()
    with torch.no_grad(), counting(network) as counter:
        network(torch.zeros(1, 10, 5))
    linear, gru, rnn = 10 * 25, 10 * 3 * (30 + 36), 10 * (12 + 4)
    assert counter.inside("states") == linear + gru
    assert (counter.inside("states.0"), counter.inside("states.1")) == (linear, gru)
    assert counter.inside("states_too") == rnn
    assert counter.inside("nothing") == 0
    assert counter.macs == linear + gru + rnn


def test_a_network_is_no_longer_watched_afterwards():
    layer = nn.LSTM(2, 2)
    counted(layer, torch.zeros(3, 1, 2))
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
