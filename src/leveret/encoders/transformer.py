"""The transformer layer, normalised before its parts (ViT) or after them (wav2vec 2.0).

Source: arXiv:1706.03762; arXiv:2010.11929 for the order of ViT.
Shapes: B batch, T tokens, D width.
Departures: none.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leveret.layers import Dropout


class Attention(nn.Module):
    """Every token looks at every other; queries, keys and values have a bias.

    Where weights are dropped they are written out, since a fused kernel draws from torch's generator.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """What each token gathers."""
        query, key, value = (
            part(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )  # (B, H, T, D / H)
        if self.dropout.acts:
            weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1)  # (B, H, T, T)
            gathered = self.dropout(weights).to(value.dtype) @ value
        else:
            gathered = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.out(gathered.transpose(1, 2).flatten(2))
        return mixed


class TransformerLayer(nn.Module):
    """Attention and two fully connected layers with exact GELU, both residual.

    Args:
        hidden: Width between the fully connected layers.
        pre_norm: Layer norm of each part's input; else of the sum after each part.
        dropout: Of what each part adds, in training.
        attention_dropout: Of the attention's weights.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, *, pre_norm: bool, eps: float, dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(width, num_heads, attention_dropout)
        self.attention_norm = nn.LayerNorm(width, eps)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.mlp_norm = nn.LayerNorm(width, eps)
        # one for each part: a keyed layer that is called twice drops the same units twice
        self.gathered_dropout = Dropout(dropout)
        self.mlp_dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The tokens after one layer."""
        if self.pre_norm:
            x = x + self.gathered_dropout(self.attention(self.attention_norm(x)))
            summed: Tensor = x + self.mlp_dropout(self._mlp(self.mlp_norm(x)))
            return summed
        x = self.attention_norm(x + self.gathered_dropout(self.attention(x)))
        normed: Tensor = self.mlp_norm(x + self.mlp_dropout(self._mlp(x)))
        return normed

    def _mlp(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found
