"""mlp: one hidden layer of 512 before the classes, the read-out of AudioSet.

Source: paper, section 2.1 ("1-hidden-layer MLP") and appendix A (512 hidden units, batch 128, 200k steps).
Shapes: R rows, D embedding, H hidden, K classes, B batch, S seeds, L peak rates, Q = L * K.
Departures: the paper does not name the non-linearity; here it is a ReLU. No normalisation and no dropout, since it
names none; its example mixing acts on spectrograms, before the vectors that this sees. The rest: see adam.py and
trainer.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leveret.contracts import Table
from leveret.probes.adam import AdamProbe
from leveret.probes.linear import LinearReadout
from leveret.probes.tensors import check_tensor
from leveret.probes.trainer import Build, Product, first_weights

_ROWS_AT_ONCE = 4_096  # of vectors whose hidden layers are held at once


@dataclass(frozen=True)
class MlpReadout:
    """A fitted hidden layer with its read-out, once for each seed."""

    kind: ClassVar[str] = "mlp"

    hidden: LinearReadout
    output: LinearReadout
    facts: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def scores(self, X: Float[Tensor, "R D"]) -> Float[Tensor, "S R K"]:
        """Logits of every row, on the device of the layers."""
        weight, bias = self.output.weight.transpose(1, 2), self.output.bias.unsqueeze(1)
        parts = [self.hidden.scores(block).relu_() for block in X.split(_ROWS_AT_ONCE)] if len(X) else []
        logits = [torch.matmul(part, weight) + bias for part in parts]
        return torch.cat(logits, 1) if logits else bias.new_empty(len(weight), 0, weight.shape[2])

    def tensors(self) -> dict[str, Tensor]:
        """Weight and bias of both layers."""
        layers = {"hidden": self.hidden, "output": self.output}
        return {f"{name}_{key}": tensor for name, layer in layers.items() for key, tensor in layer.tensors().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], embed_dim: int, num_classes: int) -> Self:
        """The layers whose tensors these are.

        Raises:
            ValueError: One is missing, or of another shape or type.
        """
        hidden_weight = check_tensor(tensors, "hidden_weight", (None, None, embed_dim))
        S, H, _ = hidden_weight.shape
        return cls(
            LinearReadout(hidden_weight, check_tensor(tensors, "hidden_bias", (S, H))),
            LinearReadout(
                check_tensor(tensors, "output_weight", (S, num_classes, H)),
                check_tensor(tensors, "output_bias", (S, num_classes)),
            ),
        )


class MlpNetwork:
    """Two layers of several seeds and rates; the hidden layers of a seed lie side by side in one wide product."""

    def __init__(
        self, seeds: Sequence[int], num_rates: int, table: Table, batch: int, product: Product, hidden: int
    ) -> None:
        X, K = table.X, table.num_classes
        S, L, D, H = len(seeds), num_rates, X.shape[1], hidden
        first = [first_layers(K, D, hidden, seed) for seed in seeds]
        self.product = product
        self.hidden_weight = torch.stack([layer.repeat(L, 1) for layer, _ in first]).to(X.device)  # (S, L * H, D)
        self.weight = torch.cat([layer.repeat(L, 1, 1) for _, layer in first]).to(X.device)  # (S * L, K, H)
        self.hidden_bias = self.weight.new_zeros(S, L * H, 1)
        self.bias = self.weight.new_zeros(S * L, K, 1)
        values = (self.hidden_weight, self.hidden_bias, self.weight, self.bias)
        gradients = self.hidden_weight_grad, self.hidden_bias_grad, self.weight_grad, self.bias_grad_flat = [
            torch.empty_like(value) for value in values
        ]
        shapes = (S, L, H, D), (S, L, H), (S, L, K, H), (S, L, K)
        self.layers: Sequence[tuple[Tensor, Tensor]] = [
            (value.view(shape), gradient.view(shape))
            for value, gradient, shape in zip(values, gradients, shapes, strict=True)
        ]
        self.bias_grad = self.bias_grad_flat.view(S, L * K, 1)
        self.active = self.weight.new_empty(S, L * H, batch)
        self.active_grad = torch.empty_like(self.active)
        self.logits = self.weight.new_empty(S * L, K, batch)
        # one hidden layer for each head: the same memory, head by head
        self.active_by_head, self.active_grad_by_head = (
            tensor.view(S * L, H, batch) for tensor in (self.active, self.active_grad)
        )

    def forward(self, x_transposed: Tensor) -> Tensor:
        """Logits (S, Q, B) of vectors (S, D, B)."""
        self.product(self.hidden_weight, x_transposed, self.active)
        self.active.add_(self.hidden_bias).relu_()  # (S, L * H, B)
        self.product(self.weight, self.active_by_head, self.logits)
        return self.logits.add_(self.bias).view(*self.bias_grad.shape[:2], -1)

    def backward(self, x: Tensor, grad: Tensor) -> None:
        """Gradients from those of the logits (S, Q, B) and the vectors (S, B, D)."""
        by_head = grad.view(self.logits.shape)
        self.product(by_head, self.active_by_head.transpose(1, 2), self.weight_grad)
        torch.sum(by_head, 2, keepdim=True, out=self.bias_grad_flat)
        self.product(self.weight.transpose(1, 2), by_head, self.active_grad_by_head)
        self.active_grad.masked_fill_(self.active == 0, 0.0)
        self.product(self.active_grad, x, self.hidden_weight_grad)
        torch.sum(self.active_grad, 2, keepdim=True, out=self.hidden_bias_grad)


def first_layers(
    num_classes: int, embed_dim: int, hidden: int, seed: int
) -> tuple[Float[Tensor, "{hidden} {embed_dim}"], Float[Tensor, "{num_classes} {hidden}"]]:
    """First weights of both layers, as those of `linear`; the second layer draws for itself."""
    second = int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])
    return first_weights(hidden, embed_dim, seed), first_weights(num_classes, hidden, second)


@dataclass(frozen=True, kw_only=True)
class MlpProbe(AdamProbe):
    """The multi-layer perceptron of appendix A.

    Attributes:
        hidden: Units of the hidden layer.
    """

    batch: int = 128
    steps: int = 200_000
    hidden: int = 512

    def network(self) -> Build:
        """Two layers with a ReLU between them."""
        return partial(MlpNetwork, hidden=self.hidden)

    def readout(self, layers: Sequence[Tensor], facts: Mapping[str, Any]) -> MlpReadout:
        """Both layers as they were trained."""
        hidden_weight, hidden_bias, weight, bias = layers
        return MlpReadout(LinearReadout(hidden_weight, hidden_bias), LinearReadout(weight, bias), dict(facts))


PROBES = {"mlp": MlpProbe()}
READOUTS = {"mlp": MlpReadout}
