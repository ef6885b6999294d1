from time import perf_counter

import numpy as np
import pytest
from sklearn import metrics as reference

from leveret import bootstrap, metrics

EXACT = 1e-12  # the same rational numbers, summed in another order


def single_label(num_clips=300, num_classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_clips, num_classes)), rng.integers(num_classes, size=num_clips)


def multi_label(num_clips=200, num_classes=9, seed=0, decimals=8):
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_clips, num_classes)) < 0.15).astype(np.float32)
    return np.round(rng.normal(size=targets.shape) + targets, decimals), targets


def test_accuracy_and_micro_f1_equal_sklearn():
    scores, targets = single_label()
    expected = reference.accuracy_score(targets, scores.argmax(1))
    assert metrics.accuracy(scores, targets) == pytest.approx(expected, abs=EXACT)
    assert metrics.micro_f1(scores, targets) == pytest.approx(
        reference.f1_score(targets, scores.argmax(1), average="micro"), abs=EXACT
    )


@pytest.mark.parametrize("absent", [False, True])
def test_macro_f1_equals_sklearn(absent):
    scores, targets = single_label()
    if absent:
        targets[targets == 3] = 2  # a class that is predicted and never true
        scores[:, 5] = -9  # and one that is true and never predicted
    expected = reference.f1_score(targets, scores.argmax(1), average="macro")
    assert metrics.macro_f1(scores, targets) == pytest.approx(expected, abs=EXACT)


def test_macro_f1_leaves_out_a_class_that_never_occurs():
    scores, targets = np.array([[1.0, 0, -1], [0, 1, -1]]), np.array([0, 1])
    assert metrics.macro_f1(scores, targets) == 1.0


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["distinct", "some ties", "many ties"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool, np.int64])
def test_average_precisions_equal_sklearn(decimals, dtype):
    scores, targets = multi_label(decimals=decimals)
    expected = reference.average_precision_score(targets, scores, average=None)
    found = metrics.average_precisions(scores, targets.astype(dtype))
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)
    assert metrics.mean_average_precision(scores, targets.astype(dtype)) == pytest.approx(expected.mean(), abs=EXACT)


def test_average_precision_of_equal_scores_is_the_positive_rate():
    targets = np.array([[1], [0], [0], [1], [0]])
    assert metrics.average_precisions(np.zeros((5, 1)), targets)[0] == pytest.approx(0.4, abs=EXACT)


def test_average_precision_by_hand():
    # positives at ranks 1 and 3: (1/1 + 2/3) / 2
    scores, targets = np.array([[0.9], [0.8], [0.7], [0.1]]), np.array([[1], [0], [1], [0]])
    assert metrics.average_precisions(scores, targets)[0] == pytest.approx(5 / 6, abs=EXACT)


def test_classes_without_a_positive_are_nan_and_left_out_of_the_mean():
    scores, targets = multi_label()
    targets[:, 4] = 0
    found = metrics.average_precisions(scores, targets)
    assert np.isnan(found[4])
    kept = np.delete(np.arange(9), 4)
    expected = reference.average_precision_score(targets[:, kept], scores[:, kept])
    assert metrics.mean_average_precision(scores, targets) == pytest.approx(expected, abs=EXACT)


def test_map_without_any_positive_is_nan():
    assert np.isnan(metrics.mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2))))


def test_confusion_and_recalls_equal_sklearn():
    scores, targets = single_label()
    predictions = scores.argmax(1)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(scores, targets), reference.confusion_matrix(targets, predictions)
    )
    np.testing.assert_allclose(
        metrics.recalls(scores, targets),
        reference.recall_score(targets, predictions, average=None),
        atol=EXACT,
    )


def test_recall_of_an_absent_class_is_nan():
    found = metrics.recalls(np.eye(3)[:2], np.array([0, 1]))
    np.testing.assert_array_equal(found, [1, 1, np.nan])


def test_a_clip_matches_only_if_every_slot_is_right():
    targets = np.array([[0, 2], [1, 0], [1, 1]])
    slots = [np.eye(2)[[0, 1, 1]], np.eye(3)[[2, 1, 1]]]
    assert metrics.exact_match(slots, targets) == pytest.approx(2 / 3, abs=EXACT)


def test_chance_of_accuracy_is_one_in_the_number_of_classes():
    assert metrics.chance_score("accuracy", np.array([0, 0, 1]), 8) == 1 / 8
    assert metrics.chance_score("exact_match", np.zeros((2, 3), dtype=int), (6, 14, 4)) == pytest.approx(1 / 336)


