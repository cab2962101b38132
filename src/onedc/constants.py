"""Numbers that the file format and every model share."""

DOWNSAMPLING_PX = 64
"""Images are padded to multiples of this many pixels; z has one position for each such square."""
Y_PX = 16
"""Pixels a side of a position of y."""
QUALITY_MAX = 255
"""Largest value of the quality byte; 0 means that no y section is stored."""
