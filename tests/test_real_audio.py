"""The main path on real audio: the floors of thirteen tasks, reproduced from files to scores."""

import pytest

from leveret.evaluation import EvaluateConfig, evaluate
from leveret.runner import Compute

pytestmark = [pytest.mark.real, pytest.mark.slow]

# Computed apart from leveret, in float64 numpy and scikit-learn, with a fixed C = 0.1 trained on train alone: score and
# test clips, as the data's own README gives them.
FLOORS = {
    "env_esc50": (0.340, 400),
    "env_bird": (0.822, 73),
    "env_scene": (0.539, 219),
    "env_tagging_proxy": (0.287, 400),
    "speech_kws_ar": (0.608, 480),
    "speech_digits_en": (0.504, 500),
    "speech_intent_proxy_ar": (0.479, 480),
    "speech_language": (0.385, 481),
    "speech_speaker_ar": (0.931, 480),
    "speech_speaker_en": (0.950, 40),
    "music_instrument": (0.780, 400),
    "music_pitch": (0.847, 196),
    "music_tagging_proxy": (0.634, 400),
}


@pytest.fixture(scope="module")
def scores(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("floors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEVERET_HOME", str(folder / "home"))
        config = EvaluateConfig(crop="clip", compute=Compute(device="cpu"), output=folder / "runs", embedding_map=False)
        spec = f"manifest:{shared / 'data' / 'dev' / 'manifest.csv'}"
        (run,) = evaluate("melstats", spec, "quick", config=config)
    return {result.task: result for result in run.scorecard.tasks}


def test_all_thirteen_tasks_are_scored(scores):
    assert set(scores) == set(FLOORS)
    assert all(result.coverage == 1 and not result.skipped for result in scores.values())


@pytest.mark.parametrize("task", FLOORS)
def test_the_floor_is_reproduced_within_two_clips_or_three_points(scores, task):
    floor, num_clips = FLOORS[task]
    assert scores[task].clips["test"] == num_clips
    assert scores[task].score >= floor - max(0.03, 2 / num_clips)
