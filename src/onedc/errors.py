"""Every error a caller of onedc can meet.

    OneDCError
    +-- FormatError      damaged, foreign or hostile .1dc bytes
    +-- ImageError       a picture that cannot be read, or that needs a decision (alpha)
    +-- WeightsError     a weights or checkpoint file that is missing, damaged or of another model
    +-- ConfigError      a bad value or an unknown key in a configuration
    +-- OutputError      an output that exists already or cannot be written
    +-- MissingExtraError   an optional dependency is not installed

Each message is one line: what is wrong, in which file, what to do. PictureWarning is a warning of Python's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


class OneDCError(Exception):
    """Root of all errors raised on purpose by onedc."""


class FormatError(OneDCError, ValueError):
    """Bytes that are not a valid .1dc file, or not one for this model."""


class ImageError(OneDCError, ValueError):
    """A picture that cannot be read or converted without a decision of the caller."""


class WeightsError(OneDCError, ValueError):
    """A weights file that is missing, damaged, or does not fit the model."""


class ConfigError(OneDCError, ValueError):
    """A configuration field with a bad value, or an unknown field."""


class OutputError(OneDCError, OSError):
    """An output file that exists already or cannot be written."""


class MissingExtraError(OneDCError, ImportError):
    """An optional dependency is missing; the message holds the pip command that installs it."""


class PictureWarning(UserWarning):
    """A picture that is read in spite of a fault: a profile that does not fit, damage beside the pixels."""


@contextmanager
def refused_as(kind: type[OneDCError], what: str) -> Iterator[None]:
    """What the system refuses inside the block becomes an error of ours: `what`, and the reason."""
    try:
        yield
    except OneDCError:  # some are OSErrors too
        raise
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}") from error


def optional(module: str, extra: str, package: str = "") -> Any:
    """A module of a package that need not be installed.

    Args:
        extra: the extra of onedc that brings it.
        package: its name, where that is not the module's.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = package or module.partition(".")[0]
        raise MissingExtraError(f'{name} is not installed: pip install "onedc[{extra}]"') from error


def one_line(message: object) -> str:
    """An error's message without line breaks, or its type where it has none."""
    return " ".join(str(message).split()) or type(message).__name__
