"""Where published datasets lie on this machine, and which variant is meant: `--data`, `--labels`, `--variant`.

`--data ROOT` means ROOT/NAME for the dataset NAME, `--data NAME=PATH` names one dataset's folder, and a spec NAME:PATH
names it outright.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Self

from leveret.published_audio import DataFolder, Dataset, DatasetError, MissingDatasetError, Published
from leveret.registry import unknown_name

VARIABLE = "LEVERET_DATA"


@dataclass(frozen=True, kw_only=True)
class DataRoots:
    """Where datasets are looked for.

    Attributes:
        root: Holds a folder a dataset; None is LEVERET_DATA.
        folders: Dataset -> its own folder.
        labels: Dataset -> its metadata file.
        variants: Dataset -> one of its variants.
    """

    root: Path | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    labels: Mapping[str, Path] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, data: Sequence[str], labels: Sequence[str], names: Sequence[str], variants: Sequence[str] = ()
    ) -> Self:
        """From the words of a command line: ROOT or NAME=PATH, NAME=FILE, and NAME=VARIANT.

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
        for what, words, form in (("labels", labels, "NAME=FILE"), ("variant", variants, "NAME=VARIANT")):
            for word in words:
                if not _named(word, names):
                    raise DatasetError(f"{what} {word!r}; expected {form} with NAME one of {', '.join(names)}")
        return cls(
            root=roots[0] if roots else None,
            folders=dict(found for word in data if (found := _named(word, names))),
            labels=dict(found for word in labels if (found := _named(word, names))),
            variants={name: str(chosen) for name, chosen in filter(None, (_named(word, names) for word in variants))},
        )

    def folder(self, dataset: Published, named: str = "") -> DataFolder:
        """Where a dataset lies.

        Args:
            named: What follows the colon in its spec; empty looks in the roots.

        Raises:
            MissingDatasetError: Nobody says where, or there is nothing.
            UnknownNameError: It has no such variant.
        """
        place = Path(os.path.expanduser(named)) if named else self.place(dataset.name)
        if place is None:
            raise MissingDatasetError(
                f"nobody says where {dataset.title} lies: give --data ROOT (with a folder {dataset.name} in it), "
                f"--data {dataset.name}=PATH, or set {VARIABLE}; {_where_from(dataset, 'ROOT')}"
            )
        if not place.is_dir():
            root = f"{dataset.name}={place}" if named or dataset.name in self.folders else str(place.parent)
            raise MissingDatasetError(f"no {dataset.title} at {place}: no such folder; {_where_from(dataset, root)}")
        return DataFolder(place, self.labels.get(dataset.name), self.variant(dataset))

    def variant(self, dataset: Published) -> str:
        """Which of its variants is meant; empty where it has one only.

        Raises:
            UnknownNameError: It has no such variant.
        """
        known = dataset.variants if isinstance(dataset, Dataset) else ()
        variant = self.variants.get(dataset.name, known[0] if known else "")
        if variant and variant not in known:
            raise unknown_name(f"variant of {dataset.name}", variant, known)
        return variant

    def place(self, name: str) -> Path | None:
        """The folder of that name, which need not exist yet; None where nobody says."""
        root = self.root or (Path(os.path.expanduser(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else None)
        return self.folders.get(name, root and root / name)


def _named(word: str, names: Sequence[str]) -> tuple[str, Path] | None:
    name, equals, path = word.partition("=")
    if equals and name not in names and not Path(word).exists():
        raise DatasetError(f"no dataset {name!r} in {word!r}; known: {', '.join(names) or 'none'}")
    return (name, Path(os.path.expanduser(path))) if equals and name in names else None


def _where_from(dataset: Published, root: str) -> str:
    get = f"leveret data get {dataset.name} --data {quote(root)}"
    return f"it is to be had from {dataset.source} (`{get}` fetches it, or says how)"
