"""The page says what the scorecards say, asks nothing of the outside, and runs nothing that is not its own."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
from tests.report.test_map_details import add_map
from tests.report.toy_runs import NUM_CLIPS, hares, scored, single, slots, tags, write_run

from leveret.comparison import compare
from leveret.embedding_map import NUM_CLIPS as SHOWN
from leveret.predictions import Predictions
from leveret.report.page import LARGEST_BYTES, REPORT, page, write_run_page
from leveret.runs import task_keys
from leveret.text import percent


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, texts of cells, the data, style and script.

    Attributes:
        rows: Texts of the cells of every row, intervals and what only a screen reader reads left out.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.within, self.text = [], [], [], {"script": [], "style": []}
        self.feed(text)
        self.data = json.loads(self.text["script"][0])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "wbr", "input"):
            self.within.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.within.pop()[0] == tag, tag

    def handle_data(self, text):
        names = [name for name, _ in self.within]
        if names and names[-1] in self.text:
            self.text[names[-1]].append(text)
        hidden = any(attributes.get("class") in ("unseen", "mark", "range") for _, attributes in self.within)
        if ("td" in names or "th" in names) and not hidden:
            self.rows[-1][-1] = f"{self.rows[-1][-1]}{text}".strip()

    def row(self, title):
        """Cells of the row whose head begins like this."""
        return next(row[1:] for row in self.rows if row and row[0].startswith(title))


@pytest.fixture
def runs(tmp_path):
    """Two encoders on a task of each kind."""
    return [
        write_run(
            tmp_path / name,
            [
                scored(single(share), "farm", stands_for="ESC-50"),
                scored(tags(seed), "tags", domain="music"),
                scored(slots(seed), "orders", domain="speech", interval_wide=True, interval_groups=8),
            ],
            encoder=name,
        )
        for seed, (name, share) in enumerate({"first": 0.325, "second": 0.875}.items())
    ]


def test_the_numbers_on_the_page_are_those_of_the_scorecards(runs):
    found = Page(page(runs))
    for number, result in enumerate(runs[0].scorecard.tasks):
        printed = [percent(run.scorecard.tasks[number].score) for run in runs]
        assert found.row(result.task) == printed
        (table,) = found.data["tables"]
        (task,) = (task for task in table["tasks"] if task["title"] == result.task)
        for run, cell in zip(runs, task["cells"], strict=True):
            of = run.scorecard.tasks[number]
            low, high = of.interval
            keys = ("score", "low", "high", "chance", "majority", "floor")
            values = (of.score, low, high, of.chance, of.majority, of.floor)
            assert [f"{cell[key]:.1f}" for key in keys] == [percent(value) for value in values]
            assert cell["warnings"] == of.warnings
            names = found.data["classes"][cell["perClass"]["classes"]]
            shown = dict(zip(names, (f"{value:.1f}" for value in cell["perClass"]["values"]), strict=True))
            assert shown == {name: percent(value) for name, value in of.per_class.items()}
    summaries = [run.scorecard.summaries()["mine"] for run in runs]
    assert found.row("mean of 3 tasks") == [percent(summary.mean) for summary in summaries]


def test_intervals_chance_and_floor_are_seen_without_a_pointer(runs):
    text = page(runs, compared=False)
    result = runs[1].scorecard.tasks[0]
    low, high = result.interval
    assert f'<small class="range" aria-hidden="true">{percent(low)} to {percent(high)}</small>' in text
    assert f"<span>chance {percent(result.chance)}</span>, <span>floor {percent(result.floor)}</span>" in text
    assert 'class="range"' not in page(runs * 3, compared=False), "many encoders have no room for it"


def test_the_title_counts_encoders_by_their_weights(tmp_path):
    runs = [write_run(tmp_path / name, [scored(single(0.5))], encoder="run") for name in ("one", "two", "three")]
    assert "<title>run on 1 task" in page(runs, compared=False)
    runs[1].scorecard.encoder["digest"] = "f" * 64
    assert "<title>2 encoders on 1 task" in page(runs, compared=False)


def test_scores_on_the_edge_of_rounding_are_printed_alike_in_table_and_details(tmp_path):
    # 6.25 % is exact in binary: Python rounds it to even, a browser up
    found = scored(single(1), score=0.0625, interval=(0.0, 0.1875))
    parsed = Page(page([write_run(tmp_path / "run", [found])]))
    assert parsed.row("farm") == ["6.2"]
    assert parsed.data["tables"][0]["tasks"][0]["cells"][0]["score"] == 6.2


def test_confusions_are_those_of_the_predictions(runs):
    (table,) = Page(page(runs, compared=False)).data["tables"]
    farm = next(task for task in table["tasks"] if task["title"] == "farm")["cells"][0]
    counts = np.array(farm["slots"][0]["counts"]).reshape(-1, 3)
    assert counts[:, 2].sum() == NUM_CLIPS
    assert counts[counts[:, 0] == counts[:, 1], 2].sum() == 13
    assert (farm["confused"], farm["of"]) == (NUM_CLIPS - 13, NUM_CLIPS)


def test_comparisons_are_those_of_leveret_compare(runs):
    found, compared = Page(page(runs)), compare(runs)
    for line in compared.tasks:
        cell = line.cells[1]
        (row,) = (row for row in found.rows if row[:2] == [line.task, str(line.num_clips)])
        assert row[2] == percent(line.cells[0].score)
        assert f"{100 * cell.difference:+.1f}" in row[3]
        assert f"p {cell.p:.3f}" in row[3]
    assert "Comparisons" not in page(runs, compared=False)


def test_runs_that_cannot_be_compared_say_why(tmp_path):
    runs = [write_run(tmp_path / task, [scored(single(1), task)], encoder=task) for task in ("one", "two")]
    assert "the runs have no task in common" in page(runs)


def test_hares_stands_beside_the_paper_and_other_splits_are_greyed(tmp_path):
    found = [
        *hares(0.5, leave_out=["tut18"]),
        scored(single(0.5), "tut18", suite="hares", domain="environment", substitute=True),
    ]
    parsed = Page(page([write_run(tmp_path / "run", found)]))
    assert parsed.row("HARES*") == ["50.0", "74.6", "71.7", "67.6", "64.9", "62.4", "56.6"]
    assert parsed.row("AudioSet")[:2] == ["50.0", "37.8"]
    classes = [attributes["class"] for tag, attributes in parsed.tags if tag == "td" and attributes.get("class")]
    # the six published cells of the task, of its domain's mean and of HARES*
    assert sum("grey" in one for one in classes) == 18


def test_each_protocol_is_named_and_has_a_table_of_its_own(runs, tmp_path):
    other = write_run(tmp_path / "third", [scored(single(1))], encoder="third", protocol="cached@20000")
    text = page([*runs, other])
    assert "Protocol quick" in text
    assert "Protocol cached@20000" in text
    tables = Page(text).data["tables"]
    assert [[column["name"] for column in one["columns"]] for one in tables] == [["first", "second"], ["third"]]


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><!--\u202ecod\x1b[31m{{ 7*7 }}"


def test_hostile_names_are_inert(tmp_path):
    classes = (HOSTILE, f"{HOSTILE}2", "cat")
    found = scored(
        single(0.5, classes, clip=HOSTILE.replace("{", "{{").replace("}", "}}") + "/{}.wav"), HOSTILE,
        suite=HOSTILE, stands_for=HOSTILE, notes=HOSTILE, skipped={HOSTILE: HOSTILE}, silent=[HOSTILE],
        variant=HOSTILE, contamination=HOSTILE,
    )  # fmt: skip
    run = write_run(tmp_path / "run", [found], encoder=HOSTILE)
    (key,) = (path.stem for path in (run.folder / "predictions").iterdir())
    clips = run.predictions(key).clip
    evil = tmp_path / "javascript:alert(1)" / "'\"><script>.wav"
    evil.parent.mkdir()
    evil.write_bytes(b"RIFF")
    add_map(run, key, clips, [evil] * len(clips))
    text = page([run, run], folder=tmp_path)
    parsed = Page(text)
    tags_with_code = [tag for tag, attributes in parsed.tags if any(name.startswith("on") for name in attributes)]
    assert tags_with_code == []
    assert [tag for tag, _ in parsed.tags if tag in ("img", "iframe", "object", "form", "base")] == []
    assert len(parsed.text["script"]) == 2
    assert text.count("</script") == 2
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "{{ 7*7 }}" in text
    assert "<!--" not in text
    # all of it is still to be read, as text
    (table,) = parsed.data["tables"]
    assert table["columns"][0]["name"] == "run"  # one encoder twice: the folder's name
    assert table["tasks"][0]["title"].startswith("</script><script>alert(1)")
    assert parsed.data["classes"][0][0].startswith("</script>")
    assert parsed.data["samples"][0]["clips"][0].startswith("</script>")
    assert parsed.data["audio"] == ["javascript%3Aalert%281%29/%27%22%3E%3Cscript%3E.wav"]


def test_half_letters_in_names_of_files_do_no_harm(tmp_path):
    run = write_run(tmp_path / "run", [scored(single(1), skipped={"bad\udcff.wav": "no \udcff"})])
    assert "bad\\udcff.wav" in page([run])
    assert write_run_page(run) == ""


def test_the_page_asks_nothing_of_the_outside(runs):
    text = page(runs)
    parsed = Page(text)
    assert not re.search(r"https?:", text)
    references = {
        value for _, attributes in parsed.tags for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "poster", "srcset")
    }  # fmt: skip
    assert {value for value in references if not value.startswith("#")} == {"data:,"}
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|innerHTML|eval\(", text)


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(runs):
    parsed = Page(page(runs, compared=False))
    policy = next(attributes["content"] for tag, attributes in parsed.tags if "http-equiv" in attributes)
    digests = {
        kind: b64encode(sha256("".join(parsed.text[kind][-1:]).encode()).digest()).decode() for kind in parsed.text
    }
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digests['style']}'; "
        f"script-src 'sha256-{digests['script']}'; media-src 'self' file: data:"
    )
    assert not [tag for tag, attributes in parsed.tags if "style" in attributes]


def test_every_cell_is_a_button_that_tells_its_interval_and_columns_say_that_they_sort(runs):
    parsed = Page(page(runs, compared=False))
    cells = [attributes for tag, attributes in parsed.tags if tag == "button" and "data-open" in attributes]
    assert [cell["data-open"] for cell in cells] == [f"0.{task}.{run}" for task in range(3) for run in range(2)]
    low, high = runs[0].scorecard.tasks[0].interval
    assert f"95 % interval {percent(low)} to {percent(high)}" in cells[0]["data-tip"]
    assert "interval over 8 groups only" in cells[2]["data-tip"]
    assert [attributes["aria-sort"] for tag, attributes in parsed.tags if "aria-sort" in attributes] == ["none"] * 2
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_encoders_on_tasks_of_many_classes_are_small_enough_to_mail(tmp_path):
    generator = np.random.default_rng(0)
    runs = []
    for number in range(5):
        found = []
        for task, num_classes, num_clips in (("few", 50, 3000), ("many", 1251, 300)):
            names = tuple(f"class with a long name {k}" for k in range(num_classes))
            scores = generator.standard_normal((num_clips, num_classes)).astype(np.float32)
            ids = [f"a/rather/long/folder/name/{k:06d}.wav" for k in range(num_clips)]
            labels = [(names[k % num_classes],) for k in range(num_clips)]
            found += [scored(Predictions(ids, ids, labels, {"": names}, [scores], "accuracy"), f"{task} {k}")
                      for k in range(3)]  # fmt: skip
        runs.append(write_run(tmp_path / f"run{number}", found, encoder=f"encoder {number}"))
        for key, (_, predictions) in zip(task_keys([("", one.task) for one, _ in found]), found, strict=True):
            clips = predictions.clip[:SHOWN]
            add_map(runs[-1], key, clips, [tmp_path / clip for clip in clips], seed=number)
    assert len(page(runs, compared=False)) < LARGEST_BYTES / 4  # ten encoders on twelve tasks are four times as much


def test_a_run_is_whole_without_its_page(tmp_path):
    run = write_run(tmp_path / "run", [scored(single(1))])
    (run.folder / REPORT).mkdir()
    assert "leveret report" in write_run_page(run)
    (run.folder / "predictions" / "farm.parquet").write_bytes(b"")
    assert "farm.parquet is missing or damaged" in write_run_page(run)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.json", "log.txt", "predictions", REPORT, "scorecard.json"
    ]  # fmt: skip
