"""What one call of `leveret evaluate` is asked for."""

from dataclasses import dataclass
from pathlib import Path

from leveret.audio import MIN_SECONDS
from leveret.bad_files import BadFilePolicy
from leveret.contracts import Encoder
from leveret.dataroots import DataRoots
from leveret.kept_heads import Asked, check_asked
from leveret.loading import LONGEST_CLIP_SECONDS
from leveret.protocols import Protocol
from leveret.runner import Compute


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is evaluated and how; the command line is made from it.

    Attributes:
        encoders: Encoder specs, or encoders.
        tasks: Task specs, such as `mini` or `manifest:PATH`.
        only: Names of tasks to keep; empty keeps all.
        data: Where published datasets lie.
        layers: Layers of the encoders, each read out with a result of its own; ("all",) is every layer, empty the
            default.
        protocol: How rows are probed.
        head: "auto" scores AudioSet by the classifier that a checkpoint kept of its supervised pretraining on the same
            labels, and all else by a new probe; "probe" never does; "pretraining" does on every task, or refuses.
        crop: None leaves each task's own crop; "clip" takes the whole clip; a number is seconds.
        vectors: Vector files to score in place of encoders.
        floor: Also score `melstats`, the floor that any useful encoder beats.
        policy: When unreadable files stop the work; "few", "fail", "skip", or a `BadFilePolicy`.
        compute: Where encoders run.
        seed: Draws the weights of an encoder that is given by its bare name.
        save_probes: Keep each task's fitted probes in the run folder, for `leveret classify`.
        embedding_map: Lay the test clips of each task out on a plane, for the page: about a second a task.
        contamination: Report of `leveret data overlap` about what all the encoders but the floor were trained on.
        output: Folder for the run folders.
    """

    encoders: tuple[str | Encoder, ...] = ()
    tasks: tuple[str, ...] = ("mini",)
    only: str | tuple[str, ...] = ()
    data: DataRoots = DataRoots()
    layers: str | tuple[str, ...] = ()
    protocol: Protocol = Protocol()
    head: Asked = "auto"
    crop: float | str | None = None
    vectors: str | Path | tuple[str | Path, ...] = ()
    floor: bool = True
    policy: BadFilePolicy | str = BadFilePolicy()
    compute: Compute = Compute()
    seed: int = 0
    save_probes: bool = False
    embedding_map: bool = True
    contamination: str | Path | None = None
    output: str | Path = Path("runs")

    def __post_init__(self) -> None:
        for name in ("only", "layers", "vectors"):  # a single one may stand by itself
            if isinstance(given := getattr(self, name), str | Path):
                object.__setattr__(self, name, (given,))
        check_asked(self.head, self.protocol)
        if isinstance(self.crop, str) and self.crop != "clip":
            raise ValueError(f"crop={self.crop!r}; expected a number of seconds, or 'clip' for the whole clip")
        if isinstance(self.crop, float | int) and not MIN_SECONDS <= self.crop <= LONGEST_CLIP_SECONDS:
            raise ValueError(
                f"crop={self.crop} s; expected {MIN_SECONDS} (one analysis window) to {LONGEST_CLIP_SECONDS:.0f}"
            )

    def vector_files(self) -> tuple[Path, ...]:
        """All of `vectors`."""
        assert not isinstance(self.vectors, str | Path)  # as `__post_init__` leaves it
        return tuple(map(Path, self.vectors))
