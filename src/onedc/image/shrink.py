"""Pictures shrunk to where they look best in a number of bytes, by a rule made once from measurements.

`runs/shrink_rule.py` measures it anew. Knows no networks and no files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import SupportsIndex

import numpy as np
from PIL import Image

from onedc.constants import DOWNSAMPLING_PX
from onedc.container.header import working_size
from onedc.container.packing import packed_size
from onedc.container.side_data import to_sections
from onedc.errors import ConfigError
from onedc.image.reading import Loaded
from onedc.image.samples import with_hidden_places_filled

LARGEST_PX = {157: 34_000, 233: 50_000, 340: 66_000, 512: 80_000, 1000: 108_000}
"""In so many bytes a picture looks best with up to so many pixels; between them, logarithms are linear."""
EXPONENT = 0.8
"""Beyond the ends of the table pixels grow with bytes ** EXPONENT."""
STEP = 0.85
"""A picture none of whose y fits is shrunk by this much more, and again: what z alone shows is far worse."""
WORTH = 0.75
"""A picture is shrunk only if that leaves at most this share of its pixels: nearer sizes look alike."""
LEAST_SIDE_PX = 32
"""No longer side is made shorter than this."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What size pictures are coded at: their own, or a smaller one.

    Raises:
        ConfigError: a side or a number of bytes below 1.
    """

    max_side: int | None = None  # longest side, in pixels
    target_bytes: int | None = None  # bytes of the whole file, in which the picture is to look best

    def __post_init__(self) -> None:
        for name, value in (("max_side", self.max_side), ("target_bytes", self.target_bytes)):
            if value is not None and (not isinstance(value, SupportsIndex) or value < 1):
                raise ConfigError(f"{name} {value!r} is not a whole number above 0")

    def longer(self, width: int, height: int, bytes_beside: int = 0) -> int:
        """The longer side that a picture of `width` x `height` pixels is coded at."""
        longer = min(max(width, height), self.max_side or max(width, height))
        if self.target_bytes is None:
            return longer
        return min(longer, longer_side(width, height, self.target_bytes - bytes_beside))

    def of(self, picture: Loaded) -> Loaded:
        """The picture at this size.

        Raises:
            ConfigError: what is kept beside the picture leaves no bytes for it.
        """
        height, width, _ = picture.rgb.shape
        original: tuple[int, int] = picture.original or (width, height)
        picture = shrunk(picture, self.longer(*original))
        beside = packed_size(to_sections(picture.side_data)) if self.target_bytes else 0
        if self.target_bytes and beside >= self.target_bytes:
            raise ConfigError(
                f"what is kept beside the picture (alpha, profile, EXIF) takes {beside} bytes of "
                f"{self.target_bytes}; keep less or allow more"
            )
        return shrunk(picture, self.longer(*original, beside)) if beside else picture


def advice(width: int, height: int, target_bytes: int) -> str:
    """Words to end a refusal with: the size at which a picture that does not fit in so many bytes would."""
    longer = longer_side(width, height, target_bytes)
    if longer == max(width, height):
        return ""
    smaller = working_size(width, height, longer)
    return f"; shrunk to {smaller[0]}x{smaller[1]} it would fit"


def longer_side(width: int, height: int, target_bytes: int) -> int:
    """The longer side, in pixels, with which a picture of this size looks best in so many bytes.

    One at which a side fills its squares of 64 pixels: z takes as much for a square that is hardly filled.
    """
    longer, shorter = max(width, height), min(width, height)
    share = _most_pixels(max(target_bytes, 1)) / (width * height)
    if share > WORTH:
        return longer
    most = min(longer, max(LEAST_SIDE_PX, int(longer * math.sqrt(share))))
    across = most // DOWNSAMPLING_PX * DOWNSAMPLING_PX
    down = int(most * shorter / longer) // DOWNSAMPLING_PX * DOWNSAMPLING_PX
    return max(across, int(down * longer / shorter)) or most


def _most_pixels(target_bytes: int) -> float:
    """See LARGEST_PX."""
    inside = min(max(target_bytes, min(LARGEST_PX)), max(LARGEST_PX))
    sizes, pixels = np.log([*LARGEST_PX]), np.log([*LARGEST_PX.values()])
    return math.exp(float(np.interp(math.log(inside), sizes, pixels))) * math.pow(
        target_bytes / inside, EXPONENT
    )


def shrunk(picture: Loaded, longer: int) -> Loaded:
    """A picture, and its alpha plane, resampled to a longer side of at most `longer` by Lanczos's filter."""
    height, width, _ = picture.rgb.shape
    original: tuple[int, int] = picture.original or (width, height)
    if longer >= max(original):
        return picture
    size = working_size(*original, longer)
    image = Image.fromarray(picture.rgb)
    if picture.side_data.alpha is None:
        return Loaded(np.asarray(_resampled(image, size)), picture.side_data, original)
    image.putalpha(picture.side_data.alpha)
    image = _resampled(image, size)  # weighs colours by their opacity
    alpha = image.getchannel("A")
    rgb = with_hidden_places_filled(np.asarray(image.convert("RGB")), np.asarray(alpha))
    return Loaded(rgb, replace(picture.side_data, alpha=alpha), original)


def _resampled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
