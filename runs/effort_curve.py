"""How many bits an effort saves, in how many seconds: the table and the picture of docs/effort.md.

    python runs/effort_curve.py KODAK NETS docs/images/effort.png [--weights FILE] [--side 256] [--crops 2]

Crops from the middle of Kodak images are encoded at the default quality by each effort, once judged by LPIPS
and once by the autoencoder's features, and at a ladder of qualities without effort. Bits saved: by how much
the file is smaller than one of that ladder with an equal metric, by linear interpolation of the logarithm of
the bytes. Seconds are those of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from matplotlib import pyplot

from onedc.cli.jobs import exit_status
from onedc.cli.streams import tell
from onedc.codec import Codec
from onedc.errors import ConfigError
from onedc.evaluation.metrics import METRICS, load_image_metrics
from onedc.image import RGBArray, read_image
from onedc.loading import load
from onedc.target_size import DEFAULT_QUALITY

IMAGES = (1, 23, 5, 13)
EFFORTS = (1, 3, 5, 7, 9)
LADDER = (50, 60, DEFAULT_QUALITY, 80, 90, 100)
METRIC_NAMES = ("lpips_squeeze", "psnr", "ms_ssim")
JUDGES = {"LPIPS-squeeze": True, "the autoencoder's features": False}


def main() -> None:
    """Encode, measure and draw."""
    args = _arguments()
    torch.set_num_threads(1)
    crops = [middle(read_image(args.kodak / f"kodim{n:02d}.png"), args.side) for n in IMAGES[: args.crops]]
    figure, panels = pyplot.subplots(1, len(METRIC_NAMES), figsize=(12, 3.8), layout="constrained")
    for (judge, by_lpips), marker in zip(JUDGES.items(), "os", strict=True):
        codec = load(args.weights, metric_weights=args.nets if by_lpips else None)
        rows = mean_rows(codec, crops, args.nets)
        _print(judge, rows)
        for panel, saved in zip(panels, rows[:, 2:].T, strict=True):
            panel.plot(rows[:, 0], saved, marker=marker, label=f"judged by {judge}")
    for panel, name in zip(panels, METRIC_NAMES, strict=True):
        panel.set(title=f"at equal {METRICS[name].label}", xlabel="processor seconds", ylabel="bits saved, %")
        panel.axhline(0, color="grey", linewidth=0.8)
        panel.grid(alpha=0.4)
    panels[0].legend(fontsize=8)
    figure.savefig(args.picture, dpi=100, metadata={"Software": None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kodak", type=Path, help="folder of kodim01.png to kodim24.png")
    parser.add_argument("nets", type=Path, help="folder with lpips_squeeze.safetensors")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--weights", type=Path, help="a model other than the bundled one")
    parser.add_argument("--side", type=int, default=256, help="of the crops, in pixels")
    parser.add_argument("--crops", type=int, choices=range(1, len(IMAGES) + 1), default=2)
    return parser.parse_args()


def middle(picture: RGBArray, side: int) -> RGBArray:
    """The square in the middle."""
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def mean_rows(codec: Codec, crops: list[RGBArray], nets: Path) -> np.ndarray:
    """For each effort, 0 first: seconds, bytes against effort 0 in %, bits saved in % by each metric."""
    return np.mean([crop_rows(codec, crop, nets) for crop in crops], axis=0)


def crop_rows(codec: Codec, crop: RGBArray, nets: Path) -> list[list[float]]:
    """The same for one crop."""
    metrics = load_image_metrics(METRIC_NAMES, nets)

    def measured(quality: float, effort: int) -> tuple[float, int, list[float]]:
        started_s = time.process_time()
        data = codec.encode(crop, quality=quality, effort=effort)
        seconds = time.process_time() - started_s
        tell(f"quality {quality:g}, effort {effort}: {len(data)} bytes, {seconds:.1f} s")
        decoded = codec.decode(data, output="numpy")
        values = [metric.measure(crop, decoded) for metric in metrics]
        if reasons := [value.reason for value in values if value.number is None]:
            raise ConfigError(f"--side {len(crop)}: {reasons[0]}")
        return seconds, len(data), [value.number for value in values if value.number is not None]

    measured(DEFAULT_QUALITY, 0)  # the first pass of all is slower
    ladder = [measured(quality, 0) for quality in LADDER]
    plain = ladder[LADDER.index(DEFAULT_QUALITY)]
    rows = []
    for seconds, size, values in [plain, *(measured(DEFAULT_QUALITY, effort) for effort in EFFORTS)]:
        saved = [
            100 - 100 * size / bytes_at(value, [(rung[2][n], rung[1]) for rung in ladder])
            for n, value in enumerate(values)
        ]
        rows.append([seconds, 100 * size / plain[1] - 100, *saved])
    return rows


def bytes_at(value: float, ladder: list[tuple[float, int]]) -> float:
    """The bytes that a ladder of (metric, bytes) takes for a value; beyond its ends, those of the end."""
    metric, size = np.array(sorted(ladder)).T
    return float(np.exp(np.interp(value, metric, np.log(size))))


def _print(judge: str, rows: np.ndarray) -> None:
    labels = " | ".join(f"at equal {METRICS[name].label}" for name in METRIC_NAMES)
    print(f"\nBits saved, judged by {judge}:\n\n| effort | seconds | bytes | {labels} |")
    print("|---" * 6 + "|")
    for effort, (seconds, size, *saved) in zip((0, *EFFORTS), rows, strict=True):
        cells = [str(effort), f"{seconds:.1f}", f"{size:+.0f} %", *(f"{round(x)} %" for x in saved)]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(exit_status(main))
