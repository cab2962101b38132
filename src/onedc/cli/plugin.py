"""The argument of commands that take plugins: files of Python that add to what they know."""

from __future__ import annotations

import argparse
from pathlib import Path


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
