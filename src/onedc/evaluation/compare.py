"""One picture in several codecs side by side: a page that opens from disk, and a still of it.

The page holds all it needs and asks the network for nothing. Numbers come from `run`, like all others.
"""

from __future__ import annotations

import base64
import html
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from onedc.evaluation.codecs import BaselineError, kept_file
from onedc.evaluation.metrics import METRICS
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Record
from onedc.evaluation.run import evaluate
from onedc.evaluation.sheet import Tile, draw_sheet, marked, resized
from onedc.image import RGBArray, image_bytes, read_image

REGIONS = 3
REGION_PX = 128


@dataclass(frozen=True)
class Panel:
    """One version of the picture with what is known of it."""

    name: str
    pixels: RGBArray
    facts: tuple[str, ...] = ()  # lines for under the picture: bytes, bits per pixel, metrics


@dataclass(frozen=True)
class SideBySide:
    """The original first, then the codecs; and the corners (top, left) of the regions to look at."""

    title: str
    panels: tuple[Panel, ...]
    regions: tuple[tuple[int, int], ...]
    region_px: int
    notes: tuple[str, ...] = field(default=())


def compare_picture(path: Path, options: EvaluationOptions) -> SideBySide:
    """Measure one picture with the codecs of `options`, whose `output` is not used.

    White is laid under transparent places.

    Raises:
        ImageError: the picture cannot be read.
        BaselineError: no codec could be measured.
    """
    original = read_image(path, background="white")
    with tempfile.TemporaryDirectory() as folder:
        results = evaluate([path], replace(options, output=Path(folder), keep_decoded=True))
        panels = [
            Panel(record.codec, read_image(_decoded(Path(folder), record)), _facts(record))
            for record in results.records
        ]
    notes = [f"{f.codec}: {f.reason}" for f in results.failures]
    notes += [f"{codec}: {reason}" for codec, reason in results.unavailable.items()]
    if not panels:
        raise BaselineError(f"{path}: nothing to compare: {'; '.join(notes)}")
    size_px = max(16, min(REGION_PX, *original.shape[:2]))
    height, width = original.shape[:2]
    first = Panel("original", original, (f"{width}x{height} pixels",))
    regions = most_different(original, [panel.pixels for panel in panels], size_px)
    return SideBySide(path.name, (first, *panels), tuple(regions), size_px, tuple(notes))


def _decoded(folder: Path, record: Record) -> Path:
    return kept_file(folder / "decoded", record.codec, record.setting, record.image, ".png")


def _facts(record: Record) -> tuple[str, ...]:
    size = f"{record.bytes:,} bytes, {record.bpp:.4f} bpp"
    if not record.reached:
        size += " (its smallest file)"
    lines = [size]
    for name, value in record.metrics.items():
        if value is not None:
            info = METRICS[name]
            lines.append(f"{info.label} {value:.{info.digits}f} {info.unit}".rstrip())
    return tuple(lines)


def most_different(original: RGBArray, decoded: Sequence[RGBArray], size_px: int) -> list[tuple[int, int]]:
    """Corners of up to REGIONS squares, apart from each other, where the versions differ most.

    The measure is the largest mean squared error of any version over the square.
    """
    height, width = original.shape[:2]
    size_y, size_x = min(size_px, height), min(size_px, width)
    worst = np.zeros((height - size_y + 1, width - size_x + 1))
    for pixels in decoded:
        error = np.square(original.astype(np.float64) - pixels).sum(axis=2)
        sums = np.pad(error.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        bands = sums[size_y:] - sums[:-size_y]
        worst = np.maximum(worst, bands[:, size_x:] - bands[:, :-size_x])
    corners: list[tuple[int, int]] = []
    while len(corners) < REGIONS and worst.max() >= 0:
        top, left = (int(i) for i in np.unravel_index(np.argmax(worst), worst.shape))
        corners.append((top, left))
        worst[max(0, top - size_y + 1) : top + size_y, max(0, left - size_x + 1) : left + size_x] = -1
    return corners


def to_html(comparison: SideBySide) -> str:
    """The page, with all pictures inside it (lossless)."""
    data = {
        "width": comparison.panels[0].pixels.shape[1],
        "height": comparison.panels[0].pixels.shape[0],
        "region": comparison.region_px,
        "regions": comparison.regions,
        "panels": [{"name": p.name, "facts": p.facts, "src": _data_uri(p.pixels)} for p in comparison.panels],
        "notes": comparison.notes,
    }
    template = files("onedc.evaluation").joinpath("compare.html").read_text(encoding="utf-8")
    inside_script = json.dumps(data).replace("<", "\\u003c")
    return template.replace("{{title}}", html.escape(comparison.title)).replace("{{data}}", inside_script)


def _data_uri(pixels: RGBArray) -> str:
    encoded = base64.b64encode(image_bytes(pixels, ".webp")).decode()
    return f"data:image/webp;base64,{encoded}"


COLUMN_PX = 384


def to_png(comparison: SideBySide) -> bytes:
    """The still: a column for each version, the whole picture above, its regions below."""
    panels, side = comparison.panels, comparison.region_px
    scale = COLUMN_PX / panels[0].pixels.shape[1]
    boxes = [(scale * x, scale * y, scale * (x + side), scale * (y + side)) for y, x in comparison.regions]
    wholes = [
        Tile(resized(panel.pixels, COLUMN_PX, Image.Resampling.LANCZOS), (panel.name, *panel.facts))
        for panel in panels
    ]
    wholes[0] = replace(wholes[0], pixels=marked(wholes[0].pixels, boxes))
    rows = [
        [Tile(_column(panel.pixels[top : top + side, left : left + side])) for panel in panels]
        for top, left in comparison.regions
    ]
    return image_bytes(draw_sheet([wholes, *rows]))


def _column(region: RGBArray) -> RGBArray:
    return resized(np.ascontiguousarray(region), COLUMN_PX, Image.Resampling.BICUBIC)
