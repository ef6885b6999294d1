"""The same on a GPU as on the CPU; conftest leaves this file out where there is none."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from tests.objectives.toy_steps import CASES, built, clips
from tests.probes.conftest import make_table  # noqa: F401
from tests.probes.test_contract import quick, score_of
from tests.test_training import losses

from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.frontend import LogMel
from leveret.gradient_cache import add_gradients
from leveret.inference import for_inference
from leveret.loading import create_encoder
from leveret.precision import exact_float32
from leveret.protocols import Protocol
from leveret.registry import entries
from leveret.replica_norm import has_batch_norm
from leveret.runner import Compute
from leveret.training_log import read_log

CUDA = torch.device("cuda")
NETWORKS = [name for name in entries("encoders") if name.endswith("_tiny")]
WAVES = 0.1 * torch.randn(3, 24_000, generator=torch.Generator().manual_seed(0))


def distance(found, expected):
    """Over the length of what is expected."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", [*NETWORKS, "melstats"])
def test_an_encoder_gives_the_same_vectors(name):
    encoder = create_encoder(name).eval()
    with torch.inference_mode(), exact_float32():
        expected = encoder(WAVES)
        assert distance(deepcopy(encoder).to(CUDA)(WAVES.to(CUDA)), expected) < 1e-4
        if encoder.convertible:
            assert distance(for_inference(deepcopy(encoder).to(CUDA))(WAVES.to(CUDA)), expected) < 1e-4
            rounded = for_inference(encoder.to(CUDA), dtype=torch.bfloat16)
            assert distance(rounded(WAVES.to(CUDA)), expected) < 0.05


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("name", entries("probes"))
def test_a_probe_learns_the_same(name, multilabel, make_table):  # noqa: F811
    train, test = (make_table(seed=seed, multilabel=multilabel, noise=2.0) for seed in (0, 1))
    expected, found = (quick(name).fit(table, None) for table in (train, on_gpu(train)))
    assert found.scores(test.X[:1].to(CUDA)).device.type == "cuda"
    gpu = on_gpu(test)
    assert score_of(found, gpu) == pytest.approx(score_of(expected, test), abs=0.01)
    assert distance(found.scores(gpu.X), expected.scores(test.X)) < 1e-3


def on_gpu(table):
    names = ("X", "rows", "targets", "groups")
    return replace(table, **{name: getattr(table, name).to(CUDA) for name in names})


def evaluated(manifest, folder, encoder, protocol, device):
    config = EvaluateConfig(compute=Compute(device=device), output=folder / device, floor=False, protocol=protocol)
    (run,) = evaluate(encoder, f"manifest:{manifest}", protocol.name, config=config)
    return run


@pytest.mark.parametrize("protocol", ["quick", "cached", "paper"])
def test_an_evaluation_gives_the_same_scores(protocol, tone_manifest, tmp_path):
    short = Protocol(name=protocol, steps=None if protocol == "quick" else 500, check_rates=False)
    manifest = tone_manifest(seconds=1.5)
    (manifest.parent / "manifest.tasks.json").write_text(json.dumps({"tones": {"crop_seconds": 1}}))
    expected, found = (
        evaluated(manifest, tmp_path, "slowfast_nfnet_tiny", short, device) for device in ("cpu", "cuda")
    )
    assert found.scorecard.run["device"] != expected.scorecard.run["device"]
    assert found.scorecard.tasks[0].score == pytest.approx(expected.scorecard.tasks[0].score, abs=0.11)
    one, other = (torch.from_numpy(run.predictions("tones").scores[0].copy()) for run in (found, expected))
    assert distance(one, other) < 0.02


def step_of(case, device, dtype=torch.float64, **options):
    """Loss and gradient of a step."""
    objective = built(case).to(device, torch.float64 if dtype == torch.float64 else torch.float32)
    for module in objective.modules():
        if isinstance(module, LogMel):
            module.float()
    batch = clips(objective)
    targets = None if batch.targets is None else batch.targets.to(device)
    with torch.no_grad():
        views = objective.views(replace(batch, waves=batch.waves.to(device), targets=targets))
    loss, _ = add_gradients(objective, views, dtype=torch.float32 if dtype == torch.float64 else dtype, **options)
    gradients = [one.grad.flatten() for one in objective.parameters() if one.grad is not None]
    return loss.detach(), torch.cat(gradients)


@pytest.mark.parametrize("case", CASES)
def test_an_objective_has_the_same_loss_and_gradient(case):
    (loss, gradient), (expected_loss, expected) = step_of(case, CUDA), step_of(case, torch.device("cpu"))
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-4)
    assert distance(gradient, expected) < 2e-3  # the front end is float32
    rounded, _ = step_of(case, CUDA, torch.bfloat16)
    assert float(rounded) == pytest.approx(float(expected_loss), rel=0.1)


@pytest.mark.parametrize("case", [case for case in CASES if not has_batch_norm(built(case))])
def test_the_gradient_cache_is_exact(case):
    (loss, gradient), (expected_loss, expected) = step_of(case, CUDA, micro_batch=8), step_of(case, CUDA)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-7)
    assert distance(gradient, expected) < 1e-6


@pytest.mark.parametrize(
    "settings",
    [{}, {"dtype": "bfloat16"}, {"recompute": True}, {"micro_batch": 4}, {"ema_decay": 0.9}],
    ids=str,
)
def test_a_pretraining_goes_on_where_it_was(toy, tmp_path, settings):
    config = toy.toy_config(steps=6, **settings)
    toy.toy_run(tmp_path / "whole", config, device=CUDA)
    toy.toy_run(tmp_path / "parts", config, device=CUDA)
    parts = tmp_path / "parts"
    (parts / "states" / "step-000000006.safetensors").unlink()
    (parts / "checkpoint.safetensors").unlink()
    toy.toy_run(parts, config, device=CUDA)
    assert losses(parts) == losses(tmp_path / "whole")
    assert losses(parts)[-1] < losses(parts)[0]
    assert all(line["memory_bytes"] > 0 for line in read_log(parts))
