"""A task in the layout of X-ARES: tars of KEY.wav and KEY.json a split, and the Python file that X-ARES runs.

Files: train-00000.tar (valid, test) or wds-audio-fold-1-00000.tar, xares.json, xares_task.py, .audio_tar_ready (X-ARES
downloads nothing where that stands). KEY.json: label (a list where there are any number), id, group, source.
Source: xares 0.1.3 (task.py, audiowebdataset.py).
"""

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile
from jaxtyping import Shaped
from numpy import ndarray

from leveret.clips import Clip
from leveret.contracts import Task
from leveret.suites.parts import ExportError, Parts, subtype_of
from leveret.tasks.xares_tars import SIDECAR

CLIPS_A_TAR = 2000
TASK_FILE, READY = "xares_task.py", ".audio_tar_ready"

TASK_CODE = '''\
"""The task of the tars beside this file, for X-ARES; written by `leveret data export`."""

import json
from pathlib import Path

from xares.task import TaskConfig

HERE = Path(__file__).resolve().parent
SAID = json.loads((HERE / "xares.json").read_text(encoding="utf-8"))
MULTI = SAID["kind"] == "multi"
INDEX = {label: k for k, label in enumerate(SAID["labels"])}


def label_of(about):
    if not MULTI:
        return INDEX[about["label"]]
    return [float(label in about["label"]) for label in SAID["labels"]]


def leveret_config(encoder):
    return TaskConfig(
        batch_size_encode=BATCH,
        criterion="BCEWithLogitsLoss" if MULTI else "CrossEntropyLoss",
        do_knn=not MULTI,
        encoder=encoder,
        env_root=HERE.parent,
        eval_weight=EVAL_WEIGHT,
        k_fold_splits=K_FOLD_SPLITS,
        label_processor=label_of,
        metric="mAP" if MULTI else "accuracy",
        name=HERE.name,
        output_dim=len(INDEX),
    )
'''


class XaresWriter:
    """One task folder of X-ARES."""

    def __init__(self, folder: Path, task: Task, parts: Parts, sample_rates: Sequence[int], version: str) -> None:
        if len(sample_rates) != 1:
            raise ExportError(f"sample rates {', '.join(map(str, sample_rates))}: X-ARES resamples itself, so give one")
        self.folder, self.task, self.parts, self.version = folder, task, parts, version
        self.counts: dict[str, int] = defaultdict(int)
        self.open: dict[str, tarfile.TarFile] = {}
        self.lengths: set[int] = set()

    def add(self, part: str, clip: Clip, stem: str, samples: Mapping[int, Shaped[ndarray, "N"]]) -> None:
        """The clip's two members, neighbours in the tar of its part."""
        ((rate, wave),) = samples.items()
        sound = io.BytesIO()
        soundfile.write(sound, wave, rate, format="WAV", subtype=subtype_of(wave))
        label = list(clip.labels) if self.task.kind == "multi" else clip.labels[0]
        about = {"label": label, "id": clip.id, "group": clip.group, "source": clip.source}
        tar = self._tar(part)
        for suffix, content in (("wav", sound.getvalue()), ("json", json.dumps(about).encode())):
            member = tarfile.TarInfo(
                f"{stem}.{suffix}"
            )  # dated 1970 and owned by root, so the same task is the same tar
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        self.lengths.add(len(wave))

    def finish(self) -> None:
        """The tars' ends, what leveret reads, and what X-ARES runs."""
        self.close()
        labels = {"kind": self.task.kind, "label": "label", "group": "group", "labels": list(self.task.labels)}
        text = json.dumps({**self.parts.settings(self.task), **labels}, indent=1)
        (self.folder / SIDECAR).write_text(text + "\n", encoding="utf-8")
        folds = [str(k) for k in range(len(self.parts.clips))] if self.parts.folded else None
        counts = list(self.counts.values())
        code = TASK_CODE.replace("K_FOLD_SPLITS", repr(folds))
        # clips of one length alone can be stacked without padding, which X-ARES would average over too
        code = code.replace("BATCH", "16" if len(self.lengths) == 1 else "1")
        weight = round(sum(counts) / len(counts)) if folds else self.counts["test"]
        (self.folder / TASK_FILE).write_text(code.replace("EVAL_WEIGHT", str(weight)), encoding="utf-8")
        (self.folder / READY).touch()

    def close(self) -> None:
        """End the tars."""
        for tar in self.open.values():
            tar.close()

    def _tar(self, part: str) -> tarfile.TarFile:
        shard, place = divmod(self.counts[part], CLIPS_A_TAR)
        self.counts[part] += 1
        if not place:
            if part in self.open:
                self.open[part].close()
            name = f"wds-audio-fold-{int(part.removeprefix('fold'))}" if self.parts.folded else part
            self.open[part] = tarfile.open(self.folder / f"{name}-{shard:05d}.tar", "w")  # noqa: SIM115 - `close` closes it
        return self.open[part]
