"""The package for the browser, in one: integers, pixels and files as Python has them, a page, elements."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conformance.pictures import picture
from tests.conformance.recording import integers_only, recorded
from tests.conformance.seams import digest, synthesised
from tests.e2e.conftest import PATIENCE_S, open_page, wait_for
from tests.graphs import SharedGraphs
from tests.web_site import GOLDENS, ONE_RATE, SIZES, Site, built_site

from onedc.codec import Codec
from onedc.container.info import info
from onedc.container.side_data import DESCRIPTION
from onedc.loading import load
from onedc.serve.service import Limits, Service

ui = pytest.importorskip("selenium.webdriver.support.ui")

QUICK = ("low-64x64", "z-only-130x70")
"""Goldens whose pixels a browser has in seconds; their integers are compared of all."""
WARNING = "Fine details in this picture are generated. They are plausible, not evidence."

INTEGERS = """
const [weights, files, done] = arguments;
(async () => {
  const onedc = await import("/integers.js");
  const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
  const model = new onedc.Weights(await bytes(weights)), hashes = {};
  for (const file of files) {
    const { yHat } = await onedc.decodeIntegers(await bytes(file), model);
    hashes[file] = onedc.toHex(onedc.sha256(new Uint8Array(yHat.data.buffer)));
  }
  return hashes;
})().then(done, (error) => done(String(error)));
"""
DECODE = """
const [settings, file, options, done] = arguments;
(async () => {
  const onedc = await import("./onedc.js");
  onedc.configure(settings);
  const data = new Uint8Array(await (await fetch(file)).arrayBuffer());
  const { rgba, ...facts } = await onedc.decodeReport(data, options);
  let text = "";
  for (const byte of rgba) text += String.fromCharCode(byte);
  return { ...facts, rgba: btoa(text) };
})().then(done, (error) => done(`${error.name}: ${error.message}`));
"""
ENCODE = """
const [url, aim, settings, done] = arguments;
(async () => {
  const onedc = await import("./onedc.js");
  const { check, ...others } = settings;
  onedc.configure(others);
  const photo = await (await fetch(url)).blob();
  return [...(await onedc.encode(photo, aim, { check }))];
})().then(done, (error) => done(`${error.name}: ${error.message}`));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_graphs: SharedGraphs) -> Path:
    """See `built_site`."""
    return built_site(tmp_path_factory.mktemp("web"), shared_graphs)


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return load(folder.parent / "little.safetensors", threads=1)


@pytest.fixture(scope="module")
def bundled() -> Codec:
    return load(engine="onnx", threads=1)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[str]:
    """The address of a server that sends no special header."""
    site = Site(folder)
    yield site.address
    site.close()


@pytest.fixture(scope="module")
def isolated(folder: Path, codec: Codec) -> Iterator[str]:
    """The address at which `onedc serve --web` sends the headers that threads need."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
    from onedc.serve import server

    app = server.make_app(Service(codec, Limits()), web=folder)
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with server.listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/web"
        running.should_exit = True
        thread.join()


def y_hat_sha256(codec: Codec, data: bytes) -> str:
    with synthesised(codec) as latents:
        codec.decode(data)
    return digest(latents[0], "<f4")


def decoded(
    browser: Any, file: str, *, options: dict[str, bool] | None = None, **settings: Any
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What the library makes of a file of the site, and its pixels [H,W,4]."""
    found = browser.execute_async_script(DECODE, settings, file, options or {})
    assert isinstance(found, dict), found
    rgba = np.frombuffer(base64.b64decode(found.pop("rgba")), np.uint8)
    return found, rgba.reshape(found["height"], found["width"], 4)


def assert_close(rgba: NDArray[np.uint8], reference: NDArray[np.uint8]) -> None:
    difference = abs(rgba[..., : reference.shape[2]].astype(int) - reference)
    assert difference.mean() <= 0.1 and difference.max() <= 3
    if reference.shape[2] == 3:
        assert (rgba[..., 3] == 255).all()


@pytest.mark.parametrize("model", ["little", "bundled"])
def test_integers_are_those_of_python(
    browser: Any, plain: str, folder: Path, codec: Codec, bundled: Codec, model: str
) -> None:
    names, weights = [f"{width}x{height}" for width, height in SIZES], "weights.safetensors"
    if model == "bundled":
        names, weights, codec = [golden.name for golden in GOLDENS], "bundled/weights.safetensors", bundled
    expected = {f"{name}.1dc": y_hat_sha256(codec, (folder / f"{name}.1dc").read_bytes()) for name in names}
    browser.get(f"{plain}/blank.html")
    assert browser.execute_async_script(INTEGERS, weights, list(expected)) == expected


