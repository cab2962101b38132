"""The paper's own rate-distortion points, as data with their source.

They are read off a figure, so they are drawn beside measured curves and never enter a BD-rate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from onedc.errors import ConfigError


@dataclass(frozen=True)
class PublishedCurves:
    """Points of one test set: `bpp` and a value, or None, of each metric at each rate."""

    name: str
    source: str
    bpp: tuple[float, ...]
    metrics: dict[str, tuple[float | None, ...]]

    def points(self, metric: str) -> list[tuple[float, float]]:
        """(bpp, value) pairs of a metric, without gaps; none if it was not published."""
        values = self.metrics.get(metric, ())
        return [(bpp, v) for bpp, v in zip(self.bpp, values, strict=bool(values)) if v is not None]


def published_curves(test_set: str) -> PublishedCurves:
    """The published points on a test set: "kodak", "clic2020" or "coco30k".

    Raises:
        ConfigError: an unknown set.
    """
    document = json.loads(files("onedc.evaluation").joinpath("published.json").read_text(encoding="utf-8"))
    if test_set not in document["sets"]:
        raise ConfigError(f"published set {test_set!r}: not one of {', '.join(document['sets'])}")
    columns = {name: tuple(values) for name, values in document["sets"][test_set].items()}
    return PublishedCurves(document["name"], document["source"], columns.pop("bpp"), columns)
