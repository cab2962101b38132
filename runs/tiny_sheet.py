"""Kodak in a few hundred bytes: shrunk by two, ours at four sizes beside AVIF and WebP at their smallest.

    python runs/tiny_sheet.py path/to/kodak path/to/networks [--weights FILE] [-o docs/images/tiny.webp]

Prints the table over all pictures and draws some of them. Stopped and started again, it goes on; with new
weights it measures ours only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from onedc.cli.jobs import exit_status
from onedc.cli.streams import tell
from onedc.errors import ConfigError
from onedc.evaluation.codecs import kept_file
from onedc.evaluation.feature_store import FeatureStore
from onedc.evaluation.matching import default_cache
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Record
from onedc.evaluation.run import evaluate
from onedc.evaluation.sheet import FAINT, INK, Tile, draw_sheet, write_sheet
from onedc.evaluation.summary import replace_section, summarise, write_summary
from onedc.files import make_folder
from onedc.image import read_image, write_image

SHRINK = 2
SIZES = (157, 233, 340, 512)
SUBJECTS = ("kodim04", "kodim05", "kodim08", "kodim13", "kodim19", "kodim20", "kodim21", "kodim23")
OUT = Path(__file__).parent / "evaluation" / "out" / "tiny_sheet"


def shrunk(kodak: Path) -> list[Path]:
    """The pictures of a folder at a fraction of their sides, in files of their own. Raises ConfigError."""
    sources = sorted(kodak.glob("kodim??.png"))
    if not sources:
        raise ConfigError(f"{kodak}: holds no kodim01.png to kodim24.png")
    make_folder(OUT / "shrunk")
    targets = [OUT / "shrunk" / source.name for source in sources]
    for source, target in zip(sources, targets, strict=True):
        if not target.exists():
            image = Image.fromarray(read_image(source))
            small = image.resize((image.width // SHRINK, image.height // SHRINK), Image.Resampling.LANCZOS)
            write_image(target, np.asarray(small), force=True)
    return targets


def tile(record: Record) -> Tile:
    """A decoded picture with its codec, bytes and LPIPS."""
    path = kept_file(OUT / "decoded", record.codec, record.setting, record.image, ".png")
    lines = [f"{record.codec} {record.bytes} bytes" + ("" if record.reached else " (smallest)")]
    if (distance := record.metrics.get("lpips_squeeze")) is not None:
        lines.append(f"LPIPS {distance:.3f}")
    return Tile(read_image(path), tuple(lines), INK if record.reached else FAINT)


def rows_of(image: Path, records: list[Record]) -> list[list[Tile]]:
    """Original, AVIF and WebP at their smallest; below them ours at each size."""
    own = [record for record in records if record.codec == "onedc"]
    others = {record.codec: record for record in records if record.codec != "onedc"}
    first = Tile(read_image(image), (f"{image.stem}, shrunk by {SHRINK}",))
    return [[first, *map(tile, others.values())], [*map(tile, own)]]


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kodak", type=Path, help="folder with kodim01.png to kodim24.png")
    parser.add_argument("networks", type=Path, help="folder of the metrics' networks")
    parser.add_argument("--weights", type=Path, help="default: the bundled ones")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/tiny.webp"))
    parser.add_argument("--report", type=Path, help='also put the table into section "tiny" of this page')
    args = parser.parse_args()
    images = shrunk(args.kodak)
    options = EvaluationOptions(
        output=OUT,
        codecs=("onedc", "avif", "webp"),
        targets_bytes=SIZES,
        metrics=("psnr", "ms_ssim", "lpips_squeeze"),
        metric_weights=args.networks,
        weights=args.weights,
        threads=1,
        cache=default_cache(),
        keep_decoded=True,
    )
    results = evaluate(images, options, replace_others=True, progress=tell)
    for failure in results.failures:
        raise ConfigError(f"{failure.image}: {failure.codec}: {failure.reason}")
    rows = summarise(results.records, options.metrics, FeatureStore([OUT]).measure)
    table = write_summary(OUT, rows, options.metrics)
    print(table, end="")
    if args.report is not None:
        replace_section(args.report, "tiny", table)
    drawn = [image for image in images if image.stem in SUBJECTS]
    by_image = {image: [r for r in results.records if r.image == image.name] for image in drawn}
    sheet = draw_sheet([row for image, records in by_image.items() for row in rows_of(image, records)])
    write_sheet(args.output, sheet)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
