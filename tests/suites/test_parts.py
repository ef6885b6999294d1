"""Tasks taken apart, and what neither suite has a shape for."""

from pathlib import Path

import pytest

from leveret.clips import Clip, Fold
from leveret.suites.hear import misread_labels
from leveret.suites.parts import ExportError, file_stem, parts_of
from leveret.tasks.divided import DividedTask


def clips(*names):
    return [Clip(name, Path(name), ("ab"[int(name[1:]) % 2],), f"g{int(name[1:]) // 2}") for name in names]


def task(*folds, kind="single", slots=(("", ("a", "b")),)):
    return DividedTask(
        name="t", domain="other", kind=kind, slots=slots, metric="accuracy", crop_seconds=1.0, suite="s", parts=folds
    )


def ids(parts):
    return {name: [clip.id for clip in part] for name, part in parts.clips.items()}


def test_splits_are_taken_as_they_are():
    fold = Fold(clips("c0", "c1"), clips("c2"), clips("c3"))
    parts = parts_of(task(fold), [fold])
    assert (ids(parts), parts.division, parts.folded) == (
        {"train": ["c0", "c1"], "valid": ["c2"], "test": ["c3"]}, "given", False,
    )  # fmt: skip


def test_without_a_validation_split_a_fifth_of_train_is_given_up_in_whole_groups():
    fold = Fold(clips(*(f"c{k}" for k in range(20))), [], clips("c20", "c21"))
    parts = parts_of(task(fold), [fold])
    found = ids(parts)
    assert parts.division == "held-out"
    assert len(found["valid"]) == 4
    assert sorted(found["train"] + found["valid"]) == sorted(clip.id for clip in fold.train)
    assert not {clip.group for clip in parts.clips["train"]} & {clip.group for clip in parts.clips["valid"]}


def test_folds_without_validation_are_rest_and_hears_are_next():
    a, b, c = clips("c0", "c1"), clips("c2", "c3"), clips("c4", "c5")
    rest = [Fold([*b, *c], [], a), Fold([*a, *c], [], b), Fold([*a, *b], [], c)]
    assert parts_of(task(*rest), rest).division == "rest"
    following = [Fold(c, b, a), Fold(a, c, b), Fold(b, a, c)]
    parts = parts_of(task(*following), following)
    assert parts.division == "next"
    assert ids(parts) == {"fold00": ["c0", "c1"], "fold01": ["c2", "c3"], "fold02": ["c4", "c5"]}


def test_the_order_of_interleaved_folds_is_found_again():
    table = clips(*(f"c{k}" for k in range(12)))
    folds = [Fold([c for k, c in enumerate(table) if k % 3 != held], [], table[held::3]) for held in range(3)]
    assert [clip.id for clip in parts_of(task(*folds), folds).order] == [clip.id for clip in table]


def test_folds_that_disagree_on_the_order_go_one_after_the_other():
    a, b, c = clips("c0", "c1"), clips("c2", "c3"), clips("c4", "c5")
    folds = [Fold([*b, *c], [], a), Fold([*a, *reversed(c)], [], b), Fold([*a, *b], [], c)]
    assert [clip.id for clip in parts_of(task(*folds), folds).order] == ["c0", "c1", "c2", "c3", "c4", "c5"]


@pytest.mark.parametrize("wrong", ["a test clip twice", "a clip never tested", "a clip never trained on"])
def test_folds_that_are_no_cross_validation_are_refused(wrong):
    a, b = clips("c0", "c1"), clips("c2", "c3")
    folds = {
        "a test clip twice": [Fold(b, [], a), Fold(a, [], [*b, *a])],
        "a clip never tested": [Fold([*b, *clips("c9")], [], a), Fold(a, [], b)],
        "a clip never trained on": [Fold(b, [], a), Fold(a[:1], [], b)],
    }[wrong]
    with pytest.raises(ExportError, match="no cross-validation over parts"):
        parts_of(task(*folds), folds)


def test_slots_have_no_shape_in_either_suite():
    fold = Fold(clips("c0"), [], clips("c1"))
    with pytest.raises(ExportError, match="has 2 slots of labels"):
        parts_of(task(fold, kind="slots", slots=(("x", ("a", "b")), ("y", ("a", "b")))), [fold])


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/b/dog.1.wav", "000007-dog_1"),
        ("...", "000007"),
        ("\x1b[31m\n.wav", "000007-31m"),
        ("caf\u00e9.wav@1-2", "000007-caf"),
        ("x" * 300, "000007-" + "x" * 40),
    ],
)
def test_a_file_is_called_by_its_number_and_what_is_harmless_of_its_id(name, stem):
    assert file_stem(7, Clip(name, Path("x"), (), "")) == stem


@pytest.mark.parametrize(
    ("labels", "misread"),
    [
        (["dog", "cat"], []),
        (["0", "1", "10"], []),
        (["00", "1"], ["00"]),
        (["NA", "dog"], ["NA"]),
        (["1.50", "2.5"], ["1.50"]),
        (["nan", "1"], ["nan", "1"]),
        (["inf", "1"], ["1"]),
    ],
)
def test_labels_that_pandas_reads_otherwise_are_known(labels, misread):
    assert misread_labels(labels) == misread
