"""Is a weights file fit to ship? Monotone in quality, on target, and sane on pictures that are no photos.

    python runs/check_weights.py path/to/kodak path/to/metric-networks [--weights FILE] [--images 24]

Writes degenerate.json, degenerate.png, target.json and curve.json to runs/evaluation/out/check_weights. The
curve costs about two seconds of one core for each picture and quality; stopped and started again, it goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from degenerate import degenerate_pictures
from PIL import Image

from onedc.cli.jobs import exit_status, expand
from onedc.cli.streams import tell
from onedc.errors import ConfigError, OneDCError
from onedc.evaluation.bench import resident_peak_mb
from onedc.evaluation.metrics import METRICS, file_hash, psnr
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.run import evaluate
from onedc.evaluation.sheet import Tile, draw_sheet
from onedc.evaluation.summary import summarise
from onedc.files import write_whole
from onedc.image import READABLE_SUFFIXES, RGBArray, image_bytes, read_image
from onedc.loading import load
from onedc.weights import BUNDLED

PARTS = ("degenerate", "target", "curve")
QUALITIES = tuple(float(quality) for quality in range(0, 100, 5))
TARGET_BYTES = 3000
DEGENERATE_QUALITIES = (10.0, 50.0)
LARGE_PX = 4608, 3456
OUT = Path(__file__).parent / "evaluation" / "out" / "check_weights"


def check_curve(images: Sequence[Path], networks: Path, weights: Path | None) -> dict[str, Any]:
    """Mean bytes, LPIPS-squeeze and MS-SSIM at each quality, and how often more quality gives no more."""
    options = EvaluationOptions(
        output=OUT,
        qualities=QUALITIES,
        metrics=("lpips_squeeze", "ms_ssim"),
        metric_weights=networks,
        weights=weights,
    )
    results = evaluate(images, options, replace_others=True, progress=lambda name: tell(f"curve: {name}"))
    for failure in results.failures:
        raise ConfigError(f"{failure.image}: {failure.reason}")
    rows = summarise(results.records, options.metrics)
    sizes = [row.bytes for row in rows]
    found = {"images": len(images), "quality": list(QUALITIES), "mean_bytes": sizes}
    for name in options.metrics:
        values = [value for row in rows if (value := row.metrics[name]) is not None]
        if len(values) < len(rows):
            raise ConfigError(f"no {name}: {rows[0].missing}")
        sign = 1 if METRICS[name].higher_is_better else -1
        found[f"mean_{name}"] = values
        found[f"inversions_{name}"] = sum(sign * b <= sign * a for a, b in pairwise(values))
    single = [[r.bytes for r in results.records if r.image == path.name] for path in images]
    return found | {
        "inversions_bytes": sum(b <= a for a, b in pairwise(sizes)),
        "inversions_bytes_of_single_images": sum(b <= a for s in single for a, b in pairwise(s)),
    }


def check_target(images: Sequence[Path], weights: Path | None) -> dict[str, Any]:
    """Whether files keep to `TARGET_BYTES`, and how far they stay below it."""
    codec = load(weights)
    sizes: dict[str, int] = {}
    missed: dict[str, str] = {}
    for path in images:
        try:
            sizes[path.name] = len(codec.encode_to_size(read_image(path), TARGET_BYTES, shrink=False))
        except ConfigError as error:
            missed[path.name] = str(error)
        tell(f"{TARGET_BYTES} bytes: {path.name}: {sizes.get(path.name, 'does not fit')}")
    shortfalls = [100 * (1 - size / TARGET_BYTES) for size in sizes.values()]
    return {
        "target_bytes": TARGET_BYTES,
        "images": len(images),
        "at_or_under": sum(size <= TARGET_BYTES for size in sizes.values()),
        "median_shortfall_percent": median(shortfalls) if shortfalls else None,
        "largest_shortfall_percent": max(shortfalls, default=None),
        "bytes": sizes,
        "missed": missed,
    }


@dataclass(frozen=True)
class Outcome:
    """A picture at one quality. PSNR is None where the decoded picture is the original."""

    quality: float
    bytes: int
    bpp: float
    psnr_db: float | None
    right_size: bool
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Checked:
    """A picture at all of `DEGENERATE_QUALITIES`, in a process of its own."""

    outcomes: list[Outcome]
    decoded: list[RGBArray]
    peak_mb: float


def check_degenerate(pictures: dict[str, RGBArray], weights: Path | None) -> dict[str, Checked]:
    """Every picture there and back.

    Raises:
        OneDCError: one could not be encoded or decoded, or its process ended, as for want of memory.
    """
    context = multiprocessing.get_context("spawn")
    found = {}
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for name, pixels in pictures.items():
            try:
                found[name] = pool.submit(_there_and_back, pixels, weights).result()
            except BrokenProcessPool as error:
                raise OneDCError(f"{name}: the process ended; too little memory?") from error
            facts = ", ".join(f"q={o.quality:g}: {_facts(o)}" for o in found[name].outcomes)
            tell(f"{name}: {facts}; peak {found[name].peak_mb:.0f} MB")
    return found


def _there_and_back(pixels: RGBArray, weights: Path | None) -> Checked:
    codec = load(weights)
    outcomes, decoded = [], []
    for quality in DEGENERATE_QUALITIES:
        started_s = time.perf_counter()
        data = codec.encode(pixels, quality=quality)
        encoded_s = time.perf_counter()
        back = codec.decode(data, output="numpy")
        decoded_s = time.perf_counter()
        right_size = back.shape == pixels.shape
        decoded.append(back)
        outcomes.append(
            Outcome(
                quality=quality,
                bytes=len(data),
                bpp=8 * len(data) / (pixels.shape[0] * pixels.shape[1]),
                psnr_db=psnr(pixels, back).number if right_size else None,
                right_size=right_size,
                encode_s=encoded_s - started_s,
                decode_s=decoded_s - encoded_s,
            )
        )
    return Checked(outcomes, decoded, resident_peak_mb())


def _facts(outcome: Outcome) -> str:
    fidelity = "identical" if outcome.psnr_db is None else f"{outcome.psnr_db:.1f} dB"
    return f"{outcome.bytes} bytes, {fidelity if outcome.right_size else 'WRONG SIZE'}"


def large_photo(photo: RGBArray) -> RGBArray:
    """The photo mirrored until it has 16 million pixels."""
    width, height = LARGE_PX
    missing = [(0, max(0, height - photo.shape[0])), (0, max(0, width - photo.shape[1])), (0, 0)]
    return np.pad(photo, missing, mode="symmetric")[:height, :width]


TILE_PX, LEAST_PX = (384, 288), 48


def sheet(pictures: dict[str, RGBArray], found: dict[str, Checked]) -> RGBArray:
    """A row for each picture: original, then decoded; large ones are cut, thin ones made thicker."""
    rows = []
    for name, pixels in pictures.items():
        labels = [name, *(f"q={o.quality:g}: {_facts(o)}" for o in found[name].outcomes)]
        shown = [tile(p) for p in (pixels, *found[name].decoded)]
        rows.append([Tile(p, (label,)) for p, label in zip(shown, labels, strict=True)])
    return draw_sheet(rows)


def tile(pixels: RGBArray) -> RGBArray:
    """The middle of a picture at full resolution, sides below LEAST_PX extended to it."""
    height, width = pixels.shape[:2]
    left, top = max(0, width - TILE_PX[0]) // 2, max(0, height - TILE_PX[1]) // 2
    cut = Image.fromarray(pixels[top : top + TILE_PX[1], left : left + TILE_PX[0]])
    size = max(cut.width, LEAST_PX), max(cut.height, LEAST_PX)
    return np.asarray(cut.resize(size, resample=Image.Resampling.NEAREST))


def check(args: argparse.Namespace) -> None:
    """The parts asked for, each printed and written as soon as it is done. Raises OneDCError."""
    images = [Path(source) for source in expand(str(args.kodak), READABLE_SUFFIXES)]
    if args.images < 1:
        raise ConfigError(f"--images {args.images} is below 1")
    if "degenerate" in args.parts:
        pictures = degenerate_pictures()
        if args.large:
            pictures["photo of 16 megapixels"] = large_photo(read_image(images[0]))
        found = check_degenerate(pictures, args.weights)
        write_whole(OUT / "degenerate.png", image_bytes(sheet(pictures, found)), force=True)
        plain = {
            name: {"peak_mb": checked.peak_mb, "at": [asdict(outcome) for outcome in checked.outcomes]}
            for name, checked in found.items()
        }
        _keep("degenerate", plain, _on_degenerate(found), args.weights)
    if "target" in args.parts:
        target = check_target(images, args.weights)
        _keep("target", target, _on_target(target), args.weights)
    if "curve" in args.parts:
        count = min(args.images, len(images))
        spread = [images[index * len(images) // count] for index in range(count)]
        curve = check_curve(spread, args.networks, args.weights)
        _keep("curve", curve, _on_curve(curve), args.weights)


def _keep(part: str, found: dict[str, Any], summary: str, weights: Path | None) -> None:
    facts = {"weights_sha256": file_hash(weights or BUNDLED), **found}
    write_whole(OUT / f"{part}.json", json.dumps(facts, indent=1).encode(), force=True)
    print(summary, flush=True)


def _on_degenerate(found: dict[str, Checked]) -> str:
    outcomes = [outcome for checked in found.values() for outcome in checked.outcomes]
    right, peak_mb = sum(o.right_size for o in outcomes), max(c.peak_mb for c in found.values())
    return f"degenerate: {right} of {len(outcomes)} of the right size, peak {peak_mb:.0f} MB"


def _on_target(found: dict[str, Any]) -> str:
    line = f"{found['target_bytes']} bytes: {found['at_or_under']} of {found['images']} at or under"
    if not found["bytes"]:
        return line
    typical, largest = found["median_shortfall_percent"], found["largest_shortfall_percent"]
    return f"{line}, in the median {typical:.2f} % below, at most {largest:.2f} %"


def _on_curve(found: dict[str, Any]) -> str:
    points = zip(found["quality"], found["mean_bytes"], found["mean_lpips_squeeze"], strict=True)
    lines = [f"q={quality:g}: {size:.0f} bytes, LPIPS-squeeze {value:.4f}" for quality, size, value in points]
    lines.append(
        f"curve over {found['images']} images: {found['inversions_bytes']} inversions of mean bytes, "
        f"{found['inversions_lpips']} of mean LPIPS, "
        f"{found['inversions_bytes_of_single_images']} of bytes of single images"
    )
    return "\n".join(lines)


def main() -> None:
    """Check, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kodak", type=Path, help="folder of the pictures")
    parser.add_argument("networks", type=Path, help="folder with lpips_squeeze.safetensors")
    parser.add_argument("--weights", type=Path, help="default: the bundled ones")
    parser.add_argument(
        "--images",
        type=int,
        default=12,
        help="pictures that the curve is over, evenly spread (default: 12)",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--large", action="store_true", help="also a photo of 16 megapixels")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    check(args)
    print(f"all of it in {OUT}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
