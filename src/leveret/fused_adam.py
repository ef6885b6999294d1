"""Adam in one pass over the weights, by torch's functional form and with the paper's constants (appendix C).

torch.optim.Adam computes the same. But the first of torch.optim's classes that is made imports torch's compiler, two
seconds of each process that trains, and on a probe's head it takes three times as long, nearly all of it book-keeping.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam

from leveret.optim import ADAM_BETAS, ADAM_EPS


class FusedAdam:
    """Adam over tensors that keep their place; those without a gradient are left alone.

    Attributes:
        parameters: What is trained.
        state: Of each parameter that had a gradient once, by the names of torch.optim.Adam: "step" (a count, float32),
            "exp_avg" and "exp_avg_sq" (as the parameter lies).
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, rate: float) -> None:
        """One update by the gradients as they stand; call it under torch.no_grad where autograd watches the weights."""
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        states = [self.state.get(parameter) or self._begin(parameter) for parameter in moved]
        adam(
            moved,
            [parameter.grad for parameter in moved if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=False,
            fused=True,
            amsgrad=False,
            beta1=ADAM_BETAS[0],
            beta2=ADAM_BETAS[1],
            lr=rate,
            weight_decay=0.0,
            eps=ADAM_EPS,
            maximize=False,
        )

    def _begin(self, parameter: Tensor) -> dict[str, Tensor]:
        state = {"step": torch.zeros((), device=parameter.device)}
        state |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        self.state[parameter] = state
        return state
