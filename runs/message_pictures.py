"""One photo at several sizes in bytes, as its receiver sees it: the picture of README and docs/messages.md.

    python runs/message_pictures.py examples/photo.webp -o docs/images/messages.webp [--weights FILE]

Every picture is drawn at one width, so that they are compared as they are looked at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import onedc
from onedc.cli.jobs import exit_status
from onedc.evaluation.sheet import Tile, draw_sheet, resized, write_sheet
from onedc.image import read_image

SIZES = (157, 340, 1000, 4000)
COLUMNS = 3


def tiles(photo: Path, codec: onedc.Codec, width_px: int) -> list[Tile]:
    """The photo, and what is decoded of its files of SIZES bytes at most."""
    original = read_image(photo)
    height, width = original.shape[:2]
    found = [
        Tile(resized(original, width_px, Image.Resampling.LANCZOS), (f"{photo.name}, {width}x{height} px",))
    ]
    for size in SIZES:
        data = codec.encode_to_size(photo, size)
        pixels = np.asarray(codec.decode(data))
        lines = f"{len(data):,} bytes", f"stored with {pixels.shape[1]}x{pixels.shape[0]} px"
        found.append(Tile(resized(pixels, width_px, Image.Resampling.LANCZOS), lines))
    return found


def main() -> None:
    """Encode, decode and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/messages.webp"))
    parser.add_argument("--weights", type=Path, help="default: the bundled ones")
    parser.add_argument("--width", type=int, default=384, help="of each picture in pixels (%(default)s)")
    args = parser.parse_args()
    found = tiles(args.photo, onedc.load(args.weights) if args.weights else onedc.load(), args.width)
    rows = [found[start : start + COLUMNS] for start in range(0, len(found), COLUMNS)]
    write_sheet(args.output, draw_sheet(rows))
    print(f"wrote {args.output}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
