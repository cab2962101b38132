"""At which size a picture looks best for a number of bytes: the measurements behind `onedc.image.shrink`.

    python runs/shrink_rule.py path/to/photos... --metric-weights path/to/networks [--bytes N ...] [-o FILE]

Every photo is shrunk to each of SHARES times PIXELS * bytes ** EXPONENT pixels and coded to at most so many
bytes. What comes back is judged at a longer side of VIEW_PX, as somebody would look at it. Sizes at which a
side is a multiple of 64 pixels come out better still.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
from PIL import Image

from onedc.cli.jobs import exit_status, expand
from onedc.cli.streams import tell
from onedc.codec import Codec
from onedc.container.header import working_size
from onedc.container.info import info
from onedc.errors import ConfigError
from onedc.evaluation.metrics import ImageMetric, load_image_metrics
from onedc.image import READABLE_SUFFIXES, RGBArray, read_image
from onedc.loading import load

PIXELS, EXPONENT = 430, 0.8
SHARES = (0.8, 1.0, 1.25, 1.55, 1.9)
VIEW_PX = 320
"""Longer side at which people look at such pictures, in pixels."""


class Point(NamedTuple):
    """One photo at one size for one number of bytes."""

    photo: str
    target_bytes: int
    share: float
    longer: int  # side of the shrunk picture, in pixels
    used_bytes: int
    quality: float  # 0: nothing but z fits
    lpips: float | None
    ms_ssim: float | None  # None: the picture is too flat for it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--bytes", nargs="+", type=int, default=[157, 233, 340, 512, 1000])
    parser.add_argument("--weights")
    parser.add_argument("--metric-weights", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="every measurement as CSV")
    args = parser.parse_args()
    codec = load(args.weights)
    metrics = load_image_metrics(["lpips_squeeze", "ms_ssim"], args.metric_weights)
    points = []
    for path in [path for entry in args.photos for path in expand(entry, READABLE_SUFFIXES)]:
        tell(path)
        picture = read_image(path, background="white")
        points += [
            point
            for target in args.bytes
            for share in SHARES
            if (point := measured(codec, metrics, Path(path).stem, picture, target, share))
        ]
    if args.output:
        with open(args.output, "w", newline="") as file:
            csv.writer(file).writerows([Point._fields, *points])
    print(table(points))


def measured(
    codec: Codec, metrics: Sequence[ImageMetric], name: str, picture: RGBArray, target: int, share: float
) -> Point | None:
    """One photo at one size; None where it has no more pixels, or not even z fits."""
    height, width, _ = picture.shape
    longer = round(max(width, height) * math.sqrt(share * PIXELS * target**EXPONENT / (width * height)))
    if longer >= max(width, height):
        return None
    small = resized(picture, working_size(width, height, longer))
    try:
        data, shown = codec.encode_and_show(small, target_bytes=target, shrink=False)
    except ConfigError:
        return None
    view = working_size(width, height, VIEW_PX)
    pair = resized(picture, view), resized(np.asarray(shown), view)
    found = [metric.measure(*pair).number for metric in metrics]
    return Point(name, target, share, longer, len(data), info(data).quality, *found)


def resized(picture: RGBArray, size: tuple[int, int]) -> RGBArray:
    """A picture at another width and height."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def table(points: list[Point]) -> str:
    """LPIPS and MS-SSIM over the photos that have every size, and how many photos were without y."""
    lines = [
        f"| bytes | photos | {' | '.join(f'{share:g}' for share in SHARES)} |",
        f"|---:|---:|{'---:|' * len(SHARES)}",
    ]
    for target in sorted({point.target_bytes for point in points}):
        own = [point for point in points if point.target_bytes == target]
        counts = [sum(point.photo == name for point in own) for name in {point.photo for point in own}]
        whole = {p.photo for p in own if sum(q.photo == p.photo for q in own) == max(counts)}
        cells = [cell([p for p in own if p.share == share and p.photo in whole]) for share in SHARES]
        lines.append(f"| {target:,} | {len(whole)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(points: list[Point]) -> str:
    """LPIPS / MS-SSIM, and how many were without y."""
    values = [
        f"{mean(found):.3f}" if (found := [v for v in column if v is not None]) else "–"
        for column in ([p.lpips for p in points], [p.ms_ssim for p in points])
    ]
    without = sum(point.quality == 0 for point in points)
    return " / ".join(values) + (f" ({without} z alone)" if without else "")


if __name__ == "__main__":
    sys.exit(exit_status(main))
