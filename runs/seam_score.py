"""Do the borders of tiles and windows show in a large picture?

    python runs/seam_score.py PICTURE [--zoom 16] [--side 4096] [--weights FILE] [--every 512]

The picture is mirrored until it has the side asked for (texture), or first enlarged (a sky), then coded and
decoded. Score: mean step between neighbouring pixels across multiples of --every pixels, where tiles and
windows of `small` meet, over the mean step everywhere else. The score of the picture itself stands beside it.
"""

from __future__ import annotations

import argparse
import resource
import time
from itertools import pairwise

import numpy as np
from PIL import Image

import onedc
from onedc.image import RGBArray, read_image


def enlarged(picture: RGBArray, zoom: int, side: int) -> RGBArray:
    """[side,side,3]: a corner of the picture `zoom` times as large, mirrored where it ends."""
    crop = picture[: -(-side // zoom), : -(-side // zoom)]
    size = crop.shape[1] * zoom, crop.shape[0] * zoom
    large = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC))
    # 72 px in front, so that no mirror line falls on a border of tiles.
    padding = [(72, max(0, side - length - 72)) for length in large.shape[:2]]
    return np.pad(large, [*padding, (0, 0)], mode="symmetric")[:side, :side]


def score(picture: RGBArray, every: int) -> float:
    """Mean step across multiples of `every` pixels over the mean step elsewhere, both directions."""
    at, elsewhere = [], []
    for pixels in (picture, picture.swapaxes(0, 1)):
        steps = np.array([np.abs(b.astype(int) - a).mean() for a, b in pairwise(pixels)])
        border = (np.arange(len(steps)) + 1) % every == 0
        at.append(steps[border].mean())
        elsewhere.append(steps[~border].mean())
    return float(np.mean(at) / np.mean(elsewhere))


def main() -> None:
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
    print(
        f"{args.picture} {args.side}x{args.side}: {8 * len(data) / args.side**2:.4f} bpp, "
        f"score {score(decoded, args.every):.4f}, the picture's own {score(picture, args.every):.4f}; "
        f"encode {encoded_s - start_s:.0f} s, decode {decoded_s - encoded_s:.0f} s of processor time, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
