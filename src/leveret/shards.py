"""Tar shards of audio with an index: a corpus of millions of clips in some hundred files, readable in any order.

A folder of shards holds `shard-NNNNNN.tar` and `index.parquet`. A shard is a plain tar archive in the naming of
WebDataset, KEY.flac with KEY.json beside, so that other loaders read it without the index. The index has a row for each
clip, in the order in which they lie: shard, key, offset, size, seconds, labels, id, group, digest of the source file,
checksum of the stored bytes; its metadata has the rate, the vocabulary and the size of every shard.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray
from pyarrow import parquet

from leveret.clips import Clip
from leveret.journal import json_or_none
from leveret.parquet_files import whole_table
from leveret.progress import Reporter
from leveret.tars import Member

INDEX = "index.parquet"
SHARDS_VERSION = 1
SUFFIX = ".flac"
_HEADER = b"leveret.shards"
SCHEMA = pyarrow.schema(
    {
        "shard": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), "key": pyarrow.string(),
        "offset": pyarrow.int64(), "size": pyarrow.int64(), "seconds": pyarrow.float64(),
        "labels": pyarrow.list_(pyarrow.dictionary(pyarrow.int32(), pyarrow.string())), "id": pyarrow.string(),
        "group": pyarrow.string(), "digest": pyarrow.string(), "checksum": pyarrow.string(),
    }
)  # fmt: skip


class ShardError(ValueError):
    """Shards that are damaged, incomplete or no shards; the message names the file and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What holds for all shards of a folder.

    Attributes:
        sample_rate: Hz of the stored audio.
        labels: Vocabulary, empty without labels.
        source: What was packed, as the user named it.
        source_digest: Of the list of clips that was packed.
        sizes: Name of each shard -> its bytes.
        left_out: Id of each clip that is in no shard -> why.
    """

    sample_rate: int
    labels: tuple[str, ...]
    source: str
    source_digest: str
    sizes: Mapping[str, int]
    left_out: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class ShardIndex(Sequence[Clip]):
    """The clips of a folder of shards, made when asked for: columns of two million of them fit where objects would not.

    Attributes:
        folder: Of the shards.
        facts: What holds for all.
        table: The columns of `SCHEMA`, but for digests and checksums.
    """

    folder: Path
    facts: ShardFacts
    table: Any

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        name, group, labels = (self.table.column(column)[index].as_py() for column in ("id", "group", "labels"))
        member = self.member(index)
        return Clip(name, member.archive / member.name, tuple(labels), group)

    def member(self, index: int) -> Member:
        """Where a clip lies."""
        key = self.table.column("key")[index].as_py()
        archive = self._archives[int(self.shard[index])]
        return Member(archive, key + SUFFIX, int(self._offset[index]), int(self._size[index]))

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Length of each clip."""
        return np.asarray(self.table.column("seconds").to_numpy())

    @cached_property
    def shard(self) -> NDArray[np.int32]:
        """Number of the shard of each clip, ascending."""
        return np.asarray(self.table.column("shard").combine_chunks().indices.to_numpy())

    def pieces(self, clips: int) -> NDArray[np.int64]:
        """First clip of each run of about so many that lie one after another in one shard, and their number at last."""
        edges = np.append(np.flatnonzero(np.diff(self.shard, prepend=-1)), len(self))
        starts = [np.arange(first, stop, clips) for first, stop in pairwise(edges)]
        return np.concatenate([*starts, edges[-1:]]).astype(np.int64)

    def source_digests(self) -> list[str]:
        """Sha256 of each file that the clips were packed from, each once, sorted."""
        column = read_table(self.folder / INDEX, ["digest"]).column("digest")
        return sorted(set(column.unique().to_pylist()) - {""})

    @cached_property
    def _archives(self) -> list[Path]:
        return [self.folder / name for name in self.table.column("shard").combine_chunks().dictionary.to_pylist()]

    @cached_property
    def _offset(self) -> NDArray[np.int64]:
        return np.asarray(self.table.column("offset").to_numpy())

    @cached_property
    def _size(self) -> NDArray[np.int64]:
        return np.asarray(self.table.column("size").to_numpy())


def open_shards(folder: Path) -> ShardIndex:
    """The index of a folder of shards, each of which is as long as it was written.

    Raises:
        ShardError: The index is missing, damaged or of another version; a shard is missing or cut.
    """
    index = open_index(folder)
    for problem in _size_problems(index):
        raise ShardError(f"{problem}; copy it again, or pack it again with `leveret shards pack`")
    return index


