"""A corpus becomes tar shards: mono 16-bit FLAC at one rate, in an order that is shuffled once, shard by shard.

Which clip goes into which shard is planned from headers before anything is written, so that shards are made in any
order, by several threads, and those that stand after a kill are kept: each has its rows of the index beside it until
all are there. Neighbours in a shard are a random sample of the corpus, which is what lets training read them together.
Departures: 16 bits end at full scale, as for `leveret data prepare`.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import soundfile
from filelock import FileLock, Timeout
from pyarrow import parquet

from leveret.audio import AudioError, load
from leveret.bad_files import BadFilePolicy
from leveret.content import content_digests
from leveret.corpora.corpus import TrainingCorpus
from leveret.corpora.cutting import span_seconds
from leveret.draws import Draws
from leveret.home import require_space
from leveret.journal import json_or_none, replace_file
from leveret.parquet_files import whole_table
from leveret.progress import Reporter
from leveret.shards import INDEX, SCHEMA, SUFFIX, ShardError, ShardFacts, checksum, open_index, read_table, write_index
from leveret.suites.exporting import to_int16

PLAN = "plan.json"
ROWS = "rows"
"""Folder of the rows of the shards that are done, until the index is written."""
BYTES_A_SAMPLE = 1.4
"""Of 16-bit FLAC, about."""
_AT_ONCE = 1024
_BLOCK = 512
_ORDER_SEED = 0  # an order is as good as another; the same clips give the same shards


@dataclass(frozen=True)
class Packed:
    """What a folder holds now.

    Attributes:
        folder: Of the shards.
        num_shards: In it.
        num_kept: Of these, that an earlier call had made.
        num_clips: In all shards.
        seconds: Of audio.
        num_bytes: Of all shards.
        bad: Clip id -> why it is not in them.
    """

    folder: Path
    num_shards: int
    num_kept: int
    num_clips: int
    seconds: float
    num_bytes: int
    bad: Mapping[str, str]


def pack(
    corpus: TrainingCorpus,
    folder: Path,
    *,
    sample_rate: int,
    shard_bytes: float,
    threads: int,
    reporter: Reporter,
    bad_files: BadFilePolicy = BadFilePolicy(),
) -> Packed:
    """Write the shards that are not there yet, then the index.

    Args:
        sample_rate: Hz of what is stored.
        shard_bytes: Of each shard, about.
        bad_files: How many clips may be left out.

    Raises:
        ShardError: The folder holds shards of something else, or other files; or somebody else packs into it.
        TooManyBadFilesError: More clips cannot be read than may be.
        OSError: The disk is full.
    """
    lengths, bad = _lengths(corpus, threads, reporter)
    bad_files.check(bad, corpus.num_clips)
    shards = _plan(lengths, sample_rate, shard_bytes)
    _require_free(corpus, folder)
    with _alone(folder):
        bad |= _begin(corpus, folder, {"rate": sample_rate, "bytes": float(shard_bytes), "clips": corpus.digest})
        packed = _pack(corpus, folder, shards, bad, lengths, sample_rate, threads, reporter)
        bad_files.check(bad, corpus.num_clips)
    return packed


def _pack(
    corpus: TrainingCorpus,
    folder: Path,
    shards: Sequence[Any],
    bad: dict[str, str],
    lengths: Any,
    sample_rate: int,
    threads: int,
    reporter: Reporter,
) -> Packed:
    rows = folder / ROWS
    names = [f"shard-{number:06d}.tar" for number in range(len(shards))]
    there = [name for name in names if _done(folder, name) is not None]
    waiting = [(name, clips) for name, clips in zip(names, shards, strict=True) if name not in set(there)]
    needed = sum(float(lengths[clips].sum()) for _, clips in waiting) * sample_rate * BYTES_A_SAMPLE
    require_space(folder, round(needed), f"shards of {corpus.spec}")
    digests = _digests(corpus, [int(k) for _, clips in waiting for k in clips], threads)

    def write(job: tuple[str, Any]) -> int:
        name, clips = job
        _write_shard(corpus, folder, name, clips.tolist(), digests, sample_rate)
        return len(clips)

    with ThreadPoolExecutor(threads) as pool, reporter.stage("packing", corpus.num_clips, "clips") as advance:
        advance(float(corpus.num_clips - sum(len(clips) for _, clips in waiting)))
        for count in pool.map(write, waiting):
            advance(count)
    tables = [_done(folder, name) for name in names]
    assert all(table is not None for table in tables), "each was written, or was there"
    whole = pyarrow.concat_tables(tables)
    for table in tables:
        bad |= json.loads(table.schema.metadata[b"bad"])
    facts = ShardFacts(
        sample_rate=sample_rate, labels=corpus.labels, source=corpus.spec, source_digest=corpus.digest,
        sizes={name: (folder / name).stat().st_size for name in names}, left_out=bad,
    )  # fmt: skip
    write_index(folder, whole.unify_dictionaries(), facts)
    for path in rows.iterdir():
        path.unlink()
    rows.rmdir()
    seconds = float(np.sum(whole.column("seconds").to_numpy()))
    return Packed(folder, len(names), len(there), len(whole), seconds, sum(facts.sizes.values()), bad)


def _lengths(corpus: TrainingCorpus, threads: int, reporter: Reporter) -> tuple[Any, dict[str, str]]:
    """Seconds of each clip, 0 where it is bad; and what is bad."""

    def seconds(index: int) -> float | str:
        try:
            return span_seconds(corpus.span(index))
        except AudioError as error:
            return str(error)

    found = np.zeros(corpus.num_clips)
    bad: dict[str, str] = {}
    with ThreadPoolExecutor(threads) as pool, reporter.stage("headers", corpus.num_clips, "clips") as advance:
        for first in range(0, corpus.num_clips, _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, corpus.num_clips))
            for index, length in zip(some, pool.map(seconds, some), strict=True):
                if isinstance(length, str):
                    bad[corpus.clips[index].id] = length
                else:
                    found[index] = length
            advance(len(some))
    return found, bad


def _plan(lengths: Any, sample_rate: int, shard_bytes: float) -> list[Any]:
    """The clips of each shard, those of length 0 left out."""
    keys = Draws(_ORDER_SEED, 0, np.arange(len(lengths), dtype=np.int64), "packing").keys()
    order = np.argsort(keys, kind="stable")
    order = order[lengths[order] > 0]
    ends = np.cumsum(lengths[order] * sample_rate * BYTES_A_SAMPLE)
    numbers = ((ends - 1) // shard_bytes).astype(np.int64)  # of a shard that a clip would fill alone, none is empty
    return np.split(order, np.flatnonzero(np.diff(numbers)) + 1)


def _require_free(corpus: TrainingCorpus, folder: Path) -> None:
    """Refuse a folder that holds something else, or that of the corpus itself."""
    if folder.is_dir() and not (folder / PLAN).is_file() and any(folder.iterdir()):
        raise ShardError(f"{folder} holds other files; name a new folder for the shards of {corpus.spec}")
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(f"{folder.absolute()}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ShardError(f"another process packs into {folder}; wait for it, or name another folder") from error
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _begin(corpus: TrainingCorpus, folder: Path, plan: Mapping[str, Any]) -> Mapping[str, str]:
    """Take a new folder, or one of the same plan; what was left out when it was packed, if it was."""
    place = folder / PLAN
    if place.is_file():
        if json_or_none(place.read_bytes()) != plan:
            raise ShardError(
                f"{folder} holds shards of another corpus, rate or size than {corpus.spec} with these options; name "
                "another folder, or remove it"
            )
    else:
        replace_file(place, json.dumps(plan).encode())
    (folder / ROWS).mkdir(exist_ok=True)
    for partial in folder.glob(".*.part"):
        partial.unlink()
    if not (folder / INDEX).is_file():
        return {}
    # a shard that was lost since is made again, and the others keep their rows
    index = open_index(folder)
    whole = read_table(folder / INDEX, SCHEMA.names)
    for name, size in index.facts.sizes.items():
        _write_rows(folder, name, whole.filter(pyarrow.compute.equal(whole.column("shard"), name)), size, {})
    return index.facts.left_out


def _done(folder: Path, name: str) -> Any:
    """The rows of a shard that is whole; None where it is to be made."""
    shard, rows = folder / name, folder / ROWS / f"{name}.parquet"
    try:
        if rows.is_file():
            table = whole_table(rows)
            whole = int(table.schema.metadata[b"size"]) == shard.stat().st_size
            return table if whole else None
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _digests(corpus: TrainingCorpus, clips: Sequence[int], threads: int) -> dict[Path, str]:
    paths = list({corpus.clips[index].path: None for index in clips})
    return dict(zip(paths, content_digests(paths, threads), strict=True))


def _write_shard(
    corpus: TrainingCorpus, folder: Path, name: str, clips: Sequence[int], digests: Mapping[Path, str], rate: int
) -> None:
    """Write a shard and its rows, whole or not at all."""
    partial = folder / f".{name}.part"
    rows: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    with partial.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for index in clips:
            clip = corpus.clips[index]
            try:
                wave = load(clip.path, rate, clip.start, clip.end)
            except AudioError as error:
                bad[clip.id] = str(error)
                continue
            content = io.BytesIO()
            soundfile.write(content, to_int16(wave), rate, "PCM_16", format="FLAC")
            key, seconds = f"{index:09d}", len(wave) / rate
            said = {
                "id": clip.id, "labels": list(clip.labels), "group": clip.group, "seconds": seconds,
                "sample_rate": rate, "digest": digests[clip.path],
            }  # fmt: skip
            offset = _add(tar, key + SUFFIX, content.getvalue())
            _add(tar, f"{key}.json", json.dumps(said).encode())
            row = {key: value for key, value in said.items() if key != "sample_rate"}
            rows.append(
                row | {"shard": name, "key": key, "offset": offset, "size": len(content.getvalue()),
                       "checksum": checksum(content.getvalue())}
            )  # fmt: skip
    partial.replace(folder / name)
    _write_rows(folder, name, pyarrow.Table.from_pylist(rows, SCHEMA), (folder / name).stat().st_size, bad)


def _write_rows(folder: Path, name: str, table: Any, size: int, bad: Mapping[str, str]) -> None:
    facts = {b"size": str(size), b"bad": json.dumps(bad)}
    kept = folder / ROWS / f".{name}.part"
    parquet.write_table(table.replace_schema_metadata(facts), kept)
    kept.replace(folder / ROWS / f"{name}.parquet")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file; where its bytes begin."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    offset = tar.offset + _BLOCK
    tar.addfile(info, io.BytesIO(content))
    tar.members.clear()  # type: ignore[attr-defined]  # it remembers each
    return int(offset)
