"""The protocols by which a table of rows becomes a score, always named in the result and never mixed.

`cached`: the paper's probe, optimizer, batch, steps and schedule on vectors that were embedded once; at each step a
clip is drawn, then one of its windows. Where the crop is the whole clip this is the paper's protocol.
`quick`: logistic regression; seconds a task. Another estimator, so it claims rank agreement, not equality.

Source: paper, appendix A.
Departures: both are leveret's; the paper draws a new random crop at each step.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Literal, cast

from leveret.contracts import Probe, Task
from leveret.registry import look_up, unknown_name

PROTOCOLS = ("cached", "quick")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How tables are probed.

    Attributes:
        name: One of PROTOCOLS.
        steps: Optimizer steps of `cached` in place of the task's; the protocol is then called `cached@STEPS`.
        seeds: A probe is trained once with each.
        check_rates: Also train at 0.1, 10 and 100 times the rate on a part of train, to tell an under-fitted probe.
        average: What is averaged over the windows of a clip: decision values as in the authors' code, or probabilities.
    """

    name: str = "cached"
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    check_rates: bool = True
    average: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise unknown_name("protocol", self.name, PROTOCOLS)
        if self.steps is not None and (self.name != "cached" or self.steps < 1):
            raise ValueError(
                f"steps={self.steps} with protocol {self.name!r}; steps are 1 or more, and only of `cached`"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected one or more different numbers")

    @property
    def title(self) -> str:
        """The name under which scores may be compared."""
        steps = "" if self.steps is None else f"@{self.steps}"
        return self.name + steps + ("" if self.average == "logits" else "+probabilities")

    @property
    def reads_valid(self) -> bool:
        """Only `quick` looks at a validation split."""
        return self.name == "quick"

    def probe(self, task: Task) -> Probe:
        """The probe of a task under this protocol."""
        if self.name == "quick":
            return cast(Probe, look_up("probes", "logistic"))
        head = look_up("probes", task.head)
        wanted = {
            "batch": task.batch,
            "steps": self.steps or task.steps,
            "seeds": self.seeds,
            "check_rates": self.check_rates,
        }
        known = {field.name for field in fields(head)}
        return cast(Probe, replace(head, **{key: value for key, value in wanted.items() if key in known}))

    def mixed_passes(self, task: Task) -> int:
        """Mixed crops a clip that the head trains on; `quick` takes the plain windows."""
        return 0 if self.name == "quick" else task.mixed_passes

    def described(self) -> dict[str, Any]:
        """For scorecards."""
        return {"title": self.title, **asdict(self), "seeds": list(self.seeds)}


def probe_settings(probe: Probe) -> Mapping[str, Any]:
    """A probe's settings as plain values."""
    assert is_dataclass(probe), probe
    return {"class": type(probe).__name__, **asdict(probe)}
