import pytest
import torch
from torch.nn import functional as F

from leveret.checking.coverage import (
    LENGTHS,
    QUICK_LENGTHS,
    check_ends,
    check_hard_sounds,
    check_lengths,
    check_one_more,
    check_rate,
)
from leveret.checking.examined import Examined
from leveret.contracts import Encoder
from leveret.loading import load_encoder
from leveret.stimuli import varied_sounds

RATE = 8_000


class Toy(Encoder):
    """Log energies in eight bands, over all frames of a padded wave; each test changes the wave first."""

    sample_rate = RATE
    embed_dim = 8
    convertible = False

    def __init__(self, change=lambda wave: wave, finish=lambda vectors, wave: vectors, min_samples=200):
        super().__init__()
        self.layers = {"x": 8}
        self.change, self.finish, self.min_samples = change, finish, min_samples

    def embed(self, features, layer=None):
        wave = self.change(features)
        frames = F.pad(wave, (0, 255)).unfold(1, 256, 80) * torch.hann_window(256)
        energy = torch.fft.rfft(frames).abs().square()[..., :128].reshape(*frames.shape[:2], 8, 16).sum(3)
        return self.finish(torch.log(energy + 1e-6).mean(1), features)


def examined_of(encoder, limit=60.0):
    sounds = torch.from_numpy(varied_sounds(8, RATE, 1.0))
    examined = Examined.of(load_encoder(encoder), torch.device("cpu"), sounds, limit)
    examined.known = examined.vectors(sounds)
    return examined


def test_a_healthy_encoder_passes():
    examined = examined_of(Toy())
    found = [check_hard_sounds(examined), *check_ends(examined), check_one_more(examined), check_rate(examined)]
    found += check_lengths(examined, QUICK_LENGTHS)
    assert {finding.name: finding.status for finding in found} == dict.fromkeys(
        ["hard sounds", "first samples", "last samples", "one more", "sample rate", "lengths", "whole clip"], "pass"
    )


def test_lengths_reach_from_short_to_long():
    assert (LENGTHS[0], LENGTHS[-1]) == (0.3, 30.0)
    assert set(QUICK_LENGTHS) < set(LENGTHS)


@pytest.mark.parametrize(
    ("finish", "sounds"),
    [
        (lambda v, w: v / w.abs().amax(1, keepdim=True), {"silence"}),
        (lambda v, w: v + (w.std(1) / w.std(1))[:, None], {"silence", "DC"}),
        (lambda v, w: v + torch.exp(200 * w.abs().mean(1, keepdim=True)), {"full scale", "DC"}),
        (lambda v, w: v * (1 / w.abs().amin(1, keepdim=True).clamp_min(1e-42)), {"silence", "a click"}),
    ],
    ids=["by the peak", "by the deviation", "overflow", "by the least"],
)
def test_nan_and_infinity_are_found_with_the_sound_that_makes_them(finish, sounds):
    found = check_hard_sounds(examined_of(Toy(finish=finish)))
    assert found.status == "fail"
    assert {part.split(":")[0] for part in found.seen.split("; ")} >= sounds
    assert "very quiet" not in found.seen or "by" in found.seen


def test_an_error_on_a_hard_sound_is_told():
    def refuse(wave):
        if not wave.any():
            raise ValueError("nothing to hear")
        return wave

    found = check_hard_sounds(examined_of(Toy(refuse)))
    assert found.status == "fail"
    assert found.seen.startswith("silence: ValueError: nothing to hear (test_coverage.py, line")


