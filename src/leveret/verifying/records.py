"""Which run folders passed a verification on this machine, and whether they are still what was verified. No torch.

A record lies in leveret's own home and not in the run folder: a folder from a stranger may hold anything, and a record
of its own among it. It names every file that scores are read from by its digest.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path

from leveret.home import home
from leveret.journal import json_or_none, replace_file
from leveret.version import __version__


def run_digests(folder: Path) -> dict[str, str]:
    """Path within the run folder -> sha256, of everything that scores are read from."""
    paths = [folder / "config.json", folder / "scorecard.json", *sorted((folder / "predictions").glob("*.parquet"))]
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in paths if path.is_file()}


def keep_record(folder: Path, files: dict[str, str], faults: Sequence[str]) -> None:
    """Remember how a verification ended.

    Args:
        files: The digests from before it began.
        faults: Why the run is not verified; empty if it is.
    """
    path = _record(files["scorecard.json"])
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "files": files, "faults": list(faults), "folder": str(folder), "leveret": __version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    replace_file(path, (json.dumps(record, indent=1) + "\n").encode())


def why_not_verified(folder: Path) -> str:
    """Why a run folder cannot be taken for verified as it lies there; empty if it can."""
    card = folder / "scorecard.json"
    path = _record(_sha256(card)) if card.is_file() else Path()
    record = json_or_none(path.read_bytes()) if path.is_file() else None
    if not (
        isinstance(record, dict) and isinstance(record.get("files"), dict) and isinstance(record.get("faults"), list)
    ):
        return f"not verified on this machine; `leveret verify {folder}` does it"
    files = run_digests(folder)
    if changed := sorted(name for name in {*files, *record["files"]} if files.get(name) != record["files"].get(name)):
        return f"{changed[0]} is not what was verified"
    return f"its verification failed: {record['faults'][0]}" if record["faults"] else ""


def _record(scorecard: str) -> Path:
    return home() / "verified" / f"{scorecard}.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
