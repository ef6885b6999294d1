"""Hugging Face parquet with audio in it is unpacked once into leveret's home, as a tree that a dataset's reader knows.

A dataset's folder may hold, itself or below `data`, Parquet files with a column of structs {bytes, path}, as
`datasets.push_to_hub` writes them. Each row's audio becomes a file, called as the row says; all other columns of single
values go into table.csv. Some tables are an archive's metadata under another name, and are written as that too:
ESC-50     the columns of esc50.csv                  meta/esc50.csv
commands   names WORD/HASH_nohash_N.wav, and splits  testing_list.txt, validation_list.txt
What a table does not say must stand beside the Parquet files, as the archive has it: text files there are taken over,
and go before what is written here.
A split is the last word for one in the path of a file: data/test-00000-of-00001.parquet, data/validation/0000.parquet.
Source: the layout of files that the `datasets` library writes, 2.x to 5.x.
"""

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from shutil import copyfile, copytree
from typing import TYPE_CHECKING, Any

from leveret.audio import SUFFIXES
from leveret.content import content_digests
from leveret.home import home, require_space
from leveret.journal import json_or_none
from leveret.manifests import SPLITS
from leveret.published_audio import DataFolder, DatasetError
from leveret.tasks.suite_settings import say
from leveret.tasks.xares_unpack import INDEX, make_whole

if TYPE_CHECKING:
    import pyarrow

FOLDER = "hf-parquet"
FORMAT_VERSION = 1
"""Bumped by hand whenever the same files give another tree."""
TABLE = "table.csv"
NAME_COLUMNS = ("file", "filename", "file_name", "path")
"""What a row's audio is called, before the path in its audio column, which often has lost its folders."""
ESC50_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".lst")
_LISTS = {"test": "testing_list.txt", "valid": "validation_list.txt"}
_COMMAND = re.compile(r"[^/]+/[0-9a-f]+_nohash_\d+\.wav")
_NOT_METADATA = ("dataset_info.json", "dataset_infos.json", "requirements.txt")
_LONGEST_NAME = 255
_ROWS_AT_ONCE = 16
_BYTES_AT_ONCE = 1 << 20
_DIGEST_THREADS = 2


@dataclass(frozen=True)
class _Source:
    """One Parquet file.

    Attributes:
        split: train, valid, test, or empty where its name says none.
        audio: Name of the column of audio.
        scalars: Names of the columns of single values.
        labels: Column -> names of its numbers, where the file says them.
    """

    path: Path
    split: str
    audio: str
    scalars: tuple[str, ...]
    labels: Mapping[str, Sequence[str]]
    num_bytes: int


def unpacked(folder: DataFolder) -> DataFolder:
    """The folder as it is, or where the audio of its Parquet files is unpacked.

    Raises:
        DatasetError: A Parquet file is damaged, or a row has no audio, or no name that can be one.
        OSError: The disk has no room.
    """
    root = folder.root
    paths = sorted([*root.glob("*.parquet"), *(root / "data").rglob("*.parquet")])
    sources = [source for path in paths if (source := _source(root, path)) is not None]
    if not sources:
        return folder
    if len({source.scalars for source in sources}) > 1:
        other = next(source for source in sources if source.scalars != sources[0].scalars)
        raise DatasetError(
            f"{other.path} has the columns {', '.join(other.scalars)}, and {sources[0].path} has "
            f"{', '.join(sources[0].scalars)}; put each dataset, and each version of one, into a folder of its own"
        )
    digests = content_digests([source.path for source in sources], _DIGEST_THREADS)
    names = [source.path.relative_to(root).as_posix() for source in sources]
    tree = home() / FOLDER / _digest(str(FORMAT_VERSION), *names, *digests)
    if not (tree / INDEX).is_file():
        num_bytes = sum(source.num_bytes for source in sources)
        tree.parent.mkdir(parents=True, exist_ok=True)
        say(f"unpacking {len(sources)} Parquet files ({num_bytes / 1e6:.1f} MB) into {str(tree)!r}, once")
        require_space(tree.parent, num_bytes, "unpacking the Parquet files")
        make_whole(tree, partial(_fill, sources))
    official = _official(root)
    if not official:
        return replace(folder, root=tree)
    texts = [path.relative_to(root).as_posix() for path in official]
    completed = tree.with_name(_digest(tree.name, *texts, *content_digests(official, _DIGEST_THREADS)))
    if not (completed / INDEX).is_file():
        make_whole(completed, partial(_complete, tree, root, official))
    return replace(folder, root=completed)


