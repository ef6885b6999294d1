"""wav2vec 2.0: masks, distractors and loss against those of transformers, and where gradients go."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leveret.draws import of_batch
from leveret.encoders.wav2vec2 import ENCODERS
from leveret.objectives.wav2vec2 import (
    MaskedFrames,
    MaskedFramesConfig,
    distractors,
    equal_targets,
    masked_places,
    num_masked,
)
from leveret.pretext import CropBatch, View, Views


def small(**settings: Any) -> MaskedFrames:
    torch.manual_seed(0)
    return MaskedFramesConfig(**{"crop_seconds": 0.5, "dim": 8, **settings}).build(
        ENCODERS["wav2vec2_tiny"].build(), ()
    )


def batch_of(count: int, step: int = 0, samples: int = 8_000) -> CropBatch:
    noise = torch.randn(count, 1, samples, generator=torch.Generator().manual_seed(2))
    return CropBatch(0.1 * noise, of_batch(5, step, 0, count), None, ["" for _ in range(count)])


def mask_of(places: Tensor, num_frames: int) -> np.ndarray[Any, Any]:
    mask = np.zeros((len(places), num_frames), dtype=bool)
    np.put_along_axis(mask, places.numpy(), True, 1)
    return mask


def runs(mask: np.ndarray[Any, Any]) -> list[int]:
    """Lengths of what is masked together."""
    edges = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))))
    return [int(n) for row in edges for n in np.flatnonzero(row == -1) - np.flatnonzero(row == 1)]


# of the three spans of a crop of a second one is often cut, so what is masked together is shorter
@pytest.mark.parametrize(("num_frames", "shorter"), [(49, 0.25), (499, 0.05)])
def test_masks_are_those_of_transformers_on_average(num_frames: int, shorter: float) -> None:
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    np.random.seed(0)  # noqa: NPY002 - their helper draws from it
    rows = 1_000
    theirs = np.concatenate([_compute_mask_indices((1, num_frames), 0.65, 10, min_masks=2) for _ in range(rows)])
    count = num_masked(num_frames, 10, 0.65)
    ours = mask_of(masked_places(of_batch(0, 0, 0, rows), num_frames, 10, count), num_frames)
    error = theirs.sum(1).std() / rows**0.5
    assert (ours.sum(1) == count).all()
    assert count == pytest.approx(theirs.sum(1).mean(), abs=4 * error + 0.5)
    # where they lie: fewer at the edges, which fewer spans reach
    by_place = np.array(
        [[m.mean(0)[part].mean() for part in np.array_split(np.arange(num_frames), 10)] for m in (ours, theirs)]
    )
    np.testing.assert_allclose(by_place[0], by_place[1], atol=0.05)
    # a clip has one run at most that is shorter than a span: the last one drawn, which is cut
    lengths = runs(ours)
    assert sum(n < 10 for n in lengths) <= rows
    assert np.mean(lengths) == pytest.approx(np.mean(runs(theirs)), rel=shorter)


def test_the_number_of_masked_frames_is_that_of_all_pairs_of_spans() -> None:
    covered = [len(set(range(a, a + 4)) | set(range(b, b + 4))) for a in range(9) for b in range(9) if a != b]
    assert num_masked(12, 4, 2 * 4 / 12) == round(np.mean(covered))
    assert num_masked(12, 4, 0.01) == num_masked(12, 4, 2 * 4 / 12)  # two spans at least


def test_a_clips_mask_does_not_depend_on_its_batch() -> None:
    whole = masked_places(of_batch(0, 3, 0, 8), 100, 10, 40)
    assert torch.equal(masked_places(of_batch(0, 3, 5, 2), 100, 10, 40), whole[5:7])
    assert not torch.equal(whole[0], whole[1])


def test_distractors_are_those_of_transformers_in_distribution() -> None:
    from transformers.models.wav2vec2.modeling_wav2vec2 import _sample_negative_indices

    count = 6
    ours = distractors(of_batch(0, 0, 0, 2), count, 2_000)
    np.random.seed(0)  # noqa: NPY002 - their helper draws from it
    theirs = _sample_negative_indices((1, count), 2_000, np.ones((1, count), dtype=bool))
    for frame in range(count):
        found = torch.stack([row[frame].bincount(minlength=count) for row in ours])
        assert int(found[0, frame]) == int(found[1, frame]) == (theirs[0, frame] == frame).sum() == 0
        others = found[:, [n for n in range(count) if n != frame]].float()
        assert (others - 400).abs().max() < 5 * 400**0.5
        assert not torch.equal(found[0], found[1])


def test_a_distractor_that_equals_the_target_is_known() -> None:
    targets = torch.tensor([[[0.0, 1], [0, 2], [-0.0, 1], [3, 1]]])
    others = torch.tensor([[[1, 2], [0, 2], [0, 3], [0, 1]]])
    assert equal_targets(targets, others).tolist() == [[[False, True], [False, False], [True, False], [False, False]]]


def test_in_silence_no_distractor_counts() -> None:
    _, logs = small().eval()(dataclasses.replace(batch_of(2), waves=torch.zeros(2, 1, 8_000)))
    assert float(logs["contrast"]) == 0.0


class Stub(nn.Module):
    """Gives their loss our encoder's hidden frames and latents."""

    def __init__(self, hidden: Tensor, latents: Tensor) -> None:
        super().__init__()
        self.hidden, self.latents = hidden, latents

    def forward(self, *_: Any, **__: Any) -> Any:
        from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2BaseModelOutput

        return Wav2Vec2BaseModelOutput(last_hidden_state=self.hidden, extract_features=self.latents)


