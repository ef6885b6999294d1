"""A training step of slowfast_nfnet_f0 against the same network and loss in JAX: parity first, then interleaved timing.

    python benchmarks/train_step.py [--rounds 9] [--batch 8] [--frames 300] [--mels 80] [--threads 2]

The step is SimCLR's: two views of each of `batch` clips (8 are 16 spectrograms), network, projector of 3 x 4096,
NT-Xent, backward and Adam. Both run both views as one batch, as pretraining does. Stochastic depth is off in both.
Front end and mixing are in neither; JAX starts from what is standardised. Options and golden weights are those of
embed_vs_jax.py. Under load the columns of processor time say more than those of the clock, and
OMP_WAIT_POLICY=passive has waiting threads sleep instead of spinning. Compiling takes minutes the first time.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median

# first: it narrows the cores before JAX counts them
from embed_vs_jax import OPTIONS, copy_into, golden_parameters, noise

# isort: split
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax_slowfast import slowfast
from jax_step import adam, loss_of
from timing import ratios, table, taken_in_turn

from leveret.draws import of_batch
from leveret.encoders.slowfast import SlowFastConfig, SlowFastNFNet
from leveret.frontend import standardise
from leveret.gradient_cache import add_gradients
from leveret.machine import keep_freed_memory
from leveret.objectives.simclr import SimCLR
from leveret.optim import ADAM_BETAS, ADAM_EPS, PEAK_RATE
from leveret.pretext import View, Views
from leveret.training import build_learner
from leveret.training_config import named_config
from leveret.training_folder import TrainingData
from leveret.training_state import Learner

TARGETS = {"leveret, float32": 2.6, "leveret, float32, compiled": 3.8, "leveret, bfloat16, compiled": 5.0}


def learner_and_views() -> tuple[Learner, Views]:
    """As `leveret pretrain --compile` would have them, but for stochastic depth; the weights are the golden ones."""
    config = named_config("slowfast_nfnet_f0", "simclr", compile=True)
    assert isinstance(config.encoder_config, SlowFastConfig), config
    still = replace(config.encoder_config, drop_rate=0.0)
    learner = build_learner(replace(config, encoder_config=still), TrainingData(), torch.device("cpu"))
    draws = of_batch(0, 0, 0, OPTIONS.batch)
    shape = (OPTIONS.batch, 1, OPTIONS.frames, OPTIONS.mels)
    inputs = tuple(View(torch.from_numpy(noise(1 + n, shape)), draws.at(n)) for n in range(2))
    return learner, Views(inputs, draws)


def norm_of(arrays: Iterable[np.ndarray]) -> float:
    """Of all arrays together, summed in float64."""
    return math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays))


class JaxStep:
    """The weights and moments in JAX, and the step that moves them."""

    def __init__(self, objective: SimCLR, views: Views) -> None:
        init, apply = slowfast()
        network = golden_parameters(init)
        assert isinstance(objective.encoder, SlowFastNFNet), objective.encoder
        copy_into(objective.encoder, network)
        linears = [layer for layer in objective.projector if isinstance(layer, torch.nn.Linear)]
        projector = [(one.weight.detach().numpy().T, one.bias.detach().numpy()) for one in linears]
        # copies: what is shared with torch's memory would move with it
        self.weights = jax.tree.map(lambda leaf: jnp.array(np.array(leaf)), (network, projector))
        self.views = [
            jax.device_put(np.ascontiguousarray(standardise(view.features).permute(0, 2, 3, 1).numpy()))
            for view in views.inputs
        ]
        # compiled by itself, for the parity as well: to compile it takes minutes, and XLA fuses none of it with Adam
        self.gradient = jax.jit(jax.value_and_grad(loss_of(apply, objective.temperature)))
        self.adam = adam(PEAK_RATE, ADAM_BETAS, ADAM_EPS)
        self.moments = [jax.tree.map(jnp.zeros_like, self.weights) for _ in range(2)]
        self.count = 0

    def loss_and_norm(self) -> tuple[float, float]:
        """As they are now; the norm is of the gradient of all parameters together."""
        value, gradient = self.gradient(self.weights, *self.views)
        return float(value), norm_of(np.asarray(leaf) for leaf in jax.tree.leaves(gradient))

    def __call__(self) -> None:
        """Take a step."""
        self.count += 1
        _, gradient = self.gradient(self.weights, *self.views)
        self.weights, *self.moments = self.adam(self.weights, *self.moments, gradient, jnp.float32(self.count))
        jax.block_until_ready(self.weights)


def check(jax_step: JaxStep, learner: Learner, views: Views, run: Callable[[], torch.Tensor], name: str) -> None:
    """Leave unless loss and gradient norm are those of JAX, to the rounding of float32."""
    ours = run().item()
    norm = norm_of(one.grad.numpy() for one in learner.objective.parameters() if one.grad is not None)
    loss, jax_norm = jax_step.loss_and_norm()
    print(f"parity of {name}: loss {ours:.6f}, {loss:.6f} in JAX; gradient norm {norm:.5f}, {jax_norm:.5f} in JAX")
    if not (abs(ours / loss - 1) < 1e-4 and abs(norm / jax_norm - 1) < 1e-4):
        sys.exit(f"{name} does not take JAX's step")


def main() -> None:
    """Check, time, print a table."""
    torch.set_num_threads(OPTIONS.threads)
    keep_freed_memory()  # as the command does; JAX gains from it as well
    learner, views = learner_and_views()
    objective, optimizer = learner.objective, learner.optimizer
    assert isinstance(objective, SimCLR), objective
    jax_step = JaxStep(objective, views)
    compiled = vars(objective.encoder).pop("network")  # the class's own is left: the network as it comes

    def gradients(dtype: torch.dtype, network: object = None) -> torch.Tensor:
        if network is not None:
            vars(objective.encoder)["network"] = network
        optimizer.zero_grad()
        loss, _ = add_gradients(objective, views, dtype=dtype)
        vars(objective.encoder).pop("network", None)
        return loss

    def step(dtype: torch.dtype, network: object = None) -> Callable[[], None]:
        def run() -> None:
            gradients(dtype, network)
            with torch.no_grad():
                optimizer.step(PEAK_RATE)

        return run

    check(jax_step, learner, views, lambda: gradients(torch.float32), "leveret")
    check(jax_step, learner, views, lambda: gradients(torch.float32, compiled), "leveret, compiled")
    candidates = {
        "JAX jit": jax_step,
        "leveret, float32": step(torch.float32),
        "leveret, float32, compiled": step(torch.float32, compiled),
        "leveret, bfloat16": step(torch.bfloat16),
        "leveret, bfloat16, compiled": step(torch.bfloat16, compiled),
    }
    clock, processor = taken_in_turn(candidates, OPTIONS.rounds, time.perf_counter, time.process_time)
    by_clock, by_processor = ratios(clock, "JAX jit"), ratios(processor, "JAX jit")
    setting = f"{OPTIONS.batch} clips x 2 x {OPTIONS.frames} x {OPTIONS.mels}, {OPTIONS.threads} threads"
    print(f"\n| {setting} | ms | least | x JAX | of the least | CPU ms | x JAX | of the least | target |")
    rows = []
    for name in candidates:
        times, cpu = clock[name], processor[name]
        whole = [f"{number:.0f}" for number in (median(times), min(times), median(cpu))]
        rows.append((name, *whole[:2], *by_clock[name], whole[2], *by_processor[name], TARGETS.get(name, "")))
    table(rows)


if __name__ == "__main__":
    main()
