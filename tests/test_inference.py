"""The fast copy gives the same embeddings, and says what it needs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leveret.contracts import Encoder
from leveret.inference import for_inference
from leveret.layers import WSConv2d
from leveret.registry import look_up


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    encoder = look_up("encoders", "slowfast_nfnet_tiny").build()
    for name, parameter in encoder.named_parameters():
        if name.endswith("skip_gain"):
            parameter.data.fill_(0.5)
    return encoder  # type: ignore[no-any-return]


def waves(num_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, num_samples, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_folded_equals_unfolded(encoder: Encoder) -> None:
    fast, wave = for_inference(encoder), waves(16_000)
    assert not any(isinstance(module, WSConv2d) for module in fast.modules())
    assert not fast.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    encoder.eval()
    for layer in (None, *encoder.layers):
        torch.testing.assert_close(fast(wave, layer), encoder(wave, layer), rtol=0, atol=1e-5)


def test_the_original_stays_as_it_is(encoder: Encoder) -> None:
    encoder.train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    for_inference(encoder, torch.bfloat16)
    assert encoder.training
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert before.keys() == encoder.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_bfloat16_keeps_the_front_end_and_the_output_in_float32(encoder: Encoder) -> None:
    encoder.eval()
    fast, wave = for_inference(encoder, torch.bfloat16), waves(16_000)
    with torch.inference_mode():
        expected = encoder(wave)
        assert torch.equal(fast.frontend(wave), encoder.frontend(wave))
        assert {parameter.dtype for parameter in fast.parameters()} == {torch.bfloat16}
        for layer in (None, *encoder.layers):
            assert fast(wave, layer).dtype == torch.float32
        error = (fast(wave) - expected).norm() / expected.norm()
    assert 0 < error < 0.03  # eight bits of mantissa


def test_another_dtype_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"dtype torch\.float16 - float32 or bfloat16"):
        for_inference(encoder, torch.float16)


def test_an_encoder_without_parameters_passes_through() -> None:
    melstats = look_up("encoders", "melstats").build()
    assert torch.equal(for_inference(melstats, torch.bfloat16)(waves(16_000)), melstats(waves(16_000)))


def test_without_a_compiler_there_is_one_clear_message(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compile=True needs a C\+\+ compiler.*leave compile off"):
        for_inference(encoder, compile=True)


def test_a_compiler_named_in_cxx_has_to_exist(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="no 'no-such-compiler' on the path"):
        for_inference(encoder, compile=True)


COMPILED = """
import sys
import torch
from leveret import inference
from leveret.inference import for_inference
from leveret.layers import WSConv2d
from leveret.registry import look_up

inference.CALLS_BEFORE_COMPILING = 1
torch.set_num_threads(1)
torch.manual_seed(0)

def compared(name, lengths):
    encoder = look_up("encoders", name).build().eval()
    for key, parameter in encoder.named_parameters():
        if key.endswith("skip_gain"):
            parameter.data.fill_(0.5)
    compiled = for_inference(encoder, compile=True)
    with torch.inference_mode():
        for num_samples in lengths:
            wave = 0.1 * torch.randn(2, num_samples)
            torch.testing.assert_close(compiled(wave), encoder(wave), rtol=0, atol=1e-5)
        layer = list(encoder.layers)[1]
        torch.testing.assert_close(compiled(wave, layer), encoder(wave, layer), rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(compiled(wave), encoder(wave), rtol=0, atol=1e-5)
    assert compiled.layers == encoder.layers
    print(torch._dynamo.utils.counters["stats"]["unique_graphs"])

compared(sys.argv[1], map(int, sys.argv[2:]))
# as a training has them; inductor gets this shape wrong where the filters come to it with their channels last
conv = WSConv2d(8, 8, (3, 1), (1, 2), groups=2).to(memory_format=torch.channels_last)
maps = torch.randn(2, 8, 9, 8)
torch.testing.assert_close(torch.compile(conv, dynamic=False)(maps), conv(maps), rtol=0, atol=1e-5)
"""


SEVERAL = "16000 24000 5120 17001 24000 16000"  # the first length is compiled, and the one that comes again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lengths", "graphs"),
    [
        ("byola_cnn_dataset_tiny", SEVERAL, "2"),
        # a compiler takes a second for each of its kernels
        *(pytest.param(name, "16000", "1", marks=pytest.mark.soak) for name in ("nfnet_tiny", "slowfast_nfnet_tiny")),
    ],
)
def test_compiled_equals_eager_at_several_lengths(name: str, lengths: str, graphs: str) -> None:
    # In a process of its own: the shape checks of the test session are Python that the compiler would trace into.
    words = [sys.executable, "-c", COMPILED, name, *lengths.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [graphs]
