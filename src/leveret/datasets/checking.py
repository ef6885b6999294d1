"""Whether a dataset on disk is the published one: counts, missing and surplus files, headers, audio that stands twice.

What is examined never grows beyond the index: audio is looked at clip by clip.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from leveret.audio import SUFFIXES
from leveret.batches import CropRule, plan_rows
from leveret.clips import Clip, split_hash
from leveret.datasets.duplicates import Duplicate, duplicates, piece
from leveret.datasets.subjects import SPLITS, Parts, Subject, of_published
from leveret.findings import Finding, Status, usable
from leveret.progress import Reporter, shares
from leveret.published_audio import DataFolder, DatasetError, MissingDatasetError, Published
from leveret.results import MIN_COVERAGE
from leveret.text import number_of

_NAMES_IN_A_LINE = 3
_ANY_WINDOW = CropRule(seconds=1.0, num_windows=1)  # one row a clip: headers alone are wanted
_AT_ONCE = 4096


@dataclass(frozen=True)
class DataReport:
    """What an examination found.

    Attributes:
        subject: What was examined.
        missing: Files that the lists name and that are not there.
        unreadable: File -> why.
        surplus: Audio files that no list names; of a manifest none is surplus.
        duplicates: Clips of different parts that hold the same samples.
    """

    subject: Subject
    findings: Sequence[Finding]
    missing: Sequence[str] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    surplus: Sequence[str] = ()
    duplicates: Sequence[Duplicate] = ()

    @property
    def well(self) -> bool:
        """Whether nothing fails."""
        return usable(self.findings)

    def described(self) -> dict[str, Any]:
        """For JSON, with every name."""
        one = self.subject
        return {
            "spec": one.spec, "title": one.title, "folder": str(one.root or ""), "variant": one.variant,
            "variants": list(one.variants), "well": self.well,
            "findings": [finding.described() for finding in self.findings],
            "tasks": {
                parts.name: {"clips": _counts(parts), "official": dict(parts.official or {}), "splits": _hash(parts)}
                for parts in one.parts
            },
            "missing": list(self.missing), "unreadable": dict(self.unreadable), "surplus": list(self.surplus),
            "duplicates": [asdict(each) for each in self.duplicates],
        }  # fmt: skip


def examine(one: Subject, threads: int, reporter: Reporter, decode: bool = False) -> DataReport:
    """Counts, files, headers, and duplicates across splits.

    Args:
        decode: Decode every clip to its end; without it, only those that may be duplicates.
    """
    clips = _distinct(one.parts)
    missing = _missing(clips, threads, reporter)
    absent = set(missing)
    present = [clip for clip in clips if str(clip.path) not in absent]
    with reporter.stage("headers", 1.0, "") as advance:
        plan = plan_rows(present, _ANY_WINDOW, threads, shares(advance))
    path_of = {clip.id: str(clip.path) for clip in present}
    unreadable = {path_of[clip_id]: reason for clip_id, reason in plan.bad.items()}
    twice, broken = duplicates(one.parts, plan.clips, plan.lengths.tolist(), threads, reporter, decode)
    unreadable |= broken
    assert one.root is not None, one.spec
    listed_whole = not one.spec.startswith("manifest:")  # a user's own table may well be of a part of a folder
    surplus = _surplus(one.root, clips) if listed_whole else []
    findings = [
        *_names_findings(one, missing),
        *([_readable(unreadable, len(present), decode)] if present else []),
        *([_surplus_finding(surplus)] if listed_whole else []),
        *(_twice_finding(one, parts, twice) for parts in one.parts if len(parts.clips) > 1),
    ]
    return DataReport(one, findings, missing, unreadable, surplus, twice)


def absent(spec: str, error: DatasetError) -> DataReport:
    """The report on what is not there, or whose lists are not the published ones."""
    return DataReport(Subject(spec, spec, None, ()), [_wrong_tree(error)])


def examine_names(published: Published, folder: DataFolder) -> list[Finding]:
    """The findings that need no look into a file: counts, and what is missing."""
    try:
        one = of_published(published, folder)
    except DatasetError as error:
        return [_wrong_tree(error)]
    return _names_findings(one, [str(clip.path) for clip in _distinct(one.parts) if not clip.path.is_file()])


def _wrong_tree(error: DatasetError) -> Finding:
    if isinstance(error, MissingDatasetError):  # nothing is wrong with a tree that is not there
        return Finding("fail", "folder", str(error))
    return Finding("fail", "tree", str(error), "the published one")


def _names_findings(one: Subject, missing: Sequence[str]) -> list[Finding]:
    files = {str(clip.path) for parts in one.parts for clips in parts.clips.values() for clip in clips}
    where = f"; get them again from {one.source}" if one.source else "; correct the list, or copy them again"
    findings = [finding for parts in one.parts for finding in _count_findings(one, parts)]
    if not missing:
        return [*findings, Finding("pass", "files", f"all {len(files):,} are there")]
    status: Status = "warn" if all(_enough(parts, set(missing)) for parts in one.parts) else "fail"
    seen = f"{len(missing):,} of {len(files):,} missing: {_some(missing, one.root)}"
    return [*findings, Finding(status, "files", seen, "every file of the list", f"copy what is missing{where}")]


def _enough(parts: Parts, missing: set[str]) -> bool:
    """Whether a set that nobody has whole any more is as whole as its score needs."""
    test = [clip for fold in parts.folds for clip in fold.test]
    there = sum(str(clip.path) not in missing for clip in test)
    return parts.name in MIN_COVERAGE and there >= MIN_COVERAGE[parts.name] * max(len(test), 1)


def _count_findings(one: Subject, parts: Parts) -> list[Finding]:
    counts = _counts(parts)
    seen = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    if len(parts.folds) > 1:
        seen += f", over {number_of(len(parts.folds), 'fold')}"
    name = f"{parts.name} clips"
    official = dict(parts.official or {})
    if not official:
        found = Finding("note", name, seen)
    elif all(counts.get(split, 0) == count for split, count in official.items()):
        found = Finding("pass", name, f"{seen}, as published")
    else:
        expected = ", ".join(f"{split} {count:,}" for split, count in official.items())
        advice = f"take the list of {one.source}" + (f", variant {one.variant}" if one.variant else "")
        found = Finding("fail", name, seen, expected, advice)
    if not parts.folds:
        return [found]
    others = [variant for variant in one.variants if variant != one.variant]
    variant = f", variant {one.variant}" if one.variant else ""
    variant += f" (there are {', '.join(others)} too)" if others else ""
    return [found, Finding("note", f"{parts.name} splits", f"list {_hash(parts)[:12]}{variant}")]


def _readable(unreadable: Mapping[str, str], num_files: int, decode: bool) -> Finding:
    what = "decoded to the end" if decode else "by their headers"
    if not unreadable:
        return Finding("pass", "readable", f"all {num_files:,} clips, {what}")
    reasons = "; ".join(list(unreadable.values())[:_NAMES_IN_A_LINE])
    more = f"; and {len(unreadable) - _NAMES_IN_A_LINE} more" if len(unreadable) > _NAMES_IN_A_LINE else ""
    seen = f"{len(unreadable):,} of {num_files:,} not, {what}: {reasons}{more}"
    return Finding("fail", "readable", seen, "none", "copy or convert these again; evaluate skips up to 1 % by itself")


def _surplus_finding(surplus: Sequence[str]) -> Finding:
    if not surplus:
        return Finding("pass", "surplus", "no audio file that no list names")
    seen = f"{len(surplus):,} audio files that no list names: {_some(surplus)}"
    advice = "if two versions are mixed, unpack one of them into a folder of its own; else they do no harm"
    return Finding("warn", "surplus", seen, "none", advice)


def _twice_finding(one: Subject, parts: Parts, twice: Sequence[Duplicate]) -> Finding:
    name = f"{parts.name} duplicates"
    mine = [each for each in twice if each.task == parts.name]
    if not mine:
        return Finding("pass", name, "no audio on both sides of a split")
    some = "; ".join(
        " = ".join(f"{clip} ({part})" for part, clip in each.clips[:_NAMES_IN_A_LINE])
        for each in mine[:_NAMES_IN_A_LINE]
    )
    silent = sum(each.silent for each in mine)
    seen = f"{len(mine):,} pieces of audio stand on both sides of a split"
    seen += (f", {silent} of them digital silence" if silent else "") + f": {some}"
    if one.own_splits:
        return Finding("fail", name, seen, "none", "keep each piece of audio in one split; equal groups do that")
    advice = "the published lists may have them; if not, a file was copied over another: unpack the archive again"
    return Finding("warn", name, seen, "none", advice)


def _missing(clips: Sequence[Clip], threads: int, reporter: Reporter) -> list[str]:
    paths = list(dict.fromkeys(clip.path for clip in clips))
    missing = []
    with ThreadPoolExecutor(threads) as pool, reporter.stage("files", len(paths), "files") as advance:
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            missing += [
                str(path) for path, is_file in zip(some, pool.map(Path.is_file, some), strict=True) if not is_file
            ]
            advance(len(some))
    return missing


def _surplus(root: Path, clips: Iterable[Clip]) -> list[str]:
    wanted = {os.path.abspath(clip.path) for clip in clips}
    found = []
    for folder, _, names in os.walk(os.path.abspath(root)):
        audio = (name for name in names if name.lower().endswith(SUFFIXES))
        found += [path for name in audio if (path := os.path.join(folder, name)) not in wanted]
    return sorted(os.path.relpath(path, root) for path in found)


def _distinct(parts: Sequence[Parts]) -> list[Clip]:
    """Every piece of audio once, whatever tasks it stands in, under an id of its own."""
    found = dict.fromkeys(piece(clip) for one in parts for clips in one.clips.values() for clip in clips)
    return [Clip(str(number), path, (), "", start=start, end=end) for number, (path, start, end) in enumerate(found)]


def _counts(parts: Parts) -> dict[str, int]:
    if not parts.folds:
        return {name: len(clips) for name, clips in parts.clips.items()}
    totals = {split: sum(len(getattr(fold, split)) for fold in parts.folds) for split in SPLITS}
    return {split: total for split, total in totals.items() if total}


def _hash(parts: Parts) -> str:
    return split_hash(parts.folds) if parts.folds else ""


def _some(paths: Sequence[str], root: Path | None = None) -> str:
    named = [os.path.relpath(path, root) if root else path for path in paths[:_NAMES_IN_A_LINE]]
    return ", ".join(named) + (f" and {len(paths) - len(named):,} more" if len(paths) > len(named) else "")
