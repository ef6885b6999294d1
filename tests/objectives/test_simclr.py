"""SimCLR: the projector's size, and what its views are."""

import torch
from tests.objectives.toy_steps import built, clips

from leveret.encoders.byola_cnn import ENCODERS as BYOLA_CNNS
from leveret.encoders.slowfast import ENCODERS
from leveret.hollow import hollow
from leveret.objectives.simclr import SimCLRConfig


def test_the_projector_has_three_hidden_layers_of_4096():
    with hollow():
        objective = SimCLRConfig().build(ENCODERS["slowfast_nfnet_f0"].build(), ())
    assert [layer.out_features for layer in objective.projector[::2]] == [4096, 4096, 4096, 128]
    assert sum(parameter.numel() for parameter in objective.projector.parameters()) == 48_246_912
    assert (objective.crops, objective.crop_seconds, objective.temperature) == (2, 3.0, 0.1)
    assert objective.independent


def test_an_encoder_with_batch_norm_is_not_independent():
    assert not SimCLRConfig(hidden=(8,)).build(BYOLA_CNNS["byola_cnn_tiny"].build(), ()).independent


@torch.no_grad()
def test_a_view_is_a_share_of_the_clips_own_log_mel_and_the_rest_of_another_ones():
    objective = built("simclr")
    batch = clips(objective, count=16)
    for number, view in enumerate(objective.views(batch).inputs):
        raw = objective.encoder.frontend(batch.waves[:, number])
        basis = raw.flatten(1).double().T  # (T F, B)
        shares = torch.linalg.lstsq(basis, view.features.flatten(1).double().T).solution.T  # of every clip in each view
        two = shares.topk(2).values.sum(1)
        torch.testing.assert_close(two, torch.ones(16, dtype=torch.float64), rtol=0, atol=1e-3)
        assert (shares.abs() > 1e-3).sum(1).tolist() == [2] * 16
        assert 0.55 < shares.diagonal().mean() < 0.85  # 5/7 in the mean


@torch.no_grad()
def test_the_two_views_are_mixed_apart():
    objective = built("simclr")
    batch = clips(objective, count=16)
    batch.waves[:, 1] = batch.waves[:, 0]
    one, two = objective.views(batch).inputs
    assert not torch.isclose(one.features, two.features).flatten(1).all(1).any()