def test_pixels_are_those_of_python_without_special_headers(
    browser: Any, plain: str, folder: Path, codec: Codec
) -> None:
    browser.get_log("browser")
    browser.get(f"{plain}/blank.html")
    for name in ("90x70", "200x150", "384x256", "z-only", "large", "transparent"):
        facts, rgba = decoded(browser, f"{name}.1dc", threads=2)
        assert (facts["backend"], facts["threads"]) == ("wasm", 1)
        assert_close(rgba, codec.decode(folder / f"{name}.1dc", output="numpy"))
    for name, options in (("200x150", {"preview": True}), ("cut", {"partial": True})):
        facts, rgba = decoded(browser, f"{name}.1dc", options=options)
        expected = codec.decode(folder / f"{name}.1dc", **options)
        assert_close(rgba, np.asarray(expected))
        assert facts["note"] == expected.info[DESCRIPTION]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize(
    "names", [QUICK, pytest.param([golden.name for golden in GOLDENS], marks=pytest.mark.full)], ids=len
)
def test_pixels_of_the_bundled_model_are_those_of_python(
    browser: Any, plain: str, folder: Path, bundled: Codec, names: Sequence[str]
) -> None:
    browser.get(f"{plain}/blank.html")
    for name in names:
        _, rgba = decoded(browser, f"{name}.1dc", weights="bundled/weights.safetensors")
        assert_close(rgba, bundled.decode(folder / f"{name}.1dc", output="numpy"))


def test_other_tiles_give_the_same(browser: Any, plain: str, folder: Path, codec: Codec) -> None:
    browser.get(f"{plain}/blank.html")
    settings = {"weights": "tiled.safetensors"}
    _, rgba = decoded(browser, "large.1dc", **settings)
    assert_close(rgba, codec.decode(folder / "large.1dc", output="numpy"))
    data = bytes(browser.execute_async_script(ENCODE, "1100x1000.png", {"quality": 0}, settings))
    assert share_of_integers_that_differ(codec, data, (folder / "large.1dc").read_bytes()) < 0.005


def test_blended_tiles_are_those_of_python(browser: Any, plain: str, folder: Path) -> None:
    python = load(folder / "blended.safetensors", threads=1)
    browser.get(f"{plain}/blank.html")
    settings = {"weights": "blended.safetensors"}
    _, rgba = decoded(browser, "large.1dc", **settings)
    assert_close(rgba, python.decode(folder / "large.1dc", output="numpy"))
    data = bytes(browser.execute_async_script(ENCODE, "1100x1000.png", {"quality": 0}, settings))
    assert share_of_integers_that_differ(python, data, python.encode(picture(1100, 1000), quality=0)) < 0.005


def test_threads_where_the_page_may_have_them(
    browser: Any, isolated: str, folder: Path, codec: Codec
) -> None:
    browser.get(f"{isolated}/blank.html")
    facts, rgba = decoded(browser, "384x256.1dc", threads=2)
    assert facts["threads"] == 2
    assert_close(rgba, codec.decode(folder / "384x256.1dc", output="numpy"))


def test_the_page_shows_a_picture_and_asks_no_other_machine(browser: Any, plain: str, folder: Path) -> None:
    browser.get("about:blank")
    browser.get_log("performance")
    open_page(browser, f"{plain}/")
    browser.find_element("id", "file").send_keys(str(folder / "200x150.1dc"))
    wait_for(browser, "return !document.getElementById('result').hidden")
    size = (folder / "200x150.1dc").stat().st_size
    facts = browser.find_element("id", "facts").text
    assert f"{size:,} bytes\nmodel 200" in facts and "200 x 150" in facts and "\n60\n" in facts
    assert WARNING in browser.find_element("id", "result").text
    browser.find_element("id", "show-layer").click()
    for shown in ("right", "left", "preview"):
        wait_for(browser, f"return document.getElementById('{shown}').naturalWidth === 200")
    for name, line in (
        ("empty.1dc", "empty.1dc: the file is empty"),
        ("page.css", "page.css: this browser cannot read it as a picture; save it as JPEG or PNG first"),
        ("low-64x64.1dc", "low-64x64.1dc: the file needs model 1; loaded is 200"),
    ):
        browser.find_element("id", "file").send_keys(str(folder / name))
        wait_for(browser, "return document.getElementById('status').classList.contains('error')")
        assert browser.find_element("id", "status").text == line
        assert not browser.find_element("id", "result").is_displayed()
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked and all(url.startswith((plain, "data:", "blob:")) for url in asked)


