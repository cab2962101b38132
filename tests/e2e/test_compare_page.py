"""The comparison page in a browser: pictures load, the slider moves, nothing is asked of a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onedc.evaluation.compare import Panel, SideBySide, to_html

selenium = pytest.importorskip("selenium.webdriver")


def page(folder: Path) -> Path:
    """A page of three flat pictures: red, green, blue."""
    panels = []
    for name, channel in (("original", 0), ("ours", 1), ("theirs", 2)):
        pixels = np.zeros((120, 200, 3), np.uint8)
        pixels[..., channel] = 255
        panels.append(Panel(name, pixels, ("1,234 bytes, 0.4113 bpp",)))
    path = folder / "page.html"
    path.write_text(to_html(SideBySide("flat.png", tuple(panels), ((0, 0), (60, 100)), 32)), encoding="utf-8")
    return path


def colours(browser: Any, folder: Path) -> list[tuple[int, ...]]:
    """What the viewer shows at its left and right quarter."""
    browser.find_element("id", "viewer").screenshot(str(folder / "viewer.png"))
    with Image.open(folder / "viewer.png") as shot:
        rgb = shot.convert("RGB")
        return [rgb.getpixel((rgb.width * k // 8, rgb.height // 8)) for k in (1, 3, 7)]


def test_page_in_a_browser(browser: Any, tmp_path: Path) -> None:
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(page(tmp_path).as_uri())
    sizes = browser.execute_script("return [...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert sizes == [200] * (2 + 3 * 2)
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    assert colours(browser, tmp_path) == [red, red, green]

    slider = browser.find_element("id", "slider")
    selenium.ActionChains(browser).move_to_element_with_offset(
        slider, -slider.size["width"] // 4, 0
    ).click().perform()
    assert 20 < float(slider.get_attribute("value")) < 30
    assert colours(browser, tmp_path) == [red, green, green]

    browser.find_element("css selector", "#right option[value='2']").click()
    assert colours(browser, tmp_path) == [red, blue, blue]

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked and {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert browser.get_log("browser") == []
