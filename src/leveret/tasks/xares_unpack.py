"""A tar of audio and JSON files is unpacked once into leveret's home, by its content, whole or not at all.

Source: the WebDataset convention that X-ARES reads: neighbours with one name up to the first dot are one sample.
Names inside a tar are never used as file names: what is written is called by its number.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from shutil import copyfileobj, rmtree
from typing import Any

from filelock import FileLock

from leveret.archives import ArchiveError, Member, members
from leveret.home import home, require_space
from leveret.tasks.suite_settings import SuiteError, say

FOLDER = "xares-tars"
AUDIO = ("flac", "mp3", "wav", "m4a", "ogg", "opus", "wma", "sox")
"""What X-ARES takes for audio, and opus."""
INDEX = "index.json"
LARGEST_JSON = 1 << 20
"""Bytes; what describes one clip is never so long."""


@dataclass(frozen=True)
class Sample:
    """One clip of a tar.

    Attributes:
        key: Its name in the tar.
        file: Its audio, in the folder of the unpacked tar.
        about: What its JSON file says, an object or a bare value.
    """

    key: str
    file: str
    about: Any


def unpack(tars: Mapping[Path, str]) -> dict[Path, tuple[Path, list[Sample]]]:
    """Each tar's folder and samples; what is not unpacked yet is, after a line that says where.

    Args:
        tars: Path -> sha256 of its bytes.

    Raises:
        SuiteError: A tar is damaged, or holds what no tar of clips does.
        OSError: The disk has no room.
    """
    root = home() / FOLDER
    folders = {path: root / digest[:32] for path, digest in tars.items()}
    missing = [path for path, folder in folders.items() if not (folder / INDEX).is_file()]
    if missing:
        root.mkdir(parents=True, exist_ok=True)
        num_bytes = sum(path.stat().st_size for path in missing)
        say(f"unpacking {len(missing)} tars ({num_bytes / 1e6:.1f} MB) into {str(root)!r}, once")
        require_space(root, num_bytes, "unpacking the tars")
    for path in missing:
        make_whole(folders[path], partial(_unpack, path))
    return {path: (folder, _samples(folder)) for path, folder in folders.items()}


def make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder once, whole or not at all, whoever else makes it at the same time.

    Args:
        folder: It counts as made once it holds INDEX.
        fill: Writes everything, INDEX included, into the empty folder that it is given.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # the lock's file stays: whoever waits for it would hold the lock of a file that is gone
    with FileLock(folder.with_suffix(".lock")):
        if (folder / INDEX).is_file():
            return  # another process was faster
        unfinished = folder.with_suffix(".partial")
        rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        fill(unfinished)
        rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)


def _unpack(path: Path, folder: Path) -> None:
    samples = _write_members(path, folder)
    text = json.dumps([asdict(sample) for sample in samples])
    (folder / INDEX).write_text(text, encoding="utf-8")


def _write_members(path: Path, folder: Path) -> list[Sample]:
    """The samples of a tar, their audio written into the folder; a sample is a run of members with one key."""
    found: list[dict[str, Any]] = []
    try:
        with members([path]) as all_members:
            for member in all_members:
                key, suffix = _split_name(member.name)
                part = "about" if suffix == "json" else "file"
                if member.is_folder or (part == "file" and suffix not in AUDIO):
                    continue
                if not found or found[-1]["key"] != key:
                    found.append({"key": key})
                if part in found[-1]:
                    raise SuiteError(
                        f"{member.where} is the second {suffix} of one sample; a sample has one audio, one json"
                    )
                with member.open() as content:
                    if part == "about":
                        found[-1][part] = _read_json(member, content.read(LARGEST_JSON + 1))
                        continue
                    found[-1][part] = f"{len(found):06d}.{suffix}"
                    require_space(folder, member.num_bytes, member.where)
                    with (folder / found[-1][part]).open("wb") as file:
                        copyfileobj(content, file, 1 << 20)
    except ArchiveError as error:
        raise SuiteError(str(error)) from error
    if not found:
        raise SuiteError(f"{str(path)!r} holds no clips; expected KEY.json with KEY.wav, flac, mp3, ogg, ... each")
    for part, lacks in (("about", "json file"), ("file", "audio file")):
        lonely = [sample["key"] for sample in found if part not in sample]
        if lonely:
            raise SuiteError(
                f"{str(path)!r}: {len(lonely)} samples have no {lacks} beside them, the first is {lonely[0]!r}; "
                "make the tar again"
            )
    return [Sample(**sample) for sample in found]


def _split_name(name: str) -> tuple[str, str]:
    """Folder and name up to its first dot, and what follows that, in lower case."""
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")
    return (path.parent / stem).as_posix(), suffix.lower()


def _read_json(member: Member, content: bytes) -> Any:
    if len(content) > LARGEST_JSON:
        raise SuiteError(f"{member.where} has {member.num_bytes} bytes; expected a few that describe one clip")
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SuiteError(f"{member.where} is not JSON ({error}); make the tar again") from error


def _samples(folder: Path) -> list[Sample]:
    rows: Sequence[Mapping[str, Any]] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [Sample(row["key"], row["file"], row["about"]) for row in rows]