def test_chance_of_map_is_the_mean_positive_rate_of_the_classes_with_a_positive():
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    assert metrics.chance_score("map", targets, 3) == pytest.approx((0.25 + 0.5) / 2)
    assert metrics.majority_score("map", targets, targets, 3) == pytest.approx((0.25 + 0.5) / 2)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_chance_is_what_random_scores_get(metric):
    rng = np.random.default_rng(0)
    targets = rng.choice(4, size=40_000, p=[0.7, 0.2, 0.1, 0.0])
    found = metrics.METRICS[metric](rng.random((40_000, 4)), targets)
    assert found == pytest.approx(metrics.chance_score(metric, targets, 4), abs=0.01)  # 4 standard errors


def test_majority_is_the_commonest_training_class():
    train, test = np.array([2, 2, 0, 1]), np.array([2, 0, 2, 2])
    assert metrics.majority_score("accuracy", train, test, 3) == 0.75
    expected = reference.f1_score(test, np.full(4, 2), average="macro")
    assert metrics.majority_score("macro_f1", train, test, 3) == pytest.approx(expected)


def test_majority_of_slots_is_the_commonest_combination():
    train = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [2, 1]])
    assert metrics.majority_score("exact_match", train, np.array([[0, 0], [0, 1]]), (3, 2)) == 0.5


def example_of(metric, num_clips, seed):
    """Scores, targets and the plain score of chosen clips, by another implementation."""
    if metric == "map":
        scores, targets = multi_label(num_clips, 4, seed, decimals=1)
        targets[:, 3] = 0
        targets[0, 3] = 1  # often absent from a resample

        def score(clips):
            kept = targets[clips].any(0)
            if not kept.any():
                return np.nan
            return reference.average_precision_score(targets[clips][:, kept], scores[clips][:, kept])
    elif metric == "exact_match":
        first, second = single_label(num_clips, 2, seed), single_label(num_clips, 3, seed + 1)
        scores, targets = [first[0], second[0]], np.stack([first[1], second[1]], axis=1)

        def score(clips):
            return np.mean(
                [first[0][i].argmax() == first[1][i] and second[0][i].argmax() == second[1][i] for i in clips]
            )
    else:
        scores, targets = single_label(num_clips, 5, seed)

        def score(clips):
            average = "macro" if metric == "macro_f1" else "micro"
            return reference.f1_score(targets[clips], scores[clips].argmax(1), average=average)

    return scores, targets, score


def test_the_interval_of_a_mean_average_precision_holds_the_score():
    generator = np.random.default_rng(1)
    targets = (generator.random((300, 40)) < 0.03).astype(float)
    targets[0] = 1
    scores = targets + 1.5 * generator.standard_normal(targets.shape)
    found = bootstrap.cluster_bootstrap("map", scores, targets, None, seed=0)
    observed = metrics.mean_average_precision(scores, targets)
    # each resample repeats positive clips, so an interval that kept that bias would lie above the score
    assert found.low < observed - 0.01
    assert observed + 0.01 < found.high


@pytest.mark.parametrize("metric", metrics.METRICS)
@pytest.mark.parametrize("num_clips", [12, 60])
def test_bootstrap_equals_drawing_the_groups_one_by_one(metric, num_clips):
    scores, targets, score = example_of(metric, num_clips, seed=3)
    groups = np.random.default_rng(5).integers(num_clips // 3, size=num_clips)
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    rng = np.random.default_rng(17)
    values = []
    for _ in range(80):
        drawn = rng.integers(len(members), size=len(members))
        values.append(score(np.concatenate([members[g] for g in drawn])))
    low, high = np.nanquantile(values, [0.025, 0.975]) - (np.nanmean(values) - score(np.arange(num_clips)))
    found = bootstrap.cluster_bootstrap(metric, scores, targets, groups, seed=17, resamples=80)
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), abs=EXACT)
    assert found.num_groups == len(members)
    assert found.wide == (len(members) < 10)


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_the_interval_of_a_mean_over_folds_is_that_of_means_over_folds(metric):
    scores, targets, score = example_of(metric, 60, seed=3)
    folds = np.array([0] * 9 + [1] * 36 + [2] * 15)
    groups = np.arange(60) // 5 + 100 * folds  # so few of the first fold that some resample has none of it
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]

    def mean(clips):
        values = [score(part) for part in (clips[folds[clips] == fold] for fold in range(3)) if len(part)]
        return np.nanmean(values)

    rng = np.random.default_rng(17)
    drawn = (rng.integers(len(members), size=len(members)) for _ in range(80))
    values = [mean(np.concatenate([members[g] for g in some])) for some in drawn]
    observed = mean(np.arange(60))
    low, high = np.quantile(values, [0.025, 0.975]) - (np.mean(values) - observed)
    found = bootstrap.cluster_bootstrap(metric, scores, targets, groups, seed=17, resamples=80, folds=folds)
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), abs=EXACT)
    assert metrics.mean_over_folds(metric, scores, targets, folds) == pytest.approx(observed, abs=EXACT)


