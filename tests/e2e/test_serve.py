"""`onedc serve` as its users meet it: a page in a browser, routes for programs, a server that lives on."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.e2e.conftest import PATIENCE_S, open_page
from tests.web_package import build

import onedc.serve
from onedc.cli.main import main
from onedc.codec import Codec
from onedc.container.info import info
from onedc.container.side_data import DESCRIPTION
from onedc.image import image_bytes, read_image
from onedc.loading import load

pytestmark = pytest.mark.skipif(
    find_spec("fastapi_offline") is None or find_spec("uvicorn") is None, reason="needs the extra serve"
)

PAGE = Path(onedc.serve.__file__).parent / "page"


@pytest.fixture(scope="module")
def model(with_graphs: Path) -> tuple[str, ...]:
    """The options of a model whose server starts without torch."""
    return "--weights", str(with_graphs), "--threads", "1", "--precision", "fp32"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, model: tuple[str, ...]) -> Iterator[str]:
    """A server of the fixture model; it writes no file."""
    folder = tmp_path_factory.mktemp("server")
    argv = [sys.executable, "-m", "onedc", "serve", "--port", "0", "--max-upload-mb", "1", *model]
    errors = (folder / "errors").open("wb")
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "TMPDIR": str(folder)}, text=True
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("onedc serves at "), (folder / "errors").read_text()
        yield line.split()[-1]
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
    errors.close()
    assert [path.name for path in folder.iterdir()] == ["errors"]
    assert (folder / "errors").read_text() == ""


@pytest.fixture(scope="module")
def codec(with_graphs: Path) -> Codec:
    return load(with_graphs, precision="fp32", threads=1)


def picture(seed: int) -> bytes:
    """A smooth picture of its own size, as PNG."""
    width, height = 96 + 16 * seed, 80
    rows, columns = np.mgrid[:height, :width]
    channels = [(columns * (2 + seed)) % 256, (rows * 3) % 256, ((rows + columns) * seed) % 256]
    return image_bytes(np.stack(channels, axis=-1).astype(np.uint8))


def declared_png(width: int, height: int) -> bytes:
    """A PNG that says it has this size and holds no row."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")))
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def post(url: str, data: bytes) -> tuple[int, bytes]:
    """Status and body of a POST."""
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_four_users_at_once_get_four_right_answers(address: str, codec: Codec) -> None:
    pictures = [picture(seed) for seed in range(1, 5)]

    def user(data: bytes) -> tuple[bytes, bytes]:
        status, file = post(f"{address}/encode?quality=70", data)
        assert status == 200, file
        status, png = post(f"{address}/decode", file)
        assert status == 200, png
        return file, png

    with ThreadPoolExecutor(4) as users:
        answers = list(users.map(user, pictures))
    for data, (file, png) in zip(pictures, answers, strict=True):
        assert file == codec.encode(read_image(data), quality=70)
        assert np.array_equal(read_image(png), codec.decode(file, output="numpy"))
        assert b"plausible, not evidence" in png


def test_routes_take_a_target_and_give_a_preview(address: str, codec: Codec) -> None:
    status, file = post(f"{address}/encode?target_bytes=200", picture(1))
    assert (status, file) == (200, codec.encode_to_size(read_image(picture(1)), 200))
    status, webp = post(f"{address}/decode?preview=true&format=webp", file)
    assert status == 200 and webp[8:12] == b"WEBP"
    assert np.array_equal(read_image(webp), codec.decode(file, output="numpy", preview=True))
    _, small = post(f"{address}/encode?target_bytes=40", picture(4))
    status, png = post(f"{address}/decode?full_size=true", small)
    assert status == 200 and read_image(png).shape == (80, 160, 3)


