"""A published dataset onto the disk: downloaded, unpacked beside, looked over, then given its name; or not at all.

Archives wait in ROOT/.leveret-downloads/NAME until the dataset is there; what came before a connection broke off, the
disk was full or somebody pressed Ctrl-C is kept there, and the same command goes on from it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from errno import ENOSPC
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Literal

from filelock import FileLock, Timeout

from leveret.archives import ArchiveError, is_archive, unpack
from leveret.dataroots import VARIABLE, DataRoots
from leveret.datasets.checking import examine_names
from leveret.datasets.downloading import fetch
from leveret.datasets.subjects import OWN_SPLITS
from leveret.findings import Finding, usable, with_status
from leveret.home import require_space
from leveret.progress import Reporter
from leveret.published_audio import Archive, DataFolder, Dataset, DatasetError, Published

STORE = ".leveret-downloads"
UNPACKED_BYTES_PER_BYTE = 1.5
"""Guessed before anything is known of an archive: audio and its tables, some of it packed already."""

State = Literal["fetched", "there", "by hand"]


@dataclass(frozen=True)
class Plan:
    """What getting one dataset takes.

    Attributes:
        folder: Where it will lie.
        state: "fetched" if it is to be fetched; "there" and "by hand" take nothing.
        num_bytes: To download still; None is unknown.
        variant: Of the dataset, the one that is got; empty where it has one only.
    """

    published: Published
    folder: Path
    state: State
    num_bytes: int | None = None
    variant: str = ""

    @property
    def archives(self) -> tuple[Archive, ...]:
        """What it is made of."""
        return self.published.archives_of(self.variant)

    @property
    def store(self) -> Path:
        """Where its archives wait."""
        return self.folder.parent / STORE / self.folder.name

    def require_space(self) -> None:
        """Refuse what will not fit.

        Raises:
            OSError: Fewer bytes are free than the archives and what they hold will take.
        """
        if self.state == "fetched":
            there = next(place for place in self.folder.absolute().parents if place.is_dir())
            unpacked = UNPACKED_BYTES_PER_BYTE * (_published_bytes(self.published, self.variant) or 0)
            require_space(there, round((self.num_bytes or 0) + unpacked), f"getting {self.published.title}")


@dataclass(frozen=True)
class Got:
    """What became of a plan.

    Attributes:
        findings: Of the looking over.
    """

    plan: Plan
    num_files: int
    findings: Sequence[Finding]


def plan_to_get(published: Published, data: DataRoots) -> Plan:
    """What is to be done to have the dataset where `data` says.

    Raises:
        DatasetError: Nobody says where, or something else is there.
        UnknownNameError: It has no such variant.
    """
    folder, variant = data.place(published.name), data.variant(published)
    if folder is None:
        raise DatasetError(
            f"nobody says where {published.title} shall lie: give --data ROOT, --data {published.name}=PATH, or set "
            f"{VARIABLE}"
        )
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; the folder of {published.title} shall be there: give another --data")
    if folder.is_dir() and any(folder.iterdir()):
        return Plan(published, folder, "there", variant=variant)
    if not published.archives_of(variant):
        return Plan(published, folder, "by hand", variant=variant)
    total = _published_bytes(published, variant)
    plan = Plan(published, folder, "fetched", total, variant)
    wanted = {archive.name for archive in plan.archives}
    came = sum(
        path.stat().st_size
        for path in plan.store.glob("*")
        if path.is_file() and path.name.removesuffix(".part") in wanted
    )
    return replace(plan, num_bytes=None if total is None else max(0, total - came))


def get(plan: Plan, reporter: Reporter, keep_archives: bool = False) -> Got:
    """Download, unpack, look over, and put in its place.

    Raises:
        DatasetError: No address gives an archive, or what is in them is not the dataset.
        ArchiveError: An archive is damaged, or is none that somebody made in good faith.
        OSError: The disk is full.
    """
    assert plan.state == "fetched", plan
    plan.require_space()
    plan.store.mkdir(parents=True, exist_ok=True)
    partial = plan.store / "unpacked"
    with _alone(plan), _told_when_full(plan):
        try:
            rmtree(partial, ignore_errors=True)  # what a killed process left
            files = {archive.name: fetch(archive, plan.store, reporter) for archive in plan.archives}
            num_files = _unpack(plan.archives, files, partial, reporter)
            findings = _look_over(plan, partial)
            if plan.folder.is_dir():
                plan.folder.rmdir()  # empty, as the plan has seen
            partial.rename(plan.folder)
            if not keep_archives:
                rmtree(plan.store, ignore_errors=True)
        finally:
            rmtree(partial, ignore_errors=True)
    return Got(plan, num_files, findings)


def _unpack(archives: Sequence[Archive], files: dict[str, Path], folder: Path, reporter: Reporter) -> int:
    """Every archive in its place below the folder; the number of files."""
    folder.mkdir()
    groups: dict[tuple[str, str], list[Archive]] = {}
    for archive in archives:
        groups.setdefault((archive.part_of or archive.name, archive.into), []).append(archive)
    num_files = 0
    for (name, into), group in groups.items():
        pieces = [files[archive.name] for archive in group]
        if not is_archive(name):
            (folder / into).mkdir(parents=True, exist_ok=True)
            _join(pieces, folder / into / name)
            num_files += 1
            continue
        with reporter.stage(f"unpacking {name}", 0, "bytes") as advance:
            try:
                num_files += unpack(pieces, folder / into, advance)
            except ArchiveError:
                # what no checksum vouches for may be a page of the server in place of the file: not to be found again
                for archive, piece in zip(group, pieces, strict=True):
                    if not archive.checksum:
                        piece.unlink()
                raise
    return num_files


def _join(pieces: Sequence[Path], path: Path) -> None:
    copyfile(pieces[0], path)
    for piece in pieces[1:]:
        with path.open("ab") as whole, piece.open("rb") as file:
            while chunk := file.read(1 << 20):
                whole.write(chunk)


def _look_over(plan: Plan, partial: Path) -> list[Finding]:
    """What the names say; refused where nothing else vouches for the archives."""
    published = plan.published
    # the user's own splits are a list that nobody has given here
    own = isinstance(published, Dataset) and plan.variant == OWN_SPLITS
    variant = DataRoots().variant(published) if own else plan.variant
    findings = examine_names(published, DataFolder(partial, None, variant))
    unsure = [archive for archive in plan.archives if not archive.checksum]
    # where a person has a step to do still, something is missing rightly
    if unsure and not published.how and not usable(findings):
        for archive in unsure:
            (plan.store / archive.name).unlink()
        reasons = "; ".join(f"{finding.name}: {finding.seen}" for finding in with_status(findings, "fail"))
        raise DatasetError(
            f"what {unsure[0].urls[0]} holds today is not {published.title} as published ({reasons}); it was removed. "
            f"Get it by hand, from {published.source}"
        )
    return findings


def _published_bytes(published: Published, variant: str) -> int | None:
    archives = published.archives_of(variant)
    sizes = [archive.num_bytes for archive in archives if archive.num_bytes is not None]
    if len(sizes) == len(archives):
        return sum(sizes)
    # what is said of the whole is about the default
    return published.num_bytes if archives == published.archives_of(DataRoots().variant(published)) else None


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    lock = FileLock(plan.store.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise DatasetError(
            f"another process is getting {plan.published.title} to {plan.folder} at this moment; wait for it"
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        for empty in (plan.store, plan.store.parent):
            with suppress(OSError):  # gone already, or it holds what the next call goes on from
                empty.rmdir()


@contextmanager
def _told_when_full(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise OSError(
            f"the disk of {plan.folder.parent} is full; what of {plan.published.title} was downloaded is kept: free "
            "some space and give the same command again"
        ) from error
