"""What an encoder must satisfy before its scores mean anything, examined on made or real sounds in a minute or so.

Shapes: B batch, N samples, S sounds, D embedding.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from leveret.adapters.faults import EncoderFailedError
from leveret.audio import AudioError, find_audio, load
from leveret.checking.costs import BATCHES, CLIP_SECONDS, REPEATS, Costs, clips, count_gmacs, measure_speed, peak_memory
from leveret.checking.coverage import (
    LENGTHS,
    QUICK_LENGTHS,
    check_ends,
    check_hard_sounds,
    check_lengths,
    check_one_more,
    check_rate,
)
from leveret.checking.examined import FOREIGN_ERRORS, Examined, networks, told
from leveret.checking.invariance import check_batch, check_determinism, check_input, check_modes, check_weights
from leveret.drift import share
from leveret.findings import Finding, usable
from leveret.loading import load_encoder
from leveret.progress import Reporter
from leveret.registry import UnknownNameError
from leveret.resampling import fit
from leveret.runner import Compute
from leveret.stimuli import varied_sounds

_COLLAPSED = 1e-4  # of their length, between the vectors of two sounds
_CLOSE = 1e-2
_SMALLEST, _LARGEST = 1e-3, 1e4  # of a vector's length
_FOUNDATIONS = ("vectors", "determinism", "batch")
_COMPARISONS = ("batch", "ends", "sample rate")  # mean nothing where a foundation fails
_LEAST_SECONDS = 2.0  # an estimate is worth saying above this


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """How thoroughly.

    Attributes:
        quick: Fewer sounds, lengths to 3 s, one batch of each size.
        limit: Seconds for one encoder; what would exceed it is left out and named.
        audio: Files and folders of real sounds in place of made ones.
        seed: Draws the weights of a bare name.
        device: As of `Compute`.
    """

    quick: bool = False
    limit: float = 600.0
    audio: Sequence[str | Path] = ()
    seed: int = 0
    device: str = "auto"

    @property
    def num_sounds(self) -> int:
        """S."""
        return 12 if self.quick else 24

    @property
    def lengths(self) -> tuple[float, ...]:
        """Seconds of the clips tried."""
        return QUICK_LENGTHS if self.quick else LENGTHS

    @property
    def batches(self) -> tuple[int, ...]:
        """Sizes of the batches timed."""
        return BATCHES[:1] if self.quick else BATCHES

    def audio_seconds(self) -> float:
        """How much audio goes through the encoder, roughly."""
        timed = CLIP_SECONDS * ((1 + REPEATS) * sum(self.batches) + max(self.batches) + 1)
        return self.num_sounds + 2 * sum(self.lengths) + timed + 75


@dataclass(frozen=True)
class CheckReport:
    """What was found of one encoder.

    Attributes:
        spec: As the user wrote it.
        about: Of the encoder: name, origin, rate, width; empty where it could not be loaded.
        seconds: The examination took.
    """

    spec: str
    about: dict[str, Any]
    findings: tuple[Finding, ...]
    costs: Costs | None
    seconds: float

    @property
    def usable(self) -> bool:
        """Whether nothing fails."""
        return usable(self.findings)

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "spec": self.spec,
            "usable": self.usable,
            "encoder": self.about,
            "findings": [finding.described() for finding in self.findings],
            "costs": self.costs.described() if self.costs else None,
            "seconds": round(self.seconds, 1),
        }


def check(spec: str, config: CheckConfig = CheckConfig(), reporter: Reporter | None = None) -> CheckReport:
    """Examine the encoder of a spec; whatever its code raises is a finding.

    Raises:
        UnknownNameError: There is no such encoder.
        ValueError: The device cannot be used; an AudioError, the real audio cannot.
    """
    reporter = reporter or Reporter()
    started = time.monotonic()
    device = Compute(device=config.device).torch_device()
    try:
        loaded = load_encoder(spec, config.seed)
        examined = Examined.of(loaded, device, _sounds(config, loaded.encoder.sample_rate), config.limit)
    except (UnknownNameError, AudioError):
        raise
    except FOREIGN_ERRORS as error:
        expected, advice = "an encoder", "see what the message asks for"
        if isinstance(error, EncoderFailedError):
            expected = "vectors (B, D) of waves (B, N) of any length"
            advice = "see what it raised; a network of one length has to pad or cut in its embed"
        finding = Finding("fail", "loading", told(error), expected, advice)
        return CheckReport(spec, {}, (finding,), None, time.monotonic() - started)
    about = {
        "name": loaded.name,
        "origin": loaded.origin,
        "sample_rate": loaded.encoder.sample_rate,
        "embed_dim": loaded.encoder.embed_dim,
        "layers": dict(loaded.encoder.layers),
        "device": str(device),
    }
    first = _guarded("shapes", check_shapes, examined)
    if first[0].status == "fail":
        return CheckReport(spec, about, tuple(first), None, time.monotonic() - started)
    config = _affordable(config, examined, reporter)
    findings: list[Finding] = [*first]
    with reporter.stage(f"checking {loaded.name}", config.audio_seconds(), "s of audio") as advance:
        examined.advance = advance
        for name, examine in _examinations(config):
            found = _guarded(name, examine, examined)
            findings += found
            if name in _FOUNDATIONS and not usable(found):
                examined.doubted = examined.doubted or name
        costs, doubts = _costs(examined, config)
    return CheckReport(spec, about, (*findings, *doubts), costs, time.monotonic() - started)


def check_shapes(examined: Examined) -> Finding:
    """The width is the declared one, and so is every layer's; also how long a second of audio takes."""
    encoder, waves = examined.encoder, examined.sounds[:2]
    vectors = examined.vectors(waves)
    started = time.monotonic()
    examined.vectors(waves)
    examined.pace = (time.monotonic() - started) / 2
    layers = dict(encoder.layers)
    expected = f"(2, {encoder.embed_dim}) for 2 sounds, as embed_dim says"
    advice = "set embed_dim and layers to what embed returns"
    if vectors.shape != (2, encoder.embed_dim):
        return Finding("fail", "shapes", f"vectors {tuple(vectors.shape)}", expected, advice)
    if not layers or list(layers.values())[-1] != encoder.embed_dim:
        return Finding("fail", "shapes", f"layers {layers}, embed_dim {encoder.embed_dim}",
                       "the last layer is the default, as wide as embed_dim", advice)  # fmt: skip
    with torch.inference_mode():
        features = encoder.frontend(waves.to(examined.device))
        widths = {name: encoder.embed(features, name).shape[1] for name in layers}
    if widths != layers:
        wrong = [f"{name}: {widths[name]} for {layers[name]}" for name in layers if widths[name] != layers[name]]
        return Finding(
            "fail", "shapes", f"layers of another width than declared: {', '.join(wrong)}", f"{layers}", advice
        )
    named = f" and {len(layers)} layers" if len(layers) > 1 else ""
    return Finding("pass", "shapes", f"vectors of {encoder.embed_dim} numbers{named}, as declared", expected)


