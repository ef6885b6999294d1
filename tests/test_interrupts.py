"""Ctrl-C and SIGTERM: the first is noted, a second one ends the work as ever, and nothing stays behind."""

import os
import signal
import time

import pytest

from leveret.interrupts import stop_wish, uninterrupted


@pytest.fixture(autouse=True)
def in_the_foreground():
    """A shell starts what it puts in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted(number):
    before = signal.getsignal(number)
    with stop_wish() as wish:
        assert wish.came is None
        os.kill(os.getpid(), number)
        assert wish.came is number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def interrupt(seconds=5):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(seconds)  # another thread may get it first and hand it on


def test_a_second_ctrl_c_interrupts_at_once():
    with stop_wish() as wish:
        os.kill(os.getpid(), signal.SIGINT)
        assert wish.came is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError, match="full"), stop_wish():
        raise OSError("full")
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_waits_for_what_it_would_break():
    done = False
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with uninterrupted():
            interrupt(0.1)
            done = True
    assert done
