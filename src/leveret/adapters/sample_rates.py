"""The sample rate of somebody else's encoder: said by itself, in hertz, and never guessed."""

from numbers import Integral
from typing import Any

from leveret.adapters.faults import AdapterError

LOWEST = 1_000
"""Hz; nothing that hears less than 500 Hz is an encoder of sound, so what is below was meant as kHz."""

_HIGHEST_KILOHERTZ = 192
_OTHER_NAMES = ("sampling_rate", "samplerate", "sampleRate", "sample_rate_hz", "SAMPLE_RATE", "sr", "fs", "rate")


def plausible_rate(spec: str, rate: float) -> int:
    """The rate of an encoder, whoever says it.

    Raises:
        AdapterError: It is too low to be one.
    """
    if rate < LOWEST:
        meant = f"did you mean {round(1000 * rate)}?" if 1 <= rate <= _HIGHEST_KILOHERTZ else f"{LOWEST} or more"
        raise AdapterError(f"{spec}: sample_rate is {rate}; hertz were expected, {meant}")
    return int(rate)


def rate_of(spec: str, thing: Any, name: str) -> int:
    """The `sample_rate` of what a user wrote: an integer, or a float that is one.

    Args:
        name: What the thing is called in errors.

    Raises:
        AdapterError: There is none, or it is no rate.
    """
    rate = getattr(thing, "sample_rate", None)
    if rate is None:
        other = next((one for one in _OTHER_NAMES if hasattr(thing, one)), "")
        found = f" but {other} = {getattr(thing, other)!r}: call that sample_rate" if other else ""
        raise AdapterError(
            f"{spec}: {name} has no sample_rate (Hz){found}; it is never guessed, since a wrong rate would only show "
            "as a low score"
        )
    number = isinstance(rate, Integral | float) and not isinstance(rate, bool)
    if not number or not (rate < LOWEST or float(rate).is_integer()):
        raise AdapterError(f"{spec}: sample_rate is {rate!r}; a whole number of hertz was expected, such as 16000")
    return plausible_rate(spec, rate)
