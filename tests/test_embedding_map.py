"""A map tells classes apart that the vectors tell apart, is the same each time, and samples a large test set."""

from pathlib import Path

import numpy as np
import pytest

from leveret.clips import Clip
from leveret.embedding_map import MIN_CLIPS, SIDE, embedding_map, read_map, sample, write_map
from leveret.mapped import MappedRows
from leveret.predictions import RunError


def clips(number, classes=3):
    return [
        Clip(f"clips/{k}.wav", Path(f"/data/clips/{k}.wav"), (f"class {k % classes}",), str(k)) for k in range(number)
    ]


def vectors(number, classes=3, width=8):
    """Two windows a clip; classes lie ten standard deviations apart."""
    generator = np.random.default_rng(0)
    centres = 10 * np.eye(classes, width)
    return {
        f"clips/{k}.wav": (centres[k % classes] + generator.standard_normal((2, width))).astype(np.float32)
        for k in range(number)
    }


def test_the_nearest_neighbour_on_the_map_is_of_the_same_class():
    found = embedding_map(clips(60), vectors(60))
    points = found.position.astype(float)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(60, np.inf))
    labels = np.array([int(clip.split("/")[1][:-4]) % 3 for clip in found.clip])
    assert (labels[distances.argmin(axis=1)] == labels).all()
    # the longer side fills the square, the shorter one lies in its middle
    assert np.ptp(found.position, axis=0).max() == SIDE
    np.testing.assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, SIDE / 2, atol=1)


def test_a_map_is_the_same_each_time_and_wherever_the_rows_lie():
    rows = vectors(30)
    first, again = (embedding_map(clips(30), rows) for _ in range(2))
    np.testing.assert_array_equal(first.position, again.position)
    table = np.concatenate(list(rows.values()))
    mapped = {name: MappedRows((table,), np.arange(2 * k, 2 * k + 2)) for k, name in enumerate(rows)}
    np.testing.assert_array_equal(embedding_map(clips(30), mapped).position, first.position)


def test_only_clips_with_vectors_are_shown_and_counted():
    rows = vectors(30)
    del rows["clips/7.wav"]
    found = embedding_map(clips(30), rows)
    assert (found.num_clips, len(found.clip)) == (29, 29)
    assert "clips/7.wav" not in found.clip


@pytest.mark.parametrize("width", [1, 2])
def test_the_narrowest_vectors_have_a_map(width):
    generator = np.random.default_rng(0)
    found = embedding_map(clips(12), {clip.id: generator.standard_normal((1, width)) for clip in clips(12)})
    assert found.position.shape == (12, 2)


def test_vectors_without_a_shape_have_no_map():
    assert embedding_map(clips(MIN_CLIPS - 1), vectors(MIN_CLIPS - 1)) is None
    assert embedding_map(clips(20), {clip.id: np.full((1, 4), 0.1, np.float32) for clip in clips(20)}) is None
    # dimensions that never change take no part
    rows = vectors(20)
    found = embedding_map(
        clips(20), {name: np.pad(one, ((0, 0), (0, 5)), constant_values=3e4) for name, one in rows.items()}
    )
    np.testing.assert_array_equal(found.position, embedding_map(clips(20), rows).position)


def test_a_sample_has_each_class_in_its_share_and_does_not_depend_on_the_order():
    many = [Clip(f"{k}", Path("x"), ("rare",) if k < 3 else (("dog", "cat")[k % 4 == 0],), "g") for k in range(1003)]
    some = sample(many, 100)
    counts = {name: sum(clip.labels == (name,) for clip in some) for name in ("rare", "cat", "dog")}
    assert counts["rare"] >= 1
    assert 22 <= counts["cat"] <= 28
    assert sum(counts.values()) == 100
    assert {clip.id for clip in sample(many[::-1], 100)} == {clip.id for clip in some}
    # what one encoder cannot read changes no more than its own place
    fewer = {clip.id for clip in sample([clip for clip in many if clip.id != some[50].id], 100)}
    assert len(fewer & {clip.id for clip in some}) >= 98
    assert {clip.id for clip in sample(many[:5], 100)} == {clip.id for clip in many[:5]}
    assert sample([Clip("a", Path("x"), (), "g"), Clip("b", Path("x"), ("tag", "tug"), "g")], 9) != []


def test_a_map_in_a_run_folder_is_read_back_and_its_files_are_seen_from_there(tmp_path):
    found = embedding_map([*clips(20), Clip("s#2", Path("rel/\udcff.wav"), ("x",), "g", start=1.5, end=2.25)],
                          vectors(20) | {"s#2": np.ones((1, 8))})  # fmt: skip
    write_map(tmp_path / "run.partial" / "map" / "t.parquet", found, tmp_path / "run")
    read = read_map(tmp_path / "run.partial" / "map" / "t.parquet")
    assert (read.clip, read.start, read.end) == (found.clip, found.start, found.end)
    np.testing.assert_array_equal(read.position, found.position)
    assert (read.num_clips, read.perplexity, read.seconds) == (21, found.perplexity, found.seconds)
    seen = {Path(tmp_path / "run" / one).resolve() for one in read.audio if "udcff" not in one}
    assert seen == {Path(f"/data/clips/{k}.wav") for k in range(20)}


def test_no_map_is_none_and_a_damaged_one_is_an_error(tmp_path):
    assert read_map(tmp_path / "t.parquet") is None
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="is damaged"):
        read_map(tmp_path / "t.parquet")
