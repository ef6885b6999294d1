"""An encoder under examination: made ready as for embedding, every call counted, its failures told in a line.

Shapes: B batch, N samples, S sounds, D embedding.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.adapters.faults import AdapterError, EncoderFailedError, own_frames
from leveret.contracts import Encoder
from leveret.inference import for_inference
from leveret.loading import LoadedEncoder
from leveret.precision import exact_float32

FOREIGN_ERRORS = (
    RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError, OSError,
    ImportError, NameError, SyntaxError, MemoryError, BufferError,
)  # fmt: skip
"""What somebody else's code may raise; all of it is a finding, and nothing else is hidden."""

_DEPTH = 6  # of objects that hold objects that hold networks


@dataclass
class Examined:
    """An encoder on its device, and how it answers ordinary sounds.

    Attributes:
        encoder: The copy that embedding would use; somebody else's as it is.
        limit: Seconds that the examination may take.
        advance: Called with the seconds of audio of every call.
        sounds: Different sounds of a second (S, N), on the cpu.
        known: Their vectors (S, D), on the cpu.
        pace: Seconds that a second of audio takes.
        doubted: The failed check that makes any comparison of two vectors meaningless; empty while there is none.
    """

    loaded: LoadedEncoder
    encoder: Encoder
    device: torch.device
    limit: float
    advance: Callable[[float], None]
    sounds: Float[Tensor, "S N"]
    known: Float[Tensor, "S D"] = field(default_factory=lambda: torch.empty(0, 0))
    pace: float = 0.0
    doubted: str = ""
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, loaded: LoadedEncoder, device: torch.device, sounds: Float[Tensor, "S N"], limit: float) -> "Examined":
        """Made ready as for embedding."""
        encoder = for_inference(loaded.encoder) if loaded.encoder.convertible else loaded.encoder
        return cls(loaded, encoder.to(device), device, limit, lambda amount: None, sounds)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.encoder.sample_rate

    def vectors(self, waves: Float[Tensor, "B N"]) -> Float[Tensor, "B D"]:
        """As embedding would have them: a wave that is too short for the encoder is padded."""
        padded = F.pad(waves, (0, max(0, self.encoder.min_samples - waves.shape[1]))).to(self.device)
        with torch.inference_mode(), exact_float32():
            found: Tensor = self.encoder(padded).float().cpu()
        self.advance(waves.numel() / self.sample_rate)
        return found.clone()  # an encoder may hand out the same memory each time

    def spread(self) -> float:
        """The median distance between the vectors of two different sounds."""
        return float(torch.pdist(self.known).median())

    def seconds_for(self, audio_seconds: float) -> float:
        """How long that much audio will take."""
        return self.pace * audio_seconds

    def has_time_for(self, audio_seconds: float) -> bool:
        """Whether that much audio still fits into the limit."""
        return time.monotonic() - self.started + self.seconds_for(audio_seconds) <= self.limit


def told(error: BaseException) -> str:
    """An error in a line: its sort, its first sentence, and where in the user's own file it was raised.

    An encoder that cannot be used is told in leveret's own words, one that failed by what it raised.
    """
    if isinstance(error, EncoderFailedError) and error.__cause__ is not None:
        return told(error.__cause__)
    if isinstance(error, AdapterError):
        return str(error)
    own = own_frames(error)
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    text = str(error).strip().splitlines()[:1] or [own[-1].line or "" if own else ""]
    return f"{type(error).__name__}: {text[0][:160]}{place}"


def networks(encoder: nn.Module) -> dict[str, nn.Module]:
    """Every torch module of an encoder by name, also those that a plain object holds, which eval() never reaches."""
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for prefix, root in _roots("", encoder, _DEPTH, set()):
        for name, module in root.named_modules(prefix=prefix):
            if id(module) not in seen:
                seen.add(id(module))
                found[name] = module
    return found


def _roots(name: str, thing: Any, depth: int, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if id(thing) in seen or depth < 0 or isinstance(thing, (type, str, bytes, Tensor)):
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        yield name, thing
        for part, module in thing.named_children():
            yield from _roots(f"{name}.{part}".strip("."), module, depth, seen)
    if isinstance(thing, dict):
        inside = list(thing.items())
    elif isinstance(thing, (list, tuple)):
        inside = list(enumerate(thing))
    else:
        inside = [item for item in getattr(thing, "__dict__", {}).items() if not item[0].startswith("_")]
    for part, value in inside:
        if isinstance(value, (nn.Module, dict, list, tuple)) or hasattr(value, "__dict__"):
            yield from _roots(f"{name}.{part}".strip("."), value, depth - 1, seen)
