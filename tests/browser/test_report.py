"""A report of a real evaluation, in a real browser: silent, complete, worked by pointer and by keyboard, heard."""

import csv
import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.report.toy_runs import hares, write_run

from leveret import cli
from leveret.report.page import page
from leveret.runs import find_runs
from leveret.text import percent

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
ENCODERS = ("melstats", "byola_cnn_tiny", "slowfast_nfnet_tiny")
LABELS, CLIPS = 3, {"train": 5, "test": 4}


def some_of(manifest, folder):
    """A table of a few classes of each task, a few clips of each class."""
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    there = {split: {(row["task"], row["label"]) for row in rows if row["split"] == split} for split in CLIPS}
    classes = defaultdict(list)
    for task, label in sorted(set.intersection(*there.values())):
        classes[task].append(label)
    counts, kept = Counter(), []
    for row in rows:
        key = row["task"], row["label"], row["split"]
        if row["label"] in classes[row["task"]][:LABELS] and counts[key] < CLIPS.get(row["split"], 0):
            counts[key] += 1
            kept.append(row | {"file": str((manifest.parent / row["file"]).resolve())})
    path = folder / "dev.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(kept)
    shutil.copy(manifest.with_suffix(".tasks.json"), folder / "dev.tasks.json")
    return path


@pytest.fixture(scope="module")
def report(shared, tmp_path_factory):
    """The page, with sound in it, and its runs: three encoders on all thirteen tasks."""
    folder = tmp_path_factory.mktemp("report")
    table = some_of(shared / "data" / "dev" / "manifest.csv", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEVERET_HOME", str(folder / "home"))
        runs = folder / "runs"
        words = ["--tasks", f"manifest:{table}", "--protocol", "quick", "--no-floor", "-o", str(runs)]
        assert cli.main(["evaluate", "--encoder", *ENCODERS, *words]) == 0
        made = folder / "report.html"
        row = "paper:sf_nfnet_f0_simclr"
        assert cli.main(["report", str(runs), row, "--embed-audio", "-o", str(made)]) == 0
    return made, {run.scorecard.encoder["name"]: run for run in find_runs(runs)}


def cells(seen):
    """Title of each task -> the text of each of its cells, as the eye sees them."""
    return dict(
        seen.js("""return [...document.querySelectorAll(".heat tr.task")].map((row) => [
            row.querySelector(".task").textContent,
            [...row.querySelectorAll("td")].map((cell) => {
              const copy = cell.cloneNode(true);
              for (const hidden of copy.querySelectorAll(".unseen, .mark, .range")) hidden.remove();
              return copy.textContent.trim();
            })])""")
    )


def test_it_opens_in_silence_with_the_numbers_of_its_runs(opened, report):
    path, runs = report
    seen = opened(path)
    assert seen.requests() == [path.resolve().as_uri()]
    assert seen.complaints() == []
    printed = cells(seen)
    names = seen.js('return [...document.querySelectorAll(".heat .sort")].map((one) => one.textContent.trim())')
    assert len(printed) == 13
    for name, run in runs.items():
        column = names.index(name)
        for result in run.scorecard.tasks:
            assert printed[result.task][column] == percent(result.score), (name, result.task)


def test_a_cell_opens_its_task_by_pointer_and_by_keyboard(opened, report):
    path, runs = report
    seen = opened(path)
    buttons = seen.driver.find_elements(By.CSS_SELECTOR, ".heat .open")
    assert len(buttons) == 13 * len(ENCODERS)
    wanted = next(one for one in buttons if one.get_attribute("data-open") == "0.4.1")
    wanted.click()
    title = seen.driver.find_element(By.CSS_SELECTOR, ".detail h3").text
    run = runs[title.split(": ")[1]]
    result = next(one for one in run.scorecard.tasks if one.task == title.split(": ")[0])
    facts = dict(
        seen.js("""return [...document.querySelectorAll(".detail .facts div")]
                .map((one) => [one.querySelector("dt").textContent, one.querySelector("dd").textContent])""")
    )
    assert any(percent(result.score) in value for value in facts.values()), facts
    classes = seen.js('return [...document.querySelectorAll(".detail .classes .name")].map((one) => one.textContent)')
    assert sorted(classes) == sorted(name for name, value in result.per_class.items() if value is not None)
    seen.driver.switch_to.active_element.send_keys(Keys.TAB)
    seen.driver.find_element(By.CSS_SELECTOR, ".detail .close").send_keys(Keys.ENTER)
    assert seen.js("return document.activeElement.dataset.open") == "0.4.1", "back where it was opened"
    seen.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    assert seen.driver.find_element(By.CSS_SELECTOR, ".detail h3").text != title
    assert seen.complaints() == []


@pytest.mark.parametrize("width", [390, 1440])
def test_the_first_task_is_open_and_another_one_comes_into_sight(opened, report, width):
    path, _ = report
    seen = opened(path, width)
    title = 'return document.querySelector(".detail h3").textContent'
    first = seen.js('return document.querySelector(".heat .sort").textContent.trim()')
    assert seen.js(title) == f"{next(iter(cells(seen)))}: {first}"
    assert seen.js("return [scrollY, location.hash]") == [0, ""], "the page begins at its top, and again when reloaded"
    seen.driver.find_elements(By.CSS_SELECTOR, ".heat .open")[-1].send_keys(Keys.ENTER)
    in_sight = """const { top } = document.querySelector(".detail h3").getBoundingClientRect();
        return top >= 0 && top < innerHeight && document.activeElement.contains(document.querySelector(".detail h3"))"""
    WebDriverWait(seen.driver, 10).until(lambda driver: driver.execute_script(in_sight))
    asked = seen.js("return location.hash")
    seen.driver.get("about:blank")
    seen.driver.get(path.resolve().as_uri() + asked)
    assert seen.js("return document.querySelectorAll('.heat .open[aria-expanded]').length") == 1
    assert f"#task-{seen.js('return document.querySelector(`[aria-expanded]`).dataset.open')}" == asked


def test_files_are_named_without_their_folders(opened, report):
    seen = opened(report[0])
    named = seen.js("""return [...document.querySelectorAll(".detail .clips td:first-child span[title]")]
            .map((one) => [one.title, one.textContent])""")
    assert named
    assert all(path.startswith("/") and path.endswith(f"/{name}") and "/" not in name for path, name in named)


def test_a_column_sorts_down_up_and_back(opened, report):
    path, runs = report
    seen = opened(path)
    before = list(cells(seen))
    column = seen.driver.find_elements(By.CSS_SELECTOR, ".heat .sort")[0]
    scores = {result.task: result.score for result in runs[column.text].scorecard.tasks}
    domains = {result.task: result.domain for result in runs[column.text].scorecard.tasks}
    for sign, state in ((-1, "descending"), (1, "ascending")):
        column.click()
        assert seen.js("return document.activeElement.closest('th').ariaSort") == state
        found = list(cells(seen))
        assert [domains[task] for task in found] == [domains[task] for task in before], "domains stay together"
        for domain in set(domains.values()):
            mine = [scores[task] for task in found if domains[task] == domain]
            assert mine == sorted(mine, key=lambda score: sign * score)
    column.click()
    assert list(cells(seen)) == before


def test_the_theme_changes_and_is_remembered(opened, report):
    seen = opened(report[0])
    colour = "return getComputedStyle(document.body).backgroundColor"
    first = seen.js(colour)
    seen.driver.find_element(By.ID, "theme").click()
    second = seen.js(colour)
    assert first != second
    seen.driver.refresh()
    assert seen.js(colour) == second
    seen.driver.find_element(By.ID, "theme").click()
    assert seen.js(colour) == first


def test_a_clip_is_heard(opened, report):
    seen = opened(report[0])
    seen.driver.find_elements(By.CSS_SELECTOR, ".heat .open")[0].click()
    plot = seen.driver.find_element(By.CSS_SELECTOR, ".detail svg.map")
    plot.send_keys(Keys.ARROW_RIGHT)
    plot.send_keys(Keys.ENTER)
    WebDriverWait(seen.driver, 10).until(
        lambda driver: driver.execute_script('return document.querySelector(".detail audio").currentTime > 0.05')
    )
    assert seen.js('return document.querySelector(".detail audio").error') is None
    assert seen.requests() == [report[0].resolve().as_uri()], "the sound is in the page"
    assert seen.complaints() == []


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_keeps_anybody_out_and_nothing_is_wider_than_the_window(opened, report, width):
    seen = opened(report[0], width)
    for _ in ("light", "dark"):
        seen.driver.find_elements(By.CSS_SELECTOR, ".heat .open")[0].click()
        assert seen.faults() == []
        assert not seen.wider_than_the_window()
        seen.driver.find_element(By.ID, "theme").click()


def test_ten_encoders_on_twelve_tasks_open_at_once(opened, tmp_path):
    runs = [write_run(tmp_path / f"r{k}", hares(0.3 + 0.06 * k), encoder=f"encoder-{k}") for k in range(10)]
    path = tmp_path / "report.html"
    path.write_text(page(runs), encoding="utf-8")
    assert path.stat().st_size < 8e6
    seen = opened(path)
    assert seen.js("return performance.getEntriesByType('navigation')[0].domComplete") < 2000
    assert seen.complaints() == []


def test_the_report_of_the_demonstration_opens_in_silence(opened):
    made = ROOT.glob("runs/slowfast_nfnet_small-quick-*/report.html")
    found = max(made, key=lambda path: path.stat().st_mtime, default=None)
    if found is None:
        pytest.skip("no report in runs/; `make demo` makes one")
    seen = opened(found)
    assert seen.complaints() == []
    assert seen.requests() == [found.resolve().as_uri()]
    card = json.loads((found.parent / "scorecard.json").read_text())
    printed = cells(seen)
    for task in card["tasks"]:
        assert percent(task["score"]) in printed[task["task"]]
