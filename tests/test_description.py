"""Descriptions: table 5 out of the module itself, and multiply-accumulates against hand counts and published ones."""

import pytest
import torch
from torch import nn

from leveret.contracts import Encoder
from leveret.description import describe, in_words, macs, size
from leveret.hollow import hollow
from leveret.registry import entries, look_up

# Paper, table 5, as printed: channels and kernels of each stage, and T x F after it, on a spectrogram of 400 x 128.
# Strides and what the table leaves out are those of the released code (docs/protocol.md): the fast stem's second and
# third kernels are 1x3 there.
TABLE_5 = {
    "slow.stem.0": ("1x3, 16, stride 2,2", "16 x 50 x 64"),
    "slow.stem.2": ("1x3, 32", "32 x 50 x 64"),
    "slow.stem.4": ("1x3, 64", "64 x 50 x 64"),
    "slow.stem.6": ("3x3, 128, stride 2,2", "128 x 25 x 32"),
    "fast.stem.0": ("3x3, 2, stride 2,2", "2 x 200 x 64"),
    "fast.stem.2": ("1x3, 4", "4 x 200 x 64"),
    "fast.stem.4": ("1x3, 8", "8 x 200 x 64"),
    "fast.stem.6": ("3x3, 16, stride 2,2", "16 x 100 x 32"),
    "slow.stages.0": ("[1x1, 128; 1x1, 128; 1x3, 128; 1x1, 256]", "256 x 25 x 32"),
    "fast.stages.0": ("[1x1, 16; 3x1, 16; 1x3, 16; 1x1, 32]", "32 x 100 x 32"),
    "slow.stages.1": ("[1x1, 256; 1x1, 256, 2 groups; 1x3, 256, 2 groups; 1x1, 512] x 2", "512 x 25 x 16"),
    "fast.stages.1": ("[1x1, 32; 3x1, 32, 2 groups; 1x3, 32, 2 groups; 1x1, 64] x 2", "64 x 100 x 16"),
    "slow.stages.2": ("[1x1, 768; 3x1, 768, 6 groups; 1x3, 768, 6 groups; 1x1, 1536] x 6", "1536 x 25 x 8"),
    "fast.stages.2": ("[1x1, 96; 3x1, 96, 6 groups; 1x3, 96, 6 groups; 1x1, 192] x 6", "192 x 100 x 8"),
    "slow.stages.3": ("[1x1, 768; 3x1, 768, 6 groups; 1x3, 768, 6 groups; 1x1, 1536] x 3", "1536 x 25 x 4"),
    "fast.stages.3": ("[1x1, 96; 3x1, 96, 6 groups; 1x3, 96, 6 groups; 1x1, 192] x 3", "192 x 100 x 4"),
}


def without_values(name):
    """An encoder without numbers; full-size ones take seconds to draw."""
    with hollow():
        return look_up("encoders", name).build()


def test_slowfast_nfnet_f0_is_table_5():
    found = describe(without_values("slowfast_nfnet_f0"), features=(1, 400, 128))
    parts = {part.name: (part.what, size(part.shape)) for part in found.parts}
    assert {name: parts[name] for name in TABLE_5} == TABLE_5
    assert parts.keys() - TABLE_5.keys() == {
        "slow_input", "fusions.0", "fusions.1", "fusions.2", "fusions.3", "fast.final_conv", "slow.final_conv"
    }  # fmt: skip
    assert found.parameters == 62_970_654


def test_table_5_ends_without_final_convolutions_in_1728_features():
    found = describe(without_values("slowfast_nfnet_f0_table5"), features=(1, 400, 128))
    assert found.embed_dim == 1728
    assert not [part for part in found.parts if "final" in part.name]


