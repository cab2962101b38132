"""Decode .1dc files to pictures.

  onedc decode photo.1dc                  writes photo.png beside it
  onedc decode photo.1dc -o photo.jpg     the suffix chooses the format: png webp tif bmp ppm jpg
  onedc decode out/ -o pictures/          every .1dc file in a folder
  onedc decode - < photo.1dc > photo.png

Every machine decodes the same symbols from a file; pixels may differ by a rounding. Details are generated, as
the description in PNG, TIFF and JPEG files says.
A damaged file, or one of another model, is refused. Of a truncated file, --partial decodes the semantic layer
and all complete parts of the rest; of a damaged one, --partial --preview decodes the semantic layer.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress

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
from onedc.datasets.names import suffix_of
from onedc.engine.environment import allocate_for
from onedc.errors import FormatError, OutputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc decode` takes."""
    cli.add_file_arguments(
        parser,
        inputs=".1dc files, folders, patterns, or - for standard input",
        output="output file; a folder for more than one input, created if need be; - for standard output, as "
        "PNG (default: beside each input, with the suffix .png)",
        force="replace outputs that exist already; given twice, also pictures that do not say that onedc "
        "decoded them, such as the original",
    )
    cli.switch(parser, "--partial", "decode the complete parts of a truncated file, unverified")
    cli.switch(parser, "--preview", "decode the semantic layer alone, as at -q 0")
    text = "resample pictures that were shrunk to their original size (Lanczos)"
    cli.switch(parser, "--full-size", text)
    cli.option(parser, "--max-pixels N", int, "refuse files that declare more pixels than this")
    cli.add_model_arguments(parser, engines=True)


def run(args: argparse.Namespace) -> int:
    """Decode what the command line names; returns the exit status."""
    from onedc.container.info import info
    from onedc.container.packing import read_header
    from onedc.image import WRITABLE_SUFFIXES, image_bytes

    passed: list[str] = []
    jobs = plan(args.inputs, args.output, suffix=".png", accepted={".1dc"}, passed=passed)
    for job in jobs:
        if job.target != PIPE and suffix_of(job.target) not in WRITABLE_SUFFIXES:
            raise UsageError(f"{job.target}: the suffix must be one of {' '.join(sorted(WRITABLE_SUFFIXES))}")
    make_folders(jobs)

    codec = cli.codec_of(args)
    limit = {} if args.max_pixels is None else {"max_pixels": args.max_pixels}

    def decode_one(job: Job) -> Report:
        check_output(job, force=args.force)
        if args.force == 1:
            _refuse_original(job.target)
        data = read_input(job.source)
        with suppress(FormatError):  # which decoding says better
            header = read_header(data)
            allocate_for(header.width * header.height)
        started_s = time.perf_counter()
        try:
            picture = codec.decode(
                data, partial=args.partial, preview=args.preview, full_size=args.full_size, **limit
            )
        except FormatError as error:
            raise FormatError(f"{job.source}: {error}") from error
        elapsed_s = time.perf_counter() - started_s
        suffix = ".png" if job.target == PIPE else suffix_of(job.target)
        write_output(job, image_bytes(picture, suffix, name=job.target), force=args.force)
        width, height = picture.size
        unverified = args.partial or not info(data).check_bits
        return _report(job, width, height, elapsed_s, unverified=unverified)

    return run_jobs(jobs, decode_one, as_json=args.json, passed=passed)


def _refuse_original(target: str) -> None:
    """Raise OutputError for a file that no decoder of ours has made, as far as it says itself."""
    from onedc.image import is_generated

    if os.path.isfile(target) and not is_generated(target):
        raise OutputError(
            f"{target}: does not say that onedc decoded it, and may be an original; name another output with "
            "-o, or give --force twice to replace it"
        )


def _report(job: Job, width: int, height: int, elapsed_s: float, *, unverified: bool) -> Report:
    note = "  unverified" if unverified else ""
    return Report(
        text=f"{job.source} -> {job.target}  {width}x{height}  {elapsed_s:.2f} s{note}",
        fields={
            "width": width,
            "height": height,
            "verified": not unverified,
            "seconds": elapsed_s,
        },
    )
