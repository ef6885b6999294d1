"""linear: the paper's read-out, one linear layer trained with Adam on frozen vectors.

Source: paper, section 2.1 and appendix A (linear layer, batch 64, 400k steps), appendix C (Adam, warm-up over 5k steps
to 2e-4, cosine to 0).
Shapes: R rows, D embedding, K classes, B batch, S seeds, L peak rates, Q = L * K.
Departures: see adam.py and trainer.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from leveret.contracts import Table
from leveret.probes.adam import AdamProbe
from leveret.probes.tensors import check_tensor
from leveret.probes.trainer import Build, Product, first_weights

_ROWS_AT_ONCE = 16_384  # of float16 vectors turned to float32 for scoring


@dataclass(frozen=True)
class LinearReadout:
    """A fitted linear layer, once for each seed.

    Attributes:
        facts: What the result carries; see the probe that made it.
        centre: Taken from each vector first; None is the vectors as they are.
    """

    kind: ClassVar[str] = "linear"

    weight: Float[Tensor, "S K D"]
    bias: Float[Tensor, "S K"]
    facts: dict[str, Any] = field(default_factory=dict)
    centre: Float[Tensor, "D"] | None = None

    @torch.no_grad()
    def scores(self, X: Float[Tensor, "R D"]) -> Float[Tensor, "S R K"]:
        """Logits of every row, on the device of the layer."""
        weight, bias = self.weight.transpose(1, 2), self.bias.unsqueeze(1)
        logits = bias.new_empty(len(weight), len(X), weight.shape[2])
        for first in range(0, len(X), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            block = X[part].to(weight.device, torch.float32)
            centred = block if self.centre is None else block - self.centre
            logits[:, part] = torch.matmul(centred, weight) + bias
        return logits

    def tensors(self) -> dict[str, Tensor]:
        """Weight, bias and, where there is one, the centre."""
        found = {"weight": self.weight, "bias": self.bias}
        return found if self.centre is None else found | {"centre": self.centre}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], embed_dim: int, num_classes: int) -> Self:
        """The layer whose tensors these are.

        Raises:
            ValueError: One is missing, or of another shape or type.
        """
        weight = check_tensor(tensors, "weight", (None, num_classes, embed_dim))
        bias = check_tensor(tensors, "bias", (len(weight), num_classes))
        centre = check_tensor(tensors, "centre", (embed_dim,)) if "centre" in tensors else None
        return cls(weight, bias, centre=centre)


class LinearNetwork:
    """Linear layers of several seeds and rates; rates of a seed lie side by side in one wide product."""

    def __init__(self, seeds: Sequence[int], num_rates: int, table: Table, batch: int, product: Product) -> None:
        X, K = table.X, table.num_classes
        S, L, D = len(seeds), num_rates, X.shape[1]
        first = [first_weights(K, D, seed).repeat(L, 1) for seed in seeds]
        self.product = product
        self.weight = torch.stack(first).to(X.device)  # (S, L * K, D)
        self.bias = self.weight.new_zeros(S, L * K, 1)
        self.weight_grad, self.bias_grad = torch.empty_like(self.weight), torch.empty_like(self.bias)
        self.logits = self.weight.new_empty(S, L * K, batch)
        self.layers: Sequence[tuple[Tensor, Tensor]] = [
            (self.weight.view(S, L, K, D), self.weight_grad.view(S, L, K, D)),
            (self.bias.view(S, L, K), self.bias_grad.view(S, L, K)),
        ]

    def forward(self, x_transposed: Tensor) -> Tensor:
        """Logits (S, Q, B) of vectors (S, D, B)."""
        self.product(self.weight, x_transposed, self.logits)
        return self.logits.add_(self.bias)

    def backward(self, x: Tensor, grad: Tensor) -> None:
        """Gradients from those of the logits (S, Q, B) and the vectors (S, B, D)."""
        self.product(grad, x, self.weight_grad)
        torch.sum(grad, 2, keepdim=True, out=self.bias_grad)


@dataclass(frozen=True, kw_only=True)
class LinearProbe(AdamProbe):
    """The linear layer of appendix A."""

    def network(self) -> Build:
        """A linear layer."""
        return LinearNetwork

    def readout(self, layers: Sequence[Tensor], facts: Mapping[str, Any]) -> LinearReadout:
        """The layer as it was trained."""
        weight, bias = layers
        return LinearReadout(weight, bias, dict(facts))


PROBES = {"linear": LinearProbe()}
READOUTS = {"linear": LinearReadout}