@pytest.mark.parametrize("name", [name for name in entries("encoders") if "tiny" in name or name == "melstats"])
def test_the_parts_add_up_to_the_whole(name):
    found = describe(look_up("encoders", name).build(), seconds=1.0)
    assert sum(part.parameters for part in found.parts) == found.parameters
    assert sum(part.macs for part in found.parts) == found.macs
    assert (found.macs == 0) == (name == "melstats")
    assert all(part.parameters or part.macs or part.shape for part in found.parts)


def test_a_hand_count_of_the_byola_cnn():
    """Three 3x3 convolutions of 8 channels on 100 x 80, 50 x 40 and 25 x 20 cells, then two layers on 12 frames."""
    convolutions = 100 * 80 * 9 * 8 + 50 * 40 * 9 * 64 + 25 * 20 * 9 * 64
    layers = 12 * (10 * 8 * 32 + 32 * 32)
    assert macs(look_up("encoders", "byola_cnn_tiny").build(), seconds=1.0) == convolutions + layers


def test_a_hand_count_of_a_transformer():
    """Attention counts: two layers of width 32, 7 x 5 patches of 16 x 16 and a class token in one second."""
    tokens, width, hidden = 7 * 5 + 1, 32, 64
    layer = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
    patches = 7 * 5 * 16 * 16 * width
    assert macs(look_up("encoders", "vit_tiny").build(), seconds=1.0) == patches + 2 * layer


def test_resnet50_has_the_published_count():
    """4.089 G is published for a picture of 224 x 224 in three colours with 1000 classes; ours has one and none."""
    published = 4.089e9
    first = 7 * 7 * 64 * 112 * 112
    found = describe(without_values("resnet50"), features=(1, 224, 224))
    assert found.macs == pytest.approx(published - 2 * first - 2048 * 1000, rel=1e-3)


def test_describing_leaves_the_encoder_alone():
    encoder = look_up("encoders", "slowfast_nfnet_tiny").build().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    describe(encoder)
    assert encoder.training
    assert all(value.device.type == "cpu" for value in encoder.state_dict().values())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_somebody_elses_network_is_told_from_outside():
    class Foreign(Encoder):
        convertible = False
        embed_dim = 3
        layers = {"out": 3}  # noqa: RUF012

        def embed(self, features, layer=None):
            raise AssertionError("nobody runs it")

    found = describe(Foreign(), seconds=2.0)
    assert (found.features, found.parts, found.parameters, found.macs) == ((32_000,), [], None, None)
    with pytest.raises(ValueError, match="somebody else's encoder are not known"):
        macs(Foreign())
    with pytest.raises(ValueError, match="is given sounds, not a spectrogram"):
        describe(Foreign(), features=(1, 400, 128))


def test_recurrent_layers_of_a_part_count():
    class Recurrent(Encoder):
        embed_dim = 6
        layers = {"states": 6}  # noqa: RUF012

        def __init__(self):
            super().__init__()
            self.states = nn.Sequential(nn.LSTM(4, 6, batch_first=True))

        def frontend(self, wave):
            return wave.unflatten(1, (-1, 4))

        def embed(self, features, layer=None):
            return self.states(features)[0].mean(1)

    found = describe(Recurrent(), seconds=0.1)
    by_hand = 400 * 4 * (6 * 4 + 6 * 6)
    assert found.macs == by_hand
    assert [(part.shape, part.parameters, part.macs) for part in found.parts] == [((400, 6), 288, by_hand)]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_no_length_is_refused(seconds):
    with pytest.raises(ValueError, match=r"seconds is no length of a sound; expected more than 0 and at most 600"):
        describe(look_up("encoders", "melstats").build(), seconds)


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"does not take an input of shape \(1, 100, 64\)"):
        describe(look_up("encoders", "byola_cnn_tiny").build(), features=(1, 100, 64))


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "not known"), (0, "0"), (999, "999"), (1000, "1 k"), (62_970_654, "62.97 M"), (3 * 10**12, "3000 G")],
)
def test_large_numbers_in_words(count, words):
    assert in_words(count) == words
