"""Draw twelve crops of Kodak at four rates, beside AVIF, or VVC where AVIF cannot go so low.

    python runs/contact_sheet.py path/to/kodak [--weights FILE] [-o docs/images/contact-sheet.webp]

Whole pictures are coded, each to its largest file not above the rate, then cut at full resolution. The other
codecs' pictures stay in runs/evaluation/out, so that a run with new weights codes and decodes ours only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onedc.cli.jobs import exit_status
from onedc.cli.streams import tell
from onedc.errors import ConfigError
from onedc.evaluation.codecs import default_cache, kept_file
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Record
from onedc.evaluation.run import evaluate
from onedc.evaluation.sheet import FAINT, INK, MARK, Tile, draw_sheet, marked, resized, write_sheet
from onedc.image import RGBArray, read_image

RATES_BPP = (0.03, 0.06, 0.12, 0.25)
CROP_PX = 256, 224
OUT = Path(__file__).parent / "evaluation" / "out" / "contact_sheet"


@dataclass(frozen=True)
class Subject:
    """A picture and where its crop begins."""

    stem: str
    left: int
    top: int
    shows: str


SUBJECTS = (
    Subject("kodim04", 180, 290, "face, skin"),
    Subject("kodim15", 400, 130, "face, paint"),
    Subject("kodim18", 150, 120, "small face, foliage"),
    Subject("kodim14", 440, 288, "lettering, white water"),
    Subject("kodim08", 512, 200, "lettering, edges"),
    Subject("kodim03", 80, 80, "small lettering"),
    Subject("kodim06", 230, 200, "rigging, water"),
    Subject("kodim13", 250, 150, "foliage, stream"),
    Subject("kodim16", 440, 40, "clouds, palms"),
    Subject("kodim19", 180, 300, "fence, wall"),
    Subject("kodim23", 380, 90, "plumage"),
    Subject("kodim01", 350, 200, "stone, shutters"),
)


def measured(images: Sequence[Path], weights: Path | None) -> dict[tuple[str, str], dict[str, Record]]:
    """By picture and group ("0.03 bpp") the record of each codec, its decoded picture kept.

    Raises:
        ConfigError: a codec is missing or failed.
    """
    options = EvaluationOptions(
        output=OUT,
        codecs=("onedc", "avif", "vvc"),
        targets_bpp=RATES_BPP,
        metrics=("psnr",),
        weights=weights,
        cache=default_cache(),
        keep_decoded=True,
    )
    results = evaluate(images, options, replace_others=True, progress=tell)
    for failure in results.failures:
        raise ConfigError(f"{failure.codec + ': ' if failure.codec else ''}{failure.reason}")
    for codec, reason in results.unavailable.items():
        raise ConfigError(f"{codec}: {reason}")
    found: dict[tuple[str, str], dict[str, Record]] = {}
    for record in results.records:
        found.setdefault((record.image, record.group), {})[record.codec] = record
    return found


def tile(record: Record, subject: Subject) -> Tile:
    """The subject's part of a decoded picture, with the codec and the bits per pixel of the whole."""
    path = kept_file(OUT / "decoded", record.codec, record.setting, record.image, ".png")
    name = record.codec if record.codec == "onedc" else record.codec.upper()
    label = f"{name} {record.bpp:.4f} bpp" + ("" if record.reached else " (smallest)")
    ink = INK if name == "onedc" else FAINT if record.reached else MARK
    return Tile(crop(read_image(path), subject), (label,), ink)


def crop(pixels: RGBArray, subject: Subject) -> RGBArray:
    """The subject's part of a whole picture, at full resolution."""
    right, bottom = subject.left + CROP_PX[0], subject.top + CROP_PX[1]
    return np.ascontiguousarray(pixels[subject.top : bottom, subject.left : right])


def overview(pixels: RGBArray, subject: Subject) -> RGBArray:
    """The whole picture as wide as a crop, or as high, with a frame round the crop."""
    height, width = pixels.shape[:2]
    scale = min(CROP_PX[0] / width, CROP_PX[1] / height)
    box = (subject.left, subject.top, subject.left + CROP_PX[0], subject.top + CROP_PX[1])
    small = resized(pixels, round(width * scale), Image.Resampling.BICUBIC)
    return marked(small, [(scale * box[0], scale * box[1], scale * box[2], scale * box[3])])


def rows_of(
    subject: Subject, path: Path, found: Mapping[tuple[str, str], Mapping[str, Record]]
) -> list[list[Tile]]:
    """Two rows: the crop, ours at each rate; the whole picture, AVIF's, or VVC's where that is too large."""
    original = read_image(path)
    own = [Tile(crop(original, subject), (subject.shows,))]
    other = [Tile(overview(original, subject), (subject.stem,), FAINT)]
    for rate in RATES_BPP:
        by_codec = found[path.name, f"{rate:g} bpp"]
        own.append(tile(by_codec["onedc"], subject))
        other.append(tile(by_codec["avif" if by_codec["avif"].reached else "vvc"], subject))
    return [own, other]


def draw(images: Sequence[Path], weights: Path | None) -> RGBArray:
    """The whole sheet; `images` are those of SUBJECTS in order."""
    found = measured(images, weights)
    rows = []
    for subject, path in zip(SUBJECTS, images, strict=True):
        rows += rows_of(subject, path, found)
    return draw_sheet(rows, ["original", *(f"at most {rate:g} bpp" for rate in RATES_BPP)])


def main() -> None:
    """Draw and write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kodak", type=Path, help="folder with kodim01.png to kodim24.png")
    parser.add_argument("--weights", type=Path, help="default: the bundled ones")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/contact-sheet.webp"))
    args = parser.parse_args()
    sheet = draw([args.kodak / f"{s.stem}.png" for s in SUBJECTS], args.weights)
    write_sheet(args.output, sheet)
    print(f"wrote {args.output}: {sheet.shape[1]}x{sheet.shape[0]} px, {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(exit_status(main))
