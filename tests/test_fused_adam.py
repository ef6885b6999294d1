"""It is torch.optim.Adam, without what that brings along."""

import subprocess
import sys

import pytest
import torch

from leveret.fused_adam import FusedAdam


def parameters():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(*shape, generator=generator).requires_grad_() for shape in ((3, 4), (5,), (2, 3, 3, 3))]


def test_equals_torch_where_a_parameter_has_no_gradient_at_first():
    ours, torchs = parameters(), parameters()
    ours[2] = ours[2].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer, expected = FusedAdam(ours), torch.optim.Adam(torchs, betas=(0.9, 0.999), eps=1e-8, fused=True)
    for step in range(5):
        for one in (optimizer, expected):
            one.zero_grad()
        for number, pair in enumerate(zip(ours, torchs, strict=True)):
            if number == 1 and step < 2:  # it is not moved, and its count begins later
                continue
            for parameter in pair:
                ((step + 1) * parameter.square()).sum().backward()
        rate = 0.1 / (step + 1)
        expected.param_groups[0]["lr"] = rate
        expected.step()
        with torch.no_grad():
            optimizer.step(rate)
        for one, other in zip(ours, torchs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    assert [optimizer.state[parameter]["step"].item() for parameter in ours] == [5, 3, 5]
    for one, other in zip(ours, torchs, strict=True):
        for slot, value in expected.state[other].items():
            torch.testing.assert_close(optimizer.state[one][slot], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gradient", [None, torch.ones(2)])
def test_gradients_are_forgotten(gradient):
    (parameter,) = optimizer_parameters = [torch.zeros(2)]
    parameter.grad = gradient
    FusedAdam(optimizer_parameters).zero_grad()
    assert parameter.grad is None


def test_a_process_that_trains_does_not_wait_for_torchs_compiler():
    script = (
        "import sys, torch\n"
        "from leveret.fused_adam import FusedAdam\n"
        "weight = torch.ones(2, requires_grad=True)\n"
        "optimizer = FusedAdam([weight])\n"
        "weight.sum().backward()\n"
        "with torch.no_grad():\n"
        "    optimizer.step(0.1)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "assert weight.tolist() != [1, 1]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
