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

from onedc.cli.main import main
from onedc.codec import Codec
from onedc.image import image_bytes, read_image
from onedc.loading import load

pytestmark = pytest.mark.skipif(
    find_spec("gradio") is None or find_spec("fastapi_offline") is None, reason="needs the extra serve"
)

WEIGHTS = Path(__file__).parents[1] / "conformance" / "fixture.safetensors"
MODEL = ("--weights", str(WEIGHTS), "--threads", "1", "--precision", "fp32")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the fixture model; when it ends it leaves no file behind."""
    folder = tmp_path_factory.mktemp("server")
    argv = [sys.executable, "-m", "onedc", "serve", "--port", "0", "--max-upload-mb", "1", *MODEL]
    errors = (folder / "errors").open("wb")
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "TMPDIR": str(folder)}, text=True
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("onedc serves at "), (folder / "errors").read_text()
        assert list(folder.glob("onedc-serve-*"))
        yield line.split()[-1]
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
    errors.close()
    assert [path.name for path in folder.iterdir()] == ["errors"]
    assert (folder / "errors").read_text() == ""


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(WEIGHTS, precision="fp32", threads=1)


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
    assert sorted(described["paths"]) == ["/decode", "/encode"]
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
    """The page in a browser."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get(address)
        eventually(lambda: self.all("#upload input[type=file]"))

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements("css selector", selector)

    def drop(self, path: Path) -> None:
        """Put a file in the place of the one before; close its message and clear it first."""
        for cross in self.all(".toast-close"):
            cross.click()
        eventually(lambda: not self.all(".toast-body"))
        for cross in self.all("#upload button[aria-label=Clear], #upload button[title=Clear]"):
            cross.click()
        eventually(lambda: self.all("#upload input[type=file]"))[0].send_keys(str(path))

    def texts(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))

    def slider_widths(self) -> list[int]:
        """Widths in pixels of the two pictures under the slider, 0 while they load."""
        script = (
            "return [...document.querySelectorAll('#slider img')].map(i => i.complete ? i.naturalWidth : 0)"
        )
        return self.browser.execute_script(script)

    def split(self) -> float:
        """Where the left picture ends, in percent."""
        style = self.all("#slider img.fixed")[0].get_attribute("style")
        return float(style.split("clip-path: inset(")[1].split(")")[0].split()[3].rstrip("%"))


def test_a_photo_in_the_browser(browser: Any, address: str, tmp_path: Path, codec: Codec) -> None:
    from selenium.webdriver import ActionChains

    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(4))
    page = Page(browser, address)
    page.drop(photo)
    eventually(lambda: "bits per pixel" in page.texts("#facts"))
    expected = codec.encode(read_image(photo))
    assert f"{len(expected):,} bytes" in page.texts("#facts")
    assert f"{8 * len(expected) / (160 * 80):.4f} bpp" in page.texts("#facts")
    eventually(lambda: page.slider_widths() == [160, 160])
    eventually(lambda: page.all("#preview img"))

    assert page.split() == pytest.approx(50, abs=1)
    handle = page.all("#slider [data-testid=slider] .inner")[0]
    ActionChains(browser).drag_and_drop_by_offset(handle, -60, 0).perform()
    assert page.split() < 45

    downloads = tmp_path / "downloads"
    page.all("#get-1dc")[0].click()
    page.all("#get-png")[0].click()
    eventually(lambda: {"photo.1dc", "photo.png"} <= {p.name for p in downloads.glob("*")})
    assert (downloads / "photo.1dc").read_bytes() == expected
    assert main(["decode", str(downloads / "photo.1dc"), "-o", str(tmp_path / "cli.png"), *MODEL]) == 0
    assert np.array_equal(read_image(tmp_path / "cli.png"), read_image(downloads / "photo.png"))

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:", "chrome:", "about:"))]
    assert asked and outside == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_bad_uploads_get_a_message_and_the_page_lives_on(
    browser: Any, address: str, tmp_path: Path, codec: Codec
) -> None:
    whole = codec.encode(read_image(picture(1)), quality=70)
    bad = {
        "notes.txt": (b"some text", "notes.txt: not a picture that Pillow can read"),
        "huge.png": (declared_png(16000, 12500), "huge.png: too many pixels"),
        "cut.1dc": (whole[:-9], "cut.1dc: checksum mismatch"),
    }
    page = Page(browser, address)
    for name, (data, message) in bad.items():
        (tmp_path / name).write_bytes(data)
        page.drop(tmp_path / name)
        eventually(lambda message=message: message in page.texts(".toast-body"))
    (tmp_path / "good.1dc").write_bytes(whole)
    page.drop(tmp_path / "good.1dc")
    eventually(lambda: f"{len(whole):,} bytes" in page.texts("#facts"))
    eventually(lambda: page.slider_widths() == [112, 112])