def test_bad_requests_are_refused_in_one_line(address: str, codec: Codec) -> None:
    whole = codec.encode(read_image(picture(1)), quality=70)
    transparent = Image.new("RGBA", (9, 9))
    transparent.save(buffer := io.BytesIO(), "PNG")
    refusals = [
        ("/encode", b"some text", 400, "not a picture that Pillow can read"),
        ("/encode", declared_png(16000, 12500), 400, "too many pixels"),
        ("/encode", declared_png(5000, 4000), 400, "5000x4000 is above the limit of 16000000 pixels"),
        ("/encode", b"\0" * 1_000_001, 413, "more than the 1,000,000 bytes"),
        ("/encode", buffer.getvalue(), 400, "has transparent places"),
        ("/encode?background=blurple", buffer.getvalue(), 400, "not a colour"),
        ("/encode?quality=101", picture(1), 400, "quality: Input should be less than or equal to 100"),
        ("/encode?quality=1&target_bytes=9", picture(1), 400, "quality or target_bytes, not both"),
        ("/encode?target_bytes=3", picture(1), 400, "cannot fit in 3 bytes"),
        ("/decode", b"some text", 400, "not a .1dc file"),
        ("/decode", whole[:-9], 400, "checksum mismatch"),
        ("/decode", whole[:9], 400, "cut short"),
        ("/decode", b"", 400, "not a .1dc file"),
        ("/decode?format=exe", whole, 400, "format: "),
        ("/decode?format=jpg", codec.encode(transparent, keep={"alpha"}), 400, "cannot be transparent"),
    ]
    for route, data, expected, message in refusals:
        status, body = post(address + route, data)
        detail = json.loads(body)["detail"]
        assert (status, message in detail, "\n" in detail) == (expected, True, False), (route, detail)
    assert post(f"{address}/encode?background=white", buffer.getvalue())[0] == 200


def test_the_routes_are_described_offline(address: str) -> None:
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=PATIENCE_S) as answer:
        described = json.load(answer)
    assert sorted(described["paths"]) == ["/decode", "/encode", "/read", "/status"]
    assert "requestBody" in described["paths"]["/encode"]["post"]
    with urllib.request.urlopen(f"{address}/docs", timeout=PATIENCE_S) as answer:
        assert b"://" not in answer.read()