def share_of_integers_that_differ(codec: Codec, data: bytes, reference: bytes) -> float:
    """Between two files of one picture."""
    found = []
    for file in (data, reference):
        with recorded(codec) as recording, integers_only(codec):
            codec.decode(file)
        found.append(np.concatenate([array.ravel() for array in recording.arrays().values()]))
    return float((found[0] != found[1]).mean())


@pytest.mark.parametrize(
    ("model", "size", "qualities"), [("little", (200, 150), (0, 30, 60)), ("bundled", (90, 70), (60,))]
)
def test_photos_become_the_files_that_python_makes_nearly(
    browser: Any,
    plain: str,
    codec: Codec,
    bundled: Codec,
    model: str,
    size: tuple[int, int],
    qualities: tuple[int, ...],
) -> None:
    """Floats of another build may round a value of y the other way, no more."""
    browser.get(f"{plain}/blank.html")
    python, place = (codec, "") if model == "little" else (bundled, "bundled/")
    settings = {"weights": f"{place}weights.safetensors"}
    for quality in qualities:
        photo = "{}x{}.png".format(*size)
        data = bytes(browser.execute_async_script(ENCODE, photo, {"quality": quality}, settings))
        reference = python.encode(picture(*size), quality=quality)
        assert share_of_integers_that_differ(python, data, reference) < 0.005
        assert data[:5] == reference[:5] or quality


def test_a_target_is_met_as_by_python(browser: Any, plain: str, codec: Codec) -> None:
    browser.get(f"{plain}/blank.html")
    expected = info(codec.encode_to_size(picture(200, 150), 2000))
    found = info(bytes(browser.execute_async_script(ENCODE, "200x150.png", {"targetBytes": 2000}, {})))
    assert found.size_bytes <= 2000 and found.original_width is None
    assert abs(found.quality_byte - expected.quality_byte) <= 1 and 0 < found.quality_byte < 255
    unchecked = browser.execute_async_script(ENCODE, "200x150.png", {"quality": 0}, {"check": False})
    assert bytes(unchecked) == codec.encode(picture(200, 150), quality=0, check=False)


def test_photos_that_cannot_become_files(browser: Any, plain: str) -> None:
    browser.get(f"{plain}/blank.html")
    refused = browser.execute_async_script(ENCODE, "200x150.png", {"targetBytes": 3}, {})
    assert refused.startswith("OneDCError: the picture cannot fit in 3 bytes: its smallest file has ")
    for name, settings, line in (
        ("page.css", {}, "this browser cannot read it as a picture; save it as JPEG or PNG first"),
        ("animated.gif", {}, "holds 2 frames, .1dc holds one; save one of them as a picture of its own"),
        ("200x150.png", {"maxPixels": 9}, "200x150 pixels, more than the limit of 9; make it smaller"),
    ):
        browser.get(f"{plain}/blank.html")
        refused = browser.execute_async_script(ENCODE, name, {"quality": 50}, settings)
        assert refused == f"OneDCError: {line}"


@pytest.mark.parametrize("model", ONE_RATE)
def test_models_of_one_rate_make_the_files_that_python_makes(
    browser: Any, plain: str, folder: Path, model: str
) -> None:
    browser.get(f"{plain}/blank.html")
    python, settings = load(folder / f"{model}.safetensors", threads=1), {"weights": f"{model}.safetensors"}
    for aim, expected in (
        ({"quality": 60}, python.encode(picture(200, 150), quality=60)),
        ({"targetBytes": 5000}, python.encode_to_size(picture(200, 150), 5000)),
        ({"targetBytes": 30}, python.encode_to_size(picture(200, 150), 30)),
    ):
        found, of_python = (
            info(data)
            for data in (bytes(browser.execute_async_script(ENCODE, "200x150.png", aim, settings)), expected)
        )
        assert (found.quality_byte, found.width) == (of_python.quality_byte, of_python.width)
        assert abs(found.size_bytes - of_python.size_bytes) <= 2


