import subprocess
import sys

import torch
from torch import nn

from leveret.hollow import hollow
from leveret.registry import entries, look_up


def test_every_encoder_has_the_shapes_of_a_drawn_one():
    for name in entries("encoders"):
        if name.endswith("_tiny"):
            with hollow():
                shapes = look_up("encoders", name).build()
            drawn = look_up("encoders", name).build()
            assert all(one.device.type == "meta" for one in shapes.parameters())
            assert {key: one.shape for key, one in shapes.state_dict().items()} == {
                key: one.shape for key, one in drawn.state_dict().items()
            }


def test_weights_are_drawn_again_after_the_block():
    with hollow():
        nn.Linear(3, 4)
    layer = nn.Linear(3, 4)
    nn.init.constant_(layer.weight, 2.0)
    assert torch.equal(layer.weight, torch.full((4, 3), 2.0))
    assert torch.randn(100).unique().numel() > 90


def test_the_generator_is_left_alone():
    before = torch.random.get_rng_state()
    with hollow():
        look_up("encoders", "wav2vec2_tiny").build()
    assert torch.equal(before, torch.random.get_rng_state())


def test_torchs_compiler_is_not_imported_for_shapes():
    code = (
        "import sys; from leveret.hollow import hollow; from leveret.registry import entries, look_up\n"
        "with hollow():\n"
        "    for name in entries('encoders'): look_up('encoders', name).build()\n"
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout == "False False\n"
