"""Encode a photo, decode it, and show both side by side.

  onedc demo photo.jpg -o demo

leaves demo/photo.1dc, demo/photo.png (decoded) and demo/photo-side-by-side.png.
"""

from __future__ import annotations

import argparse
import os
import time

from onedc.cli import arguments as cli
from onedc.cli.jobs import Job, check_targets
from onedc.files import make_folder, refuse_existing, write_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc demo` takes."""
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    cli.option(parser, "-o, --output FOLDER", str, "where the three files go (default: demo)", default="demo")
    cli.option(parser, "-q, --quality Q", cli.quality, "0 to 100 (default: about 0.1 bits per pixel)")
    cli.add_force(parser, "replace the files of an earlier run")
    cli.add_model_arguments(parser, engines=True)


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    from onedc.evaluation.sheet import Tile, draw_sheet
    from onedc.image import image_bytes, read_image

    folder = args.output
    base = os.path.join(folder, os.path.splitext(os.path.basename(args.photo))[0])
    targets = (f"{base}.1dc", f"{base}.png", f"{base}-side-by-side.png")
    check_targets(Job(args.photo, target) for target in targets)
    for target in targets:
        refuse_existing(target, force=args.force)
    pixels = read_image(args.photo)

    started_s = time.perf_counter()
    codec = cli.codec_of(args)
    loaded_s = time.perf_counter()
    data = codec.encode(pixels, **({} if args.quality is None else {"quality": args.quality}))
    encoded_s = time.perf_counter()
    decoded = codec.decode(data, output="numpy")
    decoded_s = time.perf_counter()

    height, width = pixels.shape[:2]
    captions = (
        f"original, {width}x{height}",
        f"decoded from {len(data)} bytes, {8 * len(data) / (width * height):.4f} bits per pixel; "
        f"encode {encoded_s - loaded_s:.2f} s, decode {decoded_s - encoded_s:.2f} s",
    )
    make_folder(folder)
    sheet = draw_sheet([[Tile(pixels, captions[:1]), Tile(decoded, captions[1:])]])
    contents = (data, image_bytes(decoded), image_bytes(sheet))
    for target, content in zip(targets, contents, strict=True):
        write_whole(target, content, force=args.force)
    print(f"weights loaded in {loaded_s - started_s:.2f} s\n" + "\n".join(captions))
    print("\n".join(f"wrote {target}" for target in targets))
    return 0
