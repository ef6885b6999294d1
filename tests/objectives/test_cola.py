"""COLA: the noise on the positive, and the sizes of its head."""

import pytest
import torch
from tests.objectives.toy_steps import built, clips

from leveret.draws import of_batch
from leveret.encoders.nfnet import ENCODERS
from leveret.hollow import hollow
from leveret.objectives.cola import COLAConfig, Gaussian


def test_noise_is_normal_and_in_proportion_to_the_waves_norm():
    noise = Gaussian(0.001)
    of_batch(0, 0, 0, 2).key(noise)
    waves = torch.zeros(2, 100_001)
    waves[1] = 10
    added = noise(waves) - waves
    assert not added[0].any()
    scaled = (added[1] / (0.001 * waves[1].norm())).double()
    assert scaled.mean().item() == pytest.approx(0, abs=0.01)
    assert scaled.std().item() == pytest.approx(1, abs=0.01)
    for quantile, expected in ((0.025, -1.96), (0.16, -0.9945), (0.84, 0.9945), (0.975, 1.96)):
        assert scaled.quantile(quantile).item() == pytest.approx(expected, abs=0.03)
    assert scaled[:50_000].dot(scaled[50_000:100_000]).abs() < 0.02 * 50_000  # both halves come of the same draws


@torch.no_grad()
def test_the_positive_alone_has_noise():
    objective = built("cola")
    batch = clips(objective, count=4)
    anchor, positive = objective.views(batch).inputs
    clean = [objective.encoder.frontend(batch.waves[:, number]) for number in range(2)]
    assert torch.equal(anchor.features, clean[0])
    assert not torch.equal(positive.features, clean[1])


def test_the_head_is_the_sources():
    with hollow():
        objective = COLAConfig().build(ENCODERS["nfnet_f0"].build(), ())
    assert objective.similarity.shape == (512, 512)
    assert [type(layer).__name__ for layer in objective.head] == ["Linear", "LayerNorm", "Tanh"]
    assert (objective.crops, objective.crop_seconds) == (2, 1.0)
