"""Where published datasets lie on this machine: `--data`, `--labels`, LEVERET_DATA.

`--data ROOT` means ROOT/NAME for the dataset NAME, `--data NAME=PATH` names one dataset's folder, and a spec NAME:PATH
names it outright.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from leveret.contracts import DataFolder, Dataset, DatasetError

VARIABLE = "LEVERET_DATA"


@dataclass(frozen=True, kw_only=True)
class DataRoots:
    """Where datasets are looked for.

    Attributes:
        root: Holds a folder a dataset; None is LEVERET_DATA.
        folders: Dataset -> its own folder.
        labels: Dataset -> its metadata file.
    """

    root: Path | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    labels: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Sequence[str], labels: Sequence[str], names: Sequence[str]) -> Self:
        """From the words of a command line: ROOT or NAME=PATH, and NAME=FILE.

        Args:
            names: The datasets that exist.

        Raises:
            DatasetError: Two roots, or a name that is no dataset.
        """
        roots = [Path(os.path.expanduser(word)) for word in data if not _named(word, names)]
        if len(roots) > 1:
            raise DatasetError(
                f"{len(roots)} data roots ({', '.join(map(str, roots))}); give one, and NAME=PATH for more"
            )
        for word in labels:
            if not _named(word, names):
                raise DatasetError(f"labels {word!r}; expected NAME=FILE with NAME one of {', '.join(names)}")
        return cls(
            root=roots[0] if roots else None,
            folders=dict(found for word in data if (found := _named(word, names))),
            labels=dict(found for word in labels if (found := _named(word, names))),
        )

    def folder(self, dataset: Dataset, named: str = "") -> DataFolder:
        """Where a dataset lies.

        Args:
            named: What follows the colon in its spec; empty looks in the roots.

        Raises:
            DatasetError: Nobody says where, or there is nothing.
        """
        root = self.root or (Path(os.path.expanduser(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else None)
        place = (
            Path(os.path.expanduser(named)) if named else self.folders.get(dataset.name, root and root / dataset.name)
        )
        if place is None:
            raise DatasetError(
                f"nobody says where {dataset.title} lies: give --data ROOT (with a folder {dataset.name} in it), "
                f"--data {dataset.name}=PATH, or set {VARIABLE}; it is to be had from {dataset.source}"
            )
        if not place.is_dir():
            raise DatasetError(f"no {dataset.title} at {place}: no such folder; it is to be had from {dataset.source}")
        return DataFolder(place, self.labels.get(dataset.name))


def _named(word: str, names: Sequence[str]) -> tuple[str, Path] | None:
    name, equals, path = word.partition("=")
    if equals and name not in names and not Path(word).exists():
        raise DatasetError(f"no dataset {name!r} in {word!r}; known: {', '.join(names) or 'none'}")
    return (name, Path(os.path.expanduser(path))) if equals and name in names else None
