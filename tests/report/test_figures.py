"""Figures show the scores of the tables and a point a clip, whatever the names; and need matplotlib alone."""

import re
import sys

import pytest
from tests.report.test_map_details import add_map
from tests.report.toy_runs import NUM_CLIPS, hares, scored, single, slots, tags, write_run

from leveret.report.figures import COLOURS, DOTS_AN_INCH, FiguresError, write_figures
from leveret.report.score_table import default_rows, score_tables

HOSTILE = "$\\frac{1}{</svg><script>alert(1)</script>\u202e\n"


def draw(folder, runs):
    return write_figures(folder, runs, score_tables(runs, default_rows()))


def size_of(png):
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_every_table_and_every_map_is_a_figure_of_both_formats_and_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    found = [*hares(0.5), scored(single(1.0)), scored(tags(0), "tags"), scored(slots(0), "orders")]
    run = write_run(tmp_path / "run", found, encoder="small")
    for key, predictions in {"farm": single(1.0), "tags": tags(0), "orders": slots(0)}.items():
        add_map(run, key, predictions.clip, [tmp_path / "x.wav"] * NUM_CLIPS)
    paths, note = draw(tmp_path / "new" / "figures", [run])
    names = ["scores-quick-hares", "scores-quick-mine", "map-farm-small", "map-tags-small", "map-orders-small"]
    assert [path.name for path in paths] == [f"{name}{suffix}" for name in names for suffix in (".svg", ".png")]
    assert note == ""
    width, height = size_of(tmp_path / "new" / "figures" / "scores-quick-hares.png")
    assert width > 7 * 0.85 * DOTS_AN_INCH  # a run and six published columns, and the names of the tasks
    assert height > 18 * 0.3 * DOTS_AN_INCH
    again, _ = draw(tmp_path / "again", [run])
    for one, other in zip(paths, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one


def test_a_map_has_a_point_a_clip_in_the_colour_of_its_class(tmp_path):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "run", [scored(single(1.0))], encoder="small")
    add_map(run, "farm", single(1.0).clip[:30], [tmp_path / "x.wav"] * 30)
    draw(tmp_path, [run])
    text = (tmp_path / "map-farm-small.svg").read_text()
    uses = re.findall(r'<use xlink:href="#\w+" x="[^"]+" y="[^"]+" style="fill: (#\w{6})', text)
    counts = {colour: uses.count(colour) for colour in COLOURS}
    # of 30 clips in turn of four classes: 8, 8, 7, 7, and one of each in the legend
    assert [counts[colour] for colour in COLOURS] == [9, 9, 8, 8, 0, 0, 0, 0, 0, 0]


def test_names_are_drawn_as_text_and_nothing_else(tmp_path):
    pytest.importorskip("matplotlib")
    classes = (HOSTILE, f"{HOSTILE}2", "\u732b")
    run = write_run(tmp_path / "run", [scored(single(0.5, classes), HOSTILE, suite=HOSTILE)], encoder=HOSTILE)
    key = next((run.folder / "predictions").iterdir()).stem
    add_map(run, key, single(0.5).clip, [tmp_path / "x.wav"] * NUM_CLIPS)
    paths, note = draw(tmp_path / "figures", [run])
    assert len(paths) == 4
    assert note == "names hold letters that matplotlib's font lacks; they are drawn as boxes"
    assert {path.parent for path in paths} == {tmp_path / "figures"}
    assert not any("<script" in path.read_text() for path in paths if path.suffix == ".svg")


def test_many_classes_have_hues_and_no_legend(tmp_path):
    pytest.importorskip("matplotlib")
    classes = tuple(f"class {k}" for k in range(20))
    run = write_run(tmp_path / "run", [scored(single(0.5, classes))], encoder="small")
    add_map(run, "farm", single(0.5).clip, [tmp_path / "x.wav"] * NUM_CLIPS)
    draw(tmp_path, [run])
    text = (tmp_path / "map-farm-small.svg").read_text()
    assert "legend" not in text
    assert len(set(re.findall(r'y="[^"]+" style="fill: (#\w{6})', text))) == 20


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run = write_run(tmp_path / "run", [scored(single(1.0))])
    with pytest.raises(FiguresError, match=r"pip install 'leveret\[figures\]'"):
        draw(tmp_path / "figures", [run])
    assert not (tmp_path / "figures").exists()


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(tmp_path):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "run", [scored(single(1.0))])
    (tmp_path / "figures").write_text("")
    with pytest.raises(FiguresError, match="name another"):
        draw(tmp_path / "figures", [run])
