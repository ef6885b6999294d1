"""What there is to get: each dataset and corpus beside the counts of the paper's table 1.

Source: paper, table 1 ("#Samples"). The paper does not say what it counted; what reconciles with its rounded numbers is
our inference from the counts that the datasets' authors published.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from leveret.dataroots import DataRoots
from leveret.datasets.names import corpora
from leveret.paper import tasks as tasks_of_table_1
from leveret.published_audio import Archive, Dataset, Published


@dataclass(frozen=True)
class Reconciled:
    """What a number of table 1 counts.

    Attributes:
        count: Of official clips; None where nothing that is published can be compared.
        how: The sum behind it, in words.
    """

    count: int | None
    how: str


COUNTS: Mapping[str, Reconciled] = MappingProxyType(
    {
        "audioset": Reconciled(1_934_187, "20,550 + 1,913,637 training clips, as downloaded for PANNs"),
        "birdsong": Reconciled(35_690, "7,690 + 8,000 + 20,000, all clips of the three sources"),
        "tut18": Reconciled(8_640, "all clips of the development set"),
        "esc50": Reconciled(2_000, "five folds of 400"),
        "speech_commands_v1": Reconciled(
            90_401, "85,511 + 4,890, train and test of the 12 classes made from the v0.02 archives"
        ),
        "speech_commands_v2": Reconciled(95_848, "84,843 + 11,005, train and test of v0.02"),
        "fluent_speech_commands": Reconciled(26_925, "23,132 + 3,793, train and test"),
        "voxforge": Reconciled(None, "of about 176,400 recordings; its splits were not published"),
        "voxceleb": Reconciled(146_612, "138,361 + 8,251, train and test of the identification split"),
        "nsynth_instrument": Reconciled(293_301, "289,205 + 4,096, train and test"),
        "nsynth_pitch": Reconciled(293_301, "289,205 + 4,096, train and test"),
        "magnatagatune": Reconciled(25_860, "18,706 + 1,825 + 5,329, validation and untagged clips included"),
    }
)


@dataclass(frozen=True)
class Listed:
    """One line of the list.

    Attributes:
        corpus: Whether it is to pretrain on; a dataset may be both.
        paper: Its number in table 1 as printed; empty where the paper has none.
        official: What that reconciles with; more than one where its tasks are different versions of it.
        get: The command that fetches it, or "by hand".
        how: What a person does by hand.
        archives: What the command fetches, with the variants that need it.
        there: Its folder; None where it is not there, or nobody said where to look.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    corpus: bool
    paper: str
    official: tuple[Reconciled, ...]
    hours: float | None
    num_bytes: int | None
    licence: str
    get: str
    how: str
    source: str
    variants: tuple[str, ...]
    archives: tuple[Archive, ...]
    there: str | None

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def listed(those: Iterable[Published], data: DataRoots) -> list[Listed]:
    """A line for each."""
    return [_line(one, data) for one in those]


def _line(one: Published, data: DataRoots) -> Listed:
    tasks = one.tasks if isinstance(one, Dataset) else ()
    printed = tasks_of_table_1()
    # tasks of one dataset count the same clips, unless they are different versions of it
    numbers = dict.fromkeys(printed[task].samples for task in tasks if task in printed)
    counts = dict.fromkeys(COUNTS[task] for task in tasks if task in COUNTS)
    place = data.place(one.name)
    return Listed(
        name=one.name, title=one.title, tasks=tasks, corpus=one.name in corpora(),
        paper=" / ".join(numbers), official=tuple(counts),
        hours=one.hours, num_bytes=one.num_bytes, licence=one.licence,
        get=f"leveret data get {one.name}" if one.archives else "by hand", how=one.how, source=one.source,
        variants=one.variants if isinstance(one, Dataset) else (), archives=one.archives,
        there=str(place) if place is not None and place.is_dir() else None,
    )  # fmt: skip
