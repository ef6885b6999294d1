"""`leveret data`: published datasets in, examined and copied; tasks out. Each action has a file data_ACTION.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Data:
    """Published datasets: what there is, how to get it, whether what lies here is right; and tasks for other suites.

    list: datasets and corpora, beside the counts of the paper's table 1.

    get: download, unpack and look over.

    check: counts, missing, surplus and unreadable files, audio on both sides of a split.

    prepare: a copy with 16 kHz mono FLAC.

    export: tasks in the layout of HEAR or X-ARES.

    overlap: test clips that occur in what an encoder was trained on.

    `leveret data ACTION --help` tells an action's options.

    Examples:
      leveret data list

      leveret data get esc50 --data ~/datasets

      leveret data check esc50 --data ~/datasets

      leveret data prepare esc50 --data ~/datasets -o ~/datasets-16k

      leveret data export manifest:labels.csv --format hear -o hear-tasks

      leveret data overlap librispeech fluent_speech_commands --data ~/datasets
    """

    ACTIONS: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType(
        {
            "list": ("data_list", "List"),
            "get": ("data_get", "Get"),
            "check": ("data_check", "Check"),
            "prepare": ("data_prepare", "Prepare"),
            "export": ("data_export", "Export"),
            "overlap": ("data_overlap", "Overlap"),
        }
    )
    """Action -> module of `leveret.commands` and class: what `leveret data ACTION` runs."""

    action: tyro.conf.Positional[Literal["list", "get", "check", "prepare", "export", "overlap"]]
    """What to do."""
