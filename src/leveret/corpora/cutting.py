"""Random crops of one clip, cut in a worker: only the span that they cover is decoded.

Source: paper, section 3: crops of a clip are drawn independently. Of a clip that is short, pairs of crops are 0.6 of
its length (decision of leveret's own): two whole copies of one clip are no task. A single crop is the whole of it.
What is missing to the batch's length is silence on both sides, drawn for each crop, so that its place tells nothing of
which clip it is; its amount does, which is why a corpus of short clips wants a shorter crop, or joined clips.
Shapes: V crops, N samples.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leveret.audio import MIN_SECONDS, AudioError, AudioInfo, Source, opened, read_info, read_span, span_frames
from leveret.resampling import fit, resample

SHARE_OF_SHORT = 0.6
"""Length of each of several crops, of the clip's, at most."""

TRIVIAL_OVERLAP = 0.8
"""Two crops that share more of their length are nearly the same wave."""

_ONE_READ = 1.5  # so much more than the crops themselves is decoded rather than opening the file again


@dataclass(frozen=True, slots=True)
class CropShape:
    """What every example of a run has in common.

    Attributes:
        crops: V.
        samples: N of each crop.
        sample_rate: Hz.
    """

    crops: int
    samples: int
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Of each crop."""
        return self.samples / self.sample_rate

    @property
    def share(self) -> float:
        """Of a short clip that a crop of it may take."""
        return SHARE_OF_SHORT if self.crops > 1 else 1.0


@dataclass(frozen=True, slots=True)
class Span:
    """Audio that crops may lie in.

    Attributes:
        source: The file.
        start: Seconds into it.
        end: Seconds into it; None is its end.
        seconds: From start to end; None is not known yet.
    """

    source: Source
    start: float = 0.0
    end: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """What is to be cut.

    Attributes:
        spans: The clip, then those that are joined to it in this order, as long as the crop asks for more.
        places: Two numbers in [0, 1) for each crop (V, 2): where it lies in the clip, and in its silence.
    """

    spans: Sequence[Span]
    places: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cut:
    """The crops of one example.

    Attributes:
        waves: (V, N); silence where the clip is bad.
        seconds: Of the spans that were looked at.
        bad: Number of the span -> why it cannot be used; where that is the clip itself there are no crops.
        trivial: Pairs of crops that overlap by more than TRIVIAL_OVERLAP.
        padded: Whether the crops are shorter than asked for.
    """

    waves: NDArray[np.float32]
    seconds: Sequence[float] = ()
    bad: Mapping[int, str] = field(default_factory=dict)
    trivial: int = 0
    padded: bool = False


@dataclass(frozen=True, slots=True)
class _Laid:
    """A span on the time line of an example.

    Attributes:
        fresh: Its file, where it had to be opened for its length and nothing has been read of it yet.
    """

    span: Span
    at: float
    seconds: float
    fresh: list[tuple[Any, AudioInfo]] = field(default_factory=list)


def cut_all(examples: Sequence[Example], shape: CropShape) -> list[Cut]:
    """Each example's crops."""
    return [cut(example, shape) for example in examples]


def cut(example: Example, shape: CropShape) -> Cut:
    """The crops of one example, the same wherever and whenever they are cut."""
    with ExitStack() as files:
        return _cut(example, shape, files)


