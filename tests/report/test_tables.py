import csv
import re

import pytest
from tests.report.toy_runs import hares, scored, single, tags, write_run

from leveret.paper import published
from leveret.report.score_table import default_rows, score_tables
from leveret.report.tables import DAGGER, TableError, as_csv, latex, markdown
from leveret.results import HARES_TASKS

HOSTILE = "a&b_c|d%{e}\\f$#~^<i>\x1b[31m\u0645"


@pytest.fixture
def tables(tmp_path):
    found = [
        *hares(0.5, leave_out=["birdsong"]),
        scored(single(0.25), "birdsong", suite="hares", domain="environment", substitute=True, interval_wide=True),
    ]
    runs = [write_run(tmp_path / name, found, encoder=name) for name in ("first", "second")]
    return score_tables(runs, default_rows())


def test_markdown_has_the_layout_of_table_4(tables):
    lines = markdown(tables).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {1 + 2 + 6}
    assert [row[0] for row in rows if row[0].startswith("**")] == ["**Environment**", "**Speech**", "**Music**"]
    assert [row[0] for row in rows].count("Avg.") == 3
    by_title = {row[0]: row[1:] for row in rows}
    assert by_title["AudioSet"] == ["**50.0**", "**50.0**", "37.8", "36.6", "28.7", "26.1", "38.9", "14.8"]
    assert by_title["Birdsong"][0] == "**25.0!**"
    assert by_title["Birdsong"][2] == f"77.6{DAGGER}"
    assert by_title["HARES\\*"][2] == f"74.6{DAGGER}"
    assert f"{DAGGER} published scores of other clips" in markdown(tables)


def test_csv_is_one_table_that_programs_read(tables):
    rows = list(csv.DictReader(as_csv(tables).splitlines()))
    assert [row["task"] for row in rows if row["task"]] == list(HARES_TASKS)
    assert [row["metric"] for row in rows if not row["task"]] == ["Avg.", "Avg.", "Avg.", "HARES*"]
    assert {row["protocol"] for row in rows} == {"quick"}
    for row in rows:
        if row["task"]:
            printed = published()["sf_nfnet_f0_simclr"].scores[row["task"]]
            assert float(row["SF NFNet-F0 (simclr, AudioSet, published)"]) == printed
            assert float(row["first"]) == (25.0 if row["task"] == "birdsong" else 50.0)


def test_csv_refuses_two_protocols(tmp_path):
    runs = [write_run(tmp_path / one, [scored(single(1))], protocol=one) for one in ("quick", "cached")]
    with pytest.raises(TableError, match=r"2 protocols.*--protocol"):
        as_csv(score_tables(runs, []))


def test_latex_has_measured_and_published_columns_and_as_many_cells_in_each_row(tables):
    text = latex(tables)
    assert r"\multicolumn{2}{c}{measured} & \multicolumn{6}{c}{published} \\" in text
    assert r"\begin{tabular}{llrrrrrrrr}" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {9}
    assert len(rows) == 12 + 3 + 1
    assert rows[0].startswith(r"Environment & AudioSet & \textbf{50.0} & \textbf{50.0} & 37.8 & 36.6 & ")
    assert rows[-1].startswith(r" & \textbf{HARES*} & ")
    assert r"77.6$^{\dagger}$" in body
    for one in ("table", "tabular"):
        assert text.count(rf"\begin{{{one}}}") == text.count(rf"\end{{{one}}}") == 1
    assert text.isascii()


def test_each_protocol_and_suite_is_a_table_of_its_own_without_published_columns(tmp_path):
    runs = [write_run(tmp_path / one, [scored(single(1)), scored(tags(0), "tags")], protocol=one)
            for one in ("quick", "cached")]  # fmt: skip
    tables = score_tables(runs, default_rows())
    assert latex(tables).count(r"\begin{tabular}{llr}") == 2
    assert "published" not in latex(tables)
    assert markdown(tables).count("under the protocol") == 2


def test_names_from_strangers_are_text_in_every_format(tmp_path):
    tables = score_tables([write_run(tmp_path / "run", [scored(single(1), HOSTILE)], encoder=f"={HOSTILE}")], [])
    in_latex = latex(tables)
    assert r"a\&b\_c\textbar{}d\%\{e\}\textbackslash{}f\$\#\textasciitilde{}\textasciicircum{}\textless{}" in in_latex
    assert r"\texttt{U+0645}" in in_latex
    in_markdown = markdown(tables)
    assert "\\<i\\>" in in_markdown
    assert "\\|d" in in_markdown
    heading = next(csv.reader(as_csv(tables).splitlines()))
    assert heading[-1].startswith("'=a&b")
    for text in (in_latex, in_markdown, as_csv(tables)):
        assert "\x1b" not in text
