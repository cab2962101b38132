"""The constants of the seam's arithmetic; any implementation has them."""

FRACTION_BITS = 14
"""Activations are integers in units of 2**-14."""
UNITS = float(2**FRACTION_BITS)
LIMIT = float(2**27)
"""Inputs and outputs of every leaf are clamped to +-2**27 units (8192); trained models reach 2**19."""
EXACT = 2.0**53
"""Integers below this are exact in float64."""
SLOPE_BITS = 16
GAIN_BITS = 16
TABLES = 256
"""Entropy tables that a scale may choose."""
