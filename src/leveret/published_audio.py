"""What published audio says of itself: where it is to be had, how it is unpacked, which tasks it makes, its variants.

Source: leveret's own; the datasets of the paper's table 1 and the two corpora that it pretrains on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leveret.clips import Clip
from leveret.contracts import Task


class DatasetError(ValueError):
    """A dataset that is not there, or not as it was published; the message says which file, and where to get it."""


class MissingDatasetError(DatasetError):
    """Nobody says where a dataset lies, or nothing is there."""


@dataclass(frozen=True)
class DataFolder:
    """Where one dataset lies, and which of its variants is meant.

    Attributes:
        root: Its folder.
        labels: A metadata file in place of the one that the published tree holds, for audio that lies otherwise, or the
            user's own list of splits for the variant "user".
        variant: One of the dataset's `variants`; empty is the first.
        only: Of the dataset's tasks those that are wanted, where the others' archives need not be there; empty is all.
    """

    root: Path
    labels: Path | None = None
    variant: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Archive:
    """One file that a dataset is downloaded as.

    Attributes:
        name: Of the file as it is stored.
        urls: Where it is to be had, the original first, mirrors after it.
        num_bytes: Its size; None is not published.
        checksum: "sha256:..." or "md5:..."; empty where none is published, or where the archive changes: then its
            content is checked once it is unpacked.
        into: Folder below the dataset's own that it is unpacked into, or put into where it is no archive.
        part_of: Name of the archive that this is a piece of; pieces are joined in their order.
        variants: Of the dataset, those that need it; empty is all.
    """

    name: str
    urls: tuple[str, ...]
    num_bytes: int | None = None
    checksum: str = ""
    into: str = ""
    part_of: str = ""
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Published:
    """Published audio: what it is and how to get it.

    Attributes:
        name: Its folder below a data root, and its name on the command line.
        title: As its authors call it.
        source: Where to get it, in words: address, size, licence.
        licence: Short, such as "CC BY 4.0".
        hours: Of audio, about; None is unknown.
        num_bytes: Of what is downloaded, about; None is unknown.
        archives: What `leveret data get` fetches; empty where a person must ask for access.
        how: What a person does by hand, where something is to be done: a form to fill in, an archive to join.
    """

    name: str
    title: str
    source: str
    licence: str = ""
    hours: float | None = None
    num_bytes: int | None = None
    archives: tuple[Archive, ...] = ()
    how: str = ""

    def archives_of(self, variant: str) -> tuple[Archive, ...]:
        """What one of its variants is made of."""
        return tuple(one for one in self.archives if not one.variants or variant in one.variants)


@dataclass(frozen=True, kw_only=True)
class Dataset(Published):
    """Published audio with labels, an entry of the tasks room.

    Attributes:
        tasks: Names of its tasks.
        make: The tasks over a folder. A clip whose audio is not there is made all the same, with the path where it is
            expected: what is missing is then counted and named like every other file that cannot be read.
        variants: Splits, or versions, that one may choose; the first is the default.
    """

    tasks: tuple[str, ...]
    make: Callable[[DataFolder], list[Task]]
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus(Published):
    """Published audio to pretrain on, an entry of the tasks room (its dict is CORPORA).

    Attributes:
        clips: Its clips over a folder; labels only where there are any.
        labels: The vocabulary, in the published order; None for audio without labels.
    """

    clips: Callable[[DataFolder], Sequence[Clip]]
    labels: Callable[[DataFolder], tuple[str, ...]] | None = None
