"""The one trainer of heads: Adam on softmax or sigmoid cross-entropy, several seeds and rates in one call.

Source: paper, appendix A (linear layer, batch 64, 400k steps) and appendix C (Adam, warm-up, cosine).
Shapes: R rows, M clips, D embedding, K classes, B batch, S seeds, L peak rates, Q = L * K, n steps at once.
Departures: the paper does not say how its sigmoid loss is reduced; here it is the mean over batch and classes. Adam
divides the factor out again, so only its epsilon of 1e-8 could notice. Nor does it name the first weights; they are
those of haiku's Linear, which its authors' code is written in: normal of deviation 1/sqrt(D) cut at two deviations,
bias zero.

The gradient is written by hand. Rates of one seed see the same draws, so their heads lie side by side in one wide
matrix product; seeds draw for themselves and are stacked. Logits lie class by class, (K, B) and not (B, K): both
products are then faster by up to a fifth.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from leveret.contracts import Progress, Table
from leveret.disk_rows import fetch
from leveret.fused_adam import FusedAdam
from leveret.optim import WARMUP_STEPS, learning_rate

CHUNK_STEPS = 256
"""Steps whose draws come from one generator; step t lies in chunk t // 256."""

LOSS_STEPS = 100  # the last steps, over which the final training loss is averaged
_SEEDS_AT_ONCE = 4  # on a CPU: the weights and moments of eight overflow its caches and take a sixth longer
_ROWS_AT_ONCE = 256  # gathered together: fewer calls, and still within the second-level or third-level cache


@dataclass(frozen=True)
class Windows:
    """Where each clip's rows lie in a table: its clip m owns rows first[m] to first[m] + count[m]."""

    first: Int[Tensor, "M"]
    count: Int[Tensor, "M"]

    @classmethod
    def of(cls, table: Table) -> "Windows":
        """Those of a table, or of its crops, on the CPU, where draws are made."""
        crops = table.crops
        count = crops.count if crops else torch.bincount(table.rows.cpu(), minlength=table.num_clips)
        return cls(count.cumsum(0) - count, count)


@dataclass(frozen=True)
class Trained:
    """Heads as they ended.

    Attributes:
        layers: The parameters in the order of the network, (S, L, ...).
        train_loss: Mean over the last hundred steps.
    """

    layers: Sequence[Tensor]
    train_loss: Float[Tensor, "S L"]


def draw(
    windows: Windows, seed: int, chunk: int, batch: int
) -> tuple[Int[Tensor, "256 {batch}"], Int[Tensor, "256 {batch}"]]:
    """Clips and rows of 256 steps: a clip with equal chance for each, then one of its rows.

    A pure function of its arguments, made on the CPU whatever device trains.

    Returns:
        Index of the clip and index of the row of each example.
    """
    # torch keeps 32 bits of a seed, and near seeds give near states; SeedSequence mixes the pair into those bits.
    mixed = np.random.SeedSequence((seed, chunk)).generate_state(1)
    generator = torch.Generator().manual_seed(int(mixed[0]))
    shape = (CHUNK_STEPS, batch)
    clips = torch.randint(len(windows.count), shape, generator=generator)
    places = torch.rand(shape, generator=generator, dtype=torch.float64)
    rows = windows.first[clips] + (places * windows.count[clips]).long()
    return clips, rows


def first_weights(num_classes: int, embed_dim: int, seed: int) -> Float[Tensor, "{num_classes} {embed_dim}"]:
    """The default of haiku: normal of deviation 1/sqrt(D), cut at two deviations."""
    std = embed_dim**-0.5
    weight = torch.empty(num_classes, embed_dim)
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)


Product = Callable[[Tensor, Tensor, Tensor], object]
"""A batched matrix product: (a, b, out)."""


class Network(Protocol):
    """Heads of several seeds and rates, trained together; their gradients are written by hand.

    Attributes:
        layers: (value, gradient) of each parameter, (S, L, ...).
        bias_grad: The gradient of the last layer's bias, (S, L * K, 1).
    """

    layers: Sequence[tuple[Tensor, Tensor]]
    bias_grad: Float[Tensor, "S Q 1"]

    def forward(self, x_transposed: Float[Tensor, "S D B"]) -> Float[Tensor, "S Q B"]:
        """Logits, in a tensor that may be written over; Q = L * K."""
        ...

    def backward(self, x: Float[Tensor, "S B D"], grad: Float[Tensor, "S Q B"]) -> None:
        """Fill the gradients of the parameters from that of the logits."""
        ...


