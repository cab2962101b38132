"""`onedc split` and `onedc join`: .1dc files in messages of limited size, and back. Loads no torch."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from onedc.cli import arguments as cli
from onedc.cli.jobs import PIPE, Job, UsageError, expand, read_input, write_output
from onedc.cli.streams import tell
from onedc.errors import FormatError, OneDCError
from onedc.files import make_folder, write_whole

_SUFFIX = ".msg"

_SPLIT = """\
Split a .1dc file into messages of limited size.

  onedc split photo.1dc --size 157 -o msgs/
  onedc split photo.1dc --size 157 --parity 1 -o msgs/   any one message may be lost
  onedc split photo.1dc --size 200 --text                lines of text of up to 200 characters
  onedc split photo.1dc --text                           the whole file as one line

Each message has 2 bytes of its own; a file has at most 16. A file that fits in one message needs no split.
"""
_JOIN = """\
Put messages back together: in any order, some of them twice, messages of other pictures left out.

  onedc join msgs/ -o photo.1dc
  onedc join received/*.msg -o photo.1dc --partial   keeps what came before the first hole
  onedc join --text lines.txt -o photo.1dc

What --partial keeps of a file is shown by onedc decode --partial.
"""


def add_command(commands: Any) -> None:
    """Declare `onedc split` and `onedc join`."""
    split = cli.add_parser(commands, "split", "a .1dc file in messages", _SPLIT, run_split)
    split.add_argument("input", metavar="IN", help=".1dc file, or - for standard input")
    cli.option(split, "--size N", cli.whole, "most bytes in a message; with --text, most characters")
    text = "extra parity messages: as many may be lost, up to 8"
    cli.option(split, "--parity N", _count, text, default=0)
    cli.switch(split, "--text", "write base-85 text, a line for each message")
    text = "folder for the messages; with --text a file (default: print)"
    cli.option(split, "-o, --output OUT", str, text)
    cli.add_force(split)

    join = cli.add_parser(commands, "join", "messages to a .1dc file", _JOIN, run_join)
    join.add_argument("inputs", nargs="+", metavar="IN", help="messages, folders of them, patterns, or -")
    cli.switch(join, "--text", "inputs hold lines of base-85 text")
    cli.switch(join, "--partial", "write what came before the first hole")
    cli.option(join, "-o, --output OUT", str, "the .1dc file, or -", required=True)
    cli.add_force(join)


def run_split(args: argparse.Namespace) -> int:
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
        path = os.path.join(args.output, f"{stem}-{number:02}{_SUFFIX}")
        write_whole(path, message, force=args.force)
        print(f"{path}  {len(message)} bytes")
    return 0


def run_join(args: argparse.Namespace) -> int:
    """Join messages; returns the exit status."""
    from onedc.messages import join

    sources = [
        source for entry in args.inputs for source in expand(entry, {".txt" if args.text else _SUFFIX})
    ]
    named = [message for source in sources for message in _messages(source, text=args.text)]
    joined = join(message for _, message in named)
    for place in joined.foreign:
        tell(f"{named[place][0]}: of another picture, or damaged; left out")
    if not joined.whole:
        numbers = ", ".join(str(number + 1) for number in joined.missing)
        missing = f"missing {numbers} of {joined.parts} messages"
        if not joined.data and len(named) == 1:
            raise OneDCError(
                f"{named[0][0]}: no message of a .1dc file, or one whose first message is missing"
            )
        if not joined.data:
            raise OneDCError(f"{missing}: without the first one there is nothing to show")
        if not args.partial:
            raise OneDCError(f"{missing}; --partial keeps the {len(joined.data)} bytes before them")
        tell(f"{missing}: {args.output} is cut; onedc decode --partial shows it, unverified")
    write_output(Job(PIPE, args.output), joined.data, force=args.force)
    return 0


def _messages(source: str, *, text: bool) -> list[tuple[str, bytes]]:
    """The messages in one input, each with a name for errors."""
    from onedc.messages import from_text

    data = read_input(source)
    if not text:
        return [(source, data)]
    found = []
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
        if line.strip():
            try:
                found.append((f"{source}, line {number}", from_text(line)))
            except FormatError as error:
                print(f"{source}, line {number}: {error}; left out", file=sys.stderr)
    return found


def _count(text: str) -> int:
    """Parse a whole number from 0 on for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
