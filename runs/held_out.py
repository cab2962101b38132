"""How well checkpoints of a training run code the held-out photos, by figures that did not train them too.

    python runs/held_out.py RUN_CHECKPOINT_OR_WEIGHTS ... --data SHARDS --nets NETWORKS -o figures.json

Of the middle of each held-out photo (up to 512x512 px, or --side), through the EMA of the weights and with y
rounded: bits per pixel of y, PSNR, LPIPS-squeeze, and the Frechet distance of MobileNetV2's features over all
patches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onedc.cli.jobs import exit_status
from onedc.datasets.photos import Photos
from onedc.engine.torch_engine import to_bytes, to_tensor
from onedc.errors import ConfigError
from onedc.evaluation.frechet import Features, FeatureSource, PatchGrid, frechet_distance, load_sources
from onedc.files import write_whole
from onedc.image import RGBArray
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.pretrained.loading import fill
from onedc.train.checkpoint import find_checkpoint
from onedc.train.config import TrainConfig
from onedc.train.data.crops import open_data
from onedc.train.networks.loading import load_checkpoint, load_lpips
from onedc.train.recipes import find_recipe, with_places
from onedc.train.stages.coding import reconstruct
from onedc.train.stages.stage import psnr
from onedc.weights.file import trainable_tensors

STEP = 64  # sides are multiples of this
GRID = PatchGrid()


def middles(config: TrainConfig, largest: int) -> Iterator[RGBArray]:
    """The middle of each held-out photo: a square of a multiple of STEP, at most `largest`."""
    data = open_data(config.data)
    photos = Photos(data.validation_source, 0)
    for pixels in (photos[index] for index in data.validation):
        side = min(largest, *(n // STEP * STEP for n in pixels.shape[:2]))
        top, left = ((n - side) // 2 for n in pixels.shape[:2])
        yield np.ascontiguousarray(pixels[top : top + side, left : left + side])


def codec_at(place: Path) -> OneDC:
    """The codec of a weights file, a checkpoint, or a run's best checkpoint. Raises WeightsError."""
    if place.is_file():
        config, tensors = trainable_tensors(place)
        model = OneDC(config)
        fill(model, tensors, str(place))
        return model
    return load_checkpoint(find_checkpoint(place))


@torch.inference_mode()
def decoded(model: OneDC, x: Tensor, byte: int, dtype: torch.dtype) -> tuple[RGBArray, float]:
    """x [1,3,H,W] as it comes back at a quality byte, and bits per pixel of y."""
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        vae: Any = model.vae
        vae_latents, bpp = reconstruct(model, x, vae.encode(x), torch.tensor([byte]))
        return to_bytes(vae.decode(vae_latents)[0]).permute(1, 2, 0).numpy(), float(bpp)


def figures(
    model: OneDC,
    photos: list[RGBArray],
    byte: int,
    wanted: Features,
    lpips: LPIPS,
    judge: FeatureSource,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Means over the photos, and the distance of all their patches from the originals', `wanted`."""
    rows, found = [], []
    for photo in photos:
        x = to_tensor(photo)
        picture, bpp = decoded(model, x, byte, dtype)
        x_hat = to_tensor(picture)
        rows.append((bpp, float(lpips(x_hat, x)), float(psnr(x_hat, x))))
        found.append(judge.extract(GRID.cut(picture)))
    means = dict(zip(("bpp_y", "lpips", "psnr"), map(statistics.mean, zip(*rows, strict=True)), strict=True))
    return {"byte": byte, "fdmb": frechet_distance(wanted, np.concatenate(found)), **means}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+", type=Path, help="runs, checkpoints or weights files")
    parser.add_argument("--data", required=True)
    parser.add_argument("--nets", type=Path, required=True)
    parser.add_argument("--bytes", type=int, nargs="+", default=[125], help="quality bytes (default: 125)")
    parser.add_argument("--side", type=int, default=512, help="of a middle, at most (default: 512)")
    parser.add_argument("--fp32", action="store_true", help="not bf16")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    dtype = torch.float32 if args.fp32 else torch.bfloat16
    config = with_places(find_recipe("small-stage1"), data=args.data, nets=args.nets)
    (judge,), _ = load_sources(["fd_mobilenet"], args.nets)
    photos, lpips, table = list(middles(config, args.side)), load_lpips(config.nets), {}
    if not photos:
        beginnings = ", ".join(config.data.held_out)
        raise ConfigError(f"--data {args.data}: no photos held out, no name begins with {beginnings}")
    wanted = np.concatenate([judge.extract(GRID.cut(photo)) for photo in photos])
    for place in args.places:
        model = codec_at(place).eval()
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for byte in args.bytes:
            table[f"{place} {byte}"] = found = figures(model, photos, byte, wanted, lpips, judge, dtype)
            print(place, {name: round(value, 4) for name, value in found.items()}, flush=True)
    write_whole(args.output, json.dumps(table, indent=1).encode(), force=True)


if __name__ == "__main__":
    sys.exit(exit_status(main))