def open_index(folder: Path) -> ShardIndex:
    """The index of a folder, whatever became of the shards.

    Raises:
        ShardError: It is missing, damaged or of another version.
    """
    path = folder / INDEX
    columns = [name for name in SCHEMA.names if name not in ("digest", "checksum")]
    table = read_table(path, columns)
    values = json_or_none((table.schema.metadata or {}).get(_HEADER, b""))
    try:
        if values["version"] != SHARDS_VERSION:
            raise ShardError(f"{path} has version {values['version']!r}, this leveret reads {SHARDS_VERSION}; upgrade")
        sizes = {str(name): int(size) for name, size in values["sizes"].items()}
        facts = ShardFacts(
            sample_rate=int(values["sample_rate"]), labels=tuple(map(str, values["labels"])),
            source=str(values["source"]), source_digest=str(values["source_digest"]), sizes=sizes,
            left_out={str(name): str(why) for name, why in values["left_out"].items()},
        )  # fmt: skip
        table = table.cast(pyarrow.schema([SCHEMA.field(name) for name in columns]))
    except (KeyError, TypeError, ValueError, AttributeError, pyarrow.ArrowException) as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path} is no index of shards ({type(error).__name__}: {error}); pack them again") from error
    index = ShardIndex(folder, facts, table.unify_dictionaries().combine_chunks())
    _check_rows(index, path)
    return index


def write_index(folder: Path, table: Any, facts: ShardFacts) -> None:
    """Write the index, whole or not at all.

    Args:
        table: Rows of `SCHEMA`, sorted by shard and offset.
    """
    header = {"version": SHARDS_VERSION, **{name: getattr(facts, name) for name in facts.__dataclass_fields__}}
    partial = folder / f".{INDEX}.part"
    parquet.write_table(table.replace_schema_metadata({_HEADER: json.dumps(header)}), partial, compression="zstd")
    partial.replace(folder / INDEX)


def checksum(content: bytes) -> str:
    """Of a stored file: 128 bits of BLAKE2b."""
    return blake2b(content, digest_size=16).hexdigest()


def check_shards(folder: Path, threads: int, reporter: Reporter) -> list[str]:
    """Everything that is wrong with a folder of shards, one line each; every byte of it is read.

    Raises:
        ShardError: There is no index, or it cannot be read.
    """
    index = open_index(folder)
    problems = list(_size_problems(index))
    sums = read_table(folder / INDEX, ["checksum"]).column("checksum").to_pylist()
    runs = [list(rows) for _, rows in groupby(range(len(index)), key=lambda row: int(index.shard[row]))]
    with ThreadPoolExecutor(threads) as pool, reporter.stage("checking", len(index), "clips") as advance:
        for found, rows in zip(pool.map(lambda rows: _damaged(index, rows, sums), runs), runs, strict=True):
            problems += found
            advance(len(rows))
    known = set(index.facts.sizes)
    problems += [
        f"{path.name} is not in the index; remove it" for path in sorted(folder.glob("*.tar")) if path.name not in known
    ]
    return problems


def _damaged(index: ShardIndex, rows: Sequence[int], sums: Sequence[str]) -> list[str]:
    """The clips of one shard that are not what was written, read front to back."""
    archive = index.member(rows[0]).archive
    if not archive.is_file():
        return []  # told already
    found: list[str] = []
    with archive.open("rb") as file:
        for row in rows:
            member = index.member(row)
            file.seek(member.offset)
            content = file.read(member.size)
            if len(content) < member.size:
                return [*found, f"{archive.name}: {member.name} and what follows it are cut off"]
            if checksum(content) != sums[row]:
                found.append(f"{archive.name}: {member.name} has another checksum than it was written with")
    return found


def _size_problems(index: ShardIndex) -> Iterator[str]:
    for name, size in index.facts.sizes.items():
        path = index.folder / name
        if not path.is_file():
            yield f"the shard {str(path)!r} is missing"
        elif (there := path.stat().st_size) != size:
            yield f"the shard {str(path)!r} has {there:,} bytes, it was written with {size:,}"


def _check_rows(index: ShardIndex, path: Path) -> None:
    """Refuse an index that points out of its shards: it may come from a stranger."""
    names = [archive.name for archive in index._archives]
    if set(names) - set(index.facts.sizes) or any(Path(name).name != name for name in index.facts.sizes):
        raise ShardError(f"{path} names shards that its own list does not have; pack them again")
    size_of = np.array([index.facts.sizes[name] for name in names], dtype=np.int64)
    ends = index._offset + index._size
    if len(index) and ((index._offset < 0) | (index._size < 1) | (ends > size_of[index.shard])).any():
        raise ShardError(f"{path} has clips that lie outside of their shards; pack them again")
    if not np.isfinite(index.seconds).all() or (np.diff(index.shard) < 0).any() or (index.seconds <= 0).any():
        raise ShardError(f"{path} has lengths that are none, or shards out of order; pack them again")
    labels = pyarrow.compute.unique(index.table.column("labels").combine_chunks().flatten()).to_pylist()
    if unknown := sorted(set(labels) - set(index.facts.labels)):
        raise ShardError(
            f"{path} has clips with the label {unknown[0]!r}, which is none of the {len(index.facts.labels)} of its "
            "vocabulary; pack them again"
        )


def read_table(path: Path, columns: Sequence[str]) -> Any:
    """Some columns of an index.

    Raises:
        ShardError: There is none, or it cannot be read.
    """
    try:
        return whole_table(path, columns)
    except FileNotFoundError as error:
        raise ShardError(f"no {path}: expected a folder made by `leveret shards pack`") from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ShardError(f"{path} is no index of shards ({error}); pack them again") from error