def _cut(example: Example, shape: CropShape, files: ExitStack) -> Cut:
    """The crops of one example; files that are opened for their length stay open until they are read."""
    bad: dict[int, str] = {}
    line: list[_Laid] = []
    seconds: list[float] = []
    total = 0.0
    for k, span in enumerate(example.spans):
        try:
            laid = _laid(span, total, files)
        except AudioError as error:
            bad[k] = str(error)
            length = float("nan")
            if k == 0:
                break
        else:
            line.append(laid)
            length = laid.seconds
            total += length
        seconds.append(length)
        if shape.share * total >= shape.seconds:
            break
    if 0 in bad:
        return Cut(np.zeros((shape.crops, shape.samples), np.float32), seconds, bad)
    width = min(shape.seconds, shape.share * total)
    num_samples = min(shape.samples, round(width * shape.sample_rate))
    starts = example.places[:, 0] * max(0.0, total - width)
    waves = np.zeros((shape.crops, shape.samples), np.float32)
    try:
        for wave, heard, place in zip(
            waves, _heard(line, starts, width, num_samples, shape.sample_rate), example.places[:, 1], strict=True
        ):
            first = int(place * (shape.samples - num_samples + 1))
            wave[first : first + num_samples] = heard
    except _BadSpanError as error:
        number = next(k for k, span in enumerate(example.spans) if span is error.span)
        if number == 0:
            return Cut(np.zeros_like(waves), seconds, {**bad, 0: str(error)})
        rest = [span for k, span in enumerate(example.spans) if k != number]
        without = cut(Example(rest, example.places), shape)
        shifted = {k + (k >= number): why for k, why in without.bad.items()}
        return Cut(without.waves, seconds, {**bad, **shifted, number: str(error)}, without.trivial, without.padded)
    return Cut(waves, seconds, bad, _num_trivial(starts, width), num_samples < shape.samples)


def span_seconds(span: Span) -> float:
    """Length of a span, by the file's header where it is not known.

    Raises:
        AudioError: There is no such audio.
    """
    return span.seconds if span.seconds is not None else _length(span, read_info(span.source))


def _length(span: Span, info: AudioInfo) -> float:
    begin, stop = span_frames(info, span.start, span.end, span.source)
    return (stop - begin) / info.sample_rate


def _laid(span: Span, at: float, files: ExitStack) -> _Laid:
    """The span at its place; to open it twice, for its length and for its samples, takes a fifth of a crop's time."""
    if span.seconds is not None:
        return _Laid(span, at, span.seconds)
    held = files.enter_context(opened(span.source))
    return _Laid(span, at, _length(span, held[1]), [held])


class _BadSpanError(ValueError):
    """A file that broke while it was decoded."""

    def __init__(self, span: Span, why: str) -> None:
        super().__init__(why)
        self.span = span


def _heard(
    line: Sequence[_Laid], starts: NDArray[np.float64], width: float, num_samples: int, rate: int
) -> list[NDArray[np.float32]]:
    first, last = float(starts.min()), float(starts.max()) + width
    if last - first > _ONE_READ * width * len(starts):
        return [fit(_read(line, float(start), float(start) + width, rate), num_samples) for start in starts]
    whole = _read(line, first, last, rate)
    begins = [round((float(start) - first) * rate) for start in starts]
    return [fit(whole[begin : begin + num_samples], num_samples) for begin in begins]


def _read(line: Sequence[_Laid], begin: float, stop: float, rate: int) -> NDArray[np.float32]:
    """What is heard between two moments of the time line."""
    parts = [np.zeros(0, np.float32)]  # between two scraps nothing may be left
    for laid in line:
        first, last = max(begin, laid.at), min(stop, laid.at + laid.seconds)
        # what is left of a neighbour is no window of audio by itself; it is silence at the end
        if last - first < MIN_SECONDS and len(line) > 1:
            continue
        offset = laid.span.start - laid.at
        try:
            held = laid.fresh.pop() if laid.fresh else None
            parts.append(resample(*read_span(laid.span.source, first + offset, last + offset, held), rate))
        except AudioError as error:
            raise _BadSpanError(laid.span, str(error)) from error
    return np.concatenate(parts[1:]) if len(parts) > 2 else parts[-1]


def _num_trivial(starts: NDArray[np.float64], width: float) -> int:
    near = (1 - TRIVIAL_OVERLAP) * width
    return sum(abs(one - other) < near for one, other in combinations(starts.tolist(), 2))
