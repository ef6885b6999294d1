"""Marks are round and enclose what is drawn; many steps become few points without losing an extreme."""

import pytest

from leveret.report.charts import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, chart, round_marks, short


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1.93, 4.1, [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]),
        (-3.0, -3.0, [-3, -2, -1, 0]),
        (0.0, 2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]),
        (-3.0, 12.0, [-5, 0, 5, 10, 15]),
        (7.0, 7.0, [0, 2, 4, 6, 8]),
        (0.0, 0.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_marks_are_round_and_enclose_the_values(low, high, marks):
    found = round_marks(low, high)
    assert found == pytest.approx(marks)
    assert found[0] <= low <= high <= found[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (2e-4, "0.0002"),
        (2e-5, "2e-5"),
        (1234, "1234"),
        (200_000, "200 k"),
        (62_970_654, "62.97 M"),
        (4e9, "4 G"),
    ],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_a_line_goes_from_corner_to_corner():
    found = chart("loss", [("", [(0, 2.0), (50, 1.0), (100, 0.0)])], 100)
    (line,) = found.lines
    assert line.drawn == [
        (LEFT, TOP),
        ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
        (WIDTH - RIGHT, HEIGHT - BOTTOM),
    ]
    assert line.band == ""
    assert [text for _, text in found.up] == ["0", "0.5", "1", "1.5", "2"]


def test_many_steps_become_means_with_a_band_of_their_extremes():
    points = [(step, 9.0 if step == 777 else float(step % 2)) for step in range(1, 1001)]
    (line,) = chart("loss", [("", points)], 1000).lines
    assert len(line.steps) == 200 <= MOST_POINTS
    assert line.steps[-1] == 1000
    assert line.values[0] == pytest.approx(0.6)  # 1 0 1 0 1
    assert line.values[155] == pytest.approx((0 + 9 + 0 + 1 + 0) / 5)
    assert line.band.endswith("Z")
    assert line.band.count("L") == 2 * 200 - 1