def check_vectors(examined: Examined) -> list[Finding]:
    """Different sounds give different vectors, in every dimension, at a size that a probe can work with."""
    examined.known = torch.cat([examined.vectors(part) for part in examined.sounds.split(8)])
    vectors = examined.known
    if not vectors.isfinite().all():
        bad = int((~vectors.isfinite().all(1)).sum())
        return [Finding("fail", "vectors", f"{bad} of {len(vectors)} ordinary sounds give NaN or infinite numbers",
                        "finite numbers", "see which layer overflows; half precision often does")]  # fmt: skip
    length = float(vectors.norm(dim=1).median())
    lengths = vectors.norm(dim=1)
    pairs = torch.combinations(torch.arange(len(vectors)))
    larger = torch.maximum(lengths[pairs[:, 0]], lengths[pairs[:, 1]]).clamp_min(1e-12)
    apart = float((torch.pdist(vectors) / larger).median())
    return [_apart_finding(len(vectors), apart), _size_finding(vectors, length)]


def _apart_finding(num_sounds: int, apart: float) -> Finding:
    seen = f"{num_sounds} different sounds lie {share(apart)} of their length apart"
    expected = f"over {share(_CLOSE)}"
    if apart <= _COLLAPSED:
        return Finding("fail", "vectors", seen, expected,
                       "every sound gives the same vector: it collapsed, or its weights were not loaded")  # fmt: skip
    if apart <= _CLOSE:
        return Finding("warn", "vectors", seen, expected,
                       "a constant outweighs what differs: standardise before you compare")  # fmt: skip
    return Finding("pass", "vectors", seen, expected)


