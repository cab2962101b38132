"""The numbers of a bench as JSON and as tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onedc.evaluation.bench import Size, named
from onedc.evaluation.markdown import markdown_table

_TIMES = ["size", "direction", "way", "precision", "part", "ms", "times ours", "GFLOP", "kMAC/px", "of peak"]
_THROUGHPUT = ["size", "direction", "batch", "pictures/s"]
_MEMORY = ["size", "peak of encode, MB", "peak of decode, MB"]


def to_json(found: Mapping[str, Any]) -> str:
    """What `bench` found as JSON; numbers that a device does not have are null."""
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def to_markdown(found: Mapping[str, Any]) -> str:
    """Tables of what `bench` found, under a line about the machine."""
    machine = found["machine"]
    known = {dtype: rate for dtype, rate in machine["peak_gflop_per_s"].items() if rate is not None}
    about = (
        f"{found['model']} on {machine['name']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"{machine['clock']}. Measured matrix products: GFLOP/s "
        f"{', '.join(f'{dtype} {rate:,.0f}' for dtype, rate in known.items())}."
    )
    throughput = [
        [named(r["size"]), r["direction"], f"{r['batch']}", f"{r['pictures_per_s']:.2f}"]
        for r in found["throughput"]
    ]
    memory = [[named(r["size"]), f"{r['encode_mb']:,.0f}", f"{r['decode_mb']:,.0f}"] for r in found["memory"]]
    tables = (
        (_TIMES, 5, list(_times(found["rows"]))),
        (_THROUGHPUT, 2, throughput),
        (_MEMORY, 1, memory),
    )
    texts = [markdown_table(heads, rows, words=words) for heads, words, rows in tables if rows]
    return "\n".join([f"{about}\n", *texts])


def _times(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Of each way, direction and size first the whole, called "all", then its parts."""
    ours = {(*row["size"], row["direction"]): row["ms"] for row in rows if row["way"] == "onedc"}
    for row in rows:
        size = row["size"]
        base = ours.get((*size, row["direction"]))
        times_ours = "" if base is None else f"{row['ms'] / base:.2f}"
        first = [named(size), row["direction"], row["way"], row["dtype"]]
        yield [*first, "all", f"{row['ms']:,.1f}", times_ours, *_operations(row, size)]
        for stage in row["stages"]:
            times = f" ({stage['times']} times)" if stage.get("times", 1) > 1 else ""
            yield [*first, stage["name"] + times, f"{stage['ms']:,.1f}", "", *_operations(stage, size)]


def _operations(part: Mapping[str, Any], size: Size) -> list[str]:
    """GFLOP, thousands of multiply-adds (two operations each) a pixel, and the share of the device's peak."""
    if "gflop" not in part:
        return ["", "", ""]
    width, height = size
    share = f"{100 * part['of_peak']:.0f} %" if part["of_peak"] else ""
    return [f"{part['gflop']:,.1f}", f"{1e6 * part['gflop'] / 2 / (width * height):.1f}", share]
