"""Activation checkpointing: the same gradients bit for bit, draws and running statistics included."""

import pytest
import torch

from leveret.draws import of_batch
from leveret.encoders.nfnet import NFBlock
from leveret.gradient_cache import add_gradients
from leveret.recompute import blocks, recompute_blocks
from leveret.registry import look_up


def step(toy, name, recompute, micro_batch=None):
    """Loss, gradients and buffers after a step in which every view is keyed anew before the backward pass."""
    torch.manual_seed(2)
    objective = toy.ToyConfig().build(look_up("encoders", name).build(), ()).train()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        views = objective.views(next(toy.toy_batches(8)(objective, 0)))
    if recompute:
        assert recompute_blocks(objective.encoder) > 3
    torch.manual_seed(3)
    loss, _ = add_gradients(objective, views, micro_batch=micro_batch)
    gradients = {name: one.grad for name, one in objective.named_parameters() if one.grad is not None}
    return loss, gradients, dict(objective.named_buffers())


@pytest.mark.parametrize(
    ("name", "micro_batch"),
    [("slowfast_nfnet_tiny", None), ("slowfast_nfnet_tiny", 4), ("slowfast_resnet_tiny", None), ("cnn14_tiny", None)],
)
def test_what_is_computed_again_is_the_same(toy, name, micro_batch):
    loss, expected, buffers = step(toy, name, recompute=False, micro_batch=micro_batch)
    again, found, moved = step(toy, name, recompute=True, micro_batch=micro_batch)
    assert torch.equal(loss, again)
    assert found.keys() == expected.keys()
    assert [key for key, one in expected.items() if not torch.equal(one, found[key])] == []
    assert [key for key, one in buffers.items() if not torch.equal(one, moved[key])] == []


def test_activations_of_blocks_are_not_kept():
    held = []
    for recompute in (False, True):
        encoder = look_up("encoders", "slowfast_nfnet_tiny").build().train()
        if recompute:
            recompute_blocks(encoder)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            encoder.network(torch.randn(4, 1, 20, 80))
        held.append(sum(sizes))
    assert held[1] < held[0] / 2


def test_layers_are_keyed_as_before_after_a_backward_pass():
    encoder = look_up("encoders", "slowfast_nfnet_tiny").build().train()
    recompute_blocks(encoder)
    of_batch(0, 0, 0, 2).key(encoder)
    vectors = encoder.network(torch.randn(2, 1, 20, 80))
    of_batch(0, 1, 0, 5).key(encoder)
    layer = next(block for block in blocks(encoder) if isinstance(block, NFBlock)).stochastic_depth
    later = layer.keyed
    vectors.sum().backward()
    assert layer.keyed is later
    assert later is not None
    assert len(later[0]) == 5


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match="MelStats has no stack of blocks"):
        recompute_blocks(look_up("encoders", "melstats").build())
