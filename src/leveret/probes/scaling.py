"""Features standardised by their training mean and deviation, in blocks, so that float16 tables are never doubled.

Shapes: R rows, D embedding.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_ROWS_AT_ONCE = 8_192
_CONSTANT = 1e-6  # a feature whose deviation is below this share of its size is rounding, and is left out


def standardised(X: Float[Tensor, "R D"], mean: Float[Tensor, "D"], scale: Float[Tensor, "D"]) -> Float[Tensor, "R D"]:
    """A float32 copy."""
    return torch.cat([(block.float() - mean) * scale for block in X.split(_ROWS_AT_ONCE)])


def standardisation(
    X: Float[Tensor, "R D"], row_weights: Float[Tensor, "R"]
) -> tuple[Float[Tensor, "D"], Float[Tensor, "D"]]:
    """Weighted mean and one over the weighted deviation, accumulated in float64; 0 for a constant feature.

    Raises:
        ValueError: A vector is not finite.
    """
    total = row_weights.double().sum()
    mean = X.new_zeros(X.shape[1], dtype=torch.float64)
    variance = torch.zeros_like(mean)
    parts = list(zip(X.split(_ROWS_AT_ONCE), row_weights.split(_ROWS_AT_ONCE), strict=True))
    for block, weights in parts:
        mean += weights.double() @ block.double()
    mean /= total
    if not mean.isfinite().all():
        row = int(torch.nonzero(~X.isfinite().all(1))[0, 0])
        raise ValueError(
            f"training row {row} holds a value that is not finite - finite vectors were expected; look for silent or "
            "broken audio, or an encoder that overflows in half precision"
        )
    for block, weights in parts:
        variance += weights.double() @ (block.double() - mean).square()
    deviation = (variance / total).sqrt()
    constant = deviation <= _CONSTANT * mean.abs()
    scale = torch.where(constant, 0.0, 1 / deviation)
    return mean.float(), scale.float()
