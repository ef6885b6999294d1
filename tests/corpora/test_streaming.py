import os
import signal
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch

import leveret.distributed as distributed
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.corpora.corpus import CorpusError
from leveret.corpora.opening import open_corpus
from leveret.corpora.streaming import crop_batches
from leveret.corpora.workers import WorkerError
from leveret.distributed import World

SETTINGS = {"batch": 6, "crops": 2, "crop_samples": 8000, "sample_rate": 8000, "seed": 5}


def batches(corpus, num, **changed):
    with crop_batches(corpus, **{**SETTINGS, "workers": 0, **changed}) as stream:
        return [next(stream) for _ in range(num)]


def same(one, other):
    return torch.equal(one.waves, other.waves) and list(one.names) == list(other.names)


@pytest.fixture
def corpus(recordings):
    return open_corpus(str(recordings(seconds=tuple(1.0 + 0.3 * k for k in range(14)))))


def test_a_batch_is_what_the_contract_says(corpus):
    first, second = batches(corpus, 2)
    assert first.waves.shape == (6, 2, 8000)
    assert first.waves.dtype == torch.float32
    assert (first.draws.step, second.draws.step, first.draws.seed) == (0, 1, 5)
    assert first.draws.examples.tolist() == list(range(6))
    assert first.targets is None
    assert not torch.equal(first.waves[:, 0], first.waves[:, 1])
    assert len({*first.names, *second.names}) == 12  # within the first epoch of 14 clips


def test_a_run_that_is_resumed_sees_what_an_uninterrupted_one_does(corpus):
    whole = batches(corpus, 9)
    for step in (1, 4, 8):
        assert all(map(same, batches(corpus, 9 - step, first_step=step), whole[step:]))


def test_fewer_workers_than_none_are_refused(corpus):
    with pytest.raises(ValueError, match="workers=-1; expected 0 or more"):
        batches(corpus, 1, workers=-1)


def test_workers_change_nothing(corpus):
    assert all(map(same, batches(corpus, 4, workers=2), batches(corpus, 4)))


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_have_the_consecutive_parts_of_one_process(corpus, monkeypatch, size):
    whole = batches(corpus, 3)
    parts = []
    for rank in range(size):
        monkeypatch.setattr(distributed, "_world", World(rank, size))
        parts.append(batches(corpus, 3))
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[step].waves for part in parts]), batch.waves)
        assert [name for part in parts for name in part[step].names] == list(batch.names)
        assert np.concatenate([part[step].draws.examples for part in parts]).tolist() == list(range(6))


def test_labels_follow_the_clips(tone_manifest):
    corpus = open_corpus(f"manifest:{tone_manifest(seconds=1.5)}")
    (batch,) = batches(corpus, 1)
    labels = {clip.id: clip.labels for clip in corpus.clips}
    assert [tuple(np.array(corpus.labels)[row.numpy() > 0]) for row in batch.targets] == [
        labels[name] for name in batch.names
    ]


def test_another_clip_stands_in_for_a_bad_one_the_same_after_a_restart(corpus):
    bad = corpus.clips[3].path
    bad.write_bytes(b"no audio at all")
    allowed = {"bad_files": BadFilePolicy("skip")}
    with crop_batches(corpus, **SETTINGS, workers=0, **allowed) as stream:
        whole = [next(stream) for _ in range(5)]
        assert list(stream.bad) == [corpus.clips[3].id]
        assert 1 <= stream.replaced <= 3
        assert "1 clip cannot be used" in stream.warnings()[-1]
        assert str(bad) in stream.warnings()[-1]
    assert corpus.clips[3].id not in {name for batch in whole for name in batch.names}
    assert all(batch.waves.any(dim=2).all() for batch in whole)
    assert all(map(same, batches(corpus, 3, first_step=2, workers=1, **allowed), whole[2:]))


def test_too_many_bad_clips_stop_the_run(corpus):
    corpus.clips[3].path.write_bytes(b"no audio at all")
    with pytest.raises(TooManyBadFilesError, match=r"1 of 14 clips cannot be used"):
        batches(corpus, 5)


