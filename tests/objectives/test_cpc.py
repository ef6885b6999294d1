"""CPC: the loss against plain loops, where its negatives lie, and both directions of time."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import leveret.distributed as distributed
from leveret.distributed import World
from leveret.draws import of_batch
from leveret.encoders.bidir_cpc import ENCODERS, BidirCPCConfig
from leveret.objectives.cpc import CPC, CPCConfig
from leveret.pretext import CropBatch, View, Views


def small(**settings: Any) -> CPC:
    torch.manual_seed(0)
    return CPCConfig(**{"crop_seconds": 0.5, **settings}).build(ENCODERS["bidir_cpc_tiny"].build(), ()).double()


def views_of(count: int) -> Views:
    return Views((View(torch.zeros(count, 1), of_batch(0, 0, 0, count)),), of_batch(0, 0, 0, count))


def test_a_loss_of_one_frame_is_the_golden_info_nce(golden: Any) -> None:
    numbers = golden("losses")
    za, zb = (torch.from_numpy(numbers[f"simclr/{key}"]) for key in ("za", "zb"))
    objective = small(similarity="cosine")
    targets = objective._comparable(zb)
    others = torch.stack([torch.cat([targets[:n], targets[n + 1 :]]) for n in range(8)])
    none = torch.zeros(8, 0, dtype=torch.int64)
    summed, right = objective._step(nn.Identity(), za[:, None], targets[:, None], others, none)
    assert float(summed) == pytest.approx(numbers["infonce/t0.1/a2b"].sum(), abs=1e-10)
    assert int(right) == (numbers["infonce/t0.1/a2b"] < np.log(2)).sum()  # else another one may be nearer


@torch.no_grad()
@pytest.mark.parametrize("similarity", ["product", "cosine"])
def test_the_loss_is_that_of_plain_loops(similarity: str) -> None:
    objective = small(steps=2, num_negatives=3, num_own_negatives=4, similarity=similarity)
    torch.manual_seed(1)
    latents, past, future = (torch.randn(3, 6, width, dtype=torch.float64) for width in (16, 8, 8))
    views = views_of(3)

    def logit(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm() * 0.1 if similarity == "cosine" else 4))

    offered, taken = views.draws.uniform("offered", 3), views.draws.uniform("taken", 3)
    own = (views.draws.uniform("own", 4) * 6).astype(int)
    total, skipped = 0.0, 0
    for contexts, heads, sign in ((past, objective.past_heads, 1), (future, objective.future_heads, -1)):
        found = []
        for step, head in zip((3, 4), heads, strict=True):
            for clip in range(3):
                negatives = []
                for m in range(3):
                    others = [(clip + 1) % 3, (clip + 2) % 3]
                    other = others[int(taken[clip, m] * 2)]
                    negatives.append(latents[other, int(offered[other, m] * 6)])
                for frame in range(6):
                    if 0 <= frame + sign * step < 6:
                        prediction = head(contexts[clip, frame])
                        scores = [logit(prediction, latents[clip, frame + sign * step])]
                        scores += [logit(prediction, negative) for negative in negatives]
                        kept = [place for place in own[clip] if place != frame + sign * step]
                        scores += [logit(prediction, latents[clip, place]) for place in kept]
                        skipped += 4 - len(kept)
                        found.append(-scores[0] + np.log(np.exp(scores).sum()))
        total += float(np.mean(found))
    loss, logs = objective.loss([(latents, past, future)], views)
    assert skipped > 0  # a true frame was drawn, and is no negative of itself
    assert float(loss) == pytest.approx(total, abs=1e-10)
    assert float(logs["forward"] + logs["backward"]) == pytest.approx(total, abs=1e-10)


def test_gradients_are_those_of_finite_differences() -> None:
    objective = small(steps=2, num_negatives=3)
    torch.manual_seed(1)
    inputs = tuple(torch.randn(2, 5, width, dtype=torch.float64, requires_grad=True) for width in (16, 8, 8))
    views = views_of(2)
    assert torch.autograd.gradcheck(lambda *x: objective.loss([x], views)[0], inputs, fast_mode=True)


@pytest.mark.parametrize("size", [1, 2])
def test_negatives_lie_in_other_clips_each_as_likely(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, num = 5, 400
    targets = torch.eye(5 * size, dtype=torch.float64)[:, None].expand(-1, 7, -1)  # a clip's frames name the clip
    if size == 2:
        monkeypatch.setattr(distributed, "_world", World(1, 2))
        monkeypatch.setattr(
            "leveret.objectives.cpc.gathered", lambda own: torch.cat([targets[:5, :1].expand(-1, num, -1), own])
        )
    first = clips * (size - 1)
    negatives = small(num_negatives=num)._others(targets[first:], of_batch(0, 0, first, clips))
    counts = negatives.sum(1)
    assert torch.equal(counts[:, first:].diagonal(), torch.zeros(clips, dtype=torch.float64))
    others = counts[counts > 0]
    assert len(others) == clips * (5 * size - 1)
    expected = num / (5 * size - 1)
    assert (others - expected).abs().max() < 5 * expected**0.5


def test_negatives_are_frames_from_everywhere_in_a_clip() -> None:
    targets = torch.eye(50)[None].expand(2, -1, -1)  # a frame names its place
    counts = small(num_negatives=1_000)._others(targets, of_batch(0, 0, 0, 2)).sum((0, 1))
    assert counts.min() > 15
    assert counts.max() < 75


def test_own_negatives_are_frames_from_everywhere_in_the_clip() -> None:
    places = small(num_own_negatives=1_000)._own(torch.zeros(2, 50, 16), of_batch(0, 0, 0, 2))
    counts = torch.stack([row.bincount(minlength=50) for row in places])
    assert counts.shape == (2, 50)
    assert counts.min() > 5
    assert not torch.equal(counts[0], counts[1])


def test_one_clip_has_no_negatives() -> None:
    with pytest.raises(ValueError, match="the batch has 1; use a batch of 2 or more"):
        small()._others(torch.randn(1, 20, 16), of_batch(0, 0, 0, 1))


def test_what_is_foretold_shares_no_sample_with_what_foretells() -> None:
    config, settings = BidirCPCConfig(channels=2, context_dim=2), CPCConfig(crop_seconds=0.5)
    encoder = config.build().double()
    for name, module in list(encoder.named_modules()):
        if isinstance(module, nn.GroupNorm):  # it looks at all times, as in the source
            encoder.set_submodule(name, nn.Identity())
        if isinstance(module, nn.Conv1d):  # so that no ReLU hides a path
            module.weight.data.abs_()
    objective = CPC(settings, encoder)
    wave = (1 + torch.rand(1, 955 + 9 * 320, dtype=torch.float64)).requires_grad_()
    latents, past, future = objective.represent(View(wave, of_batch(0, 0, 0, 1)))

    def seen(value: Tensor) -> Tensor:
        return torch.autograd.grad(value.sum(), wave, retain_graph=True)[0][0].nonzero().flatten()

    assert seen(past[0, 4]).max() == 4 * 320 + 954
    assert seen(latents[0, 4 + settings.first_step]).min() > seen(past[0, 4]).max()
    assert seen(latents[0, 3 + settings.first_step]).min() <= seen(past[0, 4]).max()
    assert seen(future[0, 6]).min() == 6 * 320
    assert seen(latents[0, 6 - settings.first_step]).max() < seen(future[0, 6]).min()


def test_a_reversed_wave_swaps_the_directions() -> None:
    objective = small(num_negatives=5, num_own_negatives=0)
    wave = 0.1 * torch.randn(3, 955 + 24 * 320, dtype=torch.float64)  # the last frame ends with the wave

    def logs(waves: Tensor) -> dict[str, float]:
        views = objective.views(CropBatch(waves[:, None], of_batch(0, 0, 0, 3), None, "abc"))
        (latents, past, future) = objective.represent(views.inputs[0])
        pool = torch.nn.functional.normalize(torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0)), dim=2)
        objective._others = lambda *_: pool.double()  # type: ignore[method-assign]
        _, found = objective.loss([(latents, past, future)], views)
        return {key: float(value) for key, value in found.items()}

    forth = logs(wave)
    encoder = objective.encoder
    for conv in encoder.convs:
        conv[0].weight.data = conv[0].weight.data.flip(2)
    encoder.past, encoder.future = encoder.future, encoder.past
    objective.past_heads, objective.future_heads = objective.future_heads, objective.past_heads
    back = logs(wave.flip(1))
    assert abs(forth["forward"] - forth["backward"]) > 1e-3
    assert back["forward"] == pytest.approx(forth["backward"], abs=1e-10)
    assert back["backward"] == pytest.approx(forth["forward"], abs=1e-10)
    assert back["accuracy"] == pytest.approx(forth["accuracy"])


def test_settings_are_the_sources() -> None:
    assert dataclasses.asdict(CPCConfig()) == {
        "crop_seconds": 10.0, "steps": 12, "first_step": 3, "num_negatives": 100, "num_own_negatives": 100,
        "similarity": "product", "temperature": 0.1,
    }  # fmt: skip
    assert CPCConfig().first_step == -(-955 // 320)  # as fairseq's `offset`
