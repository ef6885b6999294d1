"""A SimCLR training step of SlowFast NFNet-F0 in JAX: projector, NT-Xent, gradient and Adam; for train_step.py.

Source: arXiv:2002.05709, equation 1, and arXiv:1412.6980, algorithm 1, written anew; the network is jax_slowfast.py.
Both views go through the network as one batch, so that XLA standardises the filters once a step.
Shapes: B clips, T frames, F mel bins, D dimensions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Weights = Any
"""The network's parameters, and the projector's (weight, bias) layer by layer."""


def ntxent(one: Array, two: Array, temperature: float) -> Array:
    """Mean over the 2B views (B, D) of the cross-entropy of each one's other view among all others."""
    z = jnp.concatenate([one, two])
    z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
    logits = z @ z.T / temperature
    logits = jnp.where(jnp.eye(len(z), dtype=bool), -jnp.inf, logits)
    other = jnp.roll(jnp.arange(len(z)), len(one))
    true = jnp.take_along_axis(logits, other[:, None], 1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - true)


def loss_of(apply: Callable[..., Array], temperature: float) -> Callable[[Weights, Array, Array], Array]:
    """The loss of two views (B, T, F, 1), standardised already."""

    def loss(weights: Weights, one: Array, two: Array) -> Array:
        network, projector = weights
        z = apply(network, jnp.concatenate([one, two]))
        for weight, bias in projector[:-1]:
            z = jax.nn.relu(z @ weight + bias)
        weight, bias = projector[-1]
        return ntxent(*jnp.split(z @ weight + bias, 2), temperature)

    return loss


def adam(rate: float, betas: tuple[float, float], eps: float) -> Callable[..., tuple[Weights, Weights, Weights]]:
    """(weights, first moment, second, gradient, step from 1) -> the first three, compiled, in place."""
    first_beta, second_beta = betas

    def update(
        weights: Weights, first: Weights, second: Weights, gradient: Weights, step: Array
    ) -> tuple[Weights, Weights, Weights]:
        first = jax.tree.map(lambda m, g: first_beta * m + (1 - first_beta) * g, first, gradient)
        second = jax.tree.map(lambda v, g: second_beta * v + (1 - second_beta) * g * g, second, gradient)
        by_first, by_second = 1 - first_beta**step, 1 - second_beta**step
        weights = jax.tree.map(
            lambda w, m, v: w - rate * (m / by_first) / (jnp.sqrt(v / by_second) + eps), weights, first, second
        )
        return weights, first, second

    return jax.jit(update, donate_argnums=(0, 1, 2))
