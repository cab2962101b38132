"""What commands say to people: lines, errors, progress, in ways that cannot fail the work.

Standard streams may be closed, full, a terminal, or unable to write a file's name.
"""

from __future__ import annotations

import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO, TextIO

from onedc.errors import OneDCError, OutputError, PictureWarning, one_line

PATIENCE_S = 2.0
"""What takes longer than this tells how far it is."""


class _Closed(io.TextIOWrapper):
    """Swallows what is told to a stream that was closed before the process began."""

    def __init__(self) -> None:
        super().__init__(io.FileIO(os.devnull, "w"), encoding="utf-8", errors="backslashreplace")


def secure_streams() -> None:
    """Make `print` safe: a closed stream swallows what it is told, and no file name is unprintable."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Closed())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def binary_input() -> BinaryIO:
    """Standard input, for bytes. Raises OneDCError where it is closed."""
    if sys.stdin is None:
        raise OneDCError("standard input is closed")
    return sys.stdin.buffer


def check_binary_output() -> None:
    """Raise OutputError where standard output cannot take a file: closed, or a terminal."""
    if isinstance(sys.stdout, _Closed):
        raise OutputError("standard output is closed")
    if sys.stdout.isatty():
        raise OutputError("standard output is a terminal, no place for a file's bytes; use -o FILE or > FILE")


def say(line: str) -> bool:
    """A line on standard output; whether it got there."""
    return _printed(line, sys.stdout)


def flush() -> bool:
    """Bring standard output to its reader; whether all of it got there."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        print_error(f"standard output: {getattr(error, 'strerror', None) or error}")
        return False
    return True


def print_error(error: object) -> None:
    """One line on standard error."""
    _printed(f"onedc: error: {one_line(error)}", sys.stderr)


def print_warning(warning: object) -> None:
    """One line on standard error of something that was done nevertheless."""
    _printed(f"onedc: warning: {one_line(warning)}", sys.stderr)


@contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Tell warnings of pictures as lines of ours; others stay as Python tells them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PictureWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, PictureWarning):
                print_warning(message)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


def tell(line: str) -> None:
    """A line of progress on standard error."""
    _printed(line, sys.stderr)


def _printed(text: str, stream: TextIO, end: str = "\n") -> bool:
    bars = sys.modules.get("tqdm")  # what they show is drawn anew below the line
    try:
        with bars.tqdm.external_write_mode() if bars else nullcontext():
            print(text, end=end, file=stream, flush=True)
    except (OSError, ValueError):  # its reader went away, its disk is full, or it was closed meanwhile
        return False
    return True


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], object]]:
    """A progress bar on standard error for many files on a terminal; yields the function that advances it."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=" files", leave=False, dynamic_ncols=True) as bar:
        yield bar.update


@contextmanager
def progress_line(what: str, *, shown: bool = True) -> Iterator[Callable[[int, int], object]]:
    """A line on standard error for one long work on a terminal, once it takes over 2 s.

    Yields what is to be told how much is done, of how much.
    """
    started_s, shown = time.monotonic(), shown and sys.stderr.isatty()

    def advance(done: int, total: int) -> None:
        if shown and time.monotonic() - started_s > PATIENCE_S:
            _printed(f"\r\033[K{what}: step {done} of {total}", sys.stderr, end="")

    try:
        yield advance
    finally:
        if shown:
            _printed("\r\033[K", sys.stderr, end="")
