"""Settings of a run: JSON and back, what counts as another run, and what cannot be."""

import json
from dataclasses import replace

import pytest

from leveret.objectives.simclr import SimCLRConfig
from leveret.registry import UnknownNameError, entries
from leveret.training_config import PretrainConfig, changed_objective, named_config, pretrain_config_from_json


@pytest.mark.parametrize("objective", entries("objectives"))
@pytest.mark.parametrize("encoder", ["slowfast_nfnet_f0", "bidir_cpc_tiny"])
def test_a_config_survives_json(objective, encoder):
    config = named_config(encoder, objective, batch=64, ema_decay=0.999, dtype="bfloat16", micro_batch=None)
    values = json.loads(json.dumps(config.as_json()))
    assert pretrain_config_from_json(values) == config
    with pytest.raises(ValueError, match="with beta beside or without what this leveret expects"):
        pretrain_config_from_json(values | {"beta": 1})


def test_the_defaults_are_the_papers():
    config = named_config("slowfast_nfnet_f0", "simclr")
    assert (config.batch, config.steps, config.rate, config.warmup_steps) == (4096, 200_000, 2e-4, 5000)


def test_the_digest_is_of_what_decides_the_losses():
    config = named_config("slowfast_nfnet_tiny", "simclr")
    for same in ({"keep": 1}, {"log_every": 7}, {"micro_batch": 4}, {"recompute": True}):
        assert replace(config, **same).digest() == config.digest()
    for other in ({"seed": 1}, {"batch": 64}, {"ema_decay": 0.9}, {"objective_config": SimCLRConfig(temperature=0.2)}):
        assert replace(config, **other).digest() != config.digest()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"batch": 0}, "batch=0; expected 1 or more"),
        ({"micro_batch": -1}, "micro_batch=-1; expected 1 or more"),
        ({"rate": -1.0}, "rate=-1.0; expected 0 or more"),
        ({"seed": 2**63}, r"seed=9223372036854775808; expected 0 to 2\*\*63 - 1"),
        ({"rate": float("nan")}, "rate=nan; expected a number such as 0.0002"),
        ({"objective_config": SimCLRConfig(crop_seconds=-1.0)}, "crop_seconds=-1.0; expected 0.025"),
        ({"objective_config": SimCLRConfig(crop_seconds=float("nan"))}, "crop_seconds=nan; expected 0.025"),
        ({"ema_decay": 1.0}, "ema_decay=1.0; expected a number between 0 and 1"),
        ({"compile": True, "recompute": True}, "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        named_config("slowfast_nfnet_tiny", "simclr", **settings)


def test_settings_of_an_objective_are_changed_by_name():
    assert changed_objective("simclr", {"crop_seconds": 1, "hidden": [8]}) == SimCLRConfig(
        crop_seconds=1.0, hidden=(8,)
    )
    with pytest.raises(UnknownNameError, match=r"no setting of simclr 'temprature'. Did you mean 'temperature'"):
        changed_objective("simclr", {"temprature": 1})
    with pytest.raises(ValueError, match="in the place of"):
        changed_objective("simclr", {"temperature": "hot"})


@pytest.mark.parametrize(
    ("objective", "setting", "value", "says"),
    [
        ("simclr", "temperature", 0, "temperature=0.0; expected a number above 0"),
        ("simclr", "temperature", float("nan"), "temperature=nan; expected a number above 0"),
        ("simclr", "out_dim", 0, "out_dim=0; expected a number above 0"),
        ("byola", "decay", 1.1, "decay=1.1; expected a number from 0 to 1"),
        ("byola", "memory", 0, "memory=0; expected a number above 0"),
        ("cpc", "num_own_negatives", -1, "num_own_negatives=-1; expected a number of 0 or more"),
        ("wav2vec2", "masked_share", 65, "masked_share=65.0; expected a number from 0 to 1"),
        ("wav2vec2", "penalty", float("inf"), "penalty=inf; expected a number of 0 or more"),
        ("cola", "noise", -0.1, "noise=-0.1; expected a number of 0 or more"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_before_anything_is_built(objective, setting, value, says):
    with pytest.raises(ValueError, match=f"^{says}$"):
        changed_objective(objective, {setting: value})


def test_a_config_is_made_of_plain_values():
    assert isinstance(named_config("slowfast_nfnet_tiny", "cola"), PretrainConfig)
