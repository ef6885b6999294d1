"""What `leveret data overlap` found, to JSON and back; what of it stands in a scorecard.

Needs no torch and no audio. A report is about a list of clips: it is told from another by the digest of ids, labels
and groups that scorecards use, so that a copy of the dataset in another format or place is the same list.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from leveret.text import number_of

SCHEMA_VERSION = 1
SAME_SAMPLES, FINGERPRINT = "same samples", "fingerprint"
UNCHECKED, NONE_FOUND = "unchecked", "none found"


class OverlapError(ValueError):
    """A report that cannot be read, or that is about other data."""


@dataclass(frozen=True)
class Shared:
    """A test clip that occurs in what is trained on.

    Attributes:
        clip: Its id.
        pretrain: Id of the clip that holds it; where several do, the best match.
        means: "youtube id", "freesound id", "same samples" or "fingerprint".
        offset_seconds: Where the test clip begins in the other, negative where it began earlier; None for ids.
        score: Share of the fingerprint's signs that agree, 0.5 is chance; 1 for the same samples, None for ids.
        others: How many more clips it occurs in by the same means.
    """

    clip: str
    pretrain: str
    means: str
    offset_seconds: float | None
    score: float | None
    others: int = 0


@dataclass(frozen=True)
class TaskOverlap:
    """One task's test split.

    Attributes:
        task: Name.
        suite: Of the task.
        clips: Number of distinct test clips.
        digest: Of their ids, labels and groups.
        found: Those that occur in what is trained on.
        unchecked: Id -> why nothing is known of the clip; none of these is in `found`.
    """

    task: str
    suite: str
    clips: int
    digest: str
    found: Sequence[Shared]
    unchecked: Mapping[str, str]

    def by_means(self) -> dict[str, int]:
        """Number of clips found by each means."""
        return dict(Counter(one.means for one in self.found))


@dataclass(frozen=True)
class Contamination:
    """What is known of a task's test clips in what an encoder was trained on; as text, what scorecards say.

    Attributes:
        checked: Whether anybody looked.
        clips: Ids of those that were met.
        left: How many clips could not be checked, in words; empty if all were.
    """

    checked: bool = False
    clips: tuple[str, ...] = ()
    left: str = ""

    def __str__(self) -> str:
        if not self.checked:
            return UNCHECKED
        found = number_of(len(self.clips), "clip") if self.clips else NONE_FOUND
        return found + (f" ({self.left} unchecked)" if self.left else "")

    def joined(self, other: "Contamination") -> "Contamination":
        """With what another means found; what could not be checked is told of this one."""
        if not (self.checked and other.checked):
            return self if self.checked else other
        return Contamination(True, tuple(dict.fromkeys([*self.clips, *other.clips])), self.left)


@dataclass(frozen=True)
class OverlapReport:
    """What was looked for in what.

    Attributes:
        pretrain: As the user named it.
        pretrain_clips: Number of its clips.
        pretrain_digest: Of their ids, in any order.
        pretrain_unchecked: Number of them that could not be searched, by reason.
        examples: Some of these clips, with the reason.
        tasks: One each.
    """

    pretrain: str
    pretrain_clips: int
    pretrain_digest: str
    pretrain_unchecked: Mapping[str, int]
    examples: Mapping[str, str]
    tasks: Sequence[TaskOverlap]

    def pairs(self) -> set[tuple[str, str]]:
        """Suite and name of each task."""
        return {(one.suite, one.task) for one in self.tasks}

    def contamination(self, suite: str, task: str, digest: str) -> Contamination:
        """What the scorecard says of a task.

        Args:
            digest: Of the test clips that are to be scored.

        Raises:
            OverlapError: The report is about other test clips of that task.
        """
        about = next((one for one in self.tasks if (one.suite, one.task) == (suite, task)), None)
        if about is None:
            return Contamination()
        if about.digest != digest:
            raise OverlapError(
                f"the overlap report is about another list of test clips of {task} ({about.digest[:12]}, here it is "
                f"{digest[:12]}); run `leveret data overlap` on the data that is evaluated"
            )
        left = [f"{len(about.unchecked):,} of {about.clips:,} test clips"] if about.unchecked else []
        missed = sum(self.pretrain_unchecked.values())
        left += [f"{missed:,} of {self.pretrain_clips:,} training clips"] if missed else []
        if not about.found and (len(about.unchecked) == about.clips or missed == self.pretrain_clips):
            return Contamination()
        return Contamination(True, tuple(one.clip for one in about.found), " and ".join(left))

    def to_json(self) -> str:
        """Indented, ASCII, the same for the same findings."""
        return json.dumps({"overlap_version": SCHEMA_VERSION, **asdict(self)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "this text") -> Self:
        """The inverse of `to_json`.

        Raises:
            OverlapError: It is not such a report, or one of a later version.
        """
        try:
            values = json.loads(text)
            version = values["overlap_version"]
            if type(version) is not int:
                raise TypeError(f"overlap_version is {version!r}")
            if version > SCHEMA_VERSION:
                raise OverlapError(
                    f"{where} has overlap_version {version}, this leveret reads up to {SCHEMA_VERSION}; upgrade"
                )
            tasks = [
                TaskOverlap(
                    _is(str, one["task"]), _is(str, one["suite"]), _is(int, one["clips"]), _is(str, one["digest"]),
                    [_shared(each) for each in one["found"]], _mapping(str, one["unchecked"]),
                )
                for one in values["tasks"]
            ]  # fmt: skip
            return cls(
                _is(str, values["pretrain"]), _is(int, values["pretrain_clips"]), _is(str, values["pretrain_digest"]),
                _mapping(int, values["pretrain_unchecked"]), _mapping(str, values["examples"]), tasks,
            )  # fmt: skip
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise OverlapError(
                f"{where} is no overlap report, or a damaged one ({type(error).__name__}: {error}); make one with "
                "`leveret data overlap`"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """The report of a file.

        Raises:
            OverlapError: There is none, or it cannot be read.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))
        except OSError as error:
            raise OverlapError(
                f"no overlap report at {path} ({error.strerror}); make one with `leveret data overlap`"
            ) from error


def _shared(found: Any) -> Shared:
    values = _is(dict, found)
    offset, score = values["offset_seconds"], values["score"]
    return Shared(
        _is(str, values["clip"]), _is(str, values["pretrain"]), _is(str, values["means"]),
        None if offset is None else float(_is((int, float), offset)),
        None if score is None else float(_is((int, float), score)), _is(int, values["others"]),
    )  # fmt: skip


def _mapping(kind: type, values: Any) -> dict[str, Any]:
    return {key: _is(kind, value) for key, value in _is(dict, values).items()}


def _is(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{str(value)[:40]!r} stands where {kind} is expected")
    return value


def contamination_of(path: Path, tasks: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str], Contamination]:
    """Suite and task -> what a report says of its test clips.

    Args:
        tasks: Suite, task, and digest of the test clips.

    Raises:
        OverlapError: The report cannot be read, or is about none of the tasks.
    """
    report = OverlapReport.read(path)
    if not {(suite, task) for suite, task, _ in tasks} & report.pairs():
        raise OverlapError(
            f"{path} is about none of these tasks, but about "
            f"{', '.join(sorted(task for _, task in report.pairs()))}; run `leveret data overlap` on these"
        )
    return {(suite, task): report.contamination(suite, task, digest) for suite, task, digest in tasks}
