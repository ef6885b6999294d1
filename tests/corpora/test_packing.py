import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from leveret.audio import load
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.clips import Clip
from leveret.content import file_sha256
from leveret.corpora.corpus import TrainingCorpus
from leveret.corpora.opening import open_corpus
from leveret.corpora.packing import pack
from leveret.corpora.streaming import crop_batches
from leveret.progress import Reporter
from leveret.shards import ShardError, check_shards, open_shards
from leveret.suites.exporting import to_int16

SETTINGS = {"sample_rate": 16_000, "shard_bytes": 150_000, "threads": 2, "reporter": Reporter()}


@pytest.fixture
def labelled(recordings):
    """Twelve clips, of which two are spans of one file, with labels."""
    files = open_corpus(str(recordings(seconds=(1.0, 1.25, 2.0) * 4))).clips
    clips = [Clip(clip.id, clip.path, ("low", "odd")[: 1 + k % 2], clip.group) for k, clip in enumerate(files[:-1])]
    last = files[-1]
    clips += [Clip(f"{last.id}@{at}", last.path, (), last.group, "", at, at + 0.5) for at in (0.0, 0.5)]
    return TrainingCorpus("labelled", clips, ("low", "odd"))


def test_shards_hold_every_clip_at_the_rate_with_all_that_is_known_of_it(labelled, tmp_path):
    done = pack(labelled, tmp_path / "shards", **SETTINGS)
    assert (done.num_clips, done.num_kept, done.bad) == (13, 0, {})
    assert done.num_shards > 2
    assert sorted(path.name for path in done.folder.iterdir() if path.suffix != ".tar") == [
        "index.parquet",
        "plan.json",
    ]
    packed = open_corpus(str(done.folder))
    assert packed.labels == labelled.labels
    source = {clip.id: clip for clip in labelled.clips}
    assert {clip.id for clip in packed.clips} == set(source)
    for number, clip in enumerate(packed.clips):
        original = source[clip.id]
        assert (clip.labels, clip.group) == (original.labels, original.group)
        wave = load(original.path, 16_000, original.start, original.end)
        np.testing.assert_array_equal(load(clip.path, 16_000), to_int16(wave).astype(np.float32) / 32768)
        np.testing.assert_array_equal(load(packed.clips.member(number), 16_000), load(clip.path, 16_000))
        assert packed.clips.seconds[number] == len(wave) / 16_000
    # what is met with test clips is the files that were packed
    assert packed.content_digests(1) == labelled.content_digests(1)
    assert packed.num_clips == 13


def test_the_same_corpus_gives_the_same_bytes_in_an_order_that_is_not_its_own(labelled, tmp_path):
    one = pack(labelled, tmp_path / "one", **SETTINGS)
    other = pack(labelled, tmp_path / "other", **{**SETTINGS, "threads": 1})
    names = sorted(path.name for path in one.folder.glob("*.tar"))
    assert [file_sha256(one.folder / name) for name in names] == [file_sha256(other.folder / name) for name in names]
    assert open_corpus(str(one.folder)).digest == open_corpus(str(other.folder)).digest
    order = [clip.id for clip in open_shards(one.folder)]
    assert order != sorted(order)


def test_names_are_those_of_webdataset(labelled, tmp_path):
    """A sample is the files of one basename up to its first dot, one after another."""
    pack(labelled, tmp_path / "shards", **SETTINGS)
    keys = set()
    for path in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            for audio, described in zip(members[::2], members[1::2], strict=True):
                key, _, ending = audio.name.partition(".")
                assert (ending, described.name) == ("flac", f"{key}.json")
                said = json.load(tar.extractfile(described))
                assert soundfile.info(io.BytesIO(tar.extractfile(audio).read())).duration == said["seconds"]
                assert {"id", "labels", "group", "digest", "sample_rate"} < set(said)
                keys.add(key)
    assert len(keys) == 13