Build = Callable[[Sequence[int], int, Table, int, Product], Network]
"""Makes a network: seeds, number of rates L, table, batch, product."""


def train(
    build: Build,
    table: Table,
    clips: Int[Tensor, "m"] | None = None,
    *,
    seeds: Sequence[int],
    peak_rates: Sequence[float],
    batch: int,
    steps: int,
    warmup_steps: int = WARMUP_STEPS,
    progress: Progress | None = None,
) -> Trained:
    """One head for each seed and rate, each exactly as if it were trained alone.

    Args:
        table: Its device is the device that trains; its vectors, or its crops, are used as they are.
        clips: Train on these alone; None is all of them. Of a table without crops.

    Raises:
        ValueError: The gradient stopped being finite; the message says at which step.
    """
    at_once = _SEEDS_AT_ONCE if table.X.device.type == "cpu" else len(seeds)
    parts = [seeds[first : first + at_once] for first in range(0, len(seeds), at_once)]
    trained: list[Trained] = []
    for number, part in enumerate(parts):

        def notify(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(parts))

        product, threads = _matrix_product(table.X.device)
        with threads:
            network = build(part, len(peak_rates), table, batch, product)
            losses = _train_together(network, table, clips, part, peak_rates, batch, steps, warmup_steps, notify)
        trained.append(Trained([value for value, _ in network.layers], losses))
    layers = [torch.cat(values) for values in zip(*(one.layers for one in trained), strict=True)]
    return Trained(layers, torch.cat([one.train_loss for one in trained]))


