"""Encode pictures to .1dc files.

  onedc encode photo.jpg                  writes photo.1dc beside it
  onedc encode photo.jpg -o small.1dc -q 20
  onedc encode photo.jpg --target-bytes 157 --show seen.png
  onedc encode holiday/ -o out/           every picture in a folder
  onedc encode "**/*.png" -o out/         a pattern (in quotes, ** goes into folders)
  curl -s URL | onedc encode - > photo.1dc

-q sets how many bits are spent, not a pixel error. At -q 0 only the semantic layer is stored, about 14 bits
for each 64x64 pixels: the scene stays, its details are invented. With a target, the highest quality is taken
whose whole file fits; for --target-bytes a picture is first shrunk to where it looks best in so few bytes,
unless --no-shrink is given. A picture that fits at no quality is refused. EXIF orientation and the colour
profile are applied; transparency, profile and EXIF are stored only when asked for. -e takes seconds to
minutes longer and finds a better picture for the same bits; any decoder reads the file.
"""

from __future__ import annotations

import argparse
import math
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

from onedc.cli import arguments as cli
from onedc.cli.jobs import (
    PIPE,
    Job,
    Report,
    UsageError,
    check_output,
    make_folders,
    plan,
    read_input,
    run_jobs,
    write_output,
)
from onedc.cli.streams import progress_bar
from onedc.datasets.names import suffix_of
from onedc.effort.level import Effort
from onedc.engine.environment import allocate_for
from onedc.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedc.codec import Codec
    from onedc.image import Loaded
    from onedc.image.shrink import Size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc encode` takes."""
    cli.add_file_arguments(
        parser,
        inputs="picture files, folders, patterns, or - for standard input",
        output="output file; a folder for more than one input, created if need be; - for standard output "
        "(default: beside each input, with the suffix .1dc)",
    )
    spent = parser.add_mutually_exclusive_group()
    text = "0 (smallest) to 100, decimals allowed (default: about 0.1 bits per pixel)"
    cli.option(spent, "-q, --quality Q", cli.quality, text)
    cli.option(spent, "--target-bytes N", cli.whole, "the highest quality whose file has at most N bytes")
    cli.option(
        spent, "--target-bpp X", cli.positive, "the highest quality whose file has at most X bits per pixel"
    )
    text = "also write the picture that a receiver will see, of one input"
    cli.option(parser, "--show FILE", str, text)
    cli.add_encoding_arguments(parser)
    cli.add_model_arguments(parser, engines=True)


def run(args: argparse.Namespace) -> int:
    """Encode what the command line names; returns the exit status."""
    from onedc.image import MISSING_PLUGINS, READABLE_SUFFIXES

    passed: list[str] = []
    suffixes, hints = READABLE_SUFFIXES, MISSING_PLUGINS
    jobs = plan(args.inputs, args.output, suffix=".1dc", accepted=suffixes, passed=passed, hints=hints)
    _check_show(args, jobs)
    make_folders(jobs)

    codec = cli.codec_of(args)
    alone = len(jobs) == 1
    return run_jobs(
        jobs, lambda job: _encode_job(codec, job, args, alone=alone), as_json=args.json, passed=passed
    )


def _encode_job(codec: Codec, job: Job, args: argparse.Namespace, *, alone: bool) -> Report:
    """Encode one file; one that is alone tells how far its effort is. Raises OneDCError."""
    from onedc.image import image_bytes, read_picture

    check_output(job, force=args.force)
    source = _from_pipe() if job.source == PIPE else job.source
    picture = read_picture(source, draft=_wanted_size(args).longer, **cli.reading_options(args))
    allocate_for(math.prod(_coded_size(picture, args)))
    started_s = time.perf_counter()
    try:
        steps = Effort(args.effort).steps if alone else 0
        with progress_bar(steps, "steps", what=f"{job.source}: effort {args.effort}", delay_s=2.0) as advance:
            data, shown = _encode(codec, picture, args, lambda done, of: advance(done))
    except ConfigError as error:
        raise ConfigError(f"{job.source}: {error}") from error
    elapsed_s = time.perf_counter() - started_s
    write_output(job, data, force=args.force)
    if shown is not None:
        write_output(
            Job(args.show, args.show),
            image_bytes(shown, suffix_of(args.show), name=args.show),
            force=args.force,
        )
    return _report(job, data, elapsed_s)


def _check_show(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Raise UsageError for a --show that cannot be."""
    from onedc.image import WRITABLE_SUFFIXES

    if args.show is not None and len(jobs) > 1:
        raise UsageError("--show takes one input")
    if args.show is not None and suffix_of(args.show) not in WRITABLE_SUFFIXES:
        suffixes = " ".join(sorted(WRITABLE_SUFFIXES))
        raise UsageError(f"--show {args.show}: the suffix must be one of {suffixes}")


def _wanted_size(args: argparse.Namespace) -> Size:
    """The size that the command line asks for."""
    from onedc.image.shrink import Size

    return Size(max_side=args.max_side, target_bytes=args.target_bytes if args.shrink else None)


def _coded_size(picture: Loaded, args: argparse.Namespace) -> tuple[int, int]:
    """Width and height at which a picture is coded."""
    from onedc.container.header import working_size

    height, width, _ = picture.rgb.shape
    original: tuple[int, int] = picture.original or (width, height)
    return working_size(*original, _wanted_size(args).longer(*original))


def _from_pipe() -> BytesIO:
    """What standard input holds, under a name for messages."""
    stream = BytesIO(read_input(PIPE))
    stream.name = "standard input"
    return stream


def _encode(
    codec: Codec, picture: Loaded, args: argparse.Namespace, progress: Any
) -> tuple[bytes, Image | None]:
    """One file, of the quality or within the target that the command line names, and what --show asks for."""
    options = {"effort": args.effort, "progress": progress}
    options |= {"max_side": args.max_side, "check": args.check}
    rate = _rate(picture, args)
    if args.show is not None:
        return codec.encode_and_show(picture, **rate, **options)
    if "target_bytes" in rate:
        return codec.encode_to_size(picture, **rate, **options), None
    return codec.encode(picture, **rate, **options), None


def _rate(picture: Loaded, args: argparse.Namespace) -> dict[str, Any]:
    """Quality or target that the command line names, as the codec takes it."""
    from onedc.target_size import bytes_at

    if args.target_bpp is not None:
        target = bytes_at(args.target_bpp, *_coded_size(picture, args))
        return {"target_bytes": target, "shrink": False}
    if args.target_bytes is not None:
        return {"target_bytes": args.target_bytes, "shrink": args.shrink}
    return {} if args.quality is None else {"quality": args.quality}


def _report(job: Job, data: bytes, elapsed_s: float) -> Report:
    from onedc.container.info import info

    found = info(data)
    shrunk = f"{found.width}x{found.height} of {found.original_width}x{found.original_height}  "
    return Report(
        text=f"{job.source} -> {job.target}  {shrunk if found.original_width else ''}"
        f"{found.size_bytes} bytes  {found.bpp:.4f} bpp  quality {found.quality:g}  {elapsed_s:.2f} s",
        fields={
            "width": found.width,
            "height": found.height,
            "bytes": found.size_bytes,
            "bpp": found.bpp,
            "quality": found.quality,
            "seconds": elapsed_s,
        },
    )
