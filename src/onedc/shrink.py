"""Pictures shrunk to where they look best in a number of bytes, by a rule made once from measurements.

`runs/shrink_rule.py` measures it anew. Knows no networks and no files.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image

from onedc.header import working_size
from onedc.image import Loaded, with_hidden_places_filled

PIXELS, EXPONENT = 90.0, 1.1
"""A picture looks best in n bytes with PIXELS * n ** EXPONENT pixels, in the mean of many photos."""
WORTH = 0.75
"""A picture is shrunk only if that leaves at most this share of its pixels: nearer sizes look alike."""
LEAST_SIDE_PX = 32
"""No longer side is made shorter than this."""


def longer_side(width: int, height: int, target_bytes: int) -> int:
    """The longer side, in pixels, with which a picture of this size looks best in so many bytes."""
    share = PIXELS * max(target_bytes, 1) ** EXPONENT / (width * height)
    longer = max(width, height)
    if share > WORTH:
        return longer
    return min(longer, max(LEAST_SIDE_PX, round(longer * math.sqrt(share))))


def shrunk(picture: Loaded, longer: int) -> Loaded:
    """A picture, and its alpha plane, resampled to a longer side of at most `longer` by Lanczos's filter."""
    height, width, _ = picture.rgb.shape
    original: tuple[int, int] = picture.original or (width, height)
    if longer >= max(original):
        return picture
    size = working_size(*original, longer)
    image = Image.fromarray(picture.rgb)
    if picture.extras.alpha is None:
        return Loaded(np.asarray(_resampled(image, size)), picture.extras, original)
    image.putalpha(picture.extras.alpha)
    image = _resampled(image, size)  # weighs colours by their opacity
    alpha = image.getchannel("A")
    rgb = with_hidden_places_filled(np.asarray(image.convert("RGB")), np.asarray(alpha))
    return Loaded(rgb, replace(picture.extras, alpha=alpha), original)


def _resampled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
