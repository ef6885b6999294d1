"""What the readers of published datasets share: tables with a known header, audio by name, errors that help.

Source: leveret's own.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from leveret.audio import SUFFIXES
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError

_LOOKED_FOR = 100


def read_table(
    path: Path, columns: Sequence[str], source: str, *, delimiter: str = ",", header: bool = True
) -> list[Mapping[str, str]]:
    """The rows of a text table.

    Args:
        columns: That it must have, in any order; without a header, those that it has, in this order.
        source: Where a right one is to be had, for the error.

    Raises:
        DatasetError: It is missing, is no such table, or has a row of another width.
    """
    return list(iter_table(path, columns, source, delimiter=delimiter, header=header))


def iter_table(
    path: Path, columns: Sequence[str], source: str, *, delimiter: str = ",", header: bool = True
) -> Iterator[Mapping[str, str]]:
    """As `read_table`, a row at a time: of a wide table one need not hold what one does not want."""
    if not path.is_file():
        raise MissingDatasetError(f"{path} is missing; it is to be had from {source}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, None if header else list(columns), delimiter=delimiter, strict=True)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise DatasetError(
                    f"{path} lacks the columns {', '.join(missing)}: its first line is "
                    f"{','.join(reader.fieldnames or [])[:200]!r}; expected the file of {source}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise DatasetError(
                        f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or [])} values; the file of "
                        f"{source} has them"
                    )
                yield row
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); expected the file of {source}") from error


def read_lines(path: Path, source: str) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        DatasetError: It is missing or is no text.
    """
    if not path.is_file():
        raise MissingDatasetError(f"{path} is missing; it is to be had from {source}")
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (UnicodeDecodeError, OSError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); expected the file of {source}") from error


def first_folder(folder: DataFolder, inner: Sequence[str], marks: Sequence[str]) -> Path:
    """The first of the root and the folders `inner` below it that holds one of `marks`; the root where none does.

    Args:
        inner: Top folders that an archive may have kept, such as "ESC-50-master".
        marks: Names of files or folders that tell a dataset's top.
    """
    places = [folder.root, *(folder.root / name for name in inner)]
    return next((place for place in places if any((place / mark).exists() for mark in marks)), folder.root)


def audio_by_stem(root: Path) -> dict[str, Path]:
    """Stem -> audio file, of all files below a folder; the first in alphabetical order where several share a stem."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem, path)
    return found


def in_any_format(path: Path) -> Path:
    """The file, or the one beside it of the same stem in another audio format (a converted copy); itself if neither."""
    if path.is_file():
        return path
    others = (path.with_suffix(suffix) for suffix in SUFFIXES)
    return next((other for other in others if other.is_file()), path)


def require_some(paths: Iterable[Path], title: str, source: str) -> None:
    """Tell a wrong folder from a dataset that lacks files: refuse if of a hundred all over the list none is there.

    Raises:
        MissingDatasetError: None is.
    """
    wanted = list(paths)
    looked_for = wanted[:: max(1, len(wanted) // _LOOKED_FOR)]
    if looked_for and not any(path.is_file() for path in looked_for):
        raise MissingDatasetError(
            f"no audio of {title} where it should be: {looked_for[0]} does not exist, nor do the {len(looked_for) - 1} "
            f"other files that were looked for; unpack the archives there, from {source}"
        )


def metadata_folder(folder: DataFolder) -> Path:
    """Where the metadata lies: the root, or the folder that `labels` names, by itself or by a file in it."""
    named = folder.labels or folder.root
    return named.parent if named.is_file() else named


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path:
    """The first of the names in the first of the folders that holds one; the first in the first where none does."""
    candidates = [folder / name for folder in folders for name in names]
    return next((path for path in candidates if path.is_file()), candidates[0])


def require_unique(names: Iterable[str], where: Path) -> None:
    """Refuse a list that names something twice, as two lists in one file do.

    Raises:
        DatasetError: It does.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(f"{where} names {len(twice):,} clips twice, such as {twice[0]!r}; take the published list")


def as_stored(paths: Sequence[Path]) -> list[Path]:
    """The paths, all with the ending that the audio has on this disk, which a hundred of them tell.

    A converted copy keeps every name up to its ending; to look for each of 150,000 files takes minutes on a network
    disk.
    """
    some = paths[:: max(1, len(paths) // _LOOKED_FOR)]
    if any(path.is_file() for path in some):
        return list(paths)
    for suffix in SUFFIXES:
        if any(path.with_suffix(suffix).is_file() for path in some):
            return [path.with_suffix(suffix) for path in paths]
    return list(paths)
