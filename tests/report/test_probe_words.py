"""Settings and facts of probes are told in words that need no look into the program."""

import pytest

from leveret.registry import entries
from leveret.report.probe_words import TITLES, probe_words


@pytest.mark.parametrize(
    ("chosen_on", "told"),
    [
        ("valid", "C = 0.1 (chosen on the validation clips; score there 96.9)"),
        ("groups", "C = 0.1 (chosen on a fifth of the training clips, held out in whole groups; score there 96.9)"),
        (None, "C = 0.1"),
    ],
)
def test_a_choice_says_on_what_it_was_made(chosen_on, told):
    facts = {
        "class": "LogisticProbe", "grid": {"0.1": 0.9688}, "usual": 0.1, "max_iterations": 300, "C": 0.1,
        "chosen_on": chosen_on, "chosen_score": 0.9688 if chosen_on else None, "objective": 73.15, "iterations": 97,
        "converged": True,
    }  # fmt: skip
    assert probe_words(facts) == f"logistic regression, {told}, iterations 97, converged"


def test_what_has_no_words_of_its_own_keeps_its_name():
    assert probe_words({"class": "Toy", "hidden_units": 512, "rates": [1, 2]}) == "Toy, hidden units 512"


@pytest.mark.parametrize("name", entries("probes"))
def test_every_probe_has_a_title(name):
    assert type(entries("probes")[name]).__name__ in TITLES
