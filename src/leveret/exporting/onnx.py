"""`--to onnx`: one ONNX graph from waves (B, N) to vectors (B, D), front end included; B and N are free.

Any runtime with opset 20 runs it; leveret itself reads it back as `onnx:FILE`. The metadata hold the encoder's name,
the sample rate, the layer, the width and the digest of the weights.
Source: ONNX opset 20, the first with GELU as one operation. SAME padding is computed from the size of what comes, so it
is right for every length.
Departures: the logarithm is log(1 + x), which ONNX has no exact form of; it errs by less than 1e-5.
"""

from pathlib import Path
from typing import Any

import torch

from leveret.adapters.foreign import required
from leveret.exporting.folders import whole_file
from leveret.exporting.formats import Exported, Format, Reader
from leveret.exporting.graph import about, quiet, recorded
from leveret.loading import load_encoder
from leveret.version import __version__

OPSET = 20


def write_onnx(exported: Exported, path: Path) -> None:
    """Write the graph with its weights, one file.

    Raises:
        AdapterError: onnx or onnxscript cannot be imported.
    """
    model = as_onnx(recorded(exported.encoder), "wave", "vector")
    wave, vector = model.graph.input[0].type.tensor_type.shape.dim, model.graph.output[0].type.tensor_type.shape.dim
    wave[0].dim_param, wave[1].dim_param, vector[0].dim_param = "B", "N", "B"
    required("onnx.helper", "onnx", "--to onnx").set_model_props(model, about(exported))
    with whole_file(path) as file:
        file.write(model.SerializeToString())


def as_onnx(program: torch.export.ExportedProgram, input_name: str, output_name: str) -> Any:
    """A recorded function of one tensor as an onnx.ModelProto.

    Raises:
        AdapterError: onnx or onnxscript cannot be imported.
    """
    required("onnxscript", "onnx", "--to onnx")
    with quiet():
        converted = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False, input_names=[input_name],
            output_names=[output_name],
        )  # fmt: skip
    assert converted is not None, "only a call with a file name gives none"
    model = converted.model_proto
    _forget(model)
    model.producer_name, model.producer_version = "leveret", __version__
    return model


def _forget(model: Any) -> None:
    """Take out what torch notes of the program that was recorded: names of its files, shapes of its tensors."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    graph = model.graph
    for thing in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions):
        del thing.metadata_props[:]
        thing.doc_string = ""


def read_onnx(exported: Exported, path: Path) -> Reader:
    """The file as leveret's own adapter takes it."""
    return load_encoder(f"onnx:{path}").encoder


FORMATS = {"onnx": Format("an ONNX graph from waves to vectors, for onnxruntime and others", ".onnx", write_onnx)}
READERS = {"onnx": read_onnx}