@torch.no_grad()
def _train_together(
    network: Network,
    table: Table,
    clips: Int[Tensor, "m"] | None,
    seeds: Sequence[int],
    peak_rates: Sequence[float],
    batch: int,
    steps: int,
    warmup_steps: int,
    notify: Progress,
) -> Float[Tensor, "S L"]:
    device, K, crops = table.X.device, table.num_classes, table.crops
    X, targets = (table.X, table.targets) if crops is None else (crops.held, table.crop_targets)
    assert targets is not None, table
    D, S, L = X.shape[1], len(seeds), len(peak_rates)
    windows = Windows.of(table)
    if clips is not None:
        assert crops is None, table
        chosen = clips.cpu()
        windows, targets = Windows(windows.first[chosen], windows.count[chosen]), targets[clips]
    scale = 1 / (batch * K) if table.multilabel else 1 / batch

    optimizers = [FusedAdam(_heads_of(network.layers, rate)) for rate in range(L)]
    likely = torch.empty(S, L, K, batch, device=device)
    losses = likely.new_zeros(S, L)
    bias_grads = likely.new_zeros(CHUNK_STEPS, S, L * K, 1)  # the bias gradients of a chunk, looked at when it ends
    block = min(CHUNK_STEPS, max(1, _ROWS_AT_ONCE // (S * batch)))
    vectors = X.new_empty(block, S, batch, D)
    vectors32 = vectors if X.dtype == torch.float32 else vectors.float()
    inputs = [(x, x.transpose(1, 2)) for x in vectors32]

    for step in range(steps):
        place, in_block = step % CHUNK_STEPS, step % CHUNK_STEPS % block
        if place == 0:
            drawn = [draw(windows, seed, step // CHUNK_STEPS, batch) for seed in seeds]
            clip_chunk, row_chunk = (torch.stack(part, 1)[: steps - step] for part in zip(*drawn, strict=True))
            if crops is not None:
                X, clip_chunk, row_chunk = crops.drawn(clip_chunk, row_chunk, seeds, step)
            clip_chunk, row_chunk = clip_chunk.to(device), row_chunk.to(device)
        if in_block == 0:
            rows = row_chunk[place : place + block]
            fetch(X, rows.flatten(), vectors[: len(rows)].view(-1, D))
            if vectors32 is not vectors:
                vectors32.copy_(vectors)
            wanted = _wanted(targets, clip_chunk[place : place + block], K)  # (n, S, 1, K, B)
            scaled = (wanted * -scale).unbind()
        x, x_transposed = inputs[in_block]  # (S, B, D), (S, D, B)
        logits = network.forward(x_transposed)  # (S, L * K, B)
        per_class = logits.view(S, L, K, batch)
        if step >= steps - LOSS_STEPS:
            losses += _loss(per_class, wanted[in_block], table.multilabel) / min(LOSS_STEPS, steps)
        if table.multilabel:
            torch.sigmoid(per_class, out=likely)
        else:
            torch.softmax(per_class, 2, out=likely)
        # the logits are done with once the probabilities are known: their gradient takes their place
        torch.add(scaled[in_block], likely, alpha=scale, out=per_class)
        network.backward(x, logits)
        bias_grads[place] = network.bias_grad
        for optimizer, peak in zip(optimizers, peak_rates, strict=True):
            optimizer.step(learning_rate(step, steps, peak, warmup_steps))
        if place == CHUNK_STEPS - 1 or step == steps - 1:
            _check_finite(bias_grads[: place + 1], step - place)
            notify((step + 1) / steps)
    return losses


def _heads_of(layers: Sequence[tuple[Tensor, Tensor]], rate: int) -> list[Tensor]:
    """Weights of one rate, each with its gradient, in as few contiguous pieces as there are: each costs Adam a call."""
    heads = []
    for weights, gradients in layers:  # (S, L, ...)
        part, its_gradients = weights[:, rate], gradients[:, rate]
        pairs = [(part, its_gradients)] if part.is_contiguous() else zip(part, its_gradients, strict=True)
        for head, gradient in pairs:
            head.grad = gradient
            heads.append(head)
    return heads


def _wanted(targets: Tensor, clips: Int[Tensor, "n S B"], num_classes: int) -> Float[Tensor, "n S 1 K B"]:
    """What the probabilities of each example should be, class by class."""
    if targets.ndim == 2:
        return targets[clips].float().transpose(2, 3).unsqueeze(2).contiguous()
    steps, seeds, batch = clips.shape
    wanted = torch.zeros(steps, seeds, 1, num_classes, batch, device=targets.device)
    return wanted.scatter_(3, targets[clips].view(steps, seeds, 1, 1, batch), 1.0)


def _loss(logits: Float[Tensor, "S L K B"], wanted: Float[Tensor, "S 1 K B"], multilabel: bool) -> Float[Tensor, "S L"]:
    if multilabel:
        return F.binary_cross_entropy_with_logits(logits, wanted.expand_as(logits), reduction="none").mean((2, 3))
    return -(logits.log_softmax(2) * wanted).sum(2).mean(2)


def _check_finite(bias_grads: Float[Tensor, "n S Q 1"], first_step: int) -> None:
    # A logit that is not finite makes every gradient of its example NaN, and the weights for good.
    bad = torch.nonzero(~bias_grads.flatten(1).isfinite().all(1))
    if len(bad):
        raise ValueError(
            f"the loss is not finite at step {first_step + int(bad[0, 0])} of the probe - finite vectors were "
            "expected; look for NaN, infinity or values beyond 1e30 among the embeddings"
        )


def _matrix_product(device: torch.device) -> tuple[Product, AbstractContextManager[object]]:
    """The faster batched product, product(a, b, out), and what bounds its threads to torch's."""
    if device.type == "cpu" and _mkl_is_slow():
        return _numpy_product, cast(
            AbstractContextManager[object], threadpool_limits(torch.get_num_threads(), user_api="blas")
        )
    return _torch_product, nullcontext()


def _torch_product(a: Tensor, b: Tensor, out: Tensor) -> object:
    return torch.bmm(a, b, out=out)


def _numpy_product(a: Tensor, b: Tensor, out: Tensor) -> object:
    return np.matmul(a.numpy(), b.numpy(), out=out.numpy())


@cache
def _mkl_is_slow() -> bool:
    """On AMD with AVX-512, torch's MKL keeps to AVX2 and numpy's OpenBLAS is about twice as fast.

    Read from the processor and not measured, so that the same machine always adds up in the same order.
    """
    cpu_info = Path("/proc/cpuinfo")
    if not cpu_info.is_file():
        return False
    text = cpu_info.read_text(encoding="ascii", errors="replace")
    return "AuthenticAMD" in text and "avx512f" in text
