"""Store photos in a few hundred bytes to a few kilobytes.

  onedc encode photo.jpg             writes photo.1dc
  onedc decode photo.1dc             writes photo.png
  onedc info photo.1dc               size, bits per pixel, quality, model

A .1dc file keeps what a picture shows; its fine details are generated when it is decoded.

Exit status: 0 done, 1 something failed, 2 the command line is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from onedc import __version__
from onedc.cli.jobs import UsageError
from onedc.cli.streams import flush, print_error, secure_streams, warnings_in_lines
from onedc.errors import ConfigError, OneDCError

COMMANDS = {
    "encode": "",
    "decode": "",
    "info": "",
    "split": "",
    "join": "",
    "batch": "",
    "demo": "",
    "serve": "serve",
    "eval": "eval",
    "rd": "eval",
    "compare": "eval",
    "bench": "torch",
    "data": "train",
    "nets": "train",
    "train": "train",
    "export": "train",
    "fit-z": "train",
    "convert": "torch",
}
"""In the order of `onedc --help`, and the extra of onedc that each needs, if any. The module of a command has
its name; the docstring is its help, `add_arguments` declares what it takes, `run` does it."""
DEBUG_VARIABLE = "ONEDC_DEBUG"
"""Set this in the environment to see the traceback of an internal error."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as our descriptions; asking the terminal would import compression libraries first."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=110)


class Parser(argparse.ArgumentParser):
    """argparse with errors in the one-line form of all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"onedc: error: {message}; see {self.prog} --help\n")


def build_parser(command: str | None = None) -> Parser:
    """The parser of the whole command, or of one of its COMMANDS alone: then no other module is read.

    The documentation's examples are tested against it.
    """
    parser = Parser(prog="onedc", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--version", action="version", version=f"onedc {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, prog="onedc")
    for name in COMMANDS if command is None else [command]:
        module = import_module(f"onedc.cli.{name.replace('-', '_')}")
        text = module.__doc__ or ""
        summary = text.partition("\n")[0].removesuffix(".")
        declared = commands.add_parser(name, help=summary, description=text, formatter_class=HelpFormatter)
        module.add_arguments(declared)
        declared.set_defaults(run=getattr(module, "run", None))  # the actions of nets have their own
    return parser


def process() -> NoReturn:
    """The whole `onedc` process: runs the command line and exits with its status.

    Two things keep a short command short. What the heavy imports make is all kept, so the garbage collector
    looks for cycles more rarely. And once every exit handler has run (ours is registered first, so it comes
    last), the process ends without taking torch apart.
    """
    status = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the reader went away, or closed already
                stream.flush()
        os._exit(status)

    atexit.register(leave)
    gc.set_threshold(100_000)
    try:
        status = main()
    except SystemExit as stop:  # argparse leaves this way
        status = stop.code if isinstance(stop.code, int) else 0
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit status."""
    secure_streams()
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser(argv[0] if argv and argv[0] in COMMANDS else None).parse_args(argv)
    try:
        with warnings_in_lines():
            status: int = args.run(args)
        return status if flush() else status or 1
    except (UsageError, ConfigError) as error:
        print_error(error)
        return 2
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OneDCError as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        if isinstance(error, ModuleNotFoundError) and (extra := COMMANDS.get(argv[0])):
            print_error(f'{error.name} is not installed: pip install "onedc[{extra}]"')
            return 1
        print_error(f"internal error: {type(error).__name__}: {error}; {DEBUG_VARIABLE}=1 shows where")
        return 1
