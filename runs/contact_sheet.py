"""Draw twelve crops of Kodak at four rates, beside AVIF, or VVC where AVIF cannot go so low.

    python runs/contact_sheet.py path/to/kodak [--weights FILE] [-o docs/images/contact-sheet.webp]

Whole pictures are coded, each to its largest file not above the rate, then cut at full resolution. The other
codecs' pictures stay in runs/evaluation/out, so that a run with new weights codes and decodes ours only.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onedc.cli.jobs import exit_status
from onedc.cli.streams import tell
from onedc.codec import Codec
from onedc.errors import ConfigError
from onedc.evaluation.codecs import kept_file
from onedc.evaluation.matching import default_cache
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Record
from onedc.evaluation.run import evaluate
from onedc.evaluation.sheet import FAINT, MARK, Tile, draw_sheet, marked, resized
from onedc.files import write_whole
from onedc.image import RGBArray, read_image
from onedc.loading import load
from onedc.rate import bytes_at

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


@dataclass(frozen=True)
class Version:
    """A picture as one codec keeps it."""

    pixels: RGBArray
    codec: str
    size_bytes: int
    reached: bool = True  # not above the rate

    @property
    def label(self) -> str:
        """Codec and real bits per pixel of the whole picture."""
        height, width = self.pixels.shape[:2]
        bpp = f"{self.codec} {8 * self.size_bytes / (width * height):.4f} bpp"
        return bpp if self.reached else f"{bpp} (smallest)"


def others(images: Sequence[Path]) -> dict[tuple[str, str], Version]:
    """By picture and group ("0.03 bpp"): AVIF, or where its smallest file is above the rate, VVC.

    Raises:
        ConfigError: a codec is missing or failed.
    """
    options = EvaluationOptions(
        output=OUT,
        codecs=("avif", "vvc"),
        targets_bpp=RATES_BPP,
        metrics=("psnr",),
        cache=default_cache(),
        keep_decoded=True,
    )
    results = evaluate(images, options, replace_others=True, progress=lambda name: tell(f"avif, vvc: {name}"))
    for failure in results.failures:
        raise ConfigError(f"{failure.codec + ': ' if failure.codec else ''}{failure.reason}")
    for codec, reason in results.unavailable.items():
        raise ConfigError(f"{codec}: {reason}")
    chosen: dict[tuple[str, str], Record] = {}
    for record in results.records:  # avif stands before vvc
        place = record.image, record.group
        if place not in chosen or not chosen[place].reached:
            chosen[place] = record
    return {place: _version(record) for place, record in chosen.items()}


def _version(record: Record) -> Version:
    path = kept_file(OUT / "decoded", record.codec, record.setting, record.image, ".png")
    return Version(read_image(path), record.codec.upper(), record.bytes, record.reached)


def ours(codec: Codec, original: RGBArray, rate_bpp: float) -> Version:
    """The picture at the highest quality whose file is not above the rate."""
    height, width = original.shape[:2]
    data = codec.encode_to_size(original, bytes_at(rate_bpp, width, height))
    return Version(codec.decode(data, output="numpy"), "onedc", len(data))


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
    codec: Codec, subject: Subject, path: Path, beside: dict[tuple[str, str], Version]
) -> list[list[Tile]]:
    """Two rows: the crop and ours at each rate; the whole picture and the other codec's."""
    original = read_image(path)
    own_row = [Tile(crop(original, subject), (subject.shows,))]
    other_row = [Tile(overview(original, subject), (subject.stem,), FAINT)]
    for rate in RATES_BPP:
        own, other = ours(codec, original, rate), beside[path.name, f"{rate:g} bpp"]
        own_row.append(Tile(crop(own.pixels, subject), (own.label,)))
        ink = FAINT if other.reached else MARK
        other_row.append(Tile(crop(other.pixels, subject), (other.label,), ink))
    tell(f"onedc: {path.name}")
    return [own_row, other_row]


def draw(codec: Codec, images: Sequence[Path]) -> RGBArray:
    """The whole sheet; `images` are those of SUBJECTS in order."""
    beside = others(images)
    rows = []
    for subject, path in zip(SUBJECTS, images, strict=True):
        rows += rows_of(codec, subject, path, beside)
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
    sheet = draw(load(args.weights), [args.kodak / f"{s.stem}.png" for s in SUBJECTS])
    picture = Image.fromarray(sheet)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88, method=6)
    write_whole(args.output, buffer.getvalue(), force=True)
    print(f"wrote {args.output}: {picture.width}x{picture.height} px, {len(buffer.getvalue()):,} bytes")


if __name__ == "__main__":
    sys.exit(exit_status(main))