def test_where_any_number_may_be_bad_a_corpus_of_bad_clips_is_refused_still(corpus):
    for clip in corpus.clips:
        clip.path.write_bytes(b"no audio at all")
    with pytest.raises(CorpusError, match="none of 14 clips"):
        batches(corpus, 1, bad_files=BadFilePolicy("skip"))


def test_clips_all_shorter_than_the_crop_are_refused_with_the_crop_that_suits(recordings):
    corpus = open_corpus(str(recordings(seconds=(1.0, 1.0, 2.0))))
    with pytest.raises(CorpusError, match=r"shorter than the crop of 3 s .* give crop_seconds=0.6, or join"):
        batches(corpus, 1, crop_samples=24_000)


def test_joined_clips_of_a_group_fill_the_crop_and_are_of_that_group(recordings):
    # clips of 0.5 s, groups of four; each clip's level tells which it is
    corpus = open_corpus(str(recordings(seconds=(0.5,) * 12)))
    found = batches(corpus, 2, crops=1, crop_samples=16_000, join="group")
    assert all(batch.waves.ne(0).float().mean() > 0.99 for batch in found)
    assert all(map(same, found, batches(corpus, 2, crops=1, crop_samples=16_000, join="group", workers=2)))
    levels = {round(0.05 * (k + 1) / 12, 4): k % 3 for k in range(12)}
    for batch in found:
        for name, wave in zip(batch.names, batch.waves[:, 0], strict=True):
            group = int(name[len("speaker")])
            jumps = [0, *(np.flatnonzero(np.diff(wave.numpy()) < -0.001) + 1)]
            assert {levels.get(round(float(wave[k]), 4)) for k in jumps[1:]} <= {group}


def test_pairs_that_overlap_are_counted_and_warned_of(recordings):
    corpus = open_corpus(str(recordings(seconds=(1.0,) * 12)))
    with crop_batches(corpus, **{**SETTINGS, "crop_samples": 8000, "batch": 60}, workers=0) as stream:
        for _ in range(10):
            next(stream)
        # starts lie in 0.4 of the clip; less than 0.12 apart: 1 - 0.7 ** 2
        assert stream.trivial_share == pytest.approx(0.51, abs=0.06)
        assert stream.padded_share == 1.0
        assert "overlap over 80 %" in stream.warnings()[0]
    corpus = open_corpus(str(recordings("long", seconds=(4.0,) * 12)))
    with crop_batches(corpus, **{**SETTINGS, "crop_samples": 800}, workers=0) as stream:
        next(stream)
        assert stream.warnings() == []


def test_a_dead_worker_is_told(corpus):
    with crop_batches(corpus, **SETTINGS, workers=1) as stream:
        next(stream)
        (worker,) = stream._workers.pids
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"one of 1 processes that read audio was ended"):
            list(islice(stream, 50))


def test_a_worker_that_dies_in_the_middle_of_a_word_is_told_too(corpus):
    # crops of 1 s fill the pipe many times over, so that a worker waits there with the rest of them
    with crop_batches(corpus, **{**SETTINGS, "batch": 64}, workers=2, ahead=3) as stream:
        next(stream)
        os.kill(stream._workers.pids[0], signal.SIGKILL)
        with pytest.raises(WorkerError):
            list(islice(stream, 50))


def test_workers_end_with_a_process_that_is_killed(corpus, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, time\n"
        "from leveret.corpora.opening import open_corpus\n"
        "from leveret.corpora.streaming import crop_batches\n"
        "if __name__ == '__main__':\n"
        "    corpus = open_corpus(sys.argv[1])\n"
        f"    stream = crop_batches(corpus, **{SETTINGS!r}, workers=1)\n"
        "    next(stream)\n"
        "    print(*stream._workers.pids, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(script), corpus.spec], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    os.kill(worker, 0)
    process.kill()
    process.communicate()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        signal.sigtimedwait([], 0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
