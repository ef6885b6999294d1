"""One headless Chromium a process, and what a page did in it: what it asked for, what it complained of."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from tests.browser.programs import CHROMEDRIVER, CHROMIUM

AXE = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
QUIET = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """With a profile of its own, and a log of every request and every line of the console."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which root cannot have
    driver = Chrome(options=options, service=ChromeService(str(CHROMEDRIVER)))
    yield driver
    driver.quit()


@dataclass(frozen=True)
class Opened:
    """A page in the browser."""

    driver: Chrome

    def js(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Lines of the console since the page was opened, or since they were asked for."""
        return [line["message"] for line in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for likewise; what is written into the page itself is no request."""
        events = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def faults(self) -> list[str]:
        """What axe finds that keeps somebody out: its impacts serious and critical."""
        if not self.js("return window.axe !== undefined"):
            self.js(AXE)
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        return [
            f"{fault['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def wider_than_the_window(self) -> bool:
        """Whether the page as a whole scrolls sideways."""
        wider: bool = self.js("const d = document.documentElement; return d.scrollWidth > d.clientWidth")
        return wider


@pytest.fixture
def opened(chromium: Chrome) -> Callable[..., Opened]:
    """Opens an address or a file in a window of this size; nothing of an earlier page is left."""

    def open_page(where: str | Path, width: int = 1440, height: int = 1000) -> Opened:
        address = where.resolve().as_uri() if isinstance(where, Path) else where
        chromium.set_window_size(width, height)
        chromium.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        chromium.get("about:blank")
        page = Opened(chromium)
        page.complaints(), page.requests()
        chromium.get(address)
        return page

    return open_page
