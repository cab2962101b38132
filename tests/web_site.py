"""A folder for the tests of the browser's package, and a plain file server for it."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from tests.conformance.pictures import picture
from tests.graphs import SharedGraphs
from tests.unit.little_model import LITTLE, random_model
from tests.web_package import build, example

from onedc.codec import Codec
from onedc.engine.graphs import ANALYSIS, LATENTS, PIXELS, SHARED, SIDE, STEM, TILE
from onedc.loading import load
from onedc.weights.file import save_weights

CONFORMANCE = Path(__file__).parent / "conformance"
GOLDENS = sorted(path.parent for path in CONFORMANCE.glob("bundled/*/file.1dc"))
_ONE_RATE = replace(
    LITTLE,
    quality_knots=0,
    generator_unet=replace(LITTLE.generator_unet, widths=(32,), attention=(False,)),  # a smaller graph
)
ONE_RATE = {"one-rate": _ONE_RATE, "z-alone": replace(_ONE_RATE, z_only=True)}
"""Models whose users have no quality to choose."""
SIZES = [(90, 70), (200, 150), (384, 256)]


class Site:
    """A folder behind a plain file server on this machine.

    Attributes:
        address: without a slash at its end.
        asked: names of the files that were asked for; with `slow`, of which browsers may then keep none.
        gate: with `slow`, half of each weights file is sent before it is set.
    """

    def __init__(self, folder: Path, *, slow: bool = False) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        site = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def end_headers(self) -> None:
                if slow:
                    site.asked.append(self.path.rpartition("/")[2])
                    self.send_header("Cache-Control", "no-store")
                super().end_headers()

            def copyfile(self, source: Any, outputfile: Any) -> None:
                if slow and self.path.endswith("/weights.safetensors"):
                    outputfile.write(source.read(Path(source.name).stat().st_size // 2))
                    outputfile.flush()
                    site.gate.wait()
                with suppress(ConnectionError):  # of who has stopped
                    super().copyfile(source, outputfile)

        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
        )
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def built_site(root: Path, graphs_of: SharedGraphs) -> Path:
    """The package built with a little model (LITTLE), the bundled one's weights, and files.

    Beside them lies a page without content.
    """
    folder, graphs = root / "dist", graphs_of(LITTLE)
    little = functools.partial(save_weights, model=random_model(LITTLE), model_id=200, dtype=torch.int8)
    little(root / "little.safetensors", graphs=graphs)
    build(folder, "--weights", str(root / "little.safetensors"))
    for name, config in ONE_RATE.items():
        little(folder / f"{name}.safetensors", model=random_model(config), graphs=graphs_of(config))
    little(folder / "tiled.safetensors", graphs=with_facts(graphs, (STEM, PIXELS), {SIDE: "40"}))
    overlap = {TILE: "512", SHARED: "64"}
    little(folder / "blended.safetensors", graphs=with_facts(graphs, (ANALYSIS, LATENTS), overlap))
    build(root / "bundled")
    (folder / "bundled").mkdir()
    for part in (root / "bundled").glob("*.safetensors"):
        part.rename(folder / "bundled" / part.name)
    shutil.copy(CONFORMANCE / "fixture.safetensors", folder)
    write_files(folder, load(root / "little.safetensors", threads=1))
    return folder


def with_facts(
    graphs: Mapping[str, bytes], names: Sequence[str], facts: Mapping[str, str]
) -> dict[str, bytes]:
    """The graphs, of which some say otherwise how they run in tiles."""
    told = dict(graphs)
    for name in names:
        model = onnx.load_from_string(graphs[name])
        onnx.helper.set_model_props(model, {p.key: p.value for p in model.metadata_props} | dict(facts))
        told[name] = bytes(model.SerializeToString())
    return told


def write_files(folder: Path, codec: Codec) -> None:
    """The files and photos that the tests here open."""
    for width, height in SIZES:
        (folder / f"{width}x{height}.1dc").write_bytes(codec.encode(picture(width, height), quality=60))
    (folder / "z-only.1dc").write_bytes(codec.encode(picture(90, 70), quality=0))
    (folder / "large.1dc").write_bytes(codec.encode(picture(1100, 1000), quality=0))
    (folder / "transparent.1dc").write_bytes(codec.encode(transparent(), keep=("alpha",)))
    for width, height in ((90, 70), (200, 150), (1100, 1000)):
        Image.fromarray(picture(width, height)).save(folder / f"{width}x{height}.png")
    whole = (folder / "200x150.1dc").read_bytes()
    (folder / "cut.1dc").write_bytes(whole[: len(whole) * 2 // 3])
    first, second = (Image.fromarray(picture(90, 70)[:, ::step]) for step in (1, -1))
    first.save(folder / "animated.gif", save_all=True, append_images=[second])
    damaged = bytearray((folder / "90x70.1dc").read_bytes())
    damaged[-20] ^= 1
    (folder / "damaged.1dc").write_bytes(damaged)
    (folder / "empty.1dc").touch()
    for golden in GOLDENS:
        shutil.copy(golden / "file.1dc", folder / f"{golden.name}.1dc")
    page = example("html").replace("./onedc/", "./").replace("photo.1dc", "90x70.1dc")
    (folder / "readme.html").write_text(page)
    (folder / "blank.html").write_text("<!doctype html><link rel=icon href=data:,>")


def transparent() -> Image.Image:
    rgba = np.dstack([picture(90, 70), np.zeros((70, 90), np.uint8)])
    rgba[:, :, 3] = np.arange(90) * 2
    return Image.fromarray(rgba)
