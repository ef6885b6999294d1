"""What a vector must depend on: the whole length of the audio, up to its ends; and what it must bear.

Shapes: B batch, N samples, D embedding.
"""

from itertools import pairwise

import torch
from torch import Tensor

from leveret.checking.examined import FOREIGN_ERRORS, Examined, told
from leveret.drift import moved, share
from leveret.findings import Finding
from leveret.stimuli import LOUD, band_noise, hard_sounds, noise, with_energy

LENGTHS = (0.3, 0.5, 1.0, 3.0, 10.0, 30.0)
"""Seconds."""

QUICK_LENGTHS = (0.3, 1.0, 3.0)

SEEN = 1e-6
"""A vector that moves by less than this share of its length has not seen the change."""

_TAIL = 0.1  # of the wave
_HOP_SECONDS = 0.025  # networks whose windows are not padded lose up to one of 25 ms
_JUMP = 2.0  # no two vectors of one length are further apart
_BANDS = 8
_DEAF = 0.01  # of the change that the best-heard band makes


def check_hard_sounds(examined: Examined) -> Finding:
    """Silence, full scale, a click, DC and very quiet sound give finite vectors."""
    bad, why = [], []
    sounds = hard_sounds(examined.sample_rate)
    for name, wave in sounds.items():
        try:
            vectors = examined.vectors(torch.from_numpy(wave)[None])
        except FOREIGN_ERRORS as error:
            bad.append(name)
            why.append(told(error))
        else:
            if not vectors.isfinite().all():
                bad.append(name)
                sort = "NaN" if vectors.isnan().any() else "infinite values"
                why.append(f"{sort} in {int((~vectors.isfinite()).sum())} of {vectors.numel()} numbers")
    expected = "finite numbers"
    if bad:
        return Finding(
            "fail", "hard sounds", "; ".join(f"{name}: {reason}" for name, reason in zip(bad, why, strict=True)),
            expected, "floor what is divided by and what goes into a logarithm (clamp_min(1e-6))",
        )  # fmt: skip
    return Finding("pass", "hard sounds", f"finite on {', '.join(sounds)}", expected)


def check_lengths(examined: Examined, lengths: tuple[float, ...]) -> list[Finding]:
    """Every length gives a vector of the one width, and its last tenth counts."""
    failed, deaf, left_out, heard = [], [], [], []
    for seconds in lengths:
        num_samples = round(seconds * examined.sample_rate)
        if not examined.has_time_for(2 * seconds):
            left_out.append(f"{seconds:g} s (about {examined.seconds_for(2 * seconds):.0f} s of work)")
            continue
        tail = round((1 - _TAIL) * num_samples)
        try:
            base = examined.vectors(_wave(num_samples, 0, 0))
            loud = examined.vectors(_wave(num_samples, tail, num_samples))
        except FOREIGN_ERRORS as error:
            failed.append(f"{seconds:g} s: {told(error)}")
            continue
        heard.append(f"{seconds:g}")
        if base.shape != (1, examined.encoder.embed_dim):
            failed.append(f"{seconds:g} s: shape {tuple(base.shape)}")
        elif not base.isfinite().all():
            failed.append(f"{seconds:g} s: not finite")
        elif not examined.doubted and moved(base, loud) <= SEEN:
            deaf.append(seconds)
    found = [_lengths_finding(examined, failed, heard)] if heard or failed else []
    if left_out:
        found.append(Finding("note", "long clips", f"not tried, for want of time: {', '.join(left_out)}",
                             advice="raise --limit to try them"))  # fmt: skip
    if deaf:
        always = len(deaf) == len(heard)
        found.append(Finding(
            "fail" if always or min(deaf) <= 3 else "warn", "whole clip",
            f"the last tenth of a clip of {', '.join(f'{seconds:g}' for seconds in deaf)} s changes nothing",
            "every part of the clip counts",
            "pad the end instead of cutting it" if always else "it reads only the beginning: use windows (--window)",
        ))  # fmt: skip
    elif heard and not examined.doubted:
        found.append(Finding("pass", "whole clip", f"the last tenth counts at {heard[0]} to {heard[-1]} s",
                             "every part of the clip counts"))  # fmt: skip
    return found


def _lengths_finding(examined: Examined, failed: list[str], heard: list[str]) -> Finding:
    expected = f"a vector of {examined.encoder.embed_dim} numbers at every length"
    if failed:
        return Finding("fail", "lengths", "; ".join(failed), expected,
                       "pad short waves, and pool over whatever time there is")  # fmt: skip
    shortest = examined.encoder.min_samples / examined.sample_rate
    if shortest > min(map(float, heard)):
        return Finding("warn", "lengths", f"clips under {shortest:g} s are padded with zeros to that", expected,
                       "what is padded weighs in the mean over time; prefer tasks with longer clips")  # fmt: skip
    return Finding("pass", "lengths", f"{', '.join(heard)} s", expected)


