"""Pictures side by side: a table of tiles with lines below each. The only place that draws one."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onedc.files import write_whole
from onedc.image import RGBArray

Ink = tuple[int, int, int]

INK, FAINT, PAPER, MARK = (235, 235, 235), (170, 170, 170), (32, 33, 36), (255, 196, 0)
GAP_PX, FONT_PX, LINE_PX = 12, 16, 22


@dataclass(frozen=True)
class Tile:
    """A picture [H,W,3] with the lines of text below it; all but the first are faint."""

    pixels: RGBArray
    lines: tuple[str, ...] = ()
    ink: Ink = INK

    @property
    def width_px(self) -> int:
        """Of what is wider, the picture or its text."""
        font = ImageFont.load_default(FONT_PX)
        return max([self.pixels.shape[1], *(int(font.getlength(line)) + 1 for line in self.lines)])

    @property
    def height_px(self) -> int:
        """Of the picture with its text."""
        return self.pixels.shape[0] + LINE_PX * len(self.lines)


def draw_sheet(rows: Sequence[Sequence[Tile]], headings: Sequence[str] = ()) -> RGBArray:
    """The tiles of each row from left to right [H,W,3], with a line of headings above the columns."""
    columns = [
        max(row[index].width_px for row in rows if index < len(row)) for index in range(max(map(len, rows)))
    ]
    lefts = [GAP_PX + sum(columns[:index]) + GAP_PX * index for index in range(len(columns))]
    top = GAP_PX + (LINE_PX if headings else 0)
    height = top + sum(max(tile.height_px for tile in row) + GAP_PX for row in rows)
    canvas = Image.new("RGB", (lefts[-1] + columns[-1] + GAP_PX, height), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT_PX)
    for left, heading in zip(lefts, headings, strict=False):
        draw.text((left, GAP_PX // 2), heading, fill=INK, font=font)
    for row in rows:
        for left, tile in zip(lefts, row, strict=False):
            canvas.paste(Image.fromarray(tile.pixels), (left, top))
            for number, line in enumerate(tile.lines):
                at = left, top + tile.pixels.shape[0] + number * LINE_PX + 2
                draw.text(at, line, fill=FAINT if number else tile.ink, font=font)
        top += max(tile.height_px for tile in row) + GAP_PX
    return np.asarray(canvas)


def resized(pixels: RGBArray, width_px: int, resample: Image.Resampling) -> RGBArray:
    """The picture at another width, in proportion."""
    height_px = max(1, round(pixels.shape[0] * width_px / pixels.shape[1]))
    return np.asarray(Image.fromarray(pixels).resize((width_px, height_px), resample))


def marked(pixels: RGBArray, boxes: Sequence[tuple[float, float, float, float]]) -> RGBArray:
    """The picture with frames at (left, top, right, bottom), in pixels."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in boxes:
        draw.rectangle((left, top, right - 1, bottom - 1), outline=MARK, width=2)
    return np.asarray(image)


def write_sheet(path: str | os.PathLike[str], sheet: RGBArray) -> None:
    """Write a sheet [H,W,3] as WebP, small rather than lossless. Raises OutputError."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "WEBP", quality=88, method=6)
    write_whole(path, buffer.getvalue(), force=True)