def test_what_is_whole_of_a_file_is_shown_and_marked(
    browser: Any, plain: str, folder: Path, codec: Codec
) -> None:
    def marks() -> tuple[str, str]:
        wait_for(browser, "return document.getElementById('steps').hidden")
        return tuple(browser.find_element("id", name).text for name in ("right-name", "doubt"))

    open_page(browser, f"{plain}/")
    mismatch = "checksum mismatch: the file is damaged, or was made with other weights"
    for name in ("cut.1dc", "damaged.1dc"):
        browser.find_element("id", "file").send_keys(str(folder / name))
        wait_for(browser, "return !document.getElementById('result').hidden")
        note = codec.decode(folder / name, partial=True).info[DESCRIPTION]
        badge, doubt = marks()
        assert (badge, mismatch in doubt, f"read, {note}." in doubt) == ("Incomplete", True, True)
        assert "of 4 parts" in note and "Check\nfails" in browser.find_element("id", "facts").text
        line = f"{name}: damaged or incomplete; decoded as far as it can be."
        assert browser.find_element("id", "status").text == line
        assert browser.find_element("id", "save").get_attribute("download").endswith("-incomplete.png")
    browser.find_element("id", "show-layer").click()
    wait_for(browser, "return document.getElementById('preview').naturalWidth === 90")
    browser.find_element("id", "file").send_keys(str(folder / "90x70.1dc"))
    wait_for(browser, "return document.getElementById('status').textContent === '90x70.1dc: decoded.'")
    assert marks() == ("Decoded", "") and "Check\nintact" in browser.find_element("id", "facts").text


def test_loading_is_shown_and_can_be_stopped_and_then_all_is_there(browser: Any, folder: Path) -> None:
    site = Site(folder, slow=True)
    try:
        open_page(browser, f"{site.address}/")
        for end in ("stop", "begin"):
            browser.find_element("id", "file").send_keys(str(folder / "200x150.1dc"))
            loading = "return document.getElementById('clock').textContent.includes('loading the model: ')"
            wait_for(browser, loading)
            if end == "stop":
                browser.find_element("id", "stop").click()
                assert browser.find_element("id", "status").text == "200x150.1dc: stopped."
        site.gate.set()
        wait_for(browser, "return document.getElementById('status').textContent === '200x150.1dc: decoded.'")
        assert site.asked.count("weights.safetensors") == 1  # what had come was kept
    finally:
        site.close()
    for name, line in (
        ("90x70.1dc", "90x70.1dc: decoded."),
        (
            "200x150.png",
            f"200x150.png: {site.address}/encoder.safetensors: cannot be fetched: Failed to fetch",
        ),
    ):
        browser.find_element("id", "file").send_keys(str(folder / name))
        wait_for(browser, f"return document.getElementById('status').textContent === '{line}'")


STOP = """
const [done] = arguments;
(async () => {
  const onedc = await import("./onedc.js");
  const fetched = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
  const [large, small] = [await fetched("large.1dc"), await fetched("90x70.1dc")];
  await onedc.decode(small);
  const ending = new AbortController();
  const first = onedc.decode(large, { signal: ending.signal }).catch((error) => error.name);
  const second = onedc.decode(small);
  await new Promise((go) => setTimeout(go, 500));
  ending.abort();
  return [await first, (await second).width];
})().then(done, (error) => done(String(error)));
"""


def test_work_that_has_begun_ends_and_what_waits_goes_on(browser: Any, folder: Path) -> None:
    site = Site(folder, slow=True)
    site.gate.set()
    try:
        browser.get(f"{site.address}/blank.html")
        assert browser.execute_async_script(STOP) == ["AbortError", 90]
        assert site.asked.count("weights.safetensors") == 2  # by another worker
    finally:
        site.close()


def test_a_page_that_lost_its_site_says_so(browser: Any, folder: Path) -> None:
    site = Site(folder, slow=True)
    open_page(browser, f"{site.address}/")
    site.close()
    browser.find_element("id", "file").send_keys(str(folder / "90x70.1dc"))
    wait_for(browser, "return document.getElementById('status').classList.contains('error')")
    line = "90x70.1dc: the codec cannot start: its script cannot be fetched"
    assert browser.find_element("id", "status").text == line


