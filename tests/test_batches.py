import gc
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from leveret import batches
from leveret.audio import load, window_starts
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError, policy_of
from leveret.batches import (
    GRID_SECONDS,
    CropRule,
    num_crop_starts,
    plan_rows,
    read_batches,
)
from leveret.clips import Clip
from leveret.resampling import fit

RATE = 16_000


@pytest.fixture
def clips(tmp_path):
    """Makes clips of noise, of these lengths in seconds."""

    def make(*seconds, rate=RATE):
        found = []
        for k, length in enumerate(seconds):
            path = tmp_path / f"{k}.wav"
            wave = np.random.default_rng(k).uniform(-0.5, 0.5, round(length * rate))
            soundfile.write(path, wave, rate, subtype="FLOAT")
            found.append(Clip(f"{k}.wav", path, (), str(k)))
        return found

    return make


@pytest.fixture
def calls(monkeypatch):
    """The paths that were decoded, in the order in which they were begun."""
    seen = []
    original = batches.read_span

    def counted(path, *span):
        seen.append(path.name)
        return original(path, *span)

    monkeypatch.setattr(batches, "read_span", counted)
    return seen


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def no_thread_is_left(seconds=5.0):
    """The pool is told not to wait, so its threads end a moment later."""
    until = time.monotonic() + seconds
    while decoding_threads() and time.monotonic() < until:
        time.sleep(0.01)
    return not decoding_threads()


def test_windows_are_ordered_by_length_and_those_of_one_clip_stay_together(clips):
    plan = plan_rows(clips(2.5, 0.5, 1.0, 3.0), CropRule(seconds=1.0, whole_clip=True), 2)
    assert plan.clip.tolist() == [1, 0, 0, 0, 2, 3, 3, 3]
    np.testing.assert_allclose(plan.start, [0, 0, 1, 1.5, 0, 0, 1, 2])
    np.testing.assert_allclose(plan.seconds, [0.5] + 7 * [1.0])
    np.testing.assert_allclose(plan.lengths, [2.5, 0.5, 1.0, 3.0])
    assert plan.num_rows == 8


def test_a_short_clip_gets_the_full_window_unless_whole_clips_are_wanted(clips):
    plan = plan_rows(clips(0.5, 0.7), CropRule(seconds=1.0), 1)
    assert plan.seconds.tolist() == [1.0, 1.0]


def test_a_hop_makes_windows_overlap(clips):
    plan = plan_rows(clips(2.0), CropRule(seconds=1.0, hop=0.5), 1)
    assert plan.start.tolist() == [0.0, 0.5, 1.0]


def test_the_span_of_a_clip_is_what_is_cut_into_windows(clips):
    (whole,) = clips(3.0)
    clip = Clip("span", whole.path, (), "g", start=0.5, end=2.5)
    plan = plan_rows([clip], CropRule(seconds=1.0), 1)
    (batch,) = read_batches(plan, plan.batches(8), [RATE], 1)
    wave = load(whole.path, RATE)
    np.testing.assert_array_equal(batch.waves[RATE], np.stack([wave[8_000:24_000], wave[24_000:40_000]]))


def test_batches_hold_rows_of_one_length_and_cover_each_row_once(clips):
    plan = plan_rows(clips(2.5, 0.5, 0.5, 0.7, 3.0, 0.5, 1.0), CropRule(seconds=1.0, whole_clip=True), 2)
    for size in (1, 2, 3, 100):
        spans = plan.batches(size)
        assert [row for span in spans for row in range(*span)] == list(range(plan.num_rows))
        assert all(len(set(plan.seconds[slice(*span)])) == 1 and span[1] - span[0] <= size for span in spans)


def test_a_batch_of_long_rows_is_short_but_holds_one(clips):
    plan = plan_rows(clips(3.0, 3.0, 0.5, 0.5, 0.5, 0.5, 1.5, 1.5, 1.5), CropRule(seconds=9.0, whole_clip=True), 1)
    spans = plan.batches(3, max_seconds=2.9)
    assert [stop - first for first, stop in spans] == [3, 1, 1, 1, 1, 1, 1]
    assert [stop - first for first, stop in plan.batches(3, max_seconds=3.0)] == [3, 1, 2, 1, 1, 1]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_skipped_rows_are_in_no_batch_and_no_batch_spans_one(clips, size):
    plan = plan_rows(clips(5.0, 4.0), CropRule(seconds=1.0), 1)
    skip = np.array([1, 0, 0, 1, 0, 0, 0, 0, 1], dtype=bool)
    spans = plan.batches(size, skip)
    assert [row for span in spans for row in range(*span)] == [1, 2, 4, 5, 6, 7]
    assert all(not skip[slice(*span)].any() for span in spans)
    assert plan.batches(size, np.ones(9, dtype=bool)) == []


