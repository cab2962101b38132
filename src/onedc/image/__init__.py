"""Picture files to RGB arrays and back: orientation, bit depth, colours, alpha, damage.

Pillow and numpy only. Knows nothing of the codec, its tensors or its files.
"""

from onedc.image.formats import MISSING_PLUGINS, READABLE_SUFFIXES
from onedc.image.reading import (
    KEEPABLE,
    MAX_SIDE_PX,
    Keepable,
    Loaded,
    PictureFile,
    read_image,
    read_picture,
    to_picture,
)
from onedc.image.samples import Color, RGBArray, parse_color, with_hidden_places_filled
from onedc.image.writing import WRITABLE_SUFFIXES, image_bytes, is_generated, write_image

__all__ = [
    "KEEPABLE",
    "MAX_SIDE_PX",
    "MISSING_PLUGINS",
    "READABLE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "Color",
    "Keepable",
    "Loaded",
    "PictureFile",
    "RGBArray",
    "image_bytes",
    "is_generated",
    "parse_color",
    "read_image",
    "read_picture",
    "to_picture",
    "with_hidden_places_filled",
    "write_image",
]