def test_an_interval_is_moved_to_the_mean_of_seeds_before_it_is_cut_off():
    scores, targets = single_label(60, 4)
    scores = scores + 3 * np.eye(4)[targets]
    plain = bootstrap.cluster_bootstrap("accuracy", scores, targets, None, seed=0)
    assert plain.high == 1
    moved = bootstrap.cluster_bootstrap("accuracy", scores, targets, None, seed=0, observed=0.5)
    assert moved.high - 0.5 > 1 - metrics.accuracy(scores, targets)
    assert moved.low - 0.5 == pytest.approx(plain.low - metrics.accuracy(scores, targets))


def test_bootstrap_does_not_depend_on_the_block_size(monkeypatch):
    scores, targets = multi_label()
    whole = bootstrap.cluster_bootstrap("map", scores, targets, None, seed=1, resamples=50)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 200 * 7)
    assert bootstrap.cluster_bootstrap("map", scores, targets, None, seed=1, resamples=50) == whole


def test_groups_may_be_names():
    scores, targets = single_label(30)
    by_name = bootstrap.cluster_bootstrap("accuracy", scores, targets, np.array(["ab", "c", "de"] * 10), seed=0)
    by_index = bootstrap.cluster_bootstrap("accuracy", scores, targets, np.array([0, 1, 2] * 10), seed=0)
    assert by_name == by_index


def test_a_group_of_equal_clips_widens_the_interval():
    scores, targets = single_label(100)
    alone = bootstrap.cluster_bootstrap("accuracy", scores, targets, None, seed=0)
    copies = bootstrap.cluster_bootstrap(
        "accuracy", scores.repeat(9, axis=0), targets.repeat(9), np.arange(100).repeat(9), seed=0
    )
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=EXACT)


def test_comparison_of_a_set_with_itself_finds_nothing():
    scores, targets = single_label()
    found = bootstrap.paired_comparison("accuracy", scores, scores, targets, None, seed=0)
    assert (found.difference, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("metric", ["accuracy", "map"])
def test_comparison_finds_the_better_scores(metric):
    scores, targets = single_label(400, 4) if metric == "accuracy" else multi_label(400)
    truth = np.eye(4)[targets] if metric == "accuracy" else targets
    found = bootstrap.paired_comparison(metric, scores + truth, scores, targets, None, seed=0, resamples=200)
    assert found.interval.low > 0
    assert found.p == pytest.approx(2 / 201)
    swapped = bootstrap.paired_comparison(metric, scores, scores + truth, targets, None, seed=0, resamples=200)
    assert swapped.difference == -found.difference
    assert swapped.p == found.p


@pytest.mark.parametrize(("num_groups", "least"), [(1, 1), (3, 0.25), (6, 1 / 32), (30, 2 / 1001)])
def test_few_groups_prove_little(num_groups, least):
    scores, targets = single_label(400, 4)
    better = scores + 9 * np.eye(4)[targets]
    groups = np.arange(400) % num_groups
    assert bootstrap.paired_comparison("accuracy", better, scores, targets, groups, seed=0).p == pytest.approx(least)


def test_p_of_two_equally_good_sets_is_evenly_spread():
    ps = []
    for seed in range(60):
        (scores, targets), (other, _) = single_label(200, 3, seed), single_label(200, 3, seed + 1000)
        ps.append(bootstrap.paired_comparison("accuracy", scores, other, targets, None, 0, resamples=200).p)
    assert np.mean(np.array(ps) < 0.05) < 0.15  # 5 % expected; 15 % is 3.6 standard errors above
    assert 0.35 < np.mean(ps) < 0.65


def test_holm_by_hand():
    assert bootstrap.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm([0.9, 0.8]) == [1.0, 1.0]
    assert bootstrap.holm([]) == []


def test_scores_that_are_not_finite_are_refused():
    scores, targets = single_label()
    scores[7, 2] = np.nan
    with pytest.raises(ValueError, match="first is clip 7"):
        metrics.accuracy(scores, targets)


def test_wrong_shapes_are_refused():
    scores, targets = single_label()
    with pytest.raises(ValueError, match="expected"):
        bootstrap.cluster_bootstrap("map", scores, targets[:, None], None, seed=0)
    with pytest.raises(ValueError, match="one group a clip"):
        bootstrap.cluster_bootstrap("accuracy", scores, targets, targets[:5], seed=0)


def test_a_thousand_resamples_of_fifty_classes_take_seconds():
    scores, targets = multi_label(5_000, 50)
    began = perf_counter()
    bootstrap.cluster_bootstrap("map", scores, targets, None, seed=0)
    assert perf_counter() - began < 20  # under 3 s alone; the rest is room for a busy machine
