"""Arguments that several commands take: lists with commas, and files of Python that add to what they know."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from onedc.cli.jobs import whole


def names(text: str) -> tuple[str, ...]:
    """Parse a list of names with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def number(text: str) -> float:
    """Parse a finite number for argparse."""
    try:
        found = float(text)
        if not math.isfinite(found):
            raise ValueError
        return found
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def numbers(text: str) -> tuple[float, ...]:
    """Parse a list of finite numbers with commas for argparse."""
    try:
        return tuple(number(each) for each in text.split(",") if each.strip())
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, like 10,30.5") from None


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse a list of whole numbers above 0 with commas for argparse."""
    return tuple(whole(each.strip()) for each in text.split(",") if each.strip())


def add_plugin_argument(parser: argparse.ArgumentParser, adds: str) -> None:
    """Declare --plugin; `adds` says what the command takes from one."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help=f"run this Python file first; it may add {adds} (docs/extending.md)",
    )