def test_no_clips_make_no_rows_and_no_batches():
    plan = plan_rows([], CropRule(seconds=1.0), 2)
    assert plan.num_rows == 0
    assert plan.batches(4) == []
    assert list(read_batches(plan, [], [RATE], 2)) == []


def test_progress_ends_at_one(clips):
    seen: list[float] = []
    plan_rows(clips(0.5, 0.5), CropRule(seconds=1.0), 1, seen.append)
    assert seen[-1] == 1


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("whole_clip", [False, True])
def test_every_window_is_the_slice_of_its_decoded_clip(clips, size, whole_clip):
    made = clips(2.5, 0.5, 1.0, 0.7, 3.2)
    plan = plan_rows(made, CropRule(seconds=1.0, whole_clip=whole_clip), 2)
    rows = 0
    for batch in read_batches(plan, plan.batches(size), [RATE], 3):
        wave = batch.waves[RATE]
        assert wave.dtype == torch.float32
        for k in range(batch.num_rows):
            row = batch.first + k
            begin, length = round(plan.start[row] * RATE), round(plan.seconds[row] * RATE)
            expected = fit(load(plan.clips[plan.clip[row]].path, RATE)[begin : begin + length], length)
            np.testing.assert_array_equal(wave[k].numpy(), expected)
            rows += 1
    assert rows == plan.num_rows


def test_each_clip_is_decoded_once_for_all_batches_and_rates(clips, calls):
    plan = plan_rows(clips(5.5, 0.4, 3.0, 4.0, rate=8_000), CropRule(seconds=1.0), 1)
    found = list(read_batches(plan, plan.batches(2), [8_000, RATE], 2))
    assert sorted(calls) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert {tuple(wave.shape for wave in batch.waves.values()) for batch in found} == {((2, 8_000), (2, 16_000))}
    for rate in (8_000, RATE):
        waves = torch.cat([batch.waves[rate] for batch in found]).numpy()
        expected = load(plan.clips[0].path, rate)
        np.testing.assert_array_equal(waves[:5].reshape(-1), expected[: 5 * rate])
        np.testing.assert_array_equal(waves[5], expected[-rate:])


def test_a_clip_whose_rows_are_all_skipped_is_not_decoded(clips, calls):
    plan = plan_rows(clips(2.0, 2.0, 2.0), CropRule(seconds=1.0), 1)
    skip = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    assert [batch.first for batch in read_batches(plan, plan.batches(4, skip), [RATE], 2)] == [1, 4]
    assert calls == ["0.wav", "2.wav"]


def test_a_file_without_a_good_header_has_no_rows_and_a_reason(clips, tmp_path):
    good = clips(1.0, 1.0)
    (tmp_path / "text.wav").write_text("words")
    bad = [Clip("t", tmp_path / "text.wav", (), "g"), Clip("m", tmp_path / "missing.wav", (), "g")]
    plan = plan_rows([good[0], *bad, good[1]], CropRule(seconds=1.0), 2)
    assert list(plan.clips) == good
    assert plan.clip.tolist() == [0, 1]
    assert "not audio" in plan.bad["t"]
    assert "does not exist" in plan.bad["m"]


def test_a_file_that_breaks_off_is_bad_in_each_of_its_rows_and_silence_stands_in(tmp_path, clips):
    made = clips(2.0, 2.0)
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE), RATE)
    path.write_bytes(path.read_bytes()[:20_000])
    plan = plan_rows([made[0], Clip("cut", path, (), "g"), made[1]], CropRule(seconds=1.0), 2)
    assert not plan.bad  # the header is whole
    found = list(read_batches(plan, plan.batches(3), [RATE, 8_000], 2))
    reasons = {row: reason for batch in found for row, reason in batch.bad.items()}
    assert list(reasons) == [2, 3, 4]
    assert all("cut.flac" in reason for reason in reasons.values())
    assert not [row for batch in found for row in batch.silent]  # bad rows are not called silent
    waves = torch.cat([batch.waves[RATE] for batch in found])
    assert waves.abs().amax(1).gt(0).tolist() == [True, True, False, False, False, True, True]


