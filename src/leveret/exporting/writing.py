"""From a spec to a file or folder in some format, and back again to compare.

Source: ours.
Shapes: B batch, N samples, D embedding.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import torch
from torch import Tensor

from leveret.checkpoint import CHECKPOINT_SUFFIX, load_checkpoint
from leveret.exporting.folders import CODE_LICENCE, NotExportableError
from leveret.exporting.formats import Exported, Format
from leveret.loading import load_encoder
from leveret.registry import entries, look_up
from leveret.runs import find_runs
from leveret.stimuli import varied_sounds
from leveret.text import printable

COMPARED_SECONDS = (0.3, 1.0, 2.345)
"""Lengths of the sounds that an export is compared on; a short one, and one that is no whole number of frames."""


def to_export(spec: str, run: Path | None = None) -> tuple[Exported, str]:
    """What a spec names, and where its weights come from, in words.

    Args:
        spec: A name of the encoders room, or a checkpoint.
        run: A folder with the one run whose scorecard goes along.

    Raises:
        NotExportableError: An adapter, or no single run.
        UnknownNameError: No such encoder.
    """
    prefix, colon, _ = spec.partition(":")
    if colon and prefix in entries("adapters"):
        raise NotExportableError(
            f"{printable(spec)} is somebody else's network, which leveret runs but has no plan of; expected a name of "
            f"`leveret list encoders` or FILE{CHECKPOINT_SUFFIX}"
        )
    scorecard = None
    if run is not None:
        runs = find_runs(run)
        if len(runs) > 1:
            raise NotExportableError(f"{len(runs)} runs lie below {printable(run)}; name the folder of one of them")
        scorecard = json.loads(runs[0].scorecard.to_json())
    if spec.endswith(CHECKPOINT_SUFFIX):
        found = load_checkpoint(Path(spec))
        return Exported(found.name, found.config, found.encoder, found.extra, scorecard), "checkpoint"
    loaded = load_encoder(spec)
    return Exported(spec, look_up("encoders", spec), loaded.encoder, {}, scorecard), loaded.origin


def check_target(format: Format, path: Path, force: bool) -> None:
    """Refuse a place before any work is done.

    Raises:
        NotExportableError: The name does not end as the format's do, something lies there that may not be replaced, or
            there is no folder to write into.
    """
    if format.suffix and path.suffix != format.suffix:
        raise NotExportableError(f"{printable(path)} does not end in {format.suffix}, as files of this format do")
    if not path.absolute().parent.is_dir():
        raise NotExportableError(f"there is no folder {printable(path.absolute().parent)}; make it, or name another")
    if not path.exists() or (not format.suffix and path.is_dir() and not any(path.iterdir())):
        return
    if not force:
        raise NotExportableError(f"{printable(path)} is there already; give another name, or --force to replace it")
    ours = path.is_file() if format.suffix else (path / CODE_LICENCE).is_file()
    if path.is_symlink() or not ours:
        raise NotExportableError(
            f"{printable(path)} is nothing that an export left, so --force does not replace it; give another name"
        )


def write(exported: Exported, format: Format, path: Path) -> None:
    """Write to a place that `check_target` let pass; an export that lies there goes only once the new one is whole."""
    if path.is_dir():
        with _aside(path):
            format.write(exported, path)
    else:
        format.write(exported, path)


@contextmanager
def _aside(path: Path) -> Iterator[None]:
    """A folder out of the way, which comes back if what takes its place fails."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(old)
    try:
        yield
    except BaseException:
        old.rename(path)
        raise
    rmtree(old)


def greatest_difference(exported: Exported, name: str, path: Path) -> float | None:
    """Between what was written and torch, over sounds of several lengths, one alone and several at once.

    Args:
        name: Of the format.

    Returns:
        Of one number of a vector; None for a format that leveret does not read back.
    """
    reader = entries("exporting", "READERS").get(name)
    if reader is None:
        return None
    read = reader(exported, path)
    found = []
    with torch.no_grad():
        for sounds in compared_sounds(exported.encoder.sample_rate):
            found.append(float((read(sounds) - exported.encoder(sounds)).abs().max()))
    return max(found)


def compared_sounds(sample_rate: int) -> list[Tensor]:
    """Batches (B, N) of one, two, ... sounds."""
    return [
        torch.from_numpy(varied_sounds(count, sample_rate, seconds))
        for count, seconds in enumerate(COMPARED_SECONDS, start=1)
    ]
