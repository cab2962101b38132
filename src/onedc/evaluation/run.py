"""A whole evaluation: which pictures still lack numbers, in how many processes, and what is kept.

Every record is on disk before the next begins, so a run may be killed and started again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from onedc.errors import ConfigError, OneDCError
from onedc.evaluation.codecs import EvaluatedCodec
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Failure, Record, ResultsFile
from onedc.evaluation.workbench import Workbench
from onedc.plugins import load_plugins


@dataclass
class Results:
    """What a run found, in the order of its pictures and rows."""

    folder: list[Record] = field(default_factory=list)  # all that its folder holds now
    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    measured: int = 0  # records made now, not found from before
    replaced: int = 0  # records of before that were dropped for new ones of the same codec and point


def evaluate(
    images: Sequence[Path],
    options: EvaluationOptions,
    *,
    jobs: int = 1,
    replace_others: bool = False,
    progress: Callable[[str], object] = lambda name: None,
) -> Results:
    """Measure pictures, going on where an earlier run into the same folder stopped.

    What the folder holds of other codecs and points stays there.

    Args:
        images: picture files, of different stems.
        jobs: processes; above 1 the times measured disturb each other, and each has one thread by default.
        replace_others: drop what the folder holds of a codec of the same name in another version.
        progress: called with the name of each finished picture.

    Raises:
        ConfigError: bad options, two pictures of one stem, or results of another version of a codec.
        OutputError: the output folder cannot be written.
    """
    _check(images, jobs)
    if jobs > 1 and options.threads is None:
        options = replace(options, threads=1)
    file = ResultsFile(options.output)
    bench = Workbench(options)
    replaced = _drop_others(file, bench.codecs, replace_others=replace_others)
    known = dict(file.records)
    results = Results(unavailable=bench.unavailable)
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
    results.replaced = replaced + file.keep_current(results.records)
    results.folder = list(file.records.values())
    return results


def _drop_others(file: ResultsFile, codecs: Mapping[str, EvaluatedCodec], *, replace_others: bool) -> int:
    """Drop records of these codecs in other versions, or refuse to; how many were dropped."""
    others = [
        r for r in file.records.values() if r.codec in codecs and r.identity != codecs[r.codec].identity
    ]
    if others and not replace_others:
        name, known = others[0].codec, others[0].identity
        raise ConfigError(
            f"{file.path}: has {name} as {known!r}, now it is {codecs[name].identity!r}: "
            "give it another --name or -o, or --replace what is there"
        )
    return file.drop(others)


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
        try:
            for path, rows in zip(images, pool.map(_measure_in_worker, images), strict=True):
                yield path.name, rows
        except BrokenProcessPool as error:
            raise OneDCError(
                "a process of --jobs ended early, perhaps out of memory; what was measured is kept, "
                "so run it again with fewer"
            ) from error


_worker: tuple[Workbench, Mapping[str, Record]] | None = None
"""The bench of a worker process, made once."""


def _start_worker(options: EvaluationOptions, known: Mapping[str, Record]) -> None:
    global _worker
    load_plugins(options.plugins)
    _worker = Workbench(options), known


def _measure_in_worker(path: Path) -> list[Record | Failure]:
    assert _worker is not None
    bench, known = _worker
    return list(bench.measure(path, known))
