"""Ctrl-C and SIGTERM as a wish that work looks at when it can stop without loss."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Whether the user wants the work to end.

    Attributes:
        came: Which signal came; None as long as there was none.
    """

    came: signal.Signals | None = None


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """While this lasts the first signal is noted, and a second one ends the process as ever.

    Another thread than the main one gets no signals, and notes none.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        wish.came = signal.Signals(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    for one in _SIGNALS:
        before[one] = signal.signal(one, note)
    try:
        yield wish
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While this lasts the first signal waits, and acts afterwards: for what a signal in the middle would break."""
    with stop_wish() as wish:
        yield
    if wish.came is not None:
        signal.raise_signal(wish.came)