class NoQuantizer(nn.Module):
    def forward(self, latents: Tensor, mask_time_indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return latents, latents.new_zeros(())


@pytest.mark.parametrize("repeated", [False, True], ids=["", "equal targets"])
def test_the_loss_is_that_of_transformers_without_its_quantizer(repeated: bool) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    ours = small().double().eval()
    batch = batch_of(3)
    batch = dataclasses.replace(batch, waves=batch.waves.double())
    if repeated:  # digital silence, so that many targets are the same
        batch.waves[1, :, 2_000:6_000] = 0
    views = ours.views(batch)
    loss, logs = ours.loss([ours.represent(views.inputs[0])], views)
    loss.backward()

    encoder = ours.encoder
    convolved = encoder.convolved(encoder.prepare(views.inputs[0].features))
    latents = encoder.latents(convolved)
    num_frames = latents.shape[1]
    places = masked_places(views.inputs[0].draws, num_frames, 10, num_masked(num_frames, 10, 0.65))
    mask = torch.from_numpy(mask_of(places, num_frames))
    indices = torch.zeros(3, num_frames, 100, dtype=torch.long)
    for clip in range(3):
        drawn = distractors(views.draws, places.shape[1], 100)[clip]
        indices[clip, places[clip]] = places[clip][drawn] + clip * num_frames
    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=8, conv_dim=[16] * 7,
        proj_codevector_dim=8, codevector_dim=16, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        diversity_loss_weight=0.0,
    )  # fmt: skip
    theirs = Wav2Vec2ForPreTraining(config).double().eval()
    theirs.quantizer = NoQuantizer()
    theirs.wav2vec2 = Stub(encoder.transformed(latents, mask), latents)
    theirs.project_hid.load_state_dict(ours.projection.state_dict())
    theirs.project_q.load_state_dict(ours.target_projection.state_dict())
    found = theirs(None, mask_time_indices=mask, sampled_negative_indices=indices)
    contrast = found.contrastive_loss / mask.sum()
    # their cross-entropy rounds the logits to float32
    assert float(logs["contrast"]) == pytest.approx(float(contrast.detach()), abs=1e-6)
    expected = contrast + 10 * convolved.square().mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    contrast.backward()
    for mine, their in ((ours.projection, theirs.project_hid), (ours.target_projection, theirs.project_q)):
        torch.testing.assert_close(mine.weight.grad, their.weight.grad, rtol=0, atol=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    objective = small(num_negatives=3).double()
    torch.manual_seed(1)
    inputs = tuple(
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 5, 8), (2, 5, 8), (2,))
    )
    views = Views((View(torch.zeros(2, 1), of_batch(0, 0, 0, 2)),), of_batch(0, 0, 0, 2))
    assert torch.autograd.gradcheck(lambda *x: objective.loss([x], views)[0], inputs, fast_mode=True)


def test_the_convolutions_learn_at_a_tenth_and_the_rest_in_full() -> None:
    found = []
    for scale in (1.0, 0.1):
        objective = small(conv_gradient=scale)
        objective(batch_of(2))[0].backward()
        found.append({name: p.grad for name, p in objective.named_parameters()})
    assert {name for name in found[0] if name.startswith("encoder.convs.")}
    for name, whole in found[0].items():
        factor = 0.1 if name.startswith("encoder.convs.") else 1.0
        torch.testing.assert_close(found[1][name], factor * whole, rtol=1e-4, atol=1e-6, msg=name)


def test_targets_pass_a_gradient_to_the_latents() -> None:
    objective = small(penalty=0.0)
    views = objective.views(batch_of(2))
    predictions, targets, squares = objective.represent(views.inputs[0])
    loss, _ = objective.loss([(predictions.detach(), targets, squares)], views)
    loss.backward()
    assert objective.encoder.latent_norm.weight.grad.any()
    assert objective.encoder.convs[0][0].weight.grad.any()
    assert objective.encoder.blocks[0].fc1.weight.grad is None


def test_a_layer_is_left_out_for_the_whole_step() -> None:
    objective = small()
    objective.encoder.layer_drop = 0.5
    kept = [
        tuple(objective._kept_layers(of_batch(0, step, first, 2)).tolist()) for step in range(40) for first in (0, 9)
    ]
    assert kept[::2] == kept[1::2]
    assert len(set(kept)) == 4  # of two layers, each or both
    step = kept[::2].index((False, False))
    objective(batch_of(2, step=0))
    draws = of_batch(0, step, 0, 2)
    objective.represent(View(batch_of(2).waves[:, 0], draws))[0].sum().backward()
    assert not objective.encoder.blocks[0].fc1.weight.grad.any()  # zero, but there
    assert objective.eval()._kept_layers(draws).all()


def test_settings_are_the_sources() -> None:
    assert dataclasses.asdict(MaskedFramesConfig()) == {
        "crop_seconds": 10.0, "span": 10, "masked_share": 0.65, "num_negatives": 100, "temperature": 0.1, "dim": 256,
        "target_dropout": 0.1, "penalty": 10.0, "conv_gradient": 0.1,
    }  # fmt: skip
    base = ENCODERS["wav2vec2_base"]
    assert (base.dropout, base.layer_drop) == (0.1, 0.05)
