"""Embedding speed of slowfast_nfnet_f0 against the same network in JAX: parity first, then interleaved timing.

    python benchmarks/embed_vs_jax.py [--rounds 9] [--batch 8] [--frames 300] [--mels 80] [--threads 2]

All candidates live in one process and take turns; the figures are medians of the rounds. JAX starts from what is
standardised, leveret from the raw log-mel. bfloat16 pays only where the processor has instructions for it (avx512_bf16,
amx); elsewhere it is emulated and slower than float32. Compiling takes some minutes the first time.
"""

import argparse
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--mels", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


OPTIONS = parse()
if hasattr(os, "sched_setaffinity"):  # XLA has no option for its threads but the cores it may use
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: OPTIONS.threads])

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from jax_slowfast import slowfast  # noqa: E402

from leveret.encoders.slowfast import ENCODERS, SlowFastNFNet  # noqa: E402
from leveret.inference import for_inference  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "golden_slowfast.npz"
Array = np.ndarray


def noise(seed: int, shape: tuple[int, ...]) -> Array:
    """The rule of tests/golden/README.md."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    uniform = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
    return ((uniform - np.float32(0.5)) * np.float32(3.4641016)).reshape(shape)


def filled(path: str, shape: tuple[int, ...]) -> Array:
    """A parameter by the rule."""
    z, last = noise(zlib.crc32(path.encode()), shape), path.rsplit("/", 1)[1]
    if last == "w":
        return z * (np.float32(0.05) if len(shape) == 4 else np.float32(1) / np.sqrt(np.float32(shape[0])))
    start = {"gain": 1.0, "bias": 0.0, "b": 0.0, "skip_gain": 0.5}[last]
    return np.asarray(np.float32(start) + np.float32(0.1) * z, np.float32)


def copy_into(encoder: SlowFastNFNet, parameters: dict[str, dict[str, Array]]) -> None:
    """The parameters of the JAX network in ours; both list convolutions by stream in the order of creation."""

    def fill(prefix: str, module: torch.nn.Module, gain: bool = True) -> None:
        values = parameters[prefix]
        weight = values["w"].transpose(3, 2, 0, 1) if values["w"].ndim == 4 else values["w"].T
        module.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        module.bias.data.copy_(torch.from_numpy(values["bias" if gain else "b"]))
        if gain:
            module.gain.data.copy_(torch.from_numpy(values["gain"]))

    root = "slow_fast_nf_net/~/"
    for name, stream in (("NFNet", encoder.fast), ("NFNet_1", encoder.slow)):
        for n in range(4):
            fill(f"{root}{name}/~/stem_conv{n}", stream.stem[2 * n])
        fill(f"{root}{name}/~/final_conv", stream.final_conv)
        for n, block in enumerate(block for stage in stream.stages for block in stage):
            path = f"{root}{name}/~/nf_block" + (f"_{n}" if n else "")
            block.skip_gain.data.copy_(torch.from_numpy(parameters[path]["skip_gain"]))
            for conv in ("conv0", "conv1", "conv1b", "conv2", "conv_shortcut"):
                if getattr(block, conv) is not None:
                    fill(f"{path}/~/{conv}", getattr(block, conv))
            for linear in ("linear", "linear_1"):
                fill(f"{path}/~/squeeze_excite/~/{linear}", getattr(block.squeeze_excite, linear), gain=False)
    for n, fusion in enumerate(encoder.fusions):
        fill(f"{root}fuse_fast2_slow{f'_{n}' if n else ''}/~/conv_f2s", fusion.conv_f2s)


def golden_parameters(init: Callable[..., object]) -> dict[str, dict[str, Array]]:
    """All of the JAX network, by the rule."""
    shapes = jax.eval_shape(init, jax.random.PRNGKey(0), np.zeros((1, 97, 64, 1), np.float32))
    return {
        module: {name: filled(f"{module}/{name}", leaf.shape) for name, leaf in leaves.items()}
        for module, leaves in shapes.items()
    }


def both_networks() -> tuple[Callable[[object], jax.Array], SlowFastNFNet]:
    """The network in JAX, compiled, and ours with the same parameters, both found to be that of the golden numbers."""
    init, apply = slowfast()
    parameters = golden_parameters(init)
    on_device = jax.device_put(parameters)
    jitted = jax.jit(apply)
    encoder = ENCODERS["slowfast_nfnet_f0"].build().eval()
    copy_into(encoder, parameters)

    golden = np.load(GOLDEN)
    for key, seed, shape in (("b", 102, (2, 300, 80, 1)), ("c", 103, (1, 97, 64, 1))):
        x = noise(seed, shape)
        with torch.no_grad():
            ours = encoder.network(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
        for who, output in (("JAX", np.asarray(jitted(on_device, x))), ("leveret", ours)):
            error = np.abs(output - golden[f"slowfast/{key}/out_f64"]).max()
            print(f"parity of {who} on input {key}: {error:.1e}")
            if not error < 1e-5:
                sys.exit(f"{who} is not the network of the golden numbers")
    return lambda x: jitted(on_device, x), encoder


def compare(candidates: dict[str, Callable[[], object]]) -> None:
    """Time the candidates in turn, print a table of their medians; the first is what the others are compared with."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    with torch.inference_mode():
        for run in candidates.values():  # compile
            run()
        for _ in range(OPTIONS.rounds):
            for name, run in candidates.items():
                start = perf_counter()
                run()
                seconds[name].append(perf_counter() - start)
    base, *_ = seconds.values()
    setting = f"{OPTIONS.batch} x {OPTIONS.frames} x {OPTIONS.mels}, {OPTIONS.threads} threads"
    print(f"\n| {setting} | ms a batch | least | x JAX | of the least |")
    print("| --- | --- | --- | --- | --- |")
    for name, times in seconds.items():
        middle, least = median(times), min(times)
        ratios = f"{median(base) / middle:.2f} | {min(base) / least:.2f}"
        print(f"| {name} | {1e3 * middle:.0f} | {1e3 * least:.0f} | {ratios} |")


def main() -> None:
    """Check, time, print a table."""
    torch.set_num_threads(OPTIONS.threads)
    jitted, encoder = both_networks()
    features = torch.from_numpy(noise(1, (OPTIONS.batch, 1, OPTIONS.frames, OPTIONS.mels)))
    channels_last = jax.device_put(features.permute(0, 2, 3, 1).contiguous().numpy())
    encoders = {
        "eager, filters standardised in every call": encoder,
        "eager float32": for_inference(encoder),
        "compiled float32": for_inference(encoder, compile=True),
        "eager bfloat16": for_inference(encoder, torch.bfloat16),
        "compiled bfloat16": for_inference(encoder, torch.bfloat16, compile=True),
    }
    candidates: dict[str, Callable[[], object]] = {"JAX jit": lambda: jitted(channels_last).block_until_ready()}
    compare(candidates | {name: lambda module=module: module.embed(features) for name, module in encoders.items()})


if __name__ == "__main__":
    main()