@pytest.mark.parametrize(
    ("change", "name", "status", "says"),
    [
        (lambda wave: wave[:, :-1], "last samples", "warn", "the last sample changes nothing"),
        (lambda wave: wave[:, : wave.shape[1] // 80 * 80], "last samples", "warn", "the last 5 ms change nothing"),
        (lambda wave: wave[:, :-160], "last samples", "warn", "the last 10 ms change nothing"),
        (lambda wave: wave[:, :-820], "last samples", "fail", "the last 101 ms change nothing"),
        (lambda wave: wave[:, 60:], "first samples", "warn", "the first 5 ms change nothing"),
        (lambda wave: wave[:, 820:], "first samples", "fail", "the first 101 ms change nothing"),
    ],
    ids=["one sample", "the last part frame", "20 ms", "a tenth", "the first 7.5 ms", "the first tenth"],
)
def test_ends_that_are_cut_off_are_found(change, name, status, says):
    found = {finding.name: finding for finding in check_ends(examined_of(Toy(change)))}
    assert found.pop(name).status == status
    assert next(iter(found.values())).status == "pass"
    assert says in {finding.name: finding for finding in check_ends(examined_of(Toy(change)))}[name].seen


def test_a_length_that_is_not_a_multiple_and_fails_is_found():
    examined = examined_of(Toy(lambda wave: wave.reshape(len(wave), -1, 80).flatten(1)))
    found = check_one_more(examined)
    assert found.status == "fail"
    assert found.seen.startswith("at 7959, 7999, 8001, 8041 samples, where 8000 work: RuntimeError: shape")
    assert {finding.status for finding in check_ends(examined)} == {"pass"}  # told once


def test_a_width_that_follows_the_length_is_found():
    def width(vectors, wave):
        return vectors if wave.shape[1] != RATE + 1 else vectors[:, :7]

    found = check_one_more(examined_of(Toy(finish=width)))
    assert found.seen == "at 8001 samples, where 8000 work: shape (1, 7)"


def test_a_vector_that_jumps_is_found():
    def jump(vectors, wave):
        return vectors if wave.shape[1] != RATE - 1 else 10 * vectors

    found = check_one_more(examined_of(Toy(finish=jump)))
    assert found.status == "warn"
    assert found.seen.startswith("1 sample fewer: the vector moves by ")


def test_an_encoder_that_reads_only_the_beginning_is_found():
    found = {finding.name: finding for finding in check_lengths(examined_of(Toy(lambda w: w[:, :RATE])), LENGTHS)}
    assert found["lengths"].status == "pass"
    assert found["whole clip"].status == "fail"
    assert "a clip of 3, 10, 30 s" in found["whole clip"].seen
    far = {finding.name: finding for finding in check_lengths(examined_of(Toy(lambda w: w[:, : 5 * RATE])), LENGTHS)}
    assert far["whole clip"].status == "warn"
    assert "--window" in far["whole clip"].advice


def test_a_length_that_fails_is_named_and_the_others_are_tried():
    def picky(wave):
        if wave.shape[1] == RATE:
            raise IndexError("no second")
        return wave

    examined = examined_of(Toy())
    examined.encoder.change = picky
    found = check_lengths(examined, QUICK_LENGTHS)[0]
    assert found.status == "fail"
    assert found.seen.startswith("1 s: IndexError: no second")


def test_padding_up_to_what_it_needs_is_a_warning():
    found = check_lengths(examined_of(Toy(min_samples=RATE // 2)), QUICK_LENGTHS)[0]
    assert found.status == "warn"
    assert found.seen == "clips under 0.5 s are padded with zeros to that"


def test_what_would_exceed_the_limit_is_left_out_and_named():
    examined = examined_of(Toy(), limit=10.0)
    examined.pace = 1.0
    found = {finding.name: finding for finding in check_lengths(examined, LENGTHS)}
    assert found["lengths"].seen == "0.3, 0.5, 1, 3 s"
    assert found["long clips"].seen == (
        "not tried, for want of time: 10 s (about 20 s of work), 30 s (about 60 s of work)"
    )


def test_a_rate_that_is_no_rate_is_found():
    examined = examined_of(Toy())
    examined.encoder.sample_rate = 16
    assert check_rate(examined).status == "fail"


def test_an_encoder_that_hears_only_the_lowest_bands_is_found():
    def low_pass(wave):
        spectrum = torch.fft.rfft(wave)
        spectrum[:, spectrum.shape[1] // 4 :] = 0
        return torch.fft.irfft(spectrum, wave.shape[1])

    found = check_rate(examined_of(Toy(low_pass)))
    assert found.status == "warn"
    assert found.seen == "8000 Hz; it hears up to 1000 Hz"
    assert "trained at 2000 Hz" in found.advice


def test_where_vectors_cannot_be_compared_only_errors_and_shapes_count():
    examined = examined_of(Toy(lambda wave: wave[:, :RATE]))
    examined.doubted = "batch"
    assert [finding.name for finding in check_lengths(examined, QUICK_LENGTHS)] == ["lengths"]
    assert check_one_more(examined).status == "pass"
