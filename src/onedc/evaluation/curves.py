"""The curves of codecs, from the results of any runs: points over common pictures, and BD-rates between them.

Reads what runs left behind and measures nothing. Drawing is in `plots`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from onedc.errors import ConfigError
from onedc.evaluation.frechet import SET_METRICS, FeatureStore
from onedc.evaluation.markdown import markdown_table
from onedc.evaluation.metrics import METRICS, Value
from onedc.evaluation.rd import OverlapError, Point, bd_rate, bootstrap
from onedc.evaluation.records import Record, read_results

MIN_SHARE = 0.5
"""Least share of the pictures that must give a BD-rate for their mean to be stated."""


@dataclass(frozen=True)
class MeanPoint:
    """Mean over pictures of one codec at one point, with a 95 % interval of the mean value."""

    bpp: float
    value: float
    low: float | None = None
    high: float | None = None


class Curves:
    """The points of codecs in the records of one or more runs, whose features are in `store`."""

    def __init__(self, runs: Sequence[Sequence[Record]], store: FeatureStore) -> None:
        self.runs, self.store = runs, store
        self._set_values: dict[tuple[str, ...], Value] = {}

    @property
    def records(self) -> list[Record]:
        """Of all runs."""
        return [record for run in self.runs for record in run]

    @property
    def codecs(self) -> list[str]:
        """Names, in the order of the records."""
        return list(dict.fromkeys(record.codec for record in self.records))

    @property
    def metrics(self) -> list[str]:
        """All that were measured on any picture."""
        return [name for name in METRICS if any(_has(record, name) for record in self.records)]

    def points(self, codec: str, metric: str) -> dict[tuple[int, str], dict[str, Record]]:
        """At each point of a codec (run, group) its records that have the metric, by picture."""
        found: dict[tuple[int, str], dict[str, Record]] = {}
        for number, run in enumerate(self.runs):
            for record in run:
                if record.codec == codec and _has(record, metric):
                    found.setdefault((number, record.group), {})[record.image] = record
        return found

    def common_images(self, metric: str) -> set[str]:
        """The pictures that every point of every codec has."""
        points = [set(found) for codec in self.codecs for found in self.points(codec, metric).values()]
        return set.intersection(*points) if points else set()

    def image_curves(self, codec: str, metric: str) -> dict[str, list[Point]]:
        """(bpp, value) of a codec on each picture, of a metric of one picture."""
        curves: dict[str, list[Point]] = {}
        for record in self.records:
            value = record.metrics.get(metric)
            if record.codec == codec and value is not None:
                curves.setdefault(record.image, []).append((record.bpp, value))
        return curves

    def mean_curve(self, codec: str, metric: str, images: Collection[str]) -> list[MeanPoint]:
        """Points by rising rate, each over the same pictures; `notes` says what could not be computed."""
        chosen = [_chosen(found, images) for found in self.points(codec, metric).values()]
        points = {self._mean_point(records, metric) for records in chosen if records}
        return sorted((p for p in points if p is not None), key=lambda p: (p.bpp, p.value))

    def _mean_point(self, records: Sequence[Record], metric: str) -> MeanPoint | None:
        bpp = fmean(record.bpp for record in records)
        if metric in SET_METRICS:
            number = self._set_value(records, metric).number
            return None if number is None else MeanPoint(bpp, number)
        values = [value for record in records if (value := record.metrics[metric]) is not None]
        return MeanPoint(bpp, fmean(values), *bootstrap(values))

    def _set_value(self, records: Sequence[Record], metric: str) -> Value:
        key = metric, *(record.key for record in records)
        if key not in self._set_values:
            self._set_values[key] = self.store.measure(metric, records)
        return self._set_values[key]

    def notes(self, metrics: Iterable[str]) -> list[str]:
        """Over how many pictures the curves of each metric are, which points have more, what is missing."""
        notes = []
        for metric in metrics:
            images = self.common_images(metric)
            points = {
                f"{codec} {group}": found
                for codec in self.codecs
                for (_, group), found in self.points(codec, metric).items()
            }
            label, most = METRICS[metric].label, max(map(len, points.values()), default=0)
            note = f"{label}: curves over the {len(images)} images that every point has"
            if len(images) < most:
                fewest = min(points, key=lambda name: len(points[name]))
                note += f", of up to {most}; fewest: {fewest}, {len(points[fewest])}"
            notes.append(note)
            if metric in SET_METRICS and images:
                values = {n: self._set_value(_chosen(found, images), metric) for n, found in points.items()}
                notes += [f"{label} of {n}: {v.reason}" for n, v in values.items() if v.number is None]
        return notes


def _chosen(found: Mapping[str, Record], images: Collection[str]) -> list[Record]:
    """The records of some pictures, in the order of their names."""
    return [record for image, record in sorted(found.items()) if image in images]


def _has(record: Record, metric: str) -> bool:
    if metric in SET_METRICS:
        return SET_METRICS[metric].source in record.features
    return record.metrics.get(metric) is not None


def load_curves(folders: Sequence[Path]) -> Curves:
    """The results of one or more runs.

    Raises:
        ConfigError: a folder without results, one codec in two versions, or features of two kinds.
    """
    runs = []
    identities: dict[str, str] = {}
    made_by: dict[str, str] = {}
    for folder in folders:
        records = read_results(folder)
        if not records:
            raise ConfigError(f"{folder}: holds no results of onedc eval")
        for record in records:
            known = identities.setdefault(record.codec, record.identity)
            if known != record.identity:
                raise ConfigError(
                    f"{folder}: {record.codec} is there as {known!r} and as {record.identity!r}; "
                    "onedc eval --name tells two versions apart"
                )
            for source, how in record.features.items():
                if how != made_by.setdefault(source, how):
                    raise ConfigError(f"{folder}: features are of {made_by[source]} and of {how}")
        runs.append(records)
    return Curves(runs, FeatureStore(folders))


@dataclass(frozen=True)
class Comparison:
    """BD-rate of two codecs on one metric, in percent.

    Of a metric of one picture: mean over pictures of ln(rate ratio), with its interval; of a metric over sets
    that of the two mean curves, which has none.
    """

    test: str
    anchor: str
    metric: str
    percent: float | None = None  # None: refused
    ci_low: float | None = None
    ci_high: float | None = None
    images: int = 0  # pictures that it is over
    total: int = 0
    overlap: float | None = None  # mean
    low: float | None = None  # mean ends of the common range
    high: float | None = None
    reason: str = ""


def compare(curves: Curves, test: str, anchor: str, metric: str) -> Comparison:
    """BD-rate of `test` over `anchor`, refused where the curves or too many pictures do not allow it."""
    over_sets, info = metric in SET_METRICS, METRICS[metric]
    if over_sets:
        images = curves.common_images(metric)
        means = [curves.mean_curve(codec, metric, images) for codec in (anchor, test)]
        pairs = [[[(point.bpp, point.value) for point in curve] for curve in means]]
    else:
        of_anchor, of_test = (curves.image_curves(codec, metric) for codec in (anchor, test))
        images = set(of_anchor) & set(of_test)
        pairs = [[of_anchor[image], of_test[image]] for image in sorted(images)]
    found, reasons = [], []
    for pair in pairs:
        try:
            found.append(bd_rate(*pair, higher_is_better=info.higher_is_better, noise=info.noise))
        except OverlapError as error:
            reasons.append(str(error))
    counted = len(images) if over_sets else len(found)
    result = Comparison(test, anchor, metric, images=counted, total=len(images))
    if not found or len(found) < MIN_SHARE * len(pairs):
        example = f", for example {reasons[0]}" if reasons else ""
        reason = reasons[0] if over_sets else f"{counted} of {len(images)} images allow it{example}"
        return replace(result, reason=reason)
    logs = [bd.log_ratio for bd in found]
    low, high = (None, None) if over_sets else (100 * math.expm1(end) for end in bootstrap(logs))
    return replace(
        result,
        percent=100 * math.expm1(fmean(logs)),
        ci_low=low,
        ci_high=high,
        overlap=fmean(bd.overlap for bd in found),
        low=fmean(bd.low for bd in found),
        high=fmean(bd.high for bd in found),
    )


def bd_table(comparisons: Sequence[Comparison], notes: Sequence[str] = ()) -> str:
    """A Markdown table of BD-rates, with refusals and their reasons, and notes below it."""
    heads = ["codec", "anchor", "metric", "BD-rate", "95 % interval", "images", "overlap", "common range"]
    rows = []
    for c in comparisons:
        info = METRICS[c.metric]
        rate, interval, overlap, common = "–", c.reason, "", ""
        if c.percent is not None:
            rate, overlap = f"{c.percent:+.1f} %", f"{c.overlap:.0%}"
            interval = "–" if c.ci_low is None or c.images < 2 else f"{c.ci_low:+.1f} to {c.ci_high:+.1f} %"
            common = f"{c.low:.{info.digits}f} to {c.high:.{info.digits}f} {info.unit}".rstrip()
        counts = f"{c.images} of {c.total}"
        rows.append([c.test, c.anchor, info.label, rate, interval, counts, overlap, common])
    return markdown_table(heads, rows, words=3, notes=notes)


def to_json(
    comparisons: Sequence[Comparison],
    curves: Mapping[str, Mapping[str, Sequence[MeanPoint]]],
    images: Mapping[str, Collection[str]],
) -> str:
    """BD-rates, mean curves (by metric, then codec) and the pictures that these are over, as JSON."""
    document = {
        "bd_rates": [vars(c) for c in comparisons],
        "curves": {m: {c: [vars(p) for p in points] for c, points in by.items()} for m, by in curves.items()},
        "images": {metric: sorted(names) for metric, names in images.items()},
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