def _size_finding(vectors: Float[Tensor, "S D"], length: float) -> Finding:
    deviation = vectors.std(dim=0)
    dead = int((deviation <= 1e-6 * vectors.abs().amax(0).clamp_min(1e-12)).sum())
    width = vectors.shape[1]
    seen = f"median length {length:.3g}; {dead} of {width} dimensions never change"
    expected = f"length {_SMALLEST:g} to {_LARGEST:g}, no dead dimensions"
    if not _SMALLEST <= length <= _LARGEST:
        return Finding("warn", "scale", seen, expected,
                       "a linear probe with a fixed rate learns badly at this size: scale the vectors")  # fmt: skip
    if dead > width / 100:
        return Finding("warn", "scale", seen, expected, "units that never fire: dead ReLUs, or padding channels")
    return Finding("pass", "scale", seen, expected)


Examination = Callable[[Examined], Finding | list[Finding]]


def _examinations(config: CheckConfig) -> list[tuple[str, Examination]]:
    """In the order of the report; later ones use what earlier ones found out about the encoder."""
    return [
        ("vectors", check_vectors),
        ("eval mode", check_modes),
        ("weights", check_weights),
        ("determinism", check_determinism),
        ("batch", check_batch),
        ("input", check_input),
        ("hard sounds", check_hard_sounds),
        ("ends", check_ends),
        ("one more", check_one_more),
        ("lengths", lambda examined: check_lengths(examined, config.lengths)),
        ("sample rate", check_rate),
    ]


def _guarded(name: str, examine: Examination, examined: Examined) -> list[Finding]:
    if examined.doubted and name in _COMPARISONS:
        return [Finding("note", name, f"not judged while {examined.doubted!r} fails")]
    try:
        found = examine(examined)
    except FOREIGN_ERRORS as error:
        return [Finding("fail", name, told(error), "no error", "correct that line of the encoder")]
    return found if isinstance(found, list) else [found]


def _affordable(config: CheckConfig, examined: Examined, reporter: Reporter) -> CheckConfig:
    """The same examination, or the quick one where the whole would exceed the limit."""
    name = examined.loaded.name
    expected = examined.seconds_for(config.audio_seconds())
    if expected > config.limit and not config.quick:
        config = replace(config, quick=True)
        examined.sounds = examined.sounds[: config.num_sounds]
        reporter.say(f"{name}: all of it would take about {expected:.0f} s, over the limit of {config.limit:.0f}; "
                     "the quick examination instead (--limit)")  # fmt: skip
        expected = examined.seconds_for(config.audio_seconds())
    if expected > _LEAST_SECONDS:
        reporter.say(f"{name}: about {expected:.0f} s")
    return config


def _sounds(config: CheckConfig, sample_rate: int) -> Float[Tensor, "S N"]:
    if not config.audio:
        return torch.from_numpy(varied_sounds(config.num_sounds, sample_rate, 1.0))
    files = find_audio(config.audio)
    if len(files) < 8:
        raise AudioError(f"{len(files)} audio files: at least 8 are needed to compare vectors; name a larger folder")
    files = files[:: max(1, len(files) // config.num_sounds)][: config.num_sounds]
    waves = [fit(load(path, sample_rate), sample_rate) for path in files]
    return torch.stack([torch.from_numpy(wave) for wave in waves])


def _costs(examined: Examined, config: CheckConfig) -> tuple[Costs, list[Finding]]:
    """The figures, and what kept us from one."""
    modules = networks(examined.loaded.encoder).values()
    own = {id(parameter): parameter for module in modules for parameter in module.parameters()}.values()
    costs = Costs(sum(one.numel() for one in own), sum(one.numel() * one.element_size() for one in own))
    rate, doubts = examined.sample_rate, []
    try:
        gmacs, note = count_gmacs(examined.vectors, examined.encoder, rate)
        costs = replace(costs, gmacs=gmacs, gmacs_note=note)
        speeds = {}
        for batch in config.batches:
            if examined.has_time_for((1 + REPEATS) * batch * CLIP_SECONDS):
                speeds[batch] = measure_speed(examined.vectors, batch, rate)
        largest = max(config.batches)
        peak = peak_memory(examined.vectors, clips(largest, rate), examined.device) if largest in speeds else None
        costs = replace(costs, clips_a_second=speeds, peak_bytes=peak)
        if len(speeds) < len(config.batches):
            doubts.append(Finding("note", "speed", "not every batch size was timed, for want of time",
                                  advice="raise --limit to time it"))  # fmt: skip
    except FOREIGN_ERRORS as error:
        doubts.append(Finding("fail", "speed", told(error), f"batches of {max(config.batches)} clips of 3 s",
                              "correct that line of the encoder"))  # fmt: skip
    return costs, doubts