def test_the_encoder_is_in_the_weights_file_or_beside_it(browser: Any, plain: str, folder: Path) -> None:
    (folder / "whole").mkdir()
    shutil.copy(folder.parent / "little.safetensors", folder / "whole/weights.safetensors")
    (folder / "alone").mkdir()
    shutil.copy(folder / "weights.safetensors", folder / "alone")
    made = []
    for place in ("", "whole/", "alone/"):
        browser.get(f"{plain}/blank.html")
        settings = {"weights": f"{place}weights.safetensors"}
        made.append(browser.execute_async_script(ENCODE, "200x150.png", {"quality": 0}, settings))
    assert made[0] == made[1] and bytes(made[0]).startswith(b"\x1d")
    line = "alone/encoder.safetensors: cannot be fetched: 404 File not found"
    assert made[2] == f"WeightsError: {plain}/{line}"


def test_the_page_makes_a_file_of_so_many_bytes(
    browser: Any, plain: str, folder: Path, profile: Path, codec: Codec
) -> None:
    open_page(browser, f"{plain}/")
    browser.find_element("css selector", "[value=bytes]").click()
    limit = browser.find_element("id", "bytes")
    limit.clear()
    limit.send_keys("50")
    browser.find_element("id", "file").send_keys(str(folder / "200x150.png"))
    wait_for(browser, "return !document.getElementById('result').hidden")
    wait_for(browser, "return document.getElementById('steps').hidden")
    browser.find_element("id", "save-file").click()
    made = profile / "downloads" / "200x150.1dc"
    ui.WebDriverWait(browser, PATIENCE_S, 0.1).until(lambda _: made.exists() and made.stat().st_size)
    facts = info(made)
    assert facts.size_bytes <= 50 and (facts.original_width, facts.original_height) == (200, 150)
    assert browser.find_element("id", "status").text == f"200x150.png: encoded in {facts.size_bytes} bytes."
    browser.find_element("id", "show-layer").click()
    for shown in ("left", "right", "preview"):  # all at the photo's size
        wait_for(browser, f"return document.getElementById('{shown}').naturalWidth === 200")
    assert codec.decode(made, output="numpy").shape == (facts.height, facts.width, 3)


def test_a_page_carries_the_notices_of_what_it_holds(folder: Path) -> None:
    notices = [(place / "NOTICE.txt").read_text() for place in (folder, folder.parent / "bundled")]
    for author in ("Microsoft Corporation", "Ollin Boer Bohan"):
        assert all(author in notice for notice in notices)


ELEMENTS = """
const [done] = arguments;
import("./onedc.js").then(({ defineElement, showImages }) => {
  defineElement();
  showImages();
  document.body.innerHTML = `<onedc-img id=good src=90x70.1dc alt="a test"></onedc-img>
    <onedc-img id=bad src=damaged.1dc></onedc-img><img id=plain src=200x150.1dc>`;
  document.getElementById("bad").addEventListener("error", (event) => (window.line = event.detail));
  done();
});
"""


def test_elements_show_files(browser: Any, plain: str) -> None:
    browser.get(f"{plain}/blank.html")
    browser.execute_async_script(ELEMENTS)
    wait_for(browser, "return document.getElementById('plain').naturalWidth === 200")
    canvas = "document.getElementById('good').shadowRoot.querySelector('canvas')"
    wait_for(browser, f"return {canvas}?.width === 90 && {canvas}.height === 70")
    assert "plausible, not evidence" in browser.execute_script(
        "return document.getElementById('plain').title"
    )
    good = browser.find_element("id", "good")
    assert (good.aria_role, good.accessible_name) == ("image", "a test")
    line = wait_for(browser, "return window.line")
    assert line.startswith("damaged.1dc: checksum mismatch") and "\n" not in line


def test_the_page_in_the_readme_shows_its_pictures(browser: Any, plain: str) -> None:
    browser.get(f"{plain}/readme.html")
    wait_for(browser, "return document.querySelector('img').naturalWidth === 90")
    wait_for(
        browser,
        "return document.querySelector('onedc-img').shadowRoot?.querySelector('canvas')?.width === 90",
    )


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        ("fixture.safetensors", "the graph latents is missing: this model only runs in Python"),
        ("nowhere.safetensors", "cannot be fetched: 404 File not found"),
        ("page.css", "it is not a safetensors file"),
    ],
)
def test_weights_that_cannot_be_used(browser: Any, plain: str, weights: str, line: str) -> None:
    browser.get(f"{plain}/blank.html")
    found = browser.execute_async_script(DECODE, {"weights": weights}, "90x70.1dc", {})
    assert found == f"WeightsError: {plain}/{weights}: {line}"
