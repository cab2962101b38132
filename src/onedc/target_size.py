"""The highest quality whose whole file fits a number of bytes.

Counts the bytes of real files. Knows no pictures, no networks and no format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import SupportsIndex

from onedc.errors import ConfigError

DEFAULT_QUALITY = 70.0
"""Near 0.1 bits per pixel with the bundled model."""
TRIES = 4
"""Qualities that are refined for one budget, at most."""
AIM = 0.99
"""Share of the budget that a guessed size aims at."""
GROWTH = 6.0
"""Sections of y grow about exp(GROWTH) times from the lowest quality to the highest: where guesses begin."""
GUESSES = 8
"""Qualities tried before what is left is halved."""
BESIDE = 0.005
"""How far beyond the budget a guess aims, on the side that was not hit last, as a share of it."""


class DoesNotFitError(ConfigError):
    """The smallest file of a picture is larger than it may be."""


def highest_within(make_file: Callable[[int], bytes], qualities: Sequence[int], target_bytes: int) -> bytes:
    """The file of the highest quality that is not larger than `target_bytes`.

    The file has been measured, so it is never above the target. The next quality's file is above it, unless
    the file is that of the last quality.

    Args:
        make_file: quality -> whole file; called for the lowest, and for some five others, at most
            GUESSES + log2(n) of the n qualities.
        qualities: in rising order of file sizes; where sizes fall on the way, a lower quality than the
            highest that fits may be found.
        target_bytes: the most bytes that the file may have.

    Raises:
        DoesNotFitError: no file fits.
        ConfigError: the target is not a whole number.
    """
    return _highest(make_file, qualities, target_bytes)[1]


def refined_within(
    make_file: Callable[[int], bytes],
    refine: Callable[[int], bytes],
    qualities: Sequence[int],
    target_bytes: int,
) -> bytes:
    """The file of the highest quality refined here that is not larger than `target_bytes`.

    Refining is dear and moves sizes: the quality that `highest_within` finds is refined, then those that
    fit if refining moves their sizes alike. Where none of TRIES fits, the file is that of `highest_within`.

    Args:
        make_file, qualities, target_bytes: as for `highest_within`.
        refine: quality -> whole file.

    Raises:
        ConfigError: as `highest_within`.
    """
    make_file = cache(make_file)
    place, best = _highest(make_file, qualities, target_bytes)
    fits, exceeds = -1, len(qualities)  # places round the one that is looked for
    for _ in range(TRIES):
        file = refine(qualities[place])
        if len(file) <= target_bytes:
            fits, best = place, file
        else:
            exceeds = place
        if exceeds - fits == 1:
            break
        own = len(make_file(qualities[place]))
        within = int(AIM * target_bytes * own / len(file))
        likely = _highest(make_file, qualities, max(within, len(make_file(qualities[0]))))[0]
        place = min(max(likely, fits + 1), exceeds - 1)
    return best


def _highest(
    make_file: Callable[[int], bytes], qualities: Sequence[int], target_bytes: int
) -> tuple[int, bytes]:
    """The place of the highest quality whose file fits, and the file; the lowest is tried first."""
    best = make_file(qualities[0])
    check_fits(target_bytes, len(best))
    sizes, fits, exceeds = {0: len(best)}, 0, len(qualities)
    slope = GROWTH / len(qualities)
    while exceeds - fits > 1:
        if len(sizes) <= GUESSES:
            place = min(max(_guess(sizes, fits, exceeds, target_bytes, slope), fits + 1), exceeds - 1)
        else:
            place = (fits + exceeds) // 2
        file = make_file(qualities[place])
        sizes[place] = len(file)
        if len(file) <= target_bytes:
            fits, best = place, file
        else:
            exceeds = place
    return fits, best


def _guess(sizes: Mapping[int, int], fits: int, exceeds: int, target_bytes: int, slope: float) -> int:
    """About the place whose file has the target's size.

    What sizes have above the first grows nearly exponentially: by `slope` until two on either side are known.
    """
    if len(sizes) == 1:
        return exceeds // 2
    logs = {place: math.log(max(1, size - sizes[0])) for place, size in sizes.items()}
    if fits and exceeds in logs:
        slope = (logs[exceeds] - logs[fits]) / (exceeds - fits) or slope
    beyond = BESIDE if next(reversed(sizes)) == fits else -BESIDE
    near = fits or exceeds
    return round(near + (math.log(max(1, target_bytes - sizes[0])) + beyond - logs[near]) / slope)


def check_fits(target_bytes: int, least: int, at_least: str = "") -> None:
    """Check that the smallest file of a picture, of `least` bytes, fits; `at_least` says that it is a bound.

    Raises:
        DoesNotFitError: it does not.
        ConfigError: the target is not a whole number.
    """
    if not isinstance(target_bytes, SupportsIndex):
        raise ConfigError(f"target_bytes {target_bytes!r} is not a whole number")
    if least > target_bytes:
        raise DoesNotFitError(
            f"the picture cannot fit in {target_bytes} bytes: its smallest file has {at_least}{least}"
        )


def bytes_at(bpp: float, width: int, height: int) -> int:
    """The bytes of a picture of `width` x `height` pixels at `bpp` bits per pixel, rounded down."""
    return int(bpp * width * height / 8)
