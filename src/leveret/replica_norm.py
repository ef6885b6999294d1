"""Batch norm over the global batch: every rank normalises by the mean and variance of all ranks' examples.

Source: arXiv:1502.03167; over replicas as in the same group's mmv. torch's own SyncBatchNorm refuses a CPU.
Shapes: B examples of this rank, W ranks, C channels.
Departures: none. A process alone runs torch's batch norm.
"""

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import leveret.distributed as distributed
from leveret.collectives import gathered
from leveret.layers import at_least_float32

M = TypeVar("M", bound=nn.Module)


class _AcrossRanks(_BatchNorm):
    """In training the moments are those of the global batch, with gradients; in eval it is torch's."""

    def forward(self, input: Float[Tensor, "B C *_"]) -> Float[Tensor, "B C *_"]:
        """Normalised in float32 at least, and given back in the precision that came."""
        # without running statistics eval takes the batch's own, which nobody may wait for other ranks' to know
        if not self.training or distributed.world().size == 1:
            normed: Tensor = super().forward(input)
            return normed
        self._check_input_dim(input)
        x = at_least_float32(input)
        axes = [0, *range(2, x.ndim)]
        local_var, local_mean = torch.var_mean(x, axes, correction=0)
        means, variances = gathered(torch.stack([local_mean, local_var])[None]).unbind(1)  # (W, C) each
        mean = means.mean(0)
        var = variances.mean(0) + means.var(0, correction=0)  # ranks have equally many examples
        self._follow(mean.detach(), var.detach(), x.numel() // x.shape[1] * distributed.world().size)
        scale = (var + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        offset = -mean * scale
        if self.affine:
            offset = offset + self.bias
        cells = (1, -1, *[1] * (x.ndim - 2))
        return (x * scale.view(cells) + offset.view(cells)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Float[Tensor, "C"], var: Float[Tensor, "C"], count: int) -> None:
        """Running statistics as torch keeps them: the variance unbiased."""
        if not self.track_running_stats:
            return
        assert self.running_mean is not None, self
        assert self.running_var is not None, self
        assert self.num_batches_tracked is not None, self
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((var * (count / (count - 1))).to(self.running_var.dtype), share)


class BatchNorm1d(_AcrossRanks, nn.BatchNorm1d):
    """Of vectors (B, C), or of channels over time (B, C, T)."""


class BatchNorm2d(_AcrossRanks, nn.BatchNorm2d):
    """Of maps (B, C, T, F)."""


_OVER_THE_GLOBAL_BATCH: dict[type[nn.Module], type[_AcrossRanks]] = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
}


def across_ranks(module: M) -> M:
    """The same module with every batch norm in it over the global batch; parameters, buffers and names stay."""
    for name, norm in list(module.named_modules()):
        kind = _OVER_THE_GLOBAL_BATCH.get(type(norm))
        if name and kind is not None:
            assert isinstance(norm, _BatchNorm), norm
            module.set_submodule(name, _as(kind, norm))
    return module


def has_batch_norm(module: nn.Module) -> bool:
    """Whether an example's result depends on its batch in training."""
    return any(isinstance(part, _BatchNorm) for part in module.modules())


def _as(kind: type[_AcrossRanks], norm: _BatchNorm) -> _AcrossRanks:
    with torch.device("meta"):  # all of its tensors are replaced
        twin = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    twin.weight, twin.bias = norm.weight, norm.bias
    twin.running_mean, twin.running_var = norm.running_mean, norm.running_var
    twin.num_batches_tracked = norm.num_batches_tracked
    return twin.train(norm.training)