def test_training_reads_shards_alike_whatever_the_share_of_workers(labelled, tmp_path):
    pack(labelled, tmp_path / "shards", **SETTINGS)
    corpus = open_corpus(str(tmp_path / "shards"))
    found = []
    for workers, first in ((0, 0), (2, 0), (0, 2)):
        with crop_batches(
            corpus, batch=4, crops=2, crop_samples=8000, sample_rate=16_000, seed=1, workers=workers, first_step=first
        ) as stream:
            found.append([next(stream) for _ in range(5 - first)])
    for one, other in [*zip(found[0], found[1], strict=True), *zip(found[0][2:], found[2], strict=True)]:
        assert torch.equal(one.waves, other.waves)
        assert torch.equal(one.targets, other.targets)
        assert list(one.names) == list(other.names)


def test_a_killed_call_keeps_its_finished_shards_and_ends_with_the_same_bytes(recordings, tmp_path):
    folder = recordings(seconds=(4.0,) * 40)
    words = [sys.executable, "-m", "leveret", "shards", "pack", str(folder), "--shard-bytes", "2e5", "--workers", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*words, "-o", str(tmp_path / "killed")], env=environment)
    while len(list((tmp_path / "killed" / "rows").glob("*.parquet"))) < 3:
        assert process.poll() is None, "it was over before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "index.parquet").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("shard-*.tar")}
    settings = {**SETTINGS, "shard_bytes": 2e5}
    done = pack(open_corpus(str(folder)), tmp_path / "killed", **settings)
    assert 3 <= done.num_kept < done.num_shards
    assert sum(path.stat().st_mtime_ns == time for path, time in kept.items()) >= done.num_kept
    whole = pack(open_corpus(str(folder)), tmp_path / "whole", **settings)
    for path in whole.folder.glob("*.tar"):
        assert file_sha256(path) == file_sha256(tmp_path / "killed" / path.name)
    assert check_shards(tmp_path / "killed", 1, Reporter()) == []


def test_a_shard_that_was_lost_is_made_again_and_the_others_stay(labelled, tmp_path):
    first = pack(labelled, tmp_path / "shards", **SETTINGS)
    lost = tmp_path / "shards" / "shard-000001.tar"
    digest = file_sha256(lost)
    lost.write_bytes(lost.read_bytes()[:-700])
    with pytest.raises(ShardError, match=r"shard-000001.tar' has .* bytes, it was written with"):
        open_corpus(str(tmp_path / "shards"))
    again = pack(labelled, tmp_path / "shards", **SETTINGS)
    assert (again.num_kept, again.num_shards) == (first.num_shards - 1, first.num_shards)
    assert file_sha256(lost) == digest
    assert open_corpus(str(tmp_path / "shards")).num_clips == 13


def test_bad_clips_are_left_out_counted_and_named(labelled, tmp_path):
    labelled.clips[4].path.write_bytes(b"no audio")
    with pytest.raises(TooManyBadFilesError, match="1 of 13 clips cannot be used"):
        pack(labelled, tmp_path / "shards", **SETTINGS)
    for _ in range(2):
        done = pack(labelled, tmp_path / "shards", **SETTINGS, bad_files=BadFilePolicy("skip"))
        assert (done.num_clips, list(done.bad)) == (12, [labelled.clips[4].id])


def test_another_corpus_other_settings_or_other_files_are_not_overwritten(labelled, tmp_path):
    pack(labelled, tmp_path / "shards", **SETTINGS)
    with pytest.raises(ShardError, match="another corpus, rate or size"):
        pack(labelled, tmp_path / "shards", **{**SETTINGS, "sample_rate": 8000})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(ShardError, match="holds other files"):
        pack(labelled, tmp_path / "full", **SETTINGS)


@pytest.mark.real
def test_the_command_packs_real_audio_and_the_other_finds_what_was_changed(dev_audio, tmp_path, capsys):
    from leveret.cli import main

    (tmp_path / "audio").mkdir()
    for k, path in enumerate(dev_audio):
        (tmp_path / "audio" / f"{k}{path.suffix}").symlink_to(path)
    words = ["shards", "pack", str(tmp_path / "audio"), "-o", str(tmp_path / "shards"), "--shard-bytes", "3e5"]
    assert main(words) == 0
    assert f"{len(dev_audio)} clips" in capsys.readouterr().out
    assert main(["shards", "check", str(tmp_path / "shards")]) == 0
    path = Path(tmp_path / "shards" / "shard-000000.tar")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert main(["shards", "check", str(tmp_path / "shards"), "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert "shard-000000.tar" in problem
    assert "another checksum" in problem
