"""Audio files -> vectors, a row a file or a window: the plan, then embedding.

Source: paper, section 2.1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import leveret.distributed as distributed
from leveret.bad_files import BadFilePolicy, policy_of
from leveret.batches import CropRule
from leveret.contracts import Encoder
from leveret.embedding import clip_means, crop_rule, embed_job, job_of_files, seconds_per_audio_second
from leveret.home import cache_root
from leveret.loading import LoadedEncoder, load_encoder
from leveret.manifests import WHOLE_CLIP_SECONDS
from leveret.progress import Reporter
from leveret.runner import Compute, runners_of
from leveret.vectors import VectorFile
from leveret.workload import Plan, planned_row

_FEW_WINDOWS = 200
"""Of fewer no time is told: to estimate it would take a good part of it."""


class FileEmbedding:
    """One call of `leveret embed`: made, planned, run; arguments as `embed`."""

    def __init__(
        self,
        inputs: str | Path | Sequence[str | Path],
        encoder: str | Path | Encoder | LoadedEncoder,
        *,
        layer: str | None = None,
        window: float | None = None,
        hop: float | None = None,
        compute: Compute = Compute(),
        policy: BadFilePolicy | str = BadFilePolicy(),
        reporter: Reporter | None = None,
    ) -> None:
        self.window, self.hop, self.policy, self.reporter = window, hop, policy_of(policy), reporter or Reporter()
        crop = crop_rule(window, hop, CropRule(seconds=WHOLE_CLIP_SECONDS, whole_clip=True))
        distributed.require_shared(cache_root())
        with distributed.in_turn():
            loaded = encoder if isinstance(encoder, LoadedEncoder) else load_encoder(encoder)
        (self.runner,) = runners_of([loaded], compute, () if layer is None else (layer,))
        self.job = job_of_files(inputs, self.runner, crop, self.reporter)
        self.policy.check(self.job.plan.bad, self.job.num_clips)

    def plan(self) -> Plan:
        """Windows, bytes and time; at most a twelfth of the work is done to tell the time."""
        plan = self.job.plan
        row = planned_row(self.job.label, self.runner, [self.job])
        missing = plan.num_rows - row["cached"]
        if missing < _FEW_WINDOWS:
            return Plan([row], None)
        # each window of the sample is embedded twice
        rate = seconds_per_audio_second(self.job, [self.runner], min(32, missing // 25))
        seconds = rate * float(plan.seconds.sum()) * missing / plan.num_rows
        return Plan([row], seconds / distributed.world().size)

    def run(self) -> VectorFile:
        """Embed what is not cached."""
        (rows,) = embed_job(self.job, [self.runner], policy=self.policy, reporter=self.reporter)
        about = {
            "encoder": self.runner.described(), "window": self.window, "hop": self.hop, "skipped": dict(rows.bad),
            "silent": list(rows.silent),
        }  # fmt: skip
        if self.window is not None:
            X = rows.vectors().astype(np.float32, copy=False)
            return VectorFile([rows.clips[k].id for k in rows.clip], rows.start, rows.seconds, X, about)
        lengths = zip(self.job.plan.clips, self.job.plan.lengths.tolist(), strict=True)
        return VectorFile(
            [clip.id for clip in rows.clips],
            np.zeros(len(rows.clips)),
            np.array([seconds for clip, seconds in lengths if clip.id not in rows.bad]),
            clip_means(rows),
            about,
        )


def embed(
    inputs: str | Path | Sequence[str | Path],
    encoder: str | Path | Encoder | LoadedEncoder,
    *,
    layer: str | None = None,
    window: float | None = None,
    hop: float | None = None,
    compute: Compute = Compute(),
    policy: BadFilePolicy | str = BadFilePolicy(),
    reporter: Reporter | None = None,
) -> VectorFile:
    """Vectors of audio files.

    Args:
        inputs: Files, folders (searched for audio), or glob patterns; a single one may stand by itself.
        encoder: A spec as `create_encoder` takes it, or an encoder, or what `load_encoder` made of one.
        layer: A key of the encoder's `layers`; None is its default embedding.
        window: Seconds of each vector's window; None is one vector a file: of the whole file up to 10 s, else the mean
            over its 10 s windows.
        hop: Seconds from window to window; None is `window`.
        policy: How many files may be bad: "few", "fail", "skip", or a `BadFilePolicy`.

    Returns:
        One row a file, or one a window; files that could not be read stand in `about["skipped"]`, those that are
        digital silence in `about["silent"]`.

    Raises:
        AudioError: Nothing to embed.
        TooManyBadFilesError: By the policy.
    """
    return FileEmbedding(
        inputs, encoder, layer=layer, window=window, hop=hop, compute=compute, policy=policy, reporter=reporter
    ).run()