def _source(root: Path, path: Path) -> _Source | None:
    """What a file's own description says; None where it holds no audio."""
    import pyarrow  # most datasets do not pay for it
    from pyarrow import parquet

    try:
        with path.open("rb") as file:  # pyarrow itself opens no path that is not UTF-8
            about = parquet.ParquetFile(file)
            schema, metadata = about.schema_arrow, about.metadata
            num_bytes = sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{path} is no whole Parquet file ({error}); download it again") from error
    audio = [field.name for field in schema if _is_audio(field.type)]
    if not audio:
        return None
    twice = [name for name in dict.fromkeys(schema.names) if schema.names.count(name) > 1]
    if twice:
        raise DatasetError(f"{path} has the column {twice[0]!r} twice; expected a file that `datasets` wrote")
    scalars = [
        field.name
        for field in schema
        if not (pyarrow.types.is_nested(field.type) or pyarrow.types.is_binary(field.type))
    ]
    words = re.split(r"[^a-z]+", path.relative_to(root).with_suffix("").as_posix().lower())
    split = next((SPLITS[word] for word in reversed(words) if word in SPLITS), "")
    chosen = "audio" if "audio" in audio else audio[0]
    return _Source(path, split, chosen, tuple(scalars), _label_names(schema.metadata or {}), num_bytes)


