"""Audio files -> labels, by a probe that an evaluation trained.

The encoder is made again from what the probe's file says of it, and must be the very one: its digest is compared. Rows
come through the cache as all rows do, and their scores are averaged as the evaluation averaged them, so that the test
clips of a run get its predictions.
Shapes: M files or windows, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from leveret.bad_files import BadFilePolicy, policy_of
from leveret.checkpoint import CheckpointError
from leveret.clip_scoring import clip_scores
from leveret.contracts import Encoder
from leveret.embedding import crop_rule, embed_files
from leveret.loading import LoadedEncoder, is_own, load_encoder
from leveret.probe_files import ProbeFileError, TrainedProbe, load_probe
from leveret.progress import Reporter
from leveret.runner import BEHAVIOUR_VERSIONS, Compute, runners_of


@dataclass(frozen=True)
class Classified:
    """What a probe says of some files or windows.

    Attributes:
        file: Path of each, as it was given.
        start: Seconds into the file of each.
        seconds: Length of each.
        vocabulary: Class names of each slot's columns; one nameless slot unless the kind is "slots".
        scores: (M, K) of each slot, as a run's predictions hold them.
        values: (M, K) of each slot: probabilities where the probe has them, else the scores.
        meaning: What `values` are.
        about: Encoder, task, probe, protocol, window, hop, and the files that were skipped.
    """

    file: Sequence[str]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    vocabulary: Mapping[str, Sequence[str]]
    scores: Sequence[NDArray[np.float32]]
    values: Sequence[NDArray[np.float32]]
    meaning: Literal["probability", "decision_value"]
    about: Mapping[str, Any]

    def top(self, k: int) -> dict[str, list[Any]]:
        """Columns with a row for each file or window, slot and rank: the k highest labels, the highest first.

        Args:
            k: At most so many labels; 0 is all.
        """
        if k < 0:
            raise ValueError(f"top={k}; expected a number of labels, or 0 for all")
        names = ["file", "start", "seconds", *(["slot"] if list(self.vocabulary) != [""] else [])]
        columns: dict[str, list[Any]] = {name: [] for name in (*names, "rank", "label", self.meaning)}
        orders = [np.argsort(-values, axis=1, kind="stable") for values in self.values]
        for m, file in enumerate(self.file):
            for slot, labels, values, order in zip(
                self.vocabulary, self.vocabulary.values(), self.values, orders, strict=True
            ):
                for rank, column in enumerate(order[m, : k or None].tolist(), start=1):
                    known = {
                        "file": file,
                        "start": float(self.start[m]),
                        "seconds": float(self.seconds[m]),
                        "slot": slot,
                    }
                    for name in names:
                        columns[name].append(known[name])
                    columns["rank"].append(rank)
                    columns["label"].append(labels[column])
                    columns[self.meaning].append(float(values[m, column]))
        return columns


def classify(
    inputs: str | Path | Sequence[str | Path],
    probe: str | Path | TrainedProbe,
    *,
    encoder: str | Path | Encoder | None = None,
    window: float | None = None,
    hop: float | None = None,
    compute: Compute = Compute(),
    policy: BadFilePolicy | str = BadFilePolicy(),
    reporter: Reporter | None = None,
) -> Classified:
    """Labels of audio files.

    Args:
        inputs: Files, folders (searched for audio), or glob patterns; a single one may stand by itself.
        probe: A file that `leveret evaluate --save-probes` wrote, a run folder that holds one, or what `load_probe`
            made of it.
        encoder: The probe's encoder, where it cannot be made from the file alone; None makes it.
        window: Seconds of a window, one result each; None is one result a file, the mean over the windows of the
            probe's own crop rule.
        hop: Seconds from window to window; None is `window`.
        policy: How many files may be bad: "few", "fail", "skip", or a `BadFilePolicy`.

    Raises:
        ProbeFileError: Not a trained probe, or one of another encoder or version.
        AudioError: Nothing to classify.
        TooManyBadFilesError: By the policy.
    """
    policy = policy_of(policy)
    trained = probe if isinstance(probe, TrainedProbe) else load_probe(Path(probe))
    crop = crop_rule(window, hop, trained.crop)
    layer = trained.encoder.get("layer")
    (runner,) = runners_of([_encoder_of(trained, encoder)], compute, () if layer is None else (layer,))
    job, rows = embed_files(inputs, runner, crop, policy=policy, reporter=reporter)
    if window is None:
        index = np.arange(len(rows.clips))
        counts = np.bincount(rows.clip, minlength=len(rows.clips))
        start = np.zeros(len(index))
        lengths = dict(zip((clip.id for clip in job.plan.clips), job.plan.lengths, strict=True))
        seconds = np.array([lengths[clip.id] for clip in rows.clips])
    else:
        index, counts, start, seconds = rows.clip, np.ones(len(rows.X), np.int64), rows.start, rows.seconds
    X = torch.from_numpy(rows.vectors())
    scores = [clip_scores(one, X, counts, trained.kind, trained.average)[0] for one in trained.readouts]
    return Classified(
        file=[rows.clips[k].id for k in index.tolist()],
        start=start,
        seconds=seconds,
        vocabulary=dict(trained.slots),
        scores=scores,
        values=[_values(trained, one) for one in scores],
        meaning="probability" if trained.logits else "decision_value",
        about={
            "encoder": runner.described(), "task": dict(trained.task), "probe": dict(trained.probe),
            "protocol": dict(trained.protocol), "window": window, "hop": hop, "skipped": dict(rows.bad),
        },
    )  # fmt: skip


def _values(trained: TrainedProbe, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    if not trained.logits or trained.average == "probabilities":
        return scores
    logits = torch.from_numpy(scores)
    return (logits.sigmoid() if trained.kind == "multi" else logits.softmax(1)).numpy()


def _encoder_of(trained: TrainedProbe, given: str | Path | Encoder | None) -> LoadedEncoder:
    """The probe's encoder, and no other.

    Raises:
        ProbeFileError: It cannot be made, or is not the one.
    """
    known = trained.encoder
    if changed := {
        name: (trained.versions.get(name), version)
        for name, version in BEHAVIOUR_VERSIONS.items()
        if trained.versions.get(name) != version
    }:
        told = ", ".join(f"{name} {there} there and {here} here" for name, (there, here) in changed.items())
        raise ProbeFileError(
            f"the probe was trained on vectors of another leveret ({told}), which are not those made here; "
            "evaluate again with --save-probes"
        )
    spec = given if given is not None else _own_spec(known["spec"], known["name"])
    try:
        loaded = load_encoder(spec, known["seed"])
    except CheckpointError as error:
        if given is not None:
            raise
        raise ProbeFileError(
            f"the probe's encoder cannot be made ({error}); name it with --encoder, wherever it lies here"
        ) from error
    if loaded.digest != known["digest"]:
        raise ProbeFileError(
            f"the probe was trained on the encoder {known['spec']!r} with the digest {known['digest'][:12]}, but "
            f"{loaded.spec!r} here has {loaded.digest[:12]}: other weights or other code; name the right one with "
            "--encoder, or evaluate again with --save-probes"
        )
    return loaded


def _own_spec(spec: str, name: str) -> str:
    """The spec of the file where making it runs nobody's code: a probe's file may come from a stranger."""
    if is_own(spec):
        return spec
    raise ProbeFileError(
        f"the probe was trained on {spec!r}, which is neither an encoder of leveret nor a checkpoint; no code runs "
        f"because a file asks for it: if you trust it, name the encoder {name!r} yourself with --encoder"
    )