def test_rows_of_digital_silence_are_named(tmp_path, clips):
    path = tmp_path / "half.wav"
    soundfile.write(path, np.concatenate([np.zeros(RATE), np.full(RATE, 0.1), np.zeros(RATE)]), RATE)
    plan = plan_rows([*clips(1.0), Clip("half", path, (), "g")], CropRule(seconds=1.0), 1)
    assert [row for batch in read_batches(plan, plan.batches(2), [RATE], 1) for row in batch.silent] == [1, 3]


def test_threads_end_when_the_consumer_stops_early(clips):
    plan = plan_rows(clips(*[0.5] * 30), CropRule(seconds=0.5), 2)
    reader = read_batches(plan, plan.batches(2), [RATE], 2)
    next(reader)
    assert decoding_threads()
    reader.close()
    assert no_thread_is_left()


def test_threads_end_when_the_consumer_drops_the_reader(clips):
    plan = plan_rows(clips(*[0.5] * 30), CropRule(seconds=0.5), 2)
    for _ in read_batches(plan, plan.batches(2), [RATE], 2):
        break
    gc.collect()
    assert no_thread_is_left()


def test_an_error_that_is_not_the_files_fault_ends_the_pass_and_its_threads(clips, monkeypatch):
    plan = plan_rows(clips(*[0.5] * 10), CropRule(seconds=0.5), 2)

    def broken(path, *span):
        raise MemoryError("no room")

    monkeypatch.setattr(batches, "read_span", broken)
    with pytest.raises(MemoryError, match="no room"):
        list(read_batches(plan, plan.batches(2), [RATE], 2))
    assert no_thread_is_left()


def test_not_more_than_some_clips_are_decoded_ahead(clips, calls):
    plan = plan_rows(clips(*[0.1] * 60), CropRule(seconds=0.1), 1)
    reader = read_batches(plan, plan.batches(2), [RATE], 2)
    ahead = 8  # four a thread
    for number in range(1, 5):
        next(reader)
        time.sleep(0.05)
        assert len(calls) <= 2 * number + ahead
    assert len(list(reader)) == 26


def test_long_clips_are_decoded_two_at_a_time(clips, calls):
    plan = plan_rows(clips(*[20.0] * 5), CropRule(seconds=1.0), 1)
    reader = read_batches(plan, plan.batches(4), [RATE], 2)
    next(reader)
    time.sleep(0.1)
    assert len(calls) == 2
    assert len(list(reader)) == 24
    assert sorted(calls) == [f"{k}.wav" for k in range(5)]


@pytest.mark.parametrize(
    ("mode", "num_bad", "num_clips", "refused"),
    [
        ("fail", 0, 10, False),
        ("fail", 1, 1000, True),
        ("few", 1, 100, False),
        ("few", 2, 100, True),
        ("few", 1, 99, True),
        ("skip", 99, 100, False),
        ("skip", 100, 100, True),
        ("skip", 0, 0, False),
    ],
)
def test_the_policy_says_how_many_clips_may_be_bad(mode, num_bad, num_clips, refused):
    bad = {str(k): f"clip {k} is broken" for k in range(num_bad)}
    if not refused:
        BadFilePolicy(mode).check(bad, num_clips)
        return
    with pytest.raises(TooManyBadFilesError) as caught:
        BadFilePolicy(mode).check(bad, num_clips)
    assert f"{num_bad} of {num_clips} clips" in str(caught.value)
    assert "clip 0 is broken" in str(caught.value)


@pytest.mark.parametrize(("reason", "told"), [("'a' does not exist", True), ("'a' is empty (0 bytes)", False)])
def test_paths_of_tables_are_spoken_of_only_where_a_file_is_missing(reason, told):
    with pytest.raises(TooManyBadFilesError, match="None is left") as caught:
        BadFilePolicy("skip").check({"a": reason}, 1)
    assert ("relative to its folder" in str(caught.value)) == told


def test_a_policy_may_be_given_by_its_mode_and_a_slip_in_it_is_told_at_once():
    assert policy_of("skip") == policy_of(BadFilePolicy("skip")) == BadFilePolicy("skip")
    with pytest.raises(ValueError, match="'skipp'; expected few, fail or skip"):
        policy_of("skipp")


