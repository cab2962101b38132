"""The size at which `onedc encode` codes a picture, its checksum, and what a receiver will see."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from onedc.cli.arguments import whole
from onedc.cli.jobs import Job, UsageError, write_output
from onedc.datasets.names import suffix_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedc.image import Loaded
    from onedc.image.shrink import Size


def add_size_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The size at which pictures are coded, and the checksum; returns the group of options."""
    group = parser.add_argument_group("messages and small files")
    group.add_argument(
        "--max-side", type=whole, metavar="N", help="shrink pictures to a longer side of N pixels at most"
    )
    group.add_argument(
        "--no-shrink",
        action="store_true",
        help="with --target-bytes: keep the size, even where it looks better smaller in so few bytes",
    )
    group.add_argument(
        "--no-check",
        action="store_true",
        help="leave the checksum out, for channels that check what they carry: 1 byte less in small files",
    )
    return group


def add_show_argument(group: argparse._ArgumentGroup) -> None:
    """The picture that a receiver will see."""
    group.add_argument(
        "--show", metavar="FILE", help="also write the picture that a receiver will see, of one input"
    )


def check_show(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Raise UsageError for a --show that cannot be."""
    from onedc.image import WRITABLE_SUFFIXES

    if args.show is None:
        return
    if len(jobs) > 1:
        raise UsageError("--show takes one input")
    if suffix_of(args.show) not in WRITABLE_SUFFIXES:
        suffixes = " ".join(sorted(WRITABLE_SUFFIXES))
        raise UsageError(f"--show {args.show}: the suffix must be one of {suffixes}")


def wanted_size(args: argparse.Namespace) -> Size:
    """The size that the command line asks for."""
    from onedc.image.shrink import Size

    return Size(max_side=args.max_side, target_bytes=None if args.no_shrink else args.target_bytes)


def coded_size(picture: Loaded, size: Size) -> tuple[int, int]:
    """Width and height at which a picture is coded."""
    from onedc.container.header import working_size

    height, width, _ = picture.rgb.shape
    original: tuple[int, int] = picture.original or (width, height)
    return working_size(*original, size.longer(*original))


def write_shown(picture: Image, args: argparse.Namespace) -> None:
    """Write what --show asks for. Raises OutputError."""
    from onedc.image import image_bytes

    data = image_bytes(picture, suffix_of(args.show), name=args.show)
    write_output(Job(args.show, args.show), data, force=args.force)
