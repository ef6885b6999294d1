"""What is wrong with somebody else's encoder, in a sentence: what it raised, where, and on what it was given.

Nothing of what it raised is lost: it is the cause of the error that is raised here, and LEVERET_DEBUG=1 shows both.
"""

import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import FrameSummary, extract_tb

import torch

_LONGEST = 300  # letters of a foreign message; some libraries print a page
_OTHERS = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
_OURS = str(Path(__file__).parents[1])
_INTERPRETED = "The following operation failed in the TorchScript interpreter"  # the reason is in its last line


class AdapterError(ValueError):
    """A foreign encoder that cannot be used; the message says what it lacks."""


class EncoderFailedError(AdapterError):
    """Somebody else's encoder raised an error, the cause, on waves that it was given."""


@contextmanager
def blamed(spec: str, shape: Sequence[int], first: bool = False) -> Iterator[None]:
    """What is raised inside is told as a failure of the encoder, but for a want of memory.

    Args:
        spec: As the user wrote it.
        shape: Of the waves, (B, N).
        first: Whether it was never called before.

    Raises:
        EncoderFailedError: Something was raised.
    """
    try:
        yield
    except (AdapterError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever somebody else's code raises
        advice = (
            "it was tried on two waves of a second, and must take any length"
            if first
            else "lengths vary and so does the batch"
        )
        if ":" in spec:  # an encoder that was handed over as an object has no spec to check
            advice += "; LEVERET_DEBUG=1 shows all of it" if first else f"; `leveret check {spec}` tries many"
        raise EncoderFailedError(f"{spec} fails on waves of shape {tuple(shape)} ({told(error)}); {advice}") from error


def told(error: BaseException) -> str:
    """Where in somebody's own file an error was raised, its sort, and its first line: `mine.py:7: KeyError: 'x'`."""
    frames = own_frames(error)
    lines = str(error).strip().split("\n")
    text = (lines[-1] if lines[0].startswith(_INTERPRETED) else lines[0]).removeprefix(f"{type(error).__name__}: ")
    if not text and frames:  # an assertion without a message says something by its line
        text = frames[-1].line or ""
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{type(error).__name__}{': ' if text else ''}{text[:_LONGEST]}"


def own_frames(error: BaseException) -> list[FrameSummary]:
    """The frames of an error that lie in somebody's own files, not in a library, in Python or in leveret."""
    return [frame for frame in extract_tb(error.__traceback__)
            if not frame.filename.startswith((*_OTHERS, _OURS, "<"))]  # fmt: skip


def import_error(spec: str, path: Path, error: BaseException) -> AdapterError:
    """What a file raised while it was executed, with its line."""
    own = [frame.lineno for frame in own_frames(error) if Path(frame.filename) == path]
    line = own[-1] if own else None
    text = told(error)
    if isinstance(error, SyntaxError):
        line = error.lineno if error.filename == str(path) else line
        text = f"{type(error).__name__}: {error.msg}" if error.filename == str(path) else text
    text = text.removeprefix(f"{path.name}:{line}: ")
    advice = "install it, or mend the file" if isinstance(error, ImportError) else "mend the file"
    where = "" if line is None else f", line {line}"
    return AdapterError(f"{spec}: {path.name} cannot be imported{where}: {text}; {advice}")
