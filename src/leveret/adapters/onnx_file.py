"""`onnx:FILE[#rate=HZ]`: an ONNX graph from waves (B, N) to vectors (B, D), run by onnxruntime.

The sample rate stands in the file's metadata under `sample_rate`, or in the spec; it is never guessed. A graph with a
fixed batch of 1 is called wave by wave; one with a fixed N gets windows of that length. The first output is taken, or
the one that `#output=NAME` names.
Source: onnxruntime. A graph is data: opening one runs no code of its author.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, get_num_threads

from leveret.adapters.faults import AdapterError
from leveret.adapters.foreign import (
    Foreign,
    WaveEncoder,
    existing_file,
    first_line,
    options_of,
    required,
    whole_number,
)
from leveret.registry import unknown_name


class OnnxEncoder(WaveEncoder):
    """A session of onnxruntime on the processor."""

    def __init__(self, session: Any, spec: str, sample_rate: int, output: str) -> None:
        super().__init__(spec, sample_rate)
        self.session = session
        (given,) = session.get_inputs()
        self.given, self.output = given.name, output
        rows, samples = given.shape
        self.one_by_one = rows == 1
        if isinstance(samples, int):
            self.min_samples = self.max_samples = samples
        self.measure()

    def vectors(self, wave: Float[Tensor, "B N"], layer: str) -> Any:
        """What the graph gives, wave by wave where it takes one only."""
        array = wave.cpu().numpy()
        parts = np.split(array, len(array)) if self.one_by_one else [array]
        return np.concatenate([self.session.run([self.output], {self.given: part})[0] for part in parts])


def onnx_encoder(rest: str) -> Foreign:
    """FILE[#rate=HZ,output=NAME], an ONNX graph from waves (B, N) to vectors (B, D).

    Raises:
        AdapterError: No such file, no ONNX graph, none of that shape, or no sample rate.
    """
    spec = f"onnx:{rest}"
    target, options = options_of(spec, rest, ("rate", "output"))
    path = existing_file(spec, target, "onnx:model.onnx#rate=16000")
    ort = required("onnxruntime", "onnx", spec)
    errors = required("onnxruntime.capi.onnxruntime_pybind11_state", "onnx", spec)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = get_num_threads()
    settings.log_severity_level = 4  # what is wrong comes as an exception
    broken = (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented,
              errors.RuntimeException)  # fmt: skip
    try:
        session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except broken as error:
        raise AdapterError(f"{spec}: {path} is no ONNX graph that onnxruntime can run ({first_line(error)})") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise AdapterError(f"{spec}: the graph takes ({found}); expected one tensor(float) of shape (B, N)")
    outputs = [one.name for one in session.get_outputs()]
    output = options.get("output", outputs[0])
    if output not in outputs:
        raise AdapterError(f"{spec}: {unknown_name('output', output, outputs)}")
    rate = whole_number(spec, options, "rate") or _rate_of(session)
    if rate is None:
        raise AdapterError(
            f"{spec}: {path} has no sample_rate in its metadata; say it, in Hz: onnx:{target}#rate=16000"
        )
    encoder = OnnxEncoder(session, spec, rate, output).eval()
    # large weights lie beside the graph, in files that start with its name
    beside = sorted(one for one in path.parent.iterdir() if one.name.startswith(path.name) and one != path)
    sources = [path, *(one for one in beside if one.is_file())]
    return Foreign(encoder, path.stem, sources, {"output": output, "rate": rate})


def _rate_of(session: Any) -> int | None:
    text = session.get_modelmeta().custom_metadata_map.get("sample_rate", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


ADAPTERS = {"onnx": onnx_encoder}
