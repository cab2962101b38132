"""Rate-distortion figures: one per metric, told apart by colour, marker and line, so that grey prints do too.

Draws what it is given, and the paper's own points, which are read off a figure and so never enter a BD-rate;
measures nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import cycle
from typing import Any

from onedc.errors import ConfigError, optional
from onedc.evaluation.curves import MeanPoint
from onedc.evaluation.metrics import METRICS
from onedc.evaluation.rd import Point

STYLES = (
    ("#000000", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#0072B2", "^", "-."),
    ("#009E73", "D", ":"),
    ("#CC79A7", "v", (0, (5, 1))),
    ("#E69F00", "P", (0, (3, 1, 1, 1))),
    ("#56B4E9", "X", (0, (1, 1))),
)
"""Colour (Okabe and Ito's, safe for colour-blind readers), marker and line of each curve in turn."""
PUBLISHED = "OneDC (published)"


def draw_curves(
    metric: str,
    curves: Mapping[str, Sequence[MeanPoint]],
    published: Mapping[str, Sequence[Point]] | None = None,
    *,
    images: int,
) -> bytes:
    """A PNG of all codecs' curves of one metric over bits per pixel (log scale), over so many images.

    Args:
        published: the paper's points of each metric, see `published_curves`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ticker = optional("matplotlib.ticker", "eval")
    figure = optional("matplotlib.figure", "eval").Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for (codec, points), (colour, marker, line) in zip(curves.items(), cycle(STYLES), strict=False):
        _draw(axes, points, label=codec, color=colour, marker=marker, linestyle=line)
    if published is not None and metric in published:
        bpp, values = zip(*published[metric], strict=True)
        axes.plot(bpp, values, label=PUBLISHED, color="#777777", marker="*", linestyle="--", linewidth=1)
    info = METRICS[metric]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("bits per pixel (bytes on disk)")
    arrow = "↑" if info.higher_is_better else "↓"
    axes.set_ylabel(f"{info.label}{f' ({info.unit})' if info.unit else ''} {arrow} better")
    axes.set_title(f"over {images} images", loc="right", fontsize=9, color="#555555")
    axes.grid(True, which="both", linewidth=0.4, alpha=0.4)
    axes.legend(frameon=False, handlelength=3.6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Any, points: Sequence[MeanPoint], **style: Any) -> None:
    bpp, values = [p.bpp for p in points], [p.value for p in points]
    axes.plot(bpp, values, linewidth=1.6, markersize=6, **style)
    band = [p for p in points if p.low is not None and p.high is not None]
    if len(band) > 1:
        lows, highs = [p.low for p in band], [p.high for p in band]
        axes.fill_between([p.bpp for p in band], lows, highs, color=style["color"], alpha=0.10, linewidth=0)


def published_curves(test_set: str) -> dict[str, list[Point]]:
    """The published points (bpp, value) of each metric on a test set: "kodak", "clic2020" or "coco30k".

    Raises:
        ConfigError: an unknown set.
    """
    file = files("onedc.evaluation").joinpath("published.json")
    sets = json.loads(file.read_text(encoding="utf-8"))["sets"]
    if test_set not in sets:
        raise ConfigError(f"published set {test_set!r}: not one of {', '.join(sets)}")
    rates = sets[test_set].pop("bpp")
    return {
        metric: [(bpp, value) for bpp, value in zip(rates, values, strict=True) if value is not None]
        for metric, values in sets[test_set].items()
    }
