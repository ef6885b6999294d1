"""Every objective in the loop: a run that breaks off goes on exactly, and micro-batches change rounding alone."""

from dataclasses import replace
from itertools import count

import pytest
from tests.objectives.toy_steps import CASES, LABELS, SETTINGS, clips

from leveret.registry import look_up
from leveret.training import pretrain
from leveret.training_config import PretrainConfig
from leveret.training_folder import TrainingData
from leveret.training_log import read_log

BATCH = 8


class BrokenOffError(Exception):
    """In the place of kill -9."""


def run(case, folder, breaks_off=None, **settings):
    """The losses of five steps, or of those before the break."""
    name, encoder = CASES[case]
    values = {"crop_seconds": 0.5} | SETTINGS.get(name, {})
    config = PretrainConfig(
        encoder=encoder, encoder_config=look_up("encoders", encoder), objective=name,
        objective_config=replace(look_up("objectives", name), **values), batch=BATCH,
        **({"steps": 5, "warmup_steps": 1, "log_every": 1, "checkpoint_every": 2} | settings),
    )  # fmt: skip

    def batches(objective, first_step):
        for step in count(first_step):
            if step == breaks_off:
                raise BrokenOffError
            yield clips(objective, step, BATCH)

    pretrain(config, folder, batches, data=TrainingData(LABELS))
    return [line["loss"] for line in read_log(folder)]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_breaks_off_goes_on_bit_for_bit(case, tmp_path):
    expected = run(case, tmp_path / "whole")
    assert len(set(expected)) == 5
    with pytest.raises(BrokenOffError):
        run(case, tmp_path / "broken", breaks_off=3)
    assert run(case, tmp_path / "broken") == expected


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("byola",) and "norm" not in case])
def test_micro_batches_and_recomputation_change_rounding_alone(case, tmp_path):
    expected = run(case, tmp_path / "whole", steps=2)
    recompute = case != "cpc"  # a convolution and a recurrent network, no stack of blocks
    found = run(case, tmp_path / "cut", steps=2, micro_batch=3, recompute=recompute)
    assert found == pytest.approx(expected, rel=1e-5)
