"""Leaderboard, pretraining and listening in a real browser; names of strangers are text and nothing else."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.listening.test_serving import served  # noqa: F401
from tests.report.test_leaderboard import page_of
from tests.report.test_page import HOSTILE
from tests.report.test_training_page import write
from tests.report.toy_runs import hares, scored, single, write_run

from leveret.report.page import page
from leveret.report.training_page import training_page
from leveret.report.training_run import read_training_run

pytestmark = pytest.mark.slow


@pytest.fixture
def in_file(tmp_path):
    """Writes a page."""

    def write_page(text):
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        return path

    return write_page


def looked_at(seen, path):
    """Whatever a page is of."""
    assert seen.complaints() == []
    assert seen.requests() == [path.resolve().as_uri()]
    for _ in ("light", "dark"):
        assert seen.faults() == []
        seen.driver.find_element(By.ID, "theme").click()
    assert not seen.wider_than_the_window()


@pytest.mark.parametrize("width", [390, 1440])
def test_a_leaderboard_filters_and_sorts(opened, in_file, tmp_path, width):
    runs = [write_run(tmp_path / name, hares(share), encoder=name) for name, share in (("low", 0.25), ("high", 0.5))]
    path = in_file(page_of(runs))
    seen = opened(path, width)
    shown = (
        """return [...document.querySelectorAll(".board tbody tr:not([hidden]) .task")].map((one) => one.textContent)"""
    )
    assert seen.js(shown) == ["high", "low"]
    seen.driver.find_element(By.CSS_SELECTOR, ".board .sort").click()
    assert seen.js(shown) == ["low", "high"]
    looked_at(seen, path)


@pytest.mark.parametrize("width", [390, 1440])
def test_a_pretraining_shows_its_curves(opened, in_file, tmp_path, width):
    path = in_file(training_page(read_training_run(write(tmp_path / "run"))))
    seen = opened(path, width)
    assert len(seen.driver.find_elements(By.CSS_SELECTOR, "svg.curve")) > 3
    looked_at(seen, path)


def test_a_page_of_one_score_has_it_open(opened, in_file, tmp_path):
    seen = opened(in_file(page([write_run(tmp_path / "run", [scored(single(0.5))])])))
    assert seen.driver.find_element(By.CSS_SELECTOR, ".detail").is_displayed()


def test_hostile_names_make_nothing(opened, in_file, tmp_path):
    classes = (HOSTILE, *(f"{HOSTILE}{k}" for k in range(3)))
    found = [scored(single(0.5, classes, clip=HOSTILE + "{}.wav"), HOSTILE)]
    path = in_file(page([write_run(tmp_path / "run", found, encoder=HOSTILE)]))
    seen = opened(path)
    seen.driver.find_element(By.CSS_SELECTOR, ".heat .open").click()
    assert HOSTILE[:10] in seen.driver.find_element(By.CSS_SELECTOR, ".detail").text
    assert seen.js("return document.images.length + document.scripts.length") == 2, "data and program"
    looked_at(seen, path)


def test_a_sound_is_chosen_and_heard_and_its_nearest_come(opened, served):  # noqa: F811
    server, _ = served
    seen = opened(server.url)
    seen.driver.find_element(By.CSS_SELECTOR, "#clips button").click()
    WebDriverWait(seen.driver, 10).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#nearest li"))
    seen.driver.find_element(By.CSS_SELECTOR, "#own .play").click()
    WebDriverWait(seen.driver, 10).until(
        lambda driver: driver.execute_script('return document.getElementById("player").currentTime > 0.05')
    )
    assert all(url.startswith(server.url) for url in seen.requests())
    assert seen.complaints() == []
    for _ in ("light", "dark"):
        assert seen.faults() == []
        seen.driver.find_element(By.ID, "theme").click()
