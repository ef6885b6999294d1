"""What is particular to two streams; the numbers are in test_golden.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from leveret.hollow import hollow
from leveret.registry import look_up


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    encoder = look_up("encoders", "slowfast_nfnet_tiny").build().eval()
    for name, parameter in encoder.named_parameters():
        if name.endswith("skip_gain"):
            parameter.data.fill_(0.5)
    return encoder  # type: ignore[no-any-return]


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [1, 5, 97, 300])
def test_the_mean_of_the_default_layer_over_time_is_the_embedding(tiny: torch.nn.Module, num_frames: int) -> None:
    features = torch.rand(2, 1, num_frames, 80)
    hidden = tiny.hidden(features)  # type: ignore[operator]
    num_slow = -(-num_frames // 16)  # four by the pool, four by the stem
    assert {value.shape[1] for value in hidden.values()} == {num_slow}
    torch.testing.assert_close(hidden["features"].mean(1), tiny.embed(features))  # type: ignore[operator]


@torch.no_grad()
def test_fast_comes_first(tiny: torch.nn.Module) -> None:
    x = torch.randn(1, 1, 64, 80)
    fast, slow = tiny.maps(x)["features"]  # type: ignore[operator]
    assert (fast.shape[1], slow.shape[1]) == (32, 64)
    assert fast.shape[2] == 4 * slow.shape[2]
    assert torch.equal(tiny.network(x)[:, :32], fast.mean((2, 3)))  # type: ignore[operator]


@torch.no_grad()
def test_level_does_not_matter(tiny: torch.nn.Module) -> None:
    features = torch.rand(1, 1, 100, 80)
    torch.testing.assert_close(
        tiny.embed(features),  # type: ignore[operator]
        tiny.embed(3 * features + 1),  # type: ignore[operator]
        rtol=1e-4,
        atol=1e-5,
    )


def test_stochastic_depth_acts_only_in_training(tiny: torch.nn.Module) -> None:
    x = torch.randn(2, 1, 40, 80)
    blocks = [module for module in tiny.modules() if hasattr(module, "drop_rate")]
    rates = [block.drop_rate for block in blocks]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.1 * 4 / 5)
    for block in blocks:
        block.drop_rate = 1.0
    try:
        in_eval, in_training = tiny.network(x), tiny.train().network(x)  # type: ignore[operator]
        off = {name: p.detach().clone() for name, p in tiny.named_parameters() if name.endswith("skip_gain")}
        for name, parameter in tiny.named_parameters():
            if name.endswith("skip_gain"):
                parameter.data.zero_()
        torch.testing.assert_close(tiny.eval().network(x), in_training)  # type: ignore[operator]
        assert not torch.allclose(in_eval, in_training, atol=1e-4)
        for name, parameter in tiny.named_parameters():
            if name in off:
                parameter.data.copy_(off[name])
    finally:
        for block, rate in zip(blocks, rates, strict=True):
            block.drop_rate = rate
        tiny.eval()


def count_and_multiplications(config: Any, num_frames: int, num_mels: int) -> tuple[int, int]:
    with hollow():
        network = config.build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.network(torch.empty(1, 1, num_frames, num_mels, device="meta"))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2


@pytest.mark.parametrize(("num_frames", "num_mels"), [(300, 80), (400, 128)])
def test_the_plain_control_is_as_large_and_as_costly(num_frames: int, num_mels: int) -> None:
    slowfast = count_and_multiplications(look_up("encoders", "slowfast_nfnet_f0"), num_frames, num_mels)
    config = look_up("encoders", "slowfast_nfnet_f0_plain")
    plain = count_and_multiplications(config, num_frames, num_mels)
    assert plain == pytest.approx(slowfast, rel=0.05)
    assert {*config.stem_kernels, *config.kernels, *config.second_kernels} == {(3, 3)}
    assert sum(config.depths) == sum(look_up("encoders", "slowfast_nfnet_f0").depths)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"final_width": 0}, 58_171_422),
        ({"fusion_channels": (128, 256, 512, 1024)}, 63_002_526),
        ({"fast_stem": ((3, 3),) * 4}, 62_970_654 + 240),
        ({"slow_input": "stride"}, 62_970_654),
        ({"gelu": "exact"}, 62_970_654),
    ],
)
def test_number_of_parameters_of_each_switch(changes: dict[str, Any], count: int) -> None:
    config = replace(look_up("encoders", "slowfast_nfnet_f0"), **changes)
    assert count_and_multiplications(config, 16, 16)[0] == count


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"slow_input": "stride"}, {"gelu": "exact"}])
def test_switches_without_weights_change_the_embedding(tiny: torch.nn.Module, changes: dict[str, Any]) -> None:
    other = replace(look_up("encoders", "slowfast_nfnet_tiny"), **changes).build().eval()
    other.load_state_dict(tiny.state_dict())
    x = torch.randn(1, 1, 97, 80)
    assert other.network(x).shape == tiny.network(x).shape  # type: ignore[operator]
    difference = (other.network(x) - tiny.network(x)).abs().max().item()  # type: ignore[operator]
    assert 1e-5 < difference < {"slow_input": 10, "gelu": 1e-2}[next(iter(changes))]


@torch.no_grad()
def test_exact_gelu_reaches_every_activation() -> None:
    config = replace(look_up("encoders", "slowfast_nfnet_tiny"), gelu="exact")
    with patched_gelu() as kinds:
        config.build().eval().network(torch.randn(1, 1, 40, 80))
    assert kinds == {"none"}


@contextmanager
def patched_gelu() -> Iterator[set[str]]:
    """The approximations that torch is asked for."""
    kinds, original = set(), functional.gelu

    def watched(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
        kinds.add(approximate)
        return original(x, approximate=approximate)

    functional.gelu = watched
    try:
        yield kinds
    finally:
        functional.gelu = original


@torch.no_grad()
def test_strided_input_is_every_fourth_frame(tiny: torch.nn.Module) -> None:
    other = replace(look_up("encoders", "slowfast_nfnet_tiny"), slow_input="stride").build().eval()
    x = torch.randn(1, 1, 9, 80)
    assert torch.equal(other.slow_input(x), x[:, :, [0, 4, 8]])
    assert torch.equal(tiny.slow_input(x)[:, :, 0], x[:, :, :3].amax(2))  # type: ignore[operator]


@torch.no_grad()
def test_controls_hold_what_is_left_of_the_network() -> None:
    x = torch.randn(1, 1, 97, 80)
    torch.manual_seed(0)
    apart = look_up("encoders", "slowfast_nfnet_tiny_no_fusion").build().eval()
    alone = look_up("encoders", "slowfast_nfnet_tiny_slow_only").build().eval()
    alone.stream.load_state_dict(apart.slow.state_dict())
    fast, slow = apart.network(x).split([32, 64], 1)
    assert torch.equal(alone.network(x), slow)  # nothing of the fast stream reaches the slow one
    assert torch.equal(apart.maps(x)["features"][0].mean((2, 3)), fast)
