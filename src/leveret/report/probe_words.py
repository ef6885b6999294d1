"""What a probe was and found, in words for a page: its settings and facts are named for programs.

Settings that steer the search, and scores that were searched through, stay in the scorecard.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from leveret.report.run_facts import as_text
from leveret.text import percent

TITLES = {
    "LogisticProbe": "logistic regression",
    "LinearProbe": "linear layer",
    "MlpProbe": "multi-layer perceptron",
    "SvmProbe": "support vector machines",
    "KnnProbe": "nearest neighbours",
    "PretrainingClassifier": "the classifier of the encoder's own pretraining",
}
CHOSEN_ON = {
    "valid": "the validation clips",
    "groups": "a fifth of the training clips, held out in whole groups",
    "clips": "a fifth of the training clips, held out",
}
UNSAID = ("class", "grid", "usual", "max_iterations", "tolerance", "chosen_on", "chosen_score", "objective")


def probe_words(probe: Mapping[str, Any]) -> str:
    """A probe's settings and facts, as a scorecard holds them, in one line."""
    name = str(probe.get("class", ""))
    return ", ".join(filter(None, [TITLES.get(name, name), *_settings(probe)]))


def _settings(probe: Mapping[str, Any]) -> Iterator[str]:
    for name, value in probe.items():
        if name in UNSAID or not isinstance(value, str | int | float):
            continue
        if name == "converged":
            yield "converged" if value else "did not converge"
        elif name in ("C", "k"):
            yield f"{name} = {as_text(value)}{_choice(probe)}"
        else:
            yield f"{name.replace('_', ' ')} {as_text(value)}"


def _choice(probe: Mapping[str, Any]) -> str:
    on, score = probe.get("chosen_on"), probe.get("chosen_score")
    if on is None:
        return ""
    return f" (chosen on {CHOSEN_ON.get(on, on)}{'' if score is None else f'; score there {percent(score)}'})"
