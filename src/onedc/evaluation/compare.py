"""One picture in several codecs side by side: a page that opens from disk, and a still of it.

The page holds all it needs and asks the network for nothing. Numbers come from `run`, like all others.
"""

from __future__ import annotations

import base64
import html
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onedc.evaluation.codecs import BaselineError, kept_file
from onedc.evaluation.metrics import METRICS
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Record
from onedc.evaluation.run import evaluate
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

    Raises:
        ImageError: the picture cannot be read.
        BaselineError: no codec could be measured.
    """
    original = read_image(path)
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
GAP_PX = 16
LINE_PX = 22
INK, FAINT, PAPER, MARK = (235, 235, 235), (170, 170, 170), (32, 33, 36), (255, 196, 0)


def to_png(comparison: SideBySide) -> bytes:
    """The still: a column for each version, the whole picture above, its regions below."""
    panels = comparison.panels
    height, width = panels[0].pixels.shape[:2]
    scaled = max(1, round(height * COLUMN_PX / width))
    facts_px = LINE_PX * (1 + max(len(panel.facts) for panel in panels)) + GAP_PX
    crops = [_crop(panels[0].pixels, region, comparison.region_px).shape for region in comparison.regions]
    crop_px = [round(rows * COLUMN_PX / columns) for rows, columns, _ in crops]
    total = GAP_PX + scaled + facts_px + sum(h + GAP_PX for h in crop_px)
    sheet = Image.new("RGB", (GAP_PX + len(panels) * (COLUMN_PX + GAP_PX), total), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, panel in enumerate(panels):
        left = GAP_PX + column * (COLUMN_PX + GAP_PX)
        whole = Image.fromarray(panel.pixels).resize((COLUMN_PX, scaled), Image.Resampling.LANCZOS)
        sheet.paste(whole, (left, GAP_PX))
        if column == 0:
            _mark_regions(draw, comparison, left, GAP_PX, COLUMN_PX / width)
        _write(draw, panel, left, GAP_PX + scaled + 6)
        top = GAP_PX + scaled + facts_px
        for region, crop_height in zip(comparison.regions, crop_px, strict=True):
            crop = Image.fromarray(_crop(panel.pixels, region, comparison.region_px))
            sheet.paste(crop.resize((COLUMN_PX, crop_height), Image.Resampling.BICUBIC), (left, top))
            top += crop_height + GAP_PX
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _crop(pixels: RGBArray, corner: tuple[int, int], size_px: int) -> RGBArray:
    top, left = corner
    return pixels[top : top + size_px, left : left + size_px]


def _mark_regions(
    draw: ImageDraw.ImageDraw, comparison: SideBySide, left: int, top: int, scale: float
) -> None:
    side = comparison.region_px * scale
    for y, x in comparison.regions:
        corner = left + x * scale, top + y * scale
        draw.rectangle((*corner, corner[0] + side - 1, corner[1] + side - 1), outline=MARK, width=2)


def _write(draw: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    draw.text((left, top), panel.name, fill=INK, font=ImageFont.load_default(18))
    for line, fact in enumerate(panel.facts, start=1):
        draw.text((left, top + line * LINE_PX), fact, fill=FAINT, font=ImageFont.load_default(15))
