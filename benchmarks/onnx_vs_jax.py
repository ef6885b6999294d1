"""slowfast_nfnet_f0 as an ONNX graph in onnxruntime against the same network in JAX: parity first, interleaved timing.

    python benchmarks/onnx_vs_jax.py [--rounds 9] [--batch 8] [--frames 300] [--mels 80] [--threads 2]

The network alone, as in embed_vs_jax.py, which it shares reference, options and rounds with; JAX and onnxruntime both
start from what is standardised. onnxruntime's threads spin while they wait for each other; where other programs want
the cores that loses more than it gains, so it is timed both ways. Recording the graph takes half a minute.
"""

from collections.abc import Callable

from embed_vs_jax import OPTIONS, both_networks, compare, noise  # first: it narrows the cores before JAX counts them

# isort: split
import jax
import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from leveret.encoders.slowfast import SlowFastNFNet
from leveret.exporting.graph import record
from leveret.exporting.onnx import as_onnx
from leveret.inference import for_inference

TARGET = 2.2


class Network(nn.Module):
    """What comes after the standardisation, weights folded."""

    def __init__(self, encoder: SlowFastNFNet) -> None:
        super().__init__()
        self.encoder = for_inference(encoder).to(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T, F) -> (B, D)."""
        return self.encoder.network(x)


def session(graph: bytes, spinning: bool) -> onnxruntime.InferenceSession:
    """The graph on the processor, all optimisations on."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = OPTIONS.threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


def main() -> None:
    """Check, time, print a table."""
    torch.set_num_threads(OPTIONS.threads)
    jitted, encoder = both_networks()
    graph = as_onnx(record(Network(encoder), torch.randn(3, 1, 137, OPTIONS.mels), free=(0, 2)), "x", "vector")
    features = noise(1, (OPTIONS.batch, 1, OPTIONS.frames, OPTIONS.mels))
    channels_last = jax.device_put(np.ascontiguousarray(features.transpose(0, 2, 3, 1)))
    sessions = {
        "onnxruntime": session(graph.SerializeToString(), spinning=True),
        "onnxruntime, waiting threads sleep": session(graph.SerializeToString(), spinning=False),
    }
    for name, one in sessions.items():
        error = np.abs(one.run(None, {"x": features})[0] - np.asarray(jitted(channels_last))).max()
        print(f"{name}: {error:.1e} from JAX")
        assert error < 1e-5, error
    folded = for_inference(encoder)
    candidates: dict[str, Callable[[], object]] = {"JAX jit": lambda: jitted(channels_last).block_until_ready()}
    candidates |= {name: lambda one=one: one.run(None, {"x": features}) for name, one in sessions.items()}
    candidates["leveret, float32"] = lambda: folded.network(torch.from_numpy(features))
    compare(candidates)
    print(f"\ntarget: {TARGET}")


if __name__ == "__main__":
    main()
