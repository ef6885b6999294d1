"""Which published audio a word of the command line means: a dataset, one of its tasks, a corpus, or `hares`."""

from collections.abc import Sequence
from pathlib import Path

from leveret.loading import datasets
from leveret.published_audio import Corpus, Dataset, Published
from leveret.registry import entries, unknown_name
from leveret.results import HARES


def corpora() -> dict[str, Corpus]:
    """The corpora to pretrain on by name; one that is a dataset too has that dataset's name."""
    found: dict[str, Corpus] = entries("tasks", "CORPORA")
    return found


def published() -> dict[str, Published]:
    """Everything that can be got, datasets first; of a dataset that is a corpus too, the dataset."""
    found: dict[str, Published] = {**datasets()}
    return found | {name: corpus for name, corpus in corpora().items() if name not in found}


def named(words: Sequence[str]) -> list[Published]:
    """What the words mean, each once; no word is everything.

    Raises:
        UnknownNameError: A word means nothing.
        ValueError: It is a table.
    """
    known = published()
    owners = {task: one for one in known.values() if isinstance(one, Dataset) for task in one.tasks}
    found: dict[str, Published] = {}
    for word in words or known:
        if word == HARES:
            found |= {name: one for name, one in known.items() if isinstance(one, Dataset)}
            continue
        one = known.get(word) or owners.get(word)
        if one is None and Path(word).suffix in (".csv", ".parquet"):
            raise ValueError(f"{word} is no published dataset; a table of your own is manifest:{word}")
        if one is None and Path(word).is_dir():
            raise ValueError(f"{word} is a folder, no published dataset; a table of its clips is manifest:FILE.csv")
        if one is None:
            raise unknown_name("dataset", word, dict.fromkeys([*known, *owners, HARES]))
        found[one.name] = one
    return list(found.values())
