"""Do the borders of tiles and windows show in a large picture?

    python runs/seam_score.py PICTURE [--zoom 16] [--side 4096] [--weights FILE] [--every 512]

The picture is mirrored until it has the side asked for (texture), or first enlarged (a sky), then coded and
decoded. Score: mean step between neighbouring pixels across multiples of --every pixels, where tiles and
windows of `small` meet, over the mean step everywhere else. Beside it, the same over the step across other
multiples of 64, where the latent grids meet too: that leaves the tiles alone. And the picture's own score.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise

import numpy as np
from PIL import Image

import onedc
from onedc.cli.jobs import exit_status
from onedc.evaluation.bench import resident_peak_mb
from onedc.image import RGBArray, read_image


def enlarged(picture: RGBArray, zoom: int, side: int) -> RGBArray:
    """[side,side,3]: a corner of the picture `zoom` times as large, mirrored where it ends."""
    crop = picture[: -(-side // zoom), : -(-side // zoom)]
    size = crop.shape[1] * zoom, crop.shape[0] * zoom
    large = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC))
    # 72 px in front, so that no mirror line falls on a border of tiles.
    padding = [(72, max(0, side - length - 72)) for length in large.shape[:2]]
    return np.pad(large, [*padding, (0, 0)], mode="symmetric")[:side, :side]


def scores(picture: RGBArray, every: int) -> tuple[float, float]:
    """Mean step across multiples of `every` pixels, both directions, over the mean step elsewhere, and over
    that across other multiples of 64."""
    at, elsewhere, grid = [], [], []
    for pixels in (picture, picture.swapaxes(0, 1)):
        steps = np.array([np.abs(b.astype(int) - a).mean() for a, b in pairwise(pixels)])
        place = np.arange(len(steps)) + 1
        border = place % every == 0
        at.append(steps[border].mean())
        elsewhere.append(steps[~border].mean())
        grid.append(steps[~border & (place % 64 == 0)].mean())
    return float(np.mean(at) / np.mean(elsewhere)), float(np.mean(at) / np.mean(grid))


def main() -> None:
    """Encode, decode and print the scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture")
    parser.add_argument("--zoom", type=int, default=1)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--weights")
    parser.add_argument("--every", type=int, default=512)
    args = parser.parse_args()
    picture = enlarged(read_image(args.picture), args.zoom, args.side)
    codec = onedc.load(args.weights)
    start_s = time.process_time()
    data = codec.encode(picture)
    encoded_s = time.process_time()
    decoded = codec.decode(data, output="numpy")
    decoded_s = time.process_time()
    (ours, over_grid), (own, _) = scores(decoded, args.every), scores(picture, args.every)
    print(
        f"{args.picture} {args.side}x{args.side}: {8 * len(data) / args.side**2:.4f} bpp, "
        f"score {ours:.4f}, over other multiples of 64 {over_grid:.4f}, the picture's own {own:.4f}; "
        f"encode {encoded_s - start_s:.0f} s, decode {decoded_s - encoded_s:.0f} s of processor time, "
        f"peak {resident_peak_mb():.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(exit_status(main))
