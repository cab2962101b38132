"""At which size a picture looks best for a number of bytes: the measurements behind `onedc.image.shrink`.

    python runs/shrink_rule.py path/to/photos... [--bytes 157 340 1000] [--weights FILE] [-o table.csv]

Every photo is shrunk to each of SIDES and coded to at most so many bytes. What comes back is resampled to
VIEWS_PX, as somebody would look at it, and judged by LPIPS there. At its end stands a fit of the best areas:
pixels = factor * bytes ** exponent, which belongs in `onedc.image.shrink`.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from onedc.cli.jobs import exit_status, expand
from onedc.cli.streams import tell
from onedc.codec import Codec
from onedc.container.header import working_size
from onedc.errors import ConfigError
from onedc.evaluation.metrics import ImageMetric, load_image_metrics
from onedc.image import READABLE_SUFFIXES, RGBArray, read_image
from onedc.loading import load

SIDES = (96, 128, 192, 256, 320, 384, 512, 640, 768, 1024)
VIEWS_PX = (256, 512)
"""Longer sides at which people look at such pictures: a list on a phone, and a phone's width."""
BPP = (0.015, 0.3)
"""Sizes at which the bytes would be fewer or more bits for each pixel are not tried."""


class Point(NamedTuple):
    """One photo at one size for one number of bytes."""

    photo: str
    target_bytes: int
    longer: int  # side of the shrunk picture, in pixels
    pixels: int
    used_bytes: int
    lpips: float  # mean over VIEWS_PX


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--bytes", nargs="+", type=int, default=[157, 233, 340, 512, 1000, 4000])
    parser.add_argument("--weights")
    parser.add_argument("--metric-weights", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="every measurement as CSV")
    args = parser.parse_args()
    codec = load(args.weights)
    (metric,) = load_image_metrics(["lpips_squeeze"], args.metric_weights)
    points = []
    for path in [path for entry in args.photos for path in expand(entry, READABLE_SUFFIXES)]:
        tell(path)
        picture = read_image(path)
        for target in args.bytes:
            points += measured(codec, metric, Path(path).stem, picture, target)
    if args.output:
        with open(args.output, "w", newline="") as file:
            csv.writer(file).writerows([Point._fields, *points])
    report(points)


def measured(codec: Codec, metric: ImageMetric, name: str, picture: RGBArray, target: int) -> list[Point]:
    """One photo for one number of bytes at every size worth trying."""
    height, width, _ = picture.shape
    points = []
    for longer in (side for side in SIDES if side <= max(width, height)):
        size = working_size(width, height, longer)
        if not BPP[0] < 8 * target / (size[0] * size[1]) < BPP[1]:
            continue
        shrunk = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
        try:
            data = codec.encode_to_size(shrunk, target, shrink=False)
        except ConfigError:  # even z alone is larger
            continue
        decoded = codec.decode(data, output="numpy")
        lpips = float(np.mean([distance(metric, picture, decoded, view) for view in VIEWS_PX]))
        points.append(Point(name, target, longer, size[0] * size[1], len(data), lpips))
    return points


def distance(metric: ImageMetric, picture: RGBArray, decoded: RGBArray, view: int) -> float:
    """LPIPS of what is seen when both are shown with a longer side of `view` pixels."""
    height, width, _ = picture.shape
    seen = [
        np.asarray(Image.fromarray(one).resize(working_size(width, height, view), Image.Resampling.LANCZOS))
        for one in (picture, decoded)
    ]
    value = metric.measure(*seen)
    if value.number is None:
        raise ConfigError(value.reason)
    return value.number


def report(points: list[Point]) -> None:
    """For each number of bytes the mean LPIPS at each size, and the fit of the best areas."""
    best: list[tuple[int, float]] = []
    for target in sorted({point.target_bytes for point in points}):
        own = [point for point in points if point.target_bytes == target]
        print(f"\n{target} bytes\n  longer  bpp    photos  LPIPS  over each photo's best")
        lowest: dict[str, Point] = {}
        for point in own:
            lowest[point.photo] = min(lowest.get(point.photo, point), point, key=lambda p: p.lpips)
        at: dict[int, list[Point]] = defaultdict(list)
        for point in own:
            at[point.longer].append(point)
        for longer, same in sorted(at.items()):
            bpp = np.mean([8 * point.used_bytes / point.pixels for point in same])
            lpips = np.mean([point.lpips for point in same])
            over = np.mean([point.lpips - lowest[point.photo].lpips for point in same])
            print(f"  {longer:6}  {bpp:.3f}  {len(same):6}  {lpips:.3f}  {over:.4f}")
        pixels = sorted(point.pixels for point in lowest.values())
        print(f"  best pixels: median {np.median(pixels):.0f}, from {pixels[0]} to {pixels[-1]}")
        best += [(target, np.log(point.pixels)) for point in lowest.values()]
    if len({target for target, _ in best}) > 1:
        exponent, intercept = np.polyfit(
            np.log([target for target, _ in best]), [area for _, area in best], 1
        )
        print(f"\npixels = {np.exp(intercept):.0f} * bytes ** {exponent:.3f}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
