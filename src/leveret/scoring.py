"""The one evaluation engine: tables of rows -> probe -> scores a clip -> metrics. It sees no audio and no encoder.

Source: paper, appendix A: a probe on frozen vectors, scores averaged over the windows of a clip.
Shapes: S seeds, R rows, M clips, K classes, D embedding.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from typing import Protocol as Interface

import numpy as np
import torch
from numpy.typing import NDArray

from leveret.clip_scoring import ENOUGH_CLIPS, at_hand, clip_scores, enough
from leveret.clips import Clip, Fold
from leveret.contracts import Crops, FittedProbe, Probe, Progress, Table, Task, TunableProbe
from leveret.disk_rows import DiskRows
from leveret.mapped import MappedRows
from leveret.metrics import METRICS
from leveret.outcomes import Outcome, ScoredFold, outcome_of, predictions_of, scored_fold
from leveret.protocols import Protocol, probe_settings


class Cropping(Interface):
    """Where the crops come from that a head draws."""

    @property
    def ids(self) -> Collection[str]:
        """Of the clips that can be drawn."""

    @property
    def bad(self) -> Mapping[str, str]:
        """Clip id -> why it could not be embedded when it was drawn."""

    def of(self, clips: Sequence[Clip], device: torch.device) -> Crops:
        """The crops of these clips."""
        ...


@dataclass(frozen=True)
class Vectors:
    """Rows of the clips that one encoder could embed, ready to be dealt out to splits.

    Attributes:
        rows_of: Clip id -> its rows (n, D).
        width: D.
        mixed_of: Clip id -> rows of its crops that were mixed with other clips; empty where the task mixes nothing.
        crops: What the head is trained on where it draws its crops; the rows of training clips are then only scored.
    """

    rows_of: Mapping[str, NDArray[Any] | MappedRows]
    width: int
    mixed_of: Mapping[str, NDArray[Any] | MappedRows] = field(default_factory=dict)
    crops: Cropping | None = None

    def of(self, split: str) -> Mapping[str, NDArray[Any] | MappedRows]:
        """Clip id -> rows as a split takes them: `train` learns from mixed crops where there are any."""
        return self.mixed_of if split == "train" and self.mixed_of else self.rows_of

    def matrix(self, clips: Sequence[Clip], split: str) -> tuple[NDArray[Any] | MappedRows, NDArray[np.int64]]:
        """All rows of the clips (R, D), on disk where they lie there, and the number of rows of each."""
        blocks = [self.of(split)[clip.id] for clip in clips]
        counts = np.array([len(block) for block in blocks])
        on_disk = [block for block in blocks if isinstance(block, MappedRows)]
        if on_disk and len(on_disk) == len(blocks):
            return MappedRows.joined(on_disk), counts
        in_memory = [block.read() if isinstance(block, MappedRows) else block for block in blocks]
        return np.concatenate(in_memory) if blocks else np.empty((0, self.width), np.float32), counts


def score_task(
    task: Task,
    folds: Sequence[Fold],
    vectors: Vectors,
    protocol: Protocol,
    device: torch.device,
    progress: Progress | None = None,
) -> Outcome:
    """Train the protocol's probe on each fold and score its test clips; clips without vectors are left out.

    Where the task tunes on its first fold, the metrics also hold `nested_choice`: the score with the setting chosen
    anew for each fold on one of its own training folds, which no test clip has a say in.

    Raises:
        ValueError: A split has no clip with vectors.
    """
    found: list[ScoredFold] = []
    probe = free_probe = protocol.probe(task)
    tuned = protocol.tunes_on_first_fold(task) and len(folds) > 1 and isinstance(probe, TunableProbe)
    for number, fold in enumerate(folds):
        train, valid = (
            [clip for clip in getattr(fold, split) if clip.id in vectors.of(split)] for split in ("train", "valid")
        )
        if not train:
            raise _no_clip(task, "train")
        test = _tested(task, fold, vectors)

        def share(part: float, number: int = number) -> None:
            if progress:
                progress((number + part) / len(folds))

        fit = _Fit(task, vectors, protocol, device, share)
        held = test if tuned and number == 0 else valid if protocol.reads_valid else []
        scored = fit(probe, train, held, test, fold.train)
        on_train = predictions_of(task, scored.seen, [slot_scores[0] for slot_scores in scored.train])
        nested = None
        if tuned:
            assert isinstance(free_probe, TunableProbe), free_probe
            if number == 0:
                probe = free_probe.settled(scored.facts)
            inner = {clip.id for clip in folds[(number + 1) % len(folds)].test}
            rest, inner_test = _divided(train, inner)
            choice = fit(free_probe, rest, inner_test, inner_test)
            nested = fit(free_probe.settled(choice.facts), train, [], test).test
        found.append(
            scored_fold(
                task, test, scored.test, scored.seeds, on_train.targets(), scored.facts, scored.probes,
                train_score=METRICS[task.metric](on_train.for_metric(), on_train.targets()), nested=nested,
            )
        )  # fmt: skip
    return outcome_of(found, probe_settings(free_probe))


def score_readout(
    task: Task,
    folds: Sequence[Fold],
    vectors: Vectors,
    readout: FittedProbe,
    protocol: Protocol,
    device: torch.device,
    about: Mapping[str, Any],
) -> Outcome:
    """Score the test clips of each fold by a read-out that was trained elsewhere; no training clip needs vectors.

    Args:
        about: What the result says in place of a probe's settings.

    Raises:
        ValueError: A fold has no test clip with vectors.
    """
    found = []
    for fold in folds:
        test = _tested(task, fold, vectors)
        rows, counts = vectors.matrix(test, "test")
        scores = clip_scores(readout, at_hand(rows, None, device), counts, task.kind, protocol.average)
        some = fold.train[:: max(1, -(-len(fold.train) // ENOUGH_CLIPS))]  # for the commonest class
        labels = predictions_of(task, some, []).targets()
        found.append(scored_fold(task, test, [scores], protocol.seeds[:1], labels, {}, [readout]))
    return outcome_of(found, about)


def _tested(task: Task, fold: Fold, vectors: Vectors) -> list[Clip]:
    """Its test clips with vectors."""
    test = [clip for clip in fold.test if clip.id in vectors.of("test")]
    if not test:
        raise _no_clip(task, "test")
    return test


def _no_clip(task: Task, split: str) -> ValueError:
    return ValueError(f"task {task.name!r} has no {split} clip with vectors; see the skipped files")


@dataclass(frozen=True)
class _Scored:
    seeds: Sequence[int]
    seen: Sequence[Clip]  # training clips that were scored
    train: Sequence[NDArray[np.float32]]  # a slot: (S, M, K)
    test: Sequence[NDArray[np.float32]]
    facts: Mapping[str, Any]
    probes: Sequence[FittedProbe]  # a slot


@dataclass(frozen=True)
class _Fit:
    """One probe, fitted and scored; slots one by one: no gradient of one reaches the head of another."""

    task: Task
    vectors: Vectors
    protocol: Protocol
    device: torch.device
    progress: Progress

    def __call__(
        self,
        probe: Probe,
        train: Sequence[Clip],
        held: Sequence[Clip],
        test: Sequence[Clip],
        cropped: Sequence[Clip] = (),
    ) -> _Scored:
        """Scores of train and test clips; `held` may only choose settings, of `cropped` crops are drawn if any are."""
        task, crops = self.task, None
        if self.vectors.crops is not None:
            cropped = [clip for clip in cropped if clip.id in self.vectors.crops.ids]
            crops = self.vectors.crops.of(cropped, self.device)
        X_train, counts_train = self._rows(probe, train, "train")
        X_test, counts_test = self._rows(probe, test, "test")
        seen, X_seen, counts_seen = enough(train, X_train, counts_train)
        scores_train: list[NDArray[np.float32]] = []
        scores_test: list[NDArray[np.float32]] = []
        facts: dict[str, Mapping[str, Any]] = {}
        probes: list[FittedProbe] = []
        for number, (slot, labels) in enumerate(task.slots):

            def share(part: float, number: int = number) -> None:
                self.progress((number + part) / len(task.slots))

            table = _table(task, number, X_train, counts_train, train)
            if crops is not None:
                table = replace(table, crops=crops, crop_targets=_targets(task, number, cropped).to(self.device))
            valid = _table(task, number, *self._rows(probe, held, "valid"), held) if held else None
            fitted = probe.fit(table, valid, share)
            for X, counts, found in ((X_seen, counts_seen, scores_train), (X_test, counts_test, scores_test)):
                found.append(clip_scores(fitted, X, counts, task.kind, self.protocol.average))
            probes.append(fitted)
            facts[slot] = fitted.facts
            assert scores_test[-1].shape[2] == len(labels), (scores_test[-1].shape, len(labels))
        seeds = self.protocol.seeds[: len(scores_test[0])]
        found_facts = facts[""] if task.kind != "slots" else {"slots": facts}
        return _Scored(seeds, seen, scores_train, scores_test, found_facts, probes)

    def _rows(
        self, probe: Probe, clips: Sequence[Clip], split: str
    ) -> tuple[torch.Tensor | DiskRows, NDArray[np.int64]]:
        X, counts = self.vectors.matrix(clips, split)
        return at_hand(X, probe, self.device), counts


def _divided(clips: Sequence[Clip], ids: set[str]) -> tuple[list[Clip], list[Clip]]:
    """The clips without these ids, and those with them."""
    return [clip for clip in clips if clip.id not in ids], [clip for clip in clips if clip.id in ids]


def _targets(task: Task, slot: int, clips: Sequence[Clip], dtype: torch.dtype | None = None) -> torch.Tensor:
    labels = task.slots[slot][1]
    index = {label: k for k, label in enumerate(labels)}
    if task.kind != "multi":
        return torch.tensor([index[clip.labels[slot]] for clip in clips])
    targets = torch.zeros(len(clips), len(labels), dtype=dtype)
    for row, clip in enumerate(clips):
        targets[row, [index[label] for label in clip.labels]] = 1
    return targets


def _table(
    task: Task, slot: int, X: torch.Tensor | DiskRows, counts: NDArray[np.int64], clips: Sequence[Clip]
) -> Table:
    # half the memory where clips are millions; both types hold 0 and 1
    dtype = torch.float16 if isinstance(X, DiskRows) else None
    names = {name: k for k, name in enumerate(dict.fromkeys(clip.group for clip in clips))}
    return Table(
        X=X,
        rows=torch.repeat_interleave(torch.arange(len(clips)), torch.from_numpy(counts)).to(X.device),
        targets=_targets(task, slot, clips, dtype).to(X.device),
        groups=torch.tensor([names[clip.group] for clip in clips], device=X.device),
        num_classes=len(task.slots[slot][1]),
    )
