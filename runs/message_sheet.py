"""Photos in 157 to 1,000 bytes, beside AVIF and WebP in as many: figures of three sets, and a contact sheet.

    python runs/message_sheet.py path/to/kodak path/to/shards path/to/networks -o results/messages
        [--report docs/messages.md] [--sheet docs/images/messages-sheet.webp]

The sets: Kodak; the photos of the shards that no training saw; twelve pictures of 12 megapixels, each made of
four of these. Ours is `encode_to_size` as it comes. AVIF and WebP are at their lowest quality, shrunk to the
largest size at which their file has no more bytes. All are judged VIEW_PX wide, or wider where the height
would be less than MS-SSIM takes. Stopped and started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from onedc.cli.jobs import exit_status
from onedc.cli.streams import tell
from onedc.codec import Codec
from onedc.container.header import working_size
from onedc.datasets.photos import open_source, split
from onedc.errors import ConfigError
from onedc.evaluation.baselines import load_codec
from onedc.evaluation.codecs import FileCodec
from onedc.evaluation.metrics import MS_SSIM_MIN_SIDE_PX, ImageMetric, load_image_metrics
from onedc.evaluation.sheet import FAINT, INK, Tile, draw_sheet, write_sheet
from onedc.evaluation.summary import replace_section
from onedc.files import make_folder, write_whole
from onedc.image import RGBArray, read_image
from onedc.loading import load
from onedc.train.config import HELD_OUT

BYTES = (157, 233, 340, 512, 1000)
OTHERS = ("avif", "webp")
VIEW_PX = 256
MADE, EACH = 12, (2016, 1512)  # pictures of four photos, and the size of each of the four
DRAWN = 2  # pictures of each set on the sheet
LEAST_SIDE_PX, MOST_SIDE_PX = 8, 512  # of AVIF and WebP; at 1,000 bytes theirs are far below


@dataclass(frozen=True)
class Row:
    """One picture by one codec in one number of bytes."""

    group: str
    picture: str
    codec: str
    target: int
    used: int  # 0: no file is so small
    width: int = 0  # of the coded picture, in pixels
    height: int = 0
    lpips: float | None = None
    ms_ssim: float | None = None


def extracted(shards: Path, folder: Path) -> list[Path]:
    """The photos held out of training, each as a file. Raises OneDCError."""
    source = open_source(str(shards))
    paths = []
    for index in split(source, HELD_OUT)[1]:
        paths.append(folder / Path(source.names[index]).name)
        if not paths[-1].exists():
            write_whole(paths[-1], source.read(index))
    return paths


def joined(photos: list[Path], folder: Path) -> list[Path]:
    """Pictures of four photos each, as JPEG files of 4032x3024 pixels."""
    paths = [folder / f"joined-{number:02}.jpg" for number in range(1, MADE + 1)]
    width, height = EACH
    for start, path in enumerate(paths):
        if path.exists():
            continue
        canvas = Image.new("RGB", (2 * width, 2 * height))
        for place, photo in enumerate(photos[4 * start : 4 * start + 4]):
            image = Image.fromarray(read_image(photo, background="white"))
            scale = max(width / image.width, height / image.height)
            image = image.resize(
                (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
            )
            canvas.paste(image.crop((0, 0, width, height)), (place % 2 * width, place // 2 * height))
        canvas.save(path, quality=90)
    return paths


def view_of(width: int, height: int) -> tuple[int, int]:
    """Width and height at which a picture of `width` x `height` pixels is looked at."""
    view = max(VIEW_PX, -(-MS_SSIM_MIN_SIDE_PX * width // height))
    return view, round(view * height / width)


def resized(picture: RGBArray, size: tuple[int, int]) -> RGBArray:
    """A picture at another width and height."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def ours(codec: Codec, path: Path, target: int) -> tuple[int, RGBArray | None]:
    """Bytes of the file, and what its receiver sees."""
    data, shown = codec.encode_and_show(path, target_bytes=target, background="white")
    return len(data), np.asarray(shown)


def other(codec: FileCodec, picture: RGBArray, target: int) -> tuple[int, RGBArray | None]:
    """Likewise of another codec; no picture: none is so small. File sizes grow with the side."""
    height, width, _ = picture.shape
    low, high, best = LEAST_SIDE_PX, max(width, height), None
    while low <= high:
        middle = (low + high) // 2
        small = resized(picture, working_size(width, height, middle))
        data = codec.encode(small, codec.ladder[0])
        if len(data) <= target:
            best, low = (len(data), codec.decode(data, *small.shape[:2])), middle + 1
        else:
            high = middle - 1
    return best or (0, None)