@pytest.mark.parametrize("wrong", [("--port", "70000"), ("--queue", "0"), ("--max-megapixels", "-1")])
def test_wrong_usage(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["serve", *wrong])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("onedc: error: argument")


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` finds as soon as it is something."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.1)
    return found


class Page:
    """The page in a browser's newest tab."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        open_page(browser, address)
        self.tab = browser.current_window_handle

    def drop(self, path: Path) -> None:
        self.browser.switch_to.window(self.tab)
        self.find("file").send_keys(str(path))

    def find(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def said(self) -> str:
        """The one line, once nothing is computed any more."""
        self.browser.switch_to.window(self.tab)
        return eventually(lambda: not self.find("steps").is_displayed() and self.find("status").text)

    def width(self, name: str) -> int:
        """Width in pixels of a picture, 0 while it loads."""
        script = "const i = document.getElementById(arguments[0]); return i.complete ? i.naturalWidth : 0"
        return self.browser.execute_script(script, name)

    def split(self) -> float:
        """Where the left picture ends, in percent."""
        clip = self.find("left").value_of_css_property("clip-path")  # inset(0px calc(100% - 50%) 0px 0px)
        return 100 - float(clip.split()[1].removeprefix("calc(").split("%")[0])


DROP = """
const [bytes, ...names] = arguments;
const dataTransfer = new DataTransfer();
for (const name of names) dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
"""


def downloaded(folder: Path, name: str) -> Path:
    eventually(lambda: (folder / name).exists() and (folder / name).stat().st_size)
    return folder / name


def test_a_photo_in_the_browser(
    browser: Any, profile: Path, address: str, tmp_path: Path, codec: Codec, model: tuple[str, ...]
) -> None:
    from selenium.webdriver import ActionChains, Keys

    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(4))
    for log in ("browser", "performance"):
        browser.get_log(log)
    page = Page(browser, address)
    page.drop(photo)
    expected = codec.encode(read_image(photo))
    assert page.said() == f"photo.png: encoded in {len(expected):,} bytes."
    facts = page.find("facts").text
    assert f"{len(expected):,} bytes" in facts and f"{8 * len(expected) / (160 * 80):.4f} bpp" in facts
    assert "160 x 80" in facts and f"than {photo.stat().st_size:,} bytes" in facts and "NaN" not in facts
    assert "plausible, not evidence" in page.find("result").text
    assert [page.width(name) for name in ("left", "right", "preview")] == [160, 160, 160]

    assert page.split() == pytest.approx(50, abs=1)
    ActionChains(browser).drag_and_drop_by_offset(page.find("split"), -60, 0).perform()
    assert page.split() < 45
    page.find("split").send_keys(Keys.END)
    assert page.split() == 100
    page.find("split").send_keys(Keys.ARROW_LEFT)
    assert page.split() == 98
    page.find("full-screen").click()
    eventually(lambda: browser.execute_script("return document.fullscreenElement !== null"))
    browser.execute_script("document.exitFullscreen()")
    eventually(lambda: browser.execute_script("return document.fullscreenElement === null"))

    page.find("save-file").click()
    page.find("save").click()
    code, decoded = (downloaded(profile / "downloads", f"photo.{suffix}") for suffix in ("1dc", "png"))
    assert code.read_bytes() == expected
    assert main(["decode", str(code), "-o", str(tmp_path / "cli.png"), *model]) == 0
    assert np.array_equal(read_image(tmp_path / "cli.png"), read_image(decoded))

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    outside = [
        url
        for url in asked
        if not url.startswith((address, "data:", "blob:", "chrome:", "chrome-untrusted:", "about:"))
    ]
    assert asked and outside == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_number_of_bytes_in_the_browser(browser: Any, address: str, tmp_path: Path, codec: Codec) -> None:
    """Of a TIFF file, which browsers do not show: the server does it for them."""
    photo = tmp_path / "photo.tif"
    photo.write_bytes(image_bytes(read_image(picture(4)), ".tif"))
    page = Page(browser, address)
    browser.find_element("css selector", "[value=bytes]").click()
    assert not page.find("quality").is_displayed()
    page.find("bytes").clear()
    page.find("bytes").send_keys("30")
    page.drop(photo)
    expected = codec.encode_to_size(read_image(photo), 30)
    assert page.said() == f"photo.tif: encoded in {len(expected)} bytes."
    found = info(expected)
    assert found.original_width == 160
    assert f"{found.width} x {found.height}\nshrunk from 160 x 80" in page.find("facts").text
    assert [page.width(name) for name in ("left", "right", "preview")] == [160, 160, 160]

    page.find("bytes").clear()
    page.find("bytes").send_keys("3")
    click_and_read = "arguments[0].click(); return arguments[1].textContent"
    at_once = browser.execute_script(click_and_read, page.find("encode"), page.find("status"))
    assert at_once == "Opening photo.tif"
    assert "photo.tif: the picture cannot fit in 3 bytes" in page.said()
    assert not page.find("result").is_displayed()


def test_bad_uploads_get_a_message_and_the_page_lives_on(
    browser: Any, address: str, tmp_path: Path, codec: Codec
) -> None:
    whole = codec.encode(read_image(picture(1)), quality=70)
    bad = {
        "notes.txt": (b"some text", "notes.txt: not a picture that Pillow can read"),
        "huge.png": (declared_png(16000, 12500), "huge.png: too many pixels"),
        "long.png": (bytes(1_000_001), "long.png: the file has more than the 1,000,000 bytes allowed here"),
        "cut.1dc": (whole[:9], "cut.1dc: the file is cut short"),
    }
    page = Page(browser, address)
    for name, (data, message) in bad.items():
        (tmp_path / name).write_bytes(data)
        page.drop(tmp_path / name)
        assert page.said().startswith(message)
    browser.execute_script(DROP, list(whole), "good.1dc", "other.1dc")
    assert page.said() == "good.1dc: decoded. One file is opened at a time; not other.1dc."
    assert f"{len(whole):,} bytes" in page.find("facts").text
    assert page.find("left-name").text == "Semantic layer"
    assert [page.width(name) for name in ("left", "right", "preview")] == [112, 112, 112]


def test_what_arrived_of_a_file_is_shown_and_marked(
    browser: Any, address: str, tmp_path: Path, codec: Codec
) -> None:
    cut = codec.encode(read_image(picture(4)), quality=70)[:-9]
    note = codec.decode(cut, partial=True).info[DESCRIPTION]
    assert "3 of 4 parts" in note
    (tmp_path / "cut.1dc").write_bytes(cut)
    page = Page(browser, address)
    page.drop(tmp_path / "cut.1dc")
    assert page.said() == "cut.1dc: damaged or incomplete; decoded as far as it can be."
    assert page.find("right-name").text == "Incomplete" and note in page.find("doubt").text
    assert [page.width(name) for name in ("left", "right", "preview")] == [160, 160, 160]
    browser.execute_script(DROP, list(codec.encode(read_image(picture(4)))), "whole.1dc")
    assert page.said() == "whole.1dc: decoded."
    assert page.find("right-name").text == "Decoded" and not page.find("doubt").is_displayed()


ONE_RATE = """
const real = window.fetch;
window.fetch = async (address, options) =>
  address === "status" ? Response.json({ jobs: 1, upload_bytes: 1e6, qualities: 2 }) : real(address, options);
"""


def test_a_model_of_one_rate_leaves_no_rate_to_choose(
    browser: Any, address: str, tmp_path: Path, codec: Codec
) -> None:
    (tmp_path / "photo.png").write_bytes(picture(1))
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": ONE_RATE})
    page = Page(browser, address)
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    eventually(lambda: not page.find("quality").is_displayed())
    assert not browser.find_element("css selector", "[value=bytes]").is_displayed()
    page.drop(tmp_path / "photo.png")
    assert page.said() == f"photo.png: encoded in {len(codec.encode(read_image(picture(1)))):,} bytes."
    assert Page(browser, address).find("quality").is_displayed()


def test_four_tabs_at_once(browser: Any, address: str, tmp_path: Path, codec: Codec) -> None:
    pages = []
    for seed in range(1, 5):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed))
        if pages:
            browser.switch_to.new_window("tab")
        pages.append(Page(browser, address))
    for seed, page in enumerate(pages, 1):
        page.drop(tmp_path / f"{5 - seed}.png")
        page.drop(tmp_path / f"{seed}.png")  # at once in its place
    for seed, page in enumerate(pages, 1):
        expected = codec.encode(read_image(picture(seed)))
        assert page.said() == f"{seed}.png: encoded in {len(expected):,} bytes."
        assert page.width("right") == 96 + 16 * seed


BUSY = """
const real = window.fetch;
window.fetch = async (address, options) => {
  if (address === "status") return Response.json({ jobs: 3, upload_bytes: 1e6 });
  await new Promise((go) => (window.go = go));
  return real(address, options);
};
"""


def test_who_waits_is_told_for_how_long_and_for_how_many(
    browser: Any, address: str, tmp_path: Path, codec: Codec
) -> None:
    (tmp_path / "photo.1dc").write_bytes(codec.encode(read_image(picture(1))))
    page = Page(browser, address)
    browser.execute_script(BUSY)
    page.drop(tmp_path / "photo.1dc")
    eventually(lambda: page.find("clock").text.endswith(" s; the server has 2 more jobs"))
    assert page.find("status").text == "Decoding photo.1dc" and page.find("steps").is_displayed()
    browser.execute_script("window.fetch = () => Promise.reject(); window.go()")
    assert page.said() == "photo.1dc: the server does not answer"


def test_the_script_of_the_page_is_that_of_its_source(tmp_path: Path) -> None:
    build(tmp_path, "--page")
    assert (tmp_path / "page.js").read_bytes() == (PAGE / "page.js").read_bytes(), "run make page"
