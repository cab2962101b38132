"""Show size, bits per pixel, quality and model of .1dc files.

  onedc info photo.1dc
  onedc info out/ --json
  onedc info - < photo.1dc

Only the header is read; whether the rest is intact is checked when decoding.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from onedc.cli.jobs import PIPE, expand, read_input
from onedc.cli.streams import print_error
from onedc.errors import OneDCError

if TYPE_CHECKING:
    from onedc.container.info import Info


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc info` takes."""
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help=".1dc files, folders, patterns, or - for standard input"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each file")


def run(args: argparse.Namespace) -> int:
    """Print what is known of each file; returns the exit status."""
    from onedc.container.info import info

    status = 0
    for source in (source for entry in args.inputs for source in expand(entry, {".1dc"})):
        try:
            found = info(read_input(PIPE) if source == PIPE else source)
        except OneDCError as error:
            print_error(error)
            status = 1
            continue
        if args.json:
            print(json.dumps({"input": source, **dataclasses.asdict(found)}))
        else:
            print(_text(source, found))
    return status


def _text(source: str, found: Info) -> str:
    shrunk = f" of {found.original_width}x{found.original_height}" if found.original_width else ""
    check = f"checked by {found.check_bits} bits" if found.check_bits else "unverified: it has no checksum"
    lines = [
        f"{source}: {found.width}x{found.height}{shrunk}, {found.size_bytes} bytes, {found.bpp:.4f} bpp",
        f"  quality  {found.quality:g}{'' if found.quality_byte else ' (the semantic layer alone)'}",
        f"  model    {found.model}",
        f"  format   {found.format_version}, {found.form}, {check}",
    ]
    if found.sections:
        lines.append(f"  sections {', '.join(found.sections)}")
    lines.append(f"  note     {found.note}")
    return "\n".join(lines)