def test_a_long_list_of_bad_clips_is_cut_with_its_count():
    with pytest.raises(TooManyBadFilesError, match="and 20 more"):
        BadFilePolicy("fail").check({str(k): "broken" for k in range(120)}, 500)


def test_a_file_that_goes_away_after_the_plan_is_bad(clips):
    made = clips(0.5, 0.5)
    plan = plan_rows(made, CropRule(seconds=0.5), 1)
    Path(made[1].path).unlink()
    (batch,) = read_batches(plan, plan.batches(2), [RATE], 1)
    assert list(batch.bad) == [1]
    assert "does not exist" in batch.bad[1]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_random_crops_begin_where_windows_on_the_grid_do(rate, seconds):
    spans = np.arange(-30, 1500)
    lengths = (round(seconds * rate) + spans) / rate
    expected = [len(window_starts(length, seconds, GRID_SECONDS)) for length in lengths.tolist()]
    assert num_crop_starts(lengths, seconds).tolist() == expected
    # in whole samples: one more for each full 10 ms, and one where the clip is no longer than the crop
    spare = round(seconds * rate) + spans - seconds * rate
    by_hand = np.maximum(spare, 0) * 100 // rate + 1
    np.testing.assert_array_equal(expected, by_hand)


def test_all_crops_of_a_clip_lie_10_ms_apart_and_a_short_clip_has_one(clips):
    crop = CropRule(seconds=1.0, hop=GRID_SECONDS)
    assert crop.every_start
    assert not CropRule(seconds=1.0).every_start
    plan = plan_rows(clips(1.5, 0.4, 1.0), crop, 1)
    assert np.bincount(plan.clip).tolist() == [51, 1, 1]
    np.testing.assert_allclose(plan.start[:51], np.arange(51) / 100, atol=1e-12)
    whole = plan_rows(clips(1.5, 0.4, 1.0), replace(crop, whole_clip=True), 1)
    assert sorted(whole.seconds.tolist()) == [0.4] + [1.0] * 52


def test_mixed_crops_are_random_windows_with_random_partners_of_the_same_length(clips):
    made = clips(3.0, 2.0, 0.4)
    plan = plan_rows(made, CropRule(seconds=1.0, mixed_passes=4), 2)
    assert plan.clip.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (plan.partner != plan.clip).all()
    assert plan.seconds.tolist() == [1.0] * 12
    for starts, owners in ((plan.start, plan.clip), (plan.partner_start, plan.partner)):
        assert (starts >= 0).all()
        assert (starts <= np.maximum(0, plan.lengths[owners] - 1.0) + 1e-9).all()
        np.testing.assert_allclose(100 * starts, np.round(100 * starts), atol=1e-9)  # on the 10 ms grid
    assert len(set(plan.start[:4].tolist())) > 1
    (first, second) = read_batches(plan, plan.batches(6), [RATE], 2)
    for batch in (first, second):
        for k in range(batch.num_rows):
            row = batch.first + k
            for wave, owner, start in (
                (batch.waves[RATE][k], plan.clip[row], plan.start[row]),
                (batch.partners[RATE][k], plan.partner[row], plan.partner_start[row]),
            ):
                begin = round(start * RATE)
                expected = fit(load(made[owner].path, RATE)[begin : begin + RATE], RATE)
                np.testing.assert_array_equal(wave.numpy(), expected)
        np.testing.assert_array_equal(batch.share, plan.share[batch.first : batch.first + batch.num_rows])


def test_a_partner_that_cannot_be_decoded_leaves_the_row_unmixed_and_is_bad_itself(clips, tmp_path):
    made = clips(1.0, 1.0)
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    path.write_bytes(path.read_bytes()[:-3000])
    plan = plan_rows([*made, Clip("cut", path, (), "g")], CropRule(seconds=1.0, mixed_passes=6), 1)
    (batch,) = read_batches(plan, plan.batches(18), [RATE], 1)
    assert sorted(batch.bad) == [row for row in range(18) if plan.clip[row] == 2]
    unmixed = [row for row in range(18) if plan.partner[row] == 2]
    assert unmixed
    assert (batch.share[unmixed] == 1).all()
    assert (batch.share[[row for row in range(18) if plan.partner[row] != 2]] < 1).all()
