"""Pictures at the edges of what a codec of photos may be given, made of numbers alone.

For checks that the output has its size, looks sane and costs bounded memory; nothing is measured here.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onedc.image import RGBArray


def degenerate_pictures(width: int = 384, height: int = 288, long: int = 4000) -> dict[str, RGBArray]:
    """By name, each [H,W,3]: single pixels and lines of them, flat colours, noise, patterns, drawings, text.

    Args:
        width: in pixels, of all pictures but the single pixel and the lines.
        height: likewise.
        long: of the lines.
    """
    random = np.random.default_rng(0)
    row, column = np.mgrid[0:height, 0:width]
    ramp = np.linspace(0, 255, long).astype(np.uint8)
    stripes = np.stack([ramp, ramp[::-1], ramp // 16 * 16], axis=-1)
    gradient = [255 * column // max(width - 1, 1), 255 * row // max(height - 1, 1), np.full_like(row, 96)]
    return {
        "1x1": np.array([[[200, 60, 20]]], np.uint8),
        f"1x{long}": stripes[:, None],
        f"{long}x1": stripes[None],
        "black": np.zeros((height, width, 3), np.uint8),
        "white": np.full((height, width, 3), 255, np.uint8),
        "noise": random.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "checkerboard of 1 px": _grey(255 * ((row + column) % 2)),
        "checkerboard of 8 px": _grey(255 * ((row // 8 + column // 8) % 2)),
        "gradient": np.stack(gradient, axis=-1).astype(np.uint8),
        "line art": _line_art(width, height),
        "screenshot": _screenshot(width, height),
    }


def _grey(levels: np.ndarray) -> RGBArray:
    """[H,W] of 0..255 -> [H,W,3]."""
    return levels.astype(np.uint8)[..., None].repeat(3, axis=-1)


def _line_art(width: int, height: int) -> RGBArray:
    """Thin black lines, circles and a hatching on white."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for step in range(12):
        draw.line((0, height * step // 12, width, height - height * step // 12), fill="black")
    for radius in range(8, min(width, height) // 2, 16):
        draw.circle((width // 2, height // 2), radius, outline="black", width=1 + radius % 3)
    for left in range(0, width // 4, 3):
        draw.line((left, height * 3 // 4, left, height), fill="black")
    return np.array(image)


def _screenshot(width: int, height: int) -> RGBArray:
    """A window with a title bar, a list, a button and text of 10 to 32 pixels."""
    image = Image.new("RGB", (width, height), (236, 238, 242))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 23), fill=(38, 70, 120))
    draw.text((8, 4), "Settings - Display", fill="white", font=ImageFont.load_default(14))
    draw.rectangle((0, 24, 95, height), fill=(250, 250, 250), outline=(180, 184, 190))
    for line, entry in enumerate(("General", "Display", "Sound", "Network", "Users", "Updates")):
        if entry == "Display":
            draw.rectangle((1, 30 + 22 * line, 94, 51 + 22 * line), fill=(205, 225, 250))
        draw.text((10, 34 + 22 * line), entry, fill="black", font=ImageFont.load_default(12))
    top = 34
    for size in (32, 24, 18, 14, 12, 10):
        draw.text((110, top), "Brightness 75 %", fill=(20, 20, 20), font=ImageFont.load_default(size))
        top += size + 10
    draw.rounded_rectangle((110, top, 190, top + 28), radius=6, fill=(30, 110, 220))
    draw.text((150, top + 14), "Apply", fill="white", font=ImageFont.load_default(14), anchor="mm")
    return np.array(image)
