"""The numbers of a bench as JSON and as tables for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any


def to_json(found: Mapping[str, Any]) -> str:
    """What `bench` found as JSON; numbers that a device does not have become null."""
    return json.dumps(_finite(found), indent=1) + "\n"


def to_markdown(found: Mapping[str, Any]) -> str:
    """Tables of what `bench` found, under a line about the machine."""
    machine = found["machine"]
    peaks = ", ".join(
        f"{dtype} {rate:,.0f}" for dtype, rate in machine["peak_gflop_per_s"].items() if math.isfinite(rate)
    )
    lines = [
        f"{found['model']} on {machine['name']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"{machine['clock']}. "
        f"Measured matrix products: GFLOP/s {peaks}."
    ]
    for table in (_totals(found), _stages(found), _throughput(found), _memory(found)):
        rows = list(table)
        if len(rows) > 1:
            lines += ["", _line(rows[0]), _line(["---"] * len(rows[0])), *map(_line, rows[1:])]
    return "\n".join(lines) + "\n"


def _totals(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """One row for each way, direction and size."""
    yield ["size", "direction", "way", "precision", "ms", "times ours", "GFLOP", "kMAC/px", "of peak"]
    ours = {(str(r["size"]), r["direction"]): r["ms"] for r in found["rows"] if r["way"] == "onedc"}
    for row in found["rows"]:
        base = ours.get((str(row["size"]), row["direction"]))
        yield [
            "x".join(map(str, row["size"])),
            row["direction"],
            row["way"],
            row["dtype"],
            f"{row['ms']:,.0f}",
            "" if base is None else f"{row['ms'] / base:.2f}",
            f"{row['gflop']:,.0f}" if "gflop" in row else "",
            _kmac(row, row),
            _percent(row.get("of_peak")),
        ]


def _stages(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """The parts of each row."""
    yield ["size", "direction", "way", "part", "ms", "GFLOP", "kMAC/px", "of peak"]
    for row in found["rows"]:
        for stage in row["stages"]:
            times = f" ({stage['times']} times)" if stage.get("times", 1) > 1 else ""
            yield [
                "x".join(map(str, row["size"])),
                row["direction"],
                row["way"],
                stage["name"] + times,
                f"{stage['ms']:,.1f}",
                f"{stage['gflop']:,.1f}" if "gflop" in stage else "",
                _kmac(stage, row),
                _percent(stage.get("of_peak")),
            ]


def _throughput(found: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["size", "direction", "batch", "pictures/s"]
    for row in found["throughput"]:
        size = "x".join(map(str, row["size"]))
        yield [size, row["direction"], str(row["batch"]), f"{row['pictures_per_s']:.2f}"]


def _memory(found: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["size", "peak of encode, MB", "peak of decode, MB"]
    for row in found["memory"]:
        yield ["x".join(map(str, row["size"])), f"{row['encode_mb']:,.0f}", f"{row['decode_mb']:,.0f}"]


def _kmac(part: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Thousands of multiply-adds a pixel, two operations each."""
    width, height = row["size"]
    return f"{1e6 * part['gflop'] / 2 / (width * height):.1f}" if "gflop" in part else ""


def _percent(fraction: float | None) -> str:
    return (
        "" if fraction is None or not math.isfinite(fraction) or not fraction else f"{100 * fraction:.0f} %"
    )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _finite(value: Any) -> Any:
    """Plain values with None in place of numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