class Measuring:
    """The rows of pictures, kept in a file, and the small pictures, kept beside it."""

    def __init__(self, folder: Path, networks: Path, weights: Path | None) -> None:
        self.folder, self.file = folder, folder / "rows.jsonl"
        self.codec = load(weights, threads=1)
        self.others = {name: coder for name in OTHERS if isinstance(coder := load_codec(name), FileCodec)}
        self.metrics: list[ImageMetric] = load_image_metrics(["lpips_squeeze", "ms_ssim"], networks)
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.rows = [Row(**json.loads(line)) for line in lines]

    def measure(self, group: str, path: Path) -> None:
        """Add what is missing of one picture."""
        rows = [row for row in self.rows if (row.group, row.picture) == (group, path.name)]
        done = {(row.codec, row.target) for row in rows}
        wanted = [(name, n) for name in ("onedc", *OTHERS) for n in BYTES if (name, n) not in done]
        if not wanted:
            return
        original = read_image(path, background="white")
        height, width, _ = original.shape
        view = view_of(width, height)
        reference = resized(original, view)
        large = resized(original, working_size(width, height, min(MOST_SIDE_PX, max(width, height))))
        Image.fromarray(reference).save(self.kept(path.name, "original", 0))
        for name, target in wanted:
            coder = self.others.get(name)
            used, picture = ours(self.codec, path, target) if coder is None else other(coder, large, target)
            row = Row(group, path.name, name, target, used)
            if picture is not None:
                shown = resized(picture, view)
                Image.fromarray(shown).save(self.kept(path.name, name, target))
                values = [metric.measure(reference, shown).number for metric in self.metrics]
                row = replace(
                    row, width=picture.shape[1], height=picture.shape[0], lpips=values[0], ms_ssim=values[1]
                )
            self.rows.append(row)
            with open(self.file, "a") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def kept(self, picture: str, codec: str, target: int) -> Path:
        """Where a small picture lies."""
        return self.folder / "seen" / f"{Path(picture).stem}-{codec}-{target}.png"


def table(rows: list[Row]) -> str:
    """Means of each set, number of bytes and codec; AVIF and WebP over the pictures that they reach."""
    lines = [
        "| pictures | target | codec | fit | bytes used | of the target | LPIPS-squeeze | MS-SSIM |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for group in dict.fromkeys(row.group for row in rows):
        for target in BYTES:
            for codec in ("onedc", *OTHERS):
                own = [r for r in rows if (r.group, r.target, r.codec) == (group, target, codec)]
                if not own:
                    continue
                fit = [row for row in own if row.used]
                cells = [f"{len(fit)} of {len(own)}", *means(fit, target)]
                first = [group, f"{target:,}"] if codec == "onedc" else ["", ""]
                lines.append(f"| {' | '.join([*first, codec, *cells])} |")
    return "\n".join(lines)


def means(rows: list[Row], target: int) -> list[str]:
    """Bytes, their share of the target, LPIPS and MS-SSIM, in means."""
    if not rows:
        return ["–"] * 4
    used = statistics.mean(row.used for row in rows)
    found = [f"{used:.0f}", f"{100 * used / target:.1f} %"]
    for name, digits in (("lpips", 3), ("ms_ssim", 3)):
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        found.append(f"{statistics.mean(values):.{digits}f}" if values else "–")
    return found


def sheet_rows(measuring: Measuring) -> Iterator[list[Tile]]:
    """Of some pictures of each set: the original and ours, then AVIF and WebP below in as many bytes."""
    for group in dict.fromkeys(row.group for row in measuring.rows):
        names = list(dict.fromkeys(row.picture for row in measuring.rows if row.group == group))
        for name in names[:: max(1, len(names) // DRAWN)][:DRAWN]:
            own = {(r.codec, r.target): r for r in measuring.rows if (r.group, r.picture) == (group, name)}
            first = Tile(read_image(measuring.kept(name, "original", 0)), (f"{group}: {name}",))
            for codec in ("onedc", *OTHERS):
                yield [first, *(tile(measuring, own[codec, target]) for target in BYTES)]
                first = Tile(np.full((1, VIEW_PX, 3), 32, np.uint8))


def tile(measuring: Measuring, row: Row) -> Tile:
    """What is seen of one row."""
    if not row.used:
        return Tile(np.full((1, VIEW_PX, 3), 32, np.uint8), (f"{row.codec}: no file of {row.target}",), FAINT)
    picture = read_image(measuring.kept(row.picture, row.codec, row.target))
    lines = f"{row.codec} {row.used:,} bytes, {row.width}x{row.height}", f"LPIPS {row.lpips or 0:.3f}"
    return Tile(picture, lines, INK)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kodak", type=Path, help="folder with kodim01.png to kodim24.png")
    parser.add_argument("shards", type=Path, help="training photos, of which some are held out")
    parser.add_argument("networks", type=Path, help="folder of the metrics' networks")
    parser.add_argument("--weights", type=Path, help="default: the bundled ones")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for rows and pictures")
    parser.add_argument("--sheet", type=Path, help="the contact sheet, as WebP")
    parser.add_argument("--report", type=Path, help='put the table into section "messages" of this page')
    args = parser.parse_args()
    for name in ("held-out", "joined", "seen"):
        make_folder(args.output / name)
    kodak = sorted(args.kodak.glob("kodim??.png"))
    if not kodak:
        raise ConfigError(f"{args.kodak}: holds no kodim01.png to kodim24.png")
    held_out = extracted(args.shards, args.output / "held-out")
    large = joined(held_out, args.output / "joined")
    measuring = Measuring(args.output, args.networks, args.weights)
    for group, paths in (("Kodak", kodak), ("12 megapixels", large), ("held out", held_out)):
        for number, path in enumerate(paths, 1):
            measuring.measure(group, path)
            tell(f"{group}: {number} of {len(paths)}")
    print(table(measuring.rows))
    if args.report is not None:
        replace_section(args.report, "messages", table(measuring.rows))
    if args.sheet is not None:
        write_sheet(args.sheet, draw_sheet(list(sheet_rows(measuring))))


if __name__ == "__main__":
    sys.exit(exit_status(main))
