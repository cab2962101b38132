"""Split a .1dc file into messages of limited size.

  onedc split photo.1dc --size 157 -o msgs/
  onedc split photo.1dc --size 157 --parity 1 -o msgs/   any one message may be lost
  onedc split photo.1dc --size 200 --text                lines of text of up to 200 characters
  onedc split photo.1dc --text                           the whole file as one line

Each message has 2 bytes of its own; a file has at most 16. A file that fits in one message needs no split.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from onedc.cli import arguments as cli
from onedc.cli.jobs import PIPE, Job, UsageError, read_input, write_output
from onedc.errors import FormatError
from onedc.files import make_folder, write_whole

SUFFIX = ".msg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc split` takes."""
    parser.add_argument("input", metavar="IN", help=".1dc file, or - for standard input")
    cli.option(parser, "--size N", cli.whole, "most bytes in a message; with --text, most characters")
    text = "extra parity messages: as many may be lost, up to 8"
    count = cli.checked(int, lambda value: value >= 0, "a whole number from 0 on")
    cli.option(parser, "--parity N", count, text, default=0)
    cli.switch(parser, "--text", "write base-85 text, a line for each message")
    text = "folder for the messages; with --text a file (default: print)"
    cli.option(parser, "-o, --output OUT", str, text)
    cli.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Split one file; returns the exit status."""
    from onedc.messages import bytes_of_text, split, to_text

    if args.size is None and not args.text:
        raise UsageError("--size N is needed; --text alone makes one line of the whole file")
    if args.output is None and not args.text:
        raise UsageError("-o FOLDER is needed, or --text")
    if args.size is None and args.parity:
        raise UsageError("--parity needs --size: one line of the whole file is one message")
    data = read_input(args.input)
    size = bytes_of_text(args.size) if args.size and args.text else args.size
    try:
        messages = [data] if size is None else split(data, size, parity=args.parity)
    except FormatError as error:
        raise FormatError(f"{args.input}: {error}") from error
    if args.text:
        lines = "".join(f"{to_text(message)}\n" for message in messages)
        write_output(Job(args.input, args.output or PIPE), lines.encode("ascii"), force=args.force)
        return 0
    make_folder(args.output)
    stem = "message" if args.input == PIPE else Path(args.input).stem
    for number, message in enumerate(messages, 1):
        path = os.path.join(args.output, f"{stem}-{number:02}{SUFFIX}")
        write_whole(path, message, force=args.force)
        print(f"{path}  {len(message)} bytes")
    return 0
