"""A whole evaluation: which pictures still lack numbers, in how many processes, and what is kept.

Every record is on disk before the next begins, so a run may be killed and started again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from onedc.errors import ConfigError
from onedc.evaluation.frechet import SET_METRIC_SOURCES, set_metric
from onedc.evaluation.metrics import Value, number_or_reason
from onedc.evaluation.plan import Options
from onedc.evaluation.records import Failure, Record, ResultsFile
from onedc.evaluation.workbench import ORIGINAL, Workbench


@dataclass
class Results:
    """What a run found, in the order of its pictures and rows."""

    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    measured: int = 0  # records made now, not found from before


def evaluate(
    images: Sequence[Path],
    options: Options,
    *,
    jobs: int = 1,
    progress: Callable[[str], object] = lambda name: None,
) -> tuple[Results, Workbench]:
    """Measure pictures, going on where an earlier run into the same folder stopped.

    Args:
        images: picture files, of different stems.
        options: what to measure.
        jobs: processes; above 1 the times measured disturb each other, and each has one thread by default.
        progress: called with the name of each finished picture.

    Returns:
        The results, and the bench they were made on (it knows where features are).

    Raises:
        ConfigError: bad options, or two pictures of one stem.
        OutputError: the output folder cannot be written.
    """
    _check(images, jobs)
    if jobs > 1 and options.threads is None:
        options = replace(options, threads=1)
    file = ResultsFile(options.output)
    known = dict(file.records)
    results = Results()
    bench = Workbench(options)
    results.unavailable = bench.unavailable
    for name, rows in _rows(images, bench, known, jobs):
        for row in rows:
            if isinstance(row, Failure):
                results.failures.append(row)
                continue
            results.records.append(row)
            if row.key not in known:
                file.append(row)
                results.measured += 1
        progress(name)
    file.keep_current(results.records)
    return results, bench


def _check(images: Sequence[Path], jobs: int) -> None:
    if jobs < 1:
        raise ConfigError(f"jobs: {jobs} is below 1")
    seen: dict[str, Path] = {}
    for path in images:
        if path.stem in seen:
            raise ConfigError(f"{seen[path.stem]} and {path} have the same name; results would collide")
        seen[path.stem] = path


Rows = Iterable[Record | Failure]


def _rows(
    images: Sequence[Path], bench: Workbench, known: Mapping[str, Record], jobs: int
) -> Iterator[tuple[str, Rows]]:
    """Each picture's name and rows, in order; lazily in this process, or by worker processes."""
    if jobs == 1:
        for path in images:
            yield path.name, bench.measure(path, known)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(images)), context, initializer=_start_worker, initargs=(bench.options, dict(known))
    ) as pool:
        for path, rows in zip(images, pool.map(_measure_in_worker, images), strict=True):
            yield path.name, rows


_worker: tuple[Workbench, Mapping[str, Record]] | None = None
"""The bench of a worker process, made once."""


def _start_worker(options: Options, known: Mapping[str, Record]) -> None:
    global _worker
    _worker = Workbench(options), known


def _measure_in_worker(path: Path) -> list[Record | Failure]:
    assert _worker is not None
    bench, known = _worker
    return list(bench.measure(path, known))


def set_metric_of(bench: Workbench) -> Callable[[str, Sequence[Record]], Value]:
    """The function that `summary` asks for metrics over sets: reads the stored features of records."""

    def measure(name: str, records: Sequence[Record]) -> Value:
        source_name = SET_METRIC_SOURCES[name]
        if source_name in bench.missing_sources:
            return Value(None, bench.missing_sources[source_name])
        source = next(s for s in bench.sources if s.name == source_name)
        ordered = sorted(records, key=lambda record: record.image)
        paths = (
            [bench.features_path(r.image_hash, ORIGINAL, None, source) for r in ordered],
            [bench.features_path(r.image_hash, r.identity, r.setting, source) for r in ordered],
        )
        original, decoded = (np.concatenate([np.load(path) for path in side]) for side in paths)
        return number_or_reason(set_metric, name, original, decoded)

    return measure
