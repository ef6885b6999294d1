"""`--to torch`: a program of torch.export from waves (B, N) to vectors (B, D), front end included; B and N are free.

    torch.export.load("FILE.pt2").module()(waves)

Neither leveret nor the source of the network is needed. `leveret.json` in the file says what it is.
Source: torch.export.
Departures: a wav2vec 2.0 program refuses waves that give it a single frame (below 35 ms).
"""

import json
from pathlib import Path

import torch

from leveret.exporting.folders import whole_file
from leveret.exporting.formats import Exported, Format, Reader
from leveret.exporting.graph import about, quiet, recorded

ABOUT = "leveret.json"


def write_torch(exported: Exported, path: Path) -> None:
    """Write the program with its weights, one file."""
    program = recorded(exported.encoder)
    with whole_file(path) as file, quiet():
        torch.export.save(program, file, extra_files={ABOUT: json.dumps(about(exported))})


def read_torch(exported: Exported, path: Path) -> Reader:
    """The file as torch reads it."""
    with quiet():
        program = torch.export.load(path)
    return program.module()


FORMATS = {
    "torch": Format("a torch.export program from waves to vectors, for torch without leveret", ".pt2", write_torch)
}
READERS = {"torch": read_torch}