def check_ends(examined: Examined) -> list[Finding]:
    """How much of the first and the last of a wave changes nothing, at a round length and at one that is a multiple of
    nothing.
    """  # noqa: D205
    rate = examined.sample_rate
    worst = {"start": (0, 0), "end": (0, 0)}
    for num_samples in (rate, rate + 77):
        try:
            base = examined.vectors(_wave(num_samples, 0, 0))
        except FOREIGN_ERRORS:
            continue  # check_one_more tells
        for side in worst:
            blind = 0
            for part in _ladder(num_samples, rate, side):
                first, stop = (0, part) if side == "start" else (num_samples - part, num_samples)
                if moved(base, examined.vectors(_wave(num_samples, first, stop))) > SEEN:
                    break
                blind = part
            worst[side] = max(worst[side], (blind, num_samples))
    return [_end_finding(side, *worst[side], rate) for side in worst]


def _ladder(num_samples: int, rate: int, side: str) -> list[int]:
    """Samples at an end, ever more of them. A Hann window weighs the very first sample with nothing, rightly."""
    parts = [round(seconds * rate) for seconds in (0.001, 0.005, 0.01, _HOP_SECONDS, 0.05)]
    return [*([1] if side == "end" else []), *parts, round(_TAIL * num_samples)]


def _end_finding(side: str, blind: int, num_samples: int, rate: int) -> Finding:
    name = f"{'first' if side == 'start' else 'last'} samples"
    expected = "a change at the very end is seen" if side == "end" else "a change in the first millisecond is seen"
    if not blind:
        return Finding("pass", name, "they count", expected)
    amount = "sample changes" if blind == 1 else f"{1000 * blind / rate:.3g} ms change"
    seen = f"the {'first' if side == 'start' else 'last'} {amount} nothing, at {num_samples} samples"
    if blind >= round(_TAIL * num_samples):
        return Finding("fail", name, seen, expected, "it cuts the wave; read all of it")
    advice = "pad the end by a window" if side == "end" else "pad the start by half a window"
    if blind == 1:
        advice = "look for an off-by-one crop, such as wave[:, :-1]"
    elif blind <= round(_HOP_SECONDS * rate):
        advice += "; usual for networks that do not pad, and harmless for clips of a second or more"
    return Finding("warn", name, seen, expected, advice)


def check_one_more(examined: Examined) -> Finding:
    """A sample more or fewer neither changes the width nor makes the vector jump."""
    rate = examined.sample_rate
    long = torch.from_numpy(LOUD * noise(6, rate + rate // 100))[None]  # steady, so that no length is special
    base = examined.vectors(long[:, :rate])
    failed, jumps, errors = [], [], []
    for more in (-rate // 200 - 1, -1, 1, rate // 200 + 1):
        try:
            vectors = examined.vectors(long[:, : rate + more])
        except FOREIGN_ERRORS as error:
            failed.append(rate + more)
            errors.append(told(error))
            continue
        if vectors.shape != base.shape:
            failed.append(rate + more)
            errors.append(f"shape {tuple(vectors.shape)}")
        else:
            # the mean over time of an untrained network is small, and a frame more moves it by most of its length
            usual = max(examined.spread(), float(base.norm()), 1e-12)
            jumps.append((float((vectors - base).norm()) / usual, more))
    if failed:
        seen = f"at {', '.join(map(str, failed))} samples, where {rate} work: {errors[0]}"
        return Finding("fail", "one more", seen, "every length is taken",
                       "do not reshape by a fixed hop: pad the wave to a multiple of it")  # fmt: skip
    jump, more = max(jumps)
    expected = f"under {share(_JUMP)}"
    amount = f"{abs(more)} sample{'' if abs(more) == 1 else 's'} {'more' if more > 0 else 'fewer'}"
    seen = f"{amount}: the vector moves by {share(jump)} of its length"
    if examined.doubted:
        return Finding("pass", "one more", "every length near a second is taken", "every length is taken")
    if not jump <= _JUMP:
        return Finding("warn", "one more", seen, expected,
                       "look for padding that weighs in, or for positions counted from the end")  # fmt: skip
    return Finding("pass", "one more", seen, expected)


def check_rate(examined: Examined) -> Finding:
    """The rate is a plausible one, and what is heard reaches well into the band that it promises."""
    rate = examined.sample_rate
    expected = "4000 to 192000 Hz, and something heard above a quarter of it"
    if not 4000 <= rate <= 192_000:
        return Finding("fail", "sample rate", f"{rate} Hz", expected, "set sample_rate to the Hz it was trained with")
    base = examined.vectors(_wave(rate, 0, 0))
    edges = [band * rate / (2 * _BANDS) for band in range(_BANDS + 1)]
    changes = []
    for low, high in pairwise(edges):
        band = torch.from_numpy(band_noise(low, high, rate, rate))[None] + _wave(rate, 0, 0)
        changes.append(float((examined.vectors(band) - base).norm()))
    heard = [high for high, change in zip(edges[1:], changes, strict=True) if change > _DEAF * max(changes)]
    if not heard or not max(changes) > 0:
        return Finding("warn", "sample rate", f"{rate} Hz, but no band of noise changes the vector", expected,
                       "see the findings on vectors")  # fmt: skip
    seen = f"{rate} Hz; it hears up to {max(heard):.0f} Hz"
    if max(heard) < rate / 4:
        return Finding("warn", "sample rate", seen, expected,
                       f"was it trained at {2 * max(heard):.0f} Hz? Then set sample_rate to that")  # fmt: skip
    return Finding("pass", "sample rate", seen, expected)


def _wave(num_samples: int, first: int, stop: int) -> Tensor:
    return torch.from_numpy(with_energy(num_samples, first, stop))[None]
