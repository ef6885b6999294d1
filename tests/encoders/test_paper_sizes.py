"""Parameters of every architecture beside table 2 of the paper; what it prints, `pytest -s` shows."""

import dataclasses
import sys
from dataclasses import dataclass
from itertools import accumulate

import pytest

from leveret.hollow import hollow
from leveret.paper import models
from leveret.registry import look_up


@dataclass(frozen=True)
class Row:
    """Which encoder stands for a row of table 2, and how large the sources' network is.

    Attributes:
        objective: Parameters that the paper counts and that are not in the encoder.
        why: What stands between the two numbers, where they do not round to each other.
    """

    printed: str
    encoder: str
    count: int
    objective: int = 0
    why: str = ""


PREDICTIONS = 2 * 12 * (384 * 512 + 512)  # of Bidir-CPC: both directions, twelve steps
CONTINUOUS = 512 * 256 + 256 + 768 * 256 + 256  # of wav2vec 2.0: targets and predictions to one space
ROWS = (
    Row("BYOL-A CNN", "byola_cnn_64mels", 5_321_856),
    Row("EfficientNet-B0", "efficientnet_b0", 4_006_972),
    Row(
        "PANNs-CNN14", "cnn14", 75_477_472,
        why="the public network never has 71m: convolutions 75.5m, with the hidden layer 79.7m, with 527 outputs 80.8m",
    ),
    Row("ViT-Base", "vit_base", 85_327_872, why="86m is with the larger table of positions of AST (86.2m at 128 mels)"),
    Row("ResNet50", "resnet50", 23_501_760, why="23.5m, cut off"),
    Row("SF ResNet50", "slowfast_resnet50", 25_967_208),
    Row("NFNet-F0", "nfnet_f0", 68_415_996),
    Row("SF NFNet-F0", "slowfast_nfnet_f0", 62_970_654),
    Row("Bidir-CPC", "bidir_cpc", 38_327_296, objective=PREDICTIONS),
    Row("Wav2Vec2.0", "wav2vec2_base", 94_699_904, objective=CONTINUOUS),
)  # fmt: skip


def count(encoder: str) -> int:
    with hollow():
        return sum(p.numel() for p in look_up("encoders", encoder).build().parameters())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.encoder)
def test_the_number_of_parameters_is_the_papers_or_there_is_a_reason(row: Row) -> None:
    ours, printed = count(row.encoder) + row.objective, models()[row.printed].params_millions
    assert ours == row.count
    assert printed is not None
    # one digit after the point where the paper prints one, else none
    rounded = round(ours / 1e6, 1 if printed < 10 else 0)
    assert (rounded == printed) != bool(row.why), (rounded, printed)


def test_the_table_beside_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        f"{row.printed:16} {models()[row.printed].params_millions:>5}m "
        f"{(count(row.encoder) + row.objective) / 1e6:8.2f}m  {row.encoder}  {row.why}\n"
        for row in ROWS
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(lines))
    named = {row.printed for row in ROWS}
    counted = {name for name, model in models().items() if model.params_millions is not None}
    assert counted - named == {"BYOL-A"}  # the same CNN under its own objective


def test_cnn14_has_the_papers_71_millions_at_no_place_from_its_input_to_its_outputs() -> None:
    with hollow():
        network = look_up("encoders", "cnn14_panns").build()
    parts = [network.bn0, *network.blocks, network.fc1]
    sizes = [sum(p.numel() for p in part.parameters()) for part in parts] + [2048 * 527 + 527]
    totals = list(accumulate(sizes))
    assert totals[-3:] == [75_477_472, 79_673_824, 80_753_647]
    assert totals[-4] < 20e6


def test_counts_with_64_mels_are_the_sources() -> None:
    def with_mels(name: str, num_mels: int) -> int:
        with hollow():
            network = dataclasses.replace(look_up("encoders", name), num_mels=num_mels).build()
        return sum(p.numel() for p in network.parameters())

    assert with_mels("cnn14", 64) == 75_477_440
    assert with_mels("cnn14_panns", 64) == 79_673_792
    assert with_mels("cnn14_panns", 64) + 2048 * 527 + 527 == 80_753_615
    assert with_mels("byola_cnn", 128) == 6_370_432


def test_without_norms_and_biases_there_are_as_many_filters_as_the_source_has() -> None:
    with hollow():
        network = look_up("encoders", "slowfast_resnet50_no_norm").build()
    assert sum(p.numel() for name, p in network.named_parameters() if not name.endswith("bias")) == 25_906_520
