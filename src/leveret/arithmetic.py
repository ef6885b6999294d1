"""Multiply-accumulates (MACs) of a network, counted while it runs.

One MAC is a multiplication with its addition: half of what torch counts as floating-point operations. Counted are
convolutions (every place of the kernel, on the padding too), matrix products, both products of attention, and recurrent
layers. Not counted: biases, activations, norms, pools, Fourier transforms.
Source: ours, on torch's FlopCounterMode, which leaves out fused kernels and recurrent layers.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle


class MacCounter:
    """How many MACs were done since `counting` began."""

    def __init__(self, network: nn.Module, flops: FlopCounterMode) -> None:
        self._root = type(network).__name__
        self._flops = flops
        self._recurrent: dict[str, int] = defaultdict(int)
        self._before: list[int] = []

    @property
    def macs(self) -> int:
        """All of them, wherever in torch they were done."""
        return self._flops.get_total_flops() // 2 + sum(self._recurrent.values())

    def inside(self, name: str) -> int:
        """Those of a module by its name in the network, which must have been called itself."""
        counted = sum(self._flops.get_flop_counts().get(f"{self._root}.{name}", {}).values()) // 2
        return counted + sum(n for place, n in self._recurrent.items() if f"{place}.".startswith(f"{name}."))

    def watch(self, name: str, layer: nn.RNNBase) -> tuple[RemovableHandle, RemovableHandle]:
        """Count a recurrent layer by its weights in every call of which torch counts nothing."""

        def before(_layer: nn.Module, _inputs: object) -> None:
            self._before.append(self.macs)

        def after(_layer: nn.Module, inputs: tuple[Tensor | PackedSequence, ...], _output: object) -> None:
            if self.macs == self._before.pop():  # where there is no fused kernel it falls into products, which count
                steps = inputs[0].data.numel() // layer.input_size  # B x T
                matrices = sum(one.numel() for key, one in layer.named_parameters() if key.startswith("weight"))
                self._recurrent[name] += steps * matrices

        return layer.register_forward_pre_hook(before), layer.register_forward_hook(after)


@contextmanager
def counting(network: nn.Module) -> Iterator[MacCounter]:
    """Counts what torch computes in the block, in the network or elsewhere.

    Args:
        network: Its recurrent layers are seen; those of other modules are not.
    """
    fast_path = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)  # fused kernels are not counted, neither these ...
    handles: list[RemovableHandle] = []
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops:  # ... nor attention's on a cpu
            counter = MacCounter(network, flops)
            for name, module in network.named_modules():
                if isinstance(module, nn.RNNBase):
                    handles += counter.watch(name, module)
            yield counter
    finally:
        for handle in handles:
            handle.remove()
        mha.set_fastpath_enabled(fast_path)
