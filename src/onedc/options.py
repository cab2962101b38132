"""The options that every way to encode or decode takes. Knows no codec."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypedDict

from onedc.effort.level import Progress
from onedc.image import Color, Keepable
from onedc.image.forms import Output


class EncodeOptions(TypedDict, total=False):
    """What every way to encode takes beside the picture and its rate.

    Attributes:
        background: colour to lay under transparent places. None: a picture with any is refused.
        keep: what to store of Pillow images and picture files beside the picture, where they have it:
            "alpha", "icc" (the RGB profile), "exif".
        effort: 0 to 9: how long to look for a better choice of y for each picture; 0 is one pass. The same
            bytes every time on the same processor; any decoder reads them.
        progress: told of the steps of each picture: done, of how many.
        max_side: shrink pictures to this longer side, in pixels; the file keeps the original's size.
        check: False leaves the checksum out, of a file that holds nothing beside the picture.
    """

    background: Color | None
    keep: Collection[Keepable]
    effort: int
    progress: Progress | None
    max_side: int | None
    check: bool


class DecodeOptions(TypedDict, total=False):
    """What every way to decode takes beside the files; see `Codec.decode_batch`."""

    output: Output
    max_pixels: int | None
    partial: bool
    preview: bool
    full_size: bool