def _is_audio(column: "pyarrow.DataType") -> bool:
    import pyarrow

    if not pyarrow.types.is_struct(column) or {field.name for field in column} != {"bytes", "path"}:
        return False
    content = column.field("bytes").type
    return bool(pyarrow.types.is_binary(content) or pyarrow.types.is_large_binary(content))


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Of each ClassLabel column, the names of its numbers."""
    about = json_or_none(metadata.get(b"huggingface", b"null"))
    found: dict[str, list[str]] = {}
    with suppress(AttributeError, KeyError, TypeError):  # a file that was not written by `datasets` says nothing
        for column, feature in about["info"]["features"].items():
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
                found[column] = [str(name) for name in feature["names"]]
    return found


def _official(root: Path) -> list[Path]:
    """Text files beside the Parquet files, in any folder."""
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in TEXT_SUFFIXES and path.is_file() and path.name not in _NOT_METADATA
    ]


def _fill(sources: Sequence[_Source], folder: Path) -> None:
    """Write audio, table and metadata into an empty folder."""
    first = sources[0]
    named = [f"{column}_name" for column in first.labels]
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["audio_file", "split", *first.scalars, *named])
        for source in sources:
            for number, row in enumerate(_rows(source)):
                where = f"{source.path}, row {number}"
                name = _file_name(where, source, row)
                _write_audio(where, folder, name, row[source.audio])
                names = [_label_name(where, column, row.get(column), source.labels) for column in first.labels]
                cells = ["" if row[column] is None else row[column] for column in source.scalars]
                writer.writerow([name, source.split, *cells, *names])
    with (folder / TABLE).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if {"filename", "fold", "target", "category", "src_file"} <= set(first.scalars):
            _write_esc50(folder, rows)
        else:
            _write_lists(folder, rows)
    (folder / INDEX).write_text("{}", encoding="utf-8")


def _rows(source: _Source) -> Iterator[Mapping[str, Any]]:
    """A few rows at a time; what is held grows with the row group, not the file."""
    import pyarrow
    from pyarrow import parquet

    columns = [source.audio, *source.scalars]
    try:
        with source.path.open("rb") as file:
            # as a stream: a file may be one row group of gigabytes, of which pages are held, a thousand rows each
            about = parquet.ParquetFile(file, buffer_size=_BYTES_AT_ONCE, pre_buffer=False)
            for batch in about.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{source.path} is no whole Parquet file ({error}); download it again") from error


def _file_name(where: str, source: _Source, row: Mapping[str, Any]) -> str:
    """The first name of a row that is one here; a path of the machine that wrote the file is none.

    Raises:
        DatasetError: There is none, or one that nobody gives in good faith.
    """
    content = row[source.audio]
    if not isinstance(content, dict) or not content["bytes"]:
        raise DatasetError(
            f"{where} holds no audio, only its name; download a copy of the dataset with the audio in it"
        )
    names = [row[column] for column in NAME_COLUMNS if column in source.scalars] + [content["path"]]
    for name in filter(None, names):
        path = PurePosixPath(str(name))
        if _is_hostile(path):
            raise DatasetError(
                f"{where} calls its audio {name!r}, which is no path inside a dataset; nobody names files so in good "
                "faith, so it is not read"
            )
        if not path.is_absolute() and path.suffix.lower() in SUFFIXES:
            return path.as_posix()
    raise DatasetError(
        f"{where} calls its audio {', '.join(map(repr, names))}; expected a relative path that ends in one of "
        f"{' '.join(SUFFIXES)}, in a column {', '.join(NAME_COLUMNS)} or in that of the audio"
    )


def _is_hostile(path: PurePosixPath) -> bool:
    name, folders = path.as_posix(), path.parts[:-1]
    return (
        ".." in path.parts
        or not name.isprintable()
        or "\\" in name
        or len(name.encode()) > _LONGEST_NAME
        # where the table or a list is to be written
        or any(folder.lower().endswith(TEXT_SUFFIXES) for folder in folders)
    )


def _write_audio(where: str, folder: Path, name: str, content: Mapping[str, Any]) -> None:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content["bytes"])
    except (FileExistsError, NotADirectoryError) as error:
        raise DatasetError(
            f"{where} calls its audio {name!r}, as a row before it; expected a name of its own for each, with folder"
        ) from error


def _label_name(where: str, column: str, value: Any, labels: Mapping[str, Sequence[str]]) -> str:
    """The name of a label's number; nothing for none, or for the -1 that stands for none."""
    names = labels.get(column, ())
    if value is None or value == -1:
        return ""
    if type(value) is not int or not 0 <= value < len(names):
        raise DatasetError(f"{where} has {column}={value!r}; its file names the labels 0 to {len(names) - 1}")
    return names[value]


def _write_esc50(folder: Path, rows: "csv.DictReader[str]") -> None:
    columns = [column for column in ESC50_COLUMNS if column in (rows.fieldnames or ())]
    (folder / "meta").mkdir(exist_ok=True)
    with (folder / "meta" / "esc50.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _write_lists(folder: Path, rows: "csv.DictReader[str]") -> None:
    """The lists of Speech Commands, where the names are those of its archive and the files' names tell splits."""
    splits: dict[str, list[str]] = {split: [] for split in _LISTS}
    for row in rows:
        if row["split"] in splits and _COMMAND.fullmatch(row["audio_file"]):
            splits[row["split"]].append(row["audio_file"])
    for split, names in splits.items():
        if names:
            (folder / _LISTS[split]).write_text("\n".join(sorted(names)) + "\n", encoding="utf-8")


def _complete(tree: Path, root: Path, official: Sequence[Path], folder: Path) -> None:
    """The same tree once more, which costs no room where files can have two names, with the official files in it."""
    copytree(tree, folder, copy_function=_link, dirs_exist_ok=True)
    for path in official:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # it may be one file with that of the other tree
        copyfile(path, target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        copyfile(source, target)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
