"""What commands say to people: lines, errors, progress, in ways that cannot fail the work.

Standard streams may be closed, full, a terminal, or unable to write a file's name.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO, TextIO

from onedc.errors import OneDCError, OutputError, PictureWarning, one_line


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


def _printed(text: str, stream: TextIO) -> bool:
    bars = sys.modules.get("tqdm")  # what they show is drawn anew below the line
    try:
        with bars.tqdm.external_write_mode() if bars else nullcontext():
            print(text, file=stream, flush=True)
    except (OSError, ValueError):  # its reader went away, its disk is full, or it was closed meanwhile
        return False
    return True


@contextmanager
def progress_bar(
    total: int, unit: str = "files", *, what: str | None = None, delay_s: float = 0.0
) -> Iterator[Callable[..., object]]:
    """A progress bar on standard error, on a terminal and for more than one unit of work; gone at its end.

    Args:
        what: stands before the bar.
        delay_s: what is done sooner shows none.
    Yields:
        What advances it: by one, or to a number of units that is given.
    """
    if total < 2 or not sys.stderr.isatty():
        yield lambda done=None: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, total=total, unit=f" {unit}", leave=False, dynamic_ncols=True, delay=delay_s) as bar:
        yield lambda done=None: bar.update(1 if done is None else done - bar.n)
