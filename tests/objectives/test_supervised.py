"""Supervised pretraining: mixed targets, the plain loss, and the classifier that is kept."""

import numpy as np
import torch
from tests.objectives.toy_steps import LABELS, built, clips
from torch import nn

from leveret.augment import mixed


@torch.no_grad()
def test_targets_are_mixed_by_the_share_of_the_features():
    objective = built("supervised")
    batch = clips(objective, count=16)
    views = objective.views(batch)
    (view,) = views.inputs
    marks, _ = mixed(torch.eye(16), view.draws)  # the share of every clip in each example
    raw = objective.encoder.frontend(batch.waves[:, 0])
    torch.testing.assert_close(view.features.flatten(1), marks @ raw.flatten(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(views.targets, marks @ batch.targets)
    assert views.targets.frac().count_nonzero() > 0


@torch.no_grad()
def test_the_loss_is_sigmoid_cross_entropy_over_examples_and_labels():
    objective = built("supervised")
    views = objective.views(clips(objective, count=16))
    (logits,) = objective.represent(views.inputs[0])
    loss, logs = objective.loss([(logits,)], views)
    p, y = 1 / (1 + np.exp(-logits.double().numpy())), views.targets.double().numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    np.testing.assert_allclose(float(loss), expected, rtol=1e-6)
    np.testing.assert_allclose(float(logs["top_label"]), y[np.arange(16), p.argmax(1)].mean(), rtol=1e-6)


def test_the_classifier_that_is_kept_gives_the_logits():
    objective = built("supervised").eval()
    kept = objective.kept()
    classifier = nn.Linear(objective.encoder.embed_dim, len(LABELS))
    classifier.load_state_dict({name.removeprefix("classifier."): tensor for name, tensor in kept.items()})
    with torch.no_grad():
        (view,) = objective.views(clips(objective, count=4)).inputs
        torch.testing.assert_close(classifier(objective.encoder.embed(view.features)), objective.represent(view)[0])
