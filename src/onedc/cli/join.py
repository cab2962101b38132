"""Put the messages of a .1dc file back together.

  onedc join msgs/ -o photo.1dc
  onedc join received/*.msg -o photo.1dc --partial   keeps what came before the first hole
  onedc join --text lines.txt -o photo.1dc

Messages may come in any order and some of them twice; those of other pictures are left out. What --partial
keeps of a file is shown by onedc decode --partial.
"""

from __future__ import annotations

import argparse

from onedc.cli import arguments as cli
from onedc.cli.jobs import PIPE, Job, expand, read_input, write_output
from onedc.cli.split import SUFFIX
from onedc.cli.streams import tell
from onedc.errors import FormatError, OneDCError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc join` takes."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help="messages, folders of them, patterns, or -")
    cli.switch(parser, "--text", "inputs hold lines of base-85 text")
    cli.switch(parser, "--partial", "write what came before the first hole")
    cli.option(parser, "-o, --output OUT", str, "the .1dc file, or -", required=True)
    cli.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Join messages; returns the exit status."""
    from onedc.messages import join

    sources = [source for entry in args.inputs for source in expand(entry, {".txt" if args.text else SUFFIX})]
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
                tell(f"{source}, line {number}: {error}; left out")
    return found
