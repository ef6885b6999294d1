"""The protocols by which a table of rows becomes a score, always named in the result and never mixed.

`paper`: at each step a clip is drawn, then a random crop of it; where the task mixes examples, each is mixed with
another one of its batch. The paper's probe, optimizer, batch, steps and schedule. A head that takes no steps (the
machines of ESC-50) draws nothing: there, and where the crop is the whole clip, it is `cached`.
`cached`: the paper's probe, optimizer, batch, steps and schedule on vectors that were embedded once; at each step a
clip is drawn, then one of its windows. Where the crop is the whole clip this is the paper's protocol.
`quick`: logistic regression; seconds a task. Another estimator, so it claims rank agreement, not equality.
Each with another probe of the room, named in the title: `paper` and `cached` never read a validation split, `quick`
lets the probe choose its settings on it.

Source: paper, appendix A.
Departures: `paper` begins its crops on a grid of 10 ms, so that they can be embedded once; the other two are leveret's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Literal, cast

from leveret.contracts import Probe, Task
from leveret.registry import look_up, unknown_name

PROTOCOLS = ("paper", "cached", "quick")
_OWN_HEAD = {"quick": "logistic"}  # that of the others is the task's


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How tables are probed.

    Attributes:
        name: One of PROTOCOLS.
        head: A key of the probes room in place of the protocol's own; the protocol is then called `NAME+HEAD`.
        steps: Optimizer steps of `paper` and `cached` in place of the task's; the protocol is then called `NAME@STEPS`.
        seeds: A probe is trained once with each.
        check_rates: Also train at 0.1, 10 and 100 times the rate on a part of train, to tell an under-fitted probe.
        average: What is averaged over the windows of a clip: decision values as in the authors' code, or probabilities.
    """

    name: str = "cached"
    head: str | None = None
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    check_rates: bool = True
    average: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise unknown_name("protocol", self.name, PROTOCOLS)
        if self.steps is not None and (self.reads_valid or self.steps < 1):
            raise ValueError(
                f"steps={self.steps} with protocol {self.name!r}; steps are 1 or more, and only of `paper` and `cached`"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected one or more different numbers")
        if self.head is not None:
            self._head(self.head)  # before anything is embedded, or a suite made

    @property
    def title(self) -> str:
        """The name under which scores may be compared."""
        steps = "" if self.steps is None else f"@{self.steps}"
        head = "" if self.head in (None, _OWN_HEAD.get(self.name)) else f"+{self.head}"
        return self.name + steps + head + ("" if self.average == "logits" else "+probabilities")

    @property
    def reads_valid(self) -> bool:
        """Only `quick` looks at a validation split."""
        return self.name == "quick"

    def probe(self, task: Task) -> Probe:
        """The probe of a task under this protocol, with those of the task's and protocol's settings that it has.

        Raises:
            UnknownNameError: No such head.
            ValueError: A setting that this head cannot follow.
        """
        name = self.head or _OWN_HEAD.get(self.name, task.head)
        probe, known = self._head(name)
        if self.name == "paper" and "steps" not in known and name != task.head:
            raise ValueError(
                f"protocol 'paper' with the probe {name!r}, which takes no steps and so draws no crops; "
                "choose the protocol `cached`, or the probe linear or mlp"
            )
        settings = {
            "batch": task.batch, "steps": self.steps or task.steps, "seeds": self.seeds,
            "check_rates": self.check_rates,
        }  # fmt: skip
        return cast(Probe, replace(probe, **{key: value for key, value in settings.items() if key in known}))

    def _head(self, name: str) -> tuple[Any, set[str]]:
        """An entry of the probes room that can follow this protocol, and the names of its settings."""
        probe = look_up("probes", name)
        known = {one.name for one in fields(probe)}
        # ESC-50's own machines take no steps, and the suite it stands in may be asked for with fewer
        if self.steps is not None and "steps" not in known and self.head is not None:
            raise ValueError(f"steps={self.steps} with the probe {name!r}, which takes no steps; leave them out")
        if self.average == "probabilities" and not probe.logits:
            raise ValueError(
                f"average='probabilities' with the probe {name!r}, whose scores are no logits and give none; "
                "average logits (decision values), or choose another probe"
            )
        return probe, known

    def draws_crops(self, task: Task) -> bool:
        """Whether the head is trained on a new crop at each step: under `paper`, if it takes steps."""
        return self.name == "paper" and hasattr(self.probe(task), "steps")

    def num_draws(self, task: Task) -> int:
        """Crops that are drawn in all, for each seed and slot."""
        probe = cast(Any, self.probe(task))
        return int(probe.steps * probe.batch * len(probe.seeds) * len(task.slots))

    def mixed_passes(self, task: Task) -> int:
        """Mixed crops a clip that are embedded once for the head; `quick` takes the plain windows."""
        return 0 if self.reads_valid or self.draws_crops(task) else task.mixed_passes

    def tunes_on_first_fold(self, task: Task) -> bool:
        """Whether the paper's rule of ESC-50 holds; `quick` chooses on clips that are not scored."""
        return task.tuned_on_first_fold and not self.reads_valid

    def described(self) -> dict[str, Any]:
        """For scorecards."""
        return {"title": self.title, **asdict(self), "seeds": list(self.seeds)}


def probe_settings(probe: Probe) -> Mapping[str, Any]:
    """A probe's settings as plain values."""
    assert is_dataclass(probe), probe
    return {"class": type(probe).__name__, **asdict(probe)}
