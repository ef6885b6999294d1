"""What is exported, and what an export format owes: one function that writes an encoder to a path.

A file of the room declares its formats in a dict `FORMATS`; `entries("exporting", "FORMATS")` finds them, and
`leveret export --to` takes their names.
Source: ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from leveret.contracts import Encoder, EncoderConfig

Reader = Callable[[Tensor], Tensor]
"""Waves (B, N) to vectors (B, D), by what was written. A file whose format can be read back declares in a dict
`READERS`, under the format's name, a function from what was exported and the path to one."""


@dataclass(frozen=True)
class Exported:
    """An encoder of the room on its way out.

    Attributes:
        name: Key of the encoders room.
        config: The sizes it was built with.
        encoder: In eval mode, on the CPU, float32; no format may change it.
        extra: What the checkpoint's writer added; empty where there was no checkpoint.
        scorecard: Of a run folder, as plain values, for model cards; None where no run was named.
    """

    name: str
    config: EncoderConfig
    encoder: Encoder
    extra: Mapping[str, Any]
    scorecard: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Format:
    """A form in which an encoder leaves leveret.

    Attributes:
        what: One line for --help and `leveret list`.
        suffix: Of the file, with its dot; empty where a folder is written.
        write: Writes the encoder to a path that is not there. Atomic: a killed writer leaves nothing.
    """

    what: str
    suffix: str
    write: Callable[[Exported, Path], None]
