"""Bjontegaard deltas of rate between two curves, and how sure a mean is.

Works on numbers alone: lists of (bpp, value) points. Whose points these are is up to `curves`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from onedc.errors import ConfigError, optional

Point = tuple[float, float]
"""(bits per pixel, value of the metric)."""

MIN_POINTS = 3
"""A curve through fewer points is not a curve."""

MIN_OVERLAP = 0.10
"""Least share of the two curves' whole range of values that both must cover."""

NEAR_SHARE = 0.01
"""Points of one curve whose values are closer than this share of its range count as one."""

RESAMPLES = 2000
SEED = 13


class OverlapError(ConfigError):
    """Two curves that have too little in common to be compared."""


@dataclass(frozen=True)
class BDRate:
    """Mean difference in rate at equal value: `log_ratio` is ln(rate of the test / rate of the anchor)."""

    log_ratio: float
    low: float  # ends of the common range, in the metric's unit
    high: float
    overlap: float  # common range over the range that either curve covers

    @property
    def percent(self) -> float:
        """What the test needs more (+) or less (-) than the anchor."""
        return 100 * math.expm1(self.log_ratio)


def monotone(points: Iterable[Point], *, higher_is_better: bool, gap: float = 0.0) -> list[Point]:
    """The points by rising rate without those that are no more than `gap` better than a cheaper one."""
    kept: list[Point] = []
    sign = 1 if higher_is_better else -1
    for bpp, value in sorted(points, key=lambda p: (p[0], -sign * p[1])):
        if not kept or sign * (value - kept[-1][1]) > gap:
            kept.append((bpp, value))
    return kept


def _distinct(points: Sequence[Point], *, higher_is_better: bool, noise: float) -> list[Point]:
    """Monotone points far enough apart in value for the slope between neighbours to mean something."""
    kept = monotone(points, higher_is_better=higher_is_better)
    reach = abs(kept[-1][1] - kept[0][1]) if kept else 0.0
    return monotone(kept, higher_is_better=higher_is_better, gap=max(2 * noise, NEAR_SHARE * reach))


def bd_rate(
    anchor: Sequence[Point], test: Sequence[Point], *, higher_is_better: bool, noise: float = 0.0
) -> BDRate:
    """Bjontegaard delta rate by PCHIP of log rate over the metric, integrated over the common range.

    Args:
        noise: of the metric, in its unit. Of points closer than twice this (both may be off), or than
            NEAR_SHARE of the curve's range, the cheapest counts: the slope between them is noise, and PCHIP
            would carry it into the interval beside them.

    Raises:
        OverlapError: fewer than MIN_POINTS monotone points, or less overlap than MIN_OVERLAP.
        MissingExtraError: scipy is not installed.

    Source: Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001.
    """
    pchip = optional("scipy.interpolate", "eval").PchipInterpolator
    curves = []
    for name, points in (("anchor", anchor), ("test", test)):
        kept = _distinct(points, higher_is_better=higher_is_better, noise=noise)
        if len(kept) < MIN_POINTS:
            raise OverlapError(f"the {name} has {len(kept)} monotone points; {MIN_POINTS} are needed")
        bpp, values = np.array(sorted(kept, key=lambda p: p[1])).T
        curves.append((values, np.log(bpp)))
    ends = [(float(values[0]), float(values[-1])) for values, _ in curves]
    low, high = max(e[0] for e in ends), min(e[1] for e in ends)
    overlap = (high - low) / (max(e[1] for e in ends) - min(e[0] for e in ends))
    if overlap < MIN_OVERLAP:
        raise OverlapError(
            f"the curves share {max(overlap, 0):.0%} of their range; {MIN_OVERLAP:.0%} are needed"
        )
    anchor_area, test_area = (float(pchip(v, rate).integrate(low, high)) for v, rate in curves)
    return BDRate((test_area - anchor_area) / (high - low), low, high, overlap)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean, by resampling the values (percentiles, fixed seed)."""
    array = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(SEED).integers(0, len(array), (RESAMPLES, len(array)))
    low, high = np.percentile(array[picks].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
