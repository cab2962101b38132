"""What is said of a picture that is read in spite of a fault: warnings, or refusals where one is strict."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from onedc.errors import ImageError, PictureWarning

_TOO_MANY_PIXELS = Image.DecompressionBombWarning
_LOCK = threading.RLock()
"""Python keeps one list of warning filters for all threads."""


class Remarks:
    """Collects remarks on one picture.

    Args:
        name: of the picture, which begins each remark.
        strict: refuse with the first remark.
    """

    def __init__(self, name: str, *, strict: bool = False) -> None:
        self.name, self._strict = name, strict
        self._texts: dict[str, None] = {}

    def add(self, text: str) -> None:
        """Remember a remark, once. Raises ImageError if strict."""
        if self._strict:
            raise ImageError(f"{self.name}: {text}")
        self._texts[text] = None

    def tell(self) -> None:
        """Warn of all that was remembered."""
        for text in self._texts:
            with _LOCK:
                warnings.warn(PictureWarning(f"{self.name}: {text}"), stacklevel=4)

    @contextmanager
    def of_pillow(self) -> Iterator[None]:
        """Turn what Pillow warns of into remarks; our own limit of pixels stands in for Pillow's warning."""
        with _LOCK, warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield
        for warning in heard:
            ours = issubclass(warning.category, UserWarning) and not issubclass(
                warning.category, PictureWarning
            )
            if ours and not issubclass(warning.category, Image.DecompressionBombWarning):
                self.add(one_line(warning.message).rstrip(". "))


def one_line(message: object) -> str:
    """An error's message without line breaks, or its type where it has none."""
    return " ".join(str(message).split()) or type(message).__name__
