"""From records to tables: one row per codec and point, as JSON, CSV and Markdown.

Codecs are compared over the pictures that every codec shown in a group reaches, and what falls short of its
target is listed with the bytes it came to. Where those are not all pictures, a codec that reaches its target
on all has a second row over them. Nothing is measured here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean, median

from onedc.errors import ConfigError, OutputError, refused_as
from onedc.evaluation.markdown import markdown_table
from onedc.evaluation.metrics import METRICS, Value
from onedc.evaluation.records import Failure, Record
from onedc.files import write_whole

SHOWN_SHARE = 0.5
"""A codec that reaches a target on less than this share of the pictures is left out of its group's means."""

SetMeasure = Callable[[str, Sequence[Record]], Value]
"""A metric over all decoded pictures of some records."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One codec in one group."""

    group: str
    codec: str
    images: int  # pictures measured
    reached: int  # of these, how many have a file on the right side of the target
    shown: bool  # whether it takes part in the group's means
    averaged: int  # pictures that the means are over
    bytes: float  # mean
    bpp: float  # mean over pictures
    encode_s: float | None  # median
    decode_s: float | None
    metrics: dict[str, float | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def summarise(
    records: Iterable[Record], metrics: Sequence[str], set_metric: SetMeasure | None = None
) -> list[Row]:
    """One row per group and codec, in the order of the records.

    A codec that reaches its target too seldom gets a row of its own smallest (largest) files, over all
    pictures, marked as not shown. So does every codec of a group where no picture is reached by all shown.
    A codec that reaches it on all of its pictures, more than the group's common ones, gets a row over each.
    """
    groups: dict[str, dict[str, dict[str, Record]]] = {}
    for record in records:
        groups.setdefault(record.group, {}).setdefault(record.codec, {})[record.image] = record
    rows = []
    for group, codecs in groups.items():
        shown = [name for name, found in codecs.items() if _reached(found) >= SHOWN_SHARE * len(found)]
        reached = [{i for i, r in codecs[name].items() if r.reached} for name in shown]
        common = set.intersection(*reached) if reached else set()
        for name, found in codecs.items():
            counts = name in shown and bool(common)
            chosen = [r for i, r in found.items() if i in common or not counts]
            rows.append(_row(group, name, found, chosen, counts, metrics, set_metric))
            if counts and len(chosen) < len(found) == _reached(found):
                rows.append(_row(group, name, found, list(found.values()), True, metrics, set_metric))
    return rows


def _reached(found: Mapping[str, Record]) -> int:
    return sum(record.reached for record in found.values())


def _row(
    group: str,
    codec: str,
    found: Mapping[str, Record],
    chosen: Sequence[Record],
    shown: bool,
    metrics: Sequence[str],
    set_metric: SetMeasure | None,
) -> Row:
    values = {name: _mean(name, chosen, set_metric) for name in metrics}
    return Row(
        group=group,
        codec=codec,
        images=len(found),
        reached=_reached(found),
        shown=shown,
        averaged=len(chosen),
        bytes=fmean(r.bytes for r in chosen),
        bpp=fmean(r.bpp for r in chosen),
        encode_s=_median(r.encode_s for r in chosen),
        decode_s=_median(r.decode_s for r in chosen),
        metrics={name: value.number for name, value in values.items()},
        missing={name: value.reason for name, value in values.items() if value.number is None},
    )


def _mean(name: str, records: Sequence[Record], set_metric: SetMeasure | None) -> Value:
    """A metric over records: missing as soon as one of them lacks it."""
    if METRICS[name].per_set:
        return set_metric(name, records) if set_metric is not None else Value(None, "features were not kept")
    numbers = []
    for record in records:
        number = record.metrics.get(name)
        if number is None:
            return Value(None, f"{record.image}: {record.missing.get(name, 'not measured')}")
        numbers.append(number)
    return Value(fmean(numbers))


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return median(present) if present else None


def to_json(rows: Sequence[Row], failures: Sequence[Failure], unavailable: Mapping[str, str]) -> str:
    """The whole summary as JSON."""
    document = {
        "rows": [vars(row) for row in rows],
        "failures": [vars(failure) for failure in failures],
        "unavailable_codecs": dict(unavailable),
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """One line per row; missing values are empty."""
    plain = [column.name for column in fields(Row) if column.name not in ("metrics", "missing")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*plain, *metrics])
    for row in rows:
        writer.writerow([getattr(row, name) for name in plain] + [row.metrics[name] for name in metrics])
    return buffer.getvalue()


def to_markdown(
    rows: Sequence[Row],
    metrics: Sequence[str],
    failures: Sequence[Failure] = (),
    unavailable: Mapping[str, str] | None = None,
) -> str:
    """A table for people, with notes on what it does not show. No times: they differ from run to run."""
    labels = [
        METRICS[name].label + (f" ({METRICS[name].unit})" if METRICS[name].unit else "") for name in metrics
    ]
    lines = []
    last = None
    for row in rows:
        point = row.group if row.group != last else ""
        numbers = [_cell(name, row.metrics[name]) for name in metrics]
        lines.append([point, row.codec, _count(row), f"{row.bytes:.0f}", f"{row.bpp:.4f}", *numbers])
        last = row.group
    notes = [
        *_notes(rows, metrics),
        *(f"{name}: not measured: {why}" for name, why in (unavailable or {}).items()),
    ]
    notes += [f"{f.image}{' ' + f.codec if f.codec else ''}: failed: {f.reason}" for f in failures]
    heads = ["point", "codec", "images", "bytes", "bpp", *labels]
    return markdown_table(heads, lines, words=2, notes=notes)


def _count(row: Row) -> str:
    return f"{row.averaged}" if row.shown else f"{row.reached} of {row.images} \\*"


def _cell(name: str, value: float | None) -> str:
    return "–" if value is None else f"{value:.{METRICS[name].digits}f}"


def _notes(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """What the table leaves out: unreached targets and missing values, each said once."""
    notes = []
    if any(not row.shown for row in rows):
        notes.append(
            "\\* reaches the target on too few images: the nearest it has, over all of them; "
            "left out of the other rows' common set"
        )
    partial = {row.group: row for row in rows if row.shown and row.averaged < row.images}
    for group, row in partial.items():
        notes.append(
            f"{group}: codecs compared over the {row.averaged} images that every codec without \\* reaches; "
            "a second row of a codec is over all that it has"
        )
    for name in metrics:
        reasons = dict.fromkeys(row.missing[name] for row in rows if name in row.missing)
        notes += [f"{METRICS[name].label}: {reason}" for reason in list(reasons)[:1]]
    return notes


def write_summary(
    folder: Path,
    rows: Sequence[Row],
    metrics: Sequence[str],
    failures: Sequence[Failure] = (),
    unavailable: Mapping[str, str] | None = None,
) -> str:
    """Write summary.json, .csv and .md into a folder; returns the Markdown. Raises OutputError."""
    markdown = to_markdown(rows, metrics, failures, unavailable)
    texts = {
        "summary.json": to_json(rows, failures, unavailable or {}),
        "summary.csv": to_csv(rows, metrics),
        "summary.md": markdown,
    }
    for name, text in texts.items():
        write_whole(folder / name, text.encode(), force=True)
    return markdown


def replace_section(path: Path, section: str, text: str) -> None:
    """Put text between the lines `<!-- begin SECTION -->` and `<!-- end SECTION -->` of a document.

    Raises:
        ConfigError: the document does not have both lines, in this order.
        OutputError: it cannot be written.
    """
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    with refused_as(OutputError, f"{path}: cannot be read"):
        document = path.read_text(encoding="utf-8")
    head, found, rest = document.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found and found_end):
        raise ConfigError(f"{path}: has no lines {begin!r} and {end!r}")
    write_whole(path, f"{head}{begin}\n{text.strip()}\n{end}{tail}".encode(), force=True)
