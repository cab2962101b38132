"""Rate-distortion curves, Bjontegaard deltas of rate, and how sure they are.

Works on numbers alone: lists of (bpp, value) points and results of earlier runs. Drawing is in `plots`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from onedc.errors import ConfigError, MissingExtraError
from onedc.evaluation.metrics import METRICS
from onedc.evaluation.records import Record, read_results

Point = tuple[float, float]
"""(bits per pixel, value of the metric)."""

MIN_POINTS = 3
"""A curve through fewer points is not a curve."""

MIN_OVERLAP = 0.10
"""Least share of the two curves' whole range of values that both must cover."""

MIN_SHARE = 0.5
"""Least share of the pictures that must give a BD-rate for their mean to be stated."""

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
        anchor: points of the codec that the rate is compared with.
        test: points of the codec under test.
        higher_is_better: of the metric.
        noise: of the metric, in its unit. Of points closer than twice this (both may be off), or than
            NEAR_SHARE of the curve's range, the cheapest counts: the slope between them is noise, and PCHIP
            would carry it into the interval beside them.

    Raises:
        OverlapError: fewer than MIN_POINTS monotone points, or less overlap than MIN_OVERLAP.
        MissingExtraError: scipy is not installed.

    Source: Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001.
    """
    try:
        from scipy.interpolate import PchipInterpolator
    except ImportError as error:
        raise MissingExtraError('scipy is not installed: pip install "onedc[eval]"') from error
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
    anchor_area, test_area = (float(PchipInterpolator(v, rate).integrate(low, high)) for v, rate in curves)
    return BDRate((test_area - anchor_area) / (high - low), low, high, overlap)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean, by resampling the values (percentiles, fixed seed)."""
    array = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(SEED).integers(0, len(array), (RESAMPLES, len(array)))
    low, high = np.percentile(array[picks].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """BD-rate of two codecs on one metric: mean over pictures of ln(rate ratio), as percentages."""

    test: str
    anchor: str
    metric: str
    percent: float | None = None  # None: refused
    ci_low: float | None = None
    ci_high: float | None = None
    images: int = 0  # pictures that the mean is over
    total: int = 0
    overlap: float | None = None  # mean
    low: float | None = None  # mean ends of the common range
    high: float | None = None
    reason: str = ""


def compare(records: Sequence[Record], test: str, anchor: str, metric: str) -> Comparison:
    """BD-rate of `test` over `anchor`, per picture, then averaged; refused where too few allow it."""
    curves = {name: image_curves(records, name, metric) for name in (test, anchor)}
    images = sorted(set(curves[test]) & set(curves[anchor]))
    info = METRICS[metric]
    found, reasons = [], []
    for image in images:
        try:
            pair = curves[anchor][image], curves[test][image]
            found.append(bd_rate(*pair, higher_is_better=info.higher_is_better, noise=info.noise))
        except OverlapError as error:
            reasons.append(str(error))
    if not found or len(found) < MIN_SHARE * len(images):
        reason = f"{len(found)} of {len(images)} images allow it" + (
            f", for example {reasons[0]}" if reasons else ""
        )
        return Comparison(test, anchor, metric, images=len(found), total=len(images), reason=reason)
    logs = [bd.log_ratio for bd in found]
    low, high = bootstrap(logs)
    return Comparison(
        test,
        anchor,
        metric,
        percent=100 * math.expm1(fmean(logs)),
        ci_low=100 * math.expm1(low),
        ci_high=100 * math.expm1(high),
        images=len(found),
        total=len(images),
        overlap=fmean(bd.overlap for bd in found),
        low=fmean(bd.low for bd in found),
        high=fmean(bd.high for bd in found),
    )


def image_curves(records: Iterable[Record], codec: str, metric: str) -> dict[str, list[Point]]:
    """The points of a codec by picture; rows without the metric are left out."""
    curves: dict[str, list[Point]] = {}
    for record in records:
        value = record.metrics.get(metric)
        if record.codec == codec and value is not None:
            curves.setdefault(record.image, []).append((record.bpp, value))
    return curves


@dataclass(frozen=True)
class MeanPoint:
    """Mean over pictures of one codec at one point, with a 95 % interval of the mean value."""

    bpp: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass
class Curves:
    """All that a set of results says: records, and the values of metrics over whole sets."""

    records: list[Record] = field(default_factory=list)
    set_values: list[tuple[str, str, float, float]] = field(default_factory=list)  # codec, metric, bpp, value

    @property
    def codecs(self) -> list[str]:
        return list(dict.fromkeys(record.codec for record in self.records))

    def mean_curve(self, codec: str, metric: str) -> list[MeanPoint]:
        """Points by rising rate. Only pictures that all points of the codec have are averaged."""
        if METRICS[metric].per_set:
            own = {(bpp, value) for c, m, bpp, value in self.set_values if (c, m) == (codec, metric)}
            return [MeanPoint(bpp, value) for bpp, value in sorted(own)]
        groups: dict[str, dict[str, Record]] = {}
        for record in self.records:
            if record.codec == codec and record.metrics.get(metric) is not None:
                groups.setdefault(record.group, {})[record.image] = record
        if not groups:
            return []
        common = set.intersection(*(set(found) for found in groups.values()))
        points = {
            _mean_point([r for i, r in found.items() if i in common], metric) for found in groups.values()
        }
        return sorted((p for p in points if p is not None), key=lambda p: (p.bpp, p.value))


def _mean_point(records: Sequence[Record], metric: str) -> MeanPoint | None:
    if not records:
        return None
    values = [value for r in records if (value := r.metrics[metric]) is not None]
    return MeanPoint(fmean(r.bpp for r in records), fmean(values), *bootstrap(values))


def load_curves(folders: Sequence[Path]) -> Curves:
    """The results of one or more runs.

    Raises:
        ConfigError: a folder without results, or one codec in two versions.
    """
    curves = Curves()
    identities: dict[str, str] = {}
    for folder in folders:
        records = read_results(folder)
        if not records:
            raise ConfigError(f"{folder}: holds no results of onedc eval")
        for record in records:
            known = identities.setdefault(record.codec, record.identity)
            if known != record.identity:
                raise ConfigError(
                    f"{folder}: {record.codec} is there as {known!r} and as {record.identity!r}"
                )
        curves.records += records
        curves.set_values += _set_values(folder / "summary.json")
    return curves


def _set_values(path: Path) -> list[tuple[str, str, float, float]]:
    """Metrics over sets from a run's summary; none where the run has not come to it."""
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [
            (row["codec"], name, row["bpp"], value)
            for row in rows
            for name, value in row["metrics"].items()
            if METRICS[name].per_set and value is not None
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not a summary of onedc eval ({error})") from error


def bd_table(comparisons: Sequence[Comparison]) -> str:
    """A Markdown table of BD-rates, with refusals and their reasons."""
    lines = ["| codec | anchor | metric | BD-rate | 95 % interval | images | overlap | common range |"]
    lines.append("|---|---|---|---:|---:|---:|---:|---:|")
    for c in comparisons:
        info = METRICS[c.metric]
        if c.percent is None:
            lines.append(
                f"| {c.test} | {c.anchor} | {info.label} | – | {c.reason} | {c.images} of {c.total} | | |"
            )
            continue
        interval = f"{c.ci_low:+.1f} to {c.ci_high:+.1f} %" if c.images > 1 else "one image has none"
        common = f"{c.low:.{info.digits}f} to {c.high:.{info.digits}f}"
        counts = f"{c.images} of {c.total} | {c.overlap:.0%} | {common} {info.unit}".rstrip()
        lines.append(f"| {c.test} | {c.anchor} | {info.label} | {c.percent:+.1f} % | {interval} | {counts} |")
    return "\n".join(lines) + "\n"


def to_json(
    comparisons: Sequence[Comparison], curves: Mapping[str, Mapping[str, Sequence[MeanPoint]]]
) -> str:
    """BD-rates and mean curves (by metric, then codec) as JSON."""
    document = {
        "bd_rates": [vars(c) for c in comparisons],
        "curves": {m: {c: [vars(p) for p in points] for c, points in by.items()} for m, by in curves.items()},
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
