"""A browser for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 120
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,900",
)


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """Headless Chromium with a new profile in `folder`; what it downloads lies in folder / "downloads"."""
    selenium = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver (apt-get install chromium chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = selenium.ChromeService(driver, log_output=str(folder / "driver.log"))
    browser = selenium.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the browser; what it downloads lies in profile / "downloads"."""
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def browser(profile: Path) -> Iterator[Any]:
    """One browser for all tests of a module, since it takes seconds to start."""
    with chromium(profile) as browser:
        browser.set_script_timeout(PATIENCE_S)
        yield browser


def wait_for(browser: Any, script: str) -> Any:
    """What a script returns as soon as it is not false."""
    ui = pytest.importorskip("selenium.webdriver.support.ui")
    return ui.WebDriverWait(browser, PATIENCE_S, 0.1).until(lambda driver: driver.execute_script(script))


def open_page(browser: Any, address: str) -> None:
    """Open our page until its script has run: the driver may return before."""
    browser.get(address)
    wait_for(browser, "return document.body.dataset.by")
