"""A batch from beginning to end: plan, do what is missing, write, remember.

One thread writes while the networks run; a kill at any moment loses no more than what is on the way.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onedc.batch.items import Item, Shard, Wanted, folder_shards, read_shard
from onedc.batch.manifest import Manifest, settle
from onedc.batch.output import Output
from onedc.batch.work import Outcome, Spec, Worker, ahead, failure, record
from onedc.container.packing import quality_byte
from onedc.datasets.entries import FOLDER, KINDS, folder_entries, kind_of, shard_files
from onedc.datasets.names import by_suffix, suffix_of
from onedc.effort.level import check_effort
from onedc.errors import ConfigError, ImageError, WeightsError, refused_as
from onedc.files import file_sha256
from onedc.image import parse_color
from onedc.pretrained.table import LPIPS_SQUEEZE_FILE
from onedc.weights import BUNDLED

Source = Callable[[Spec, list[Item]], Iterator[list[Outcome]]]
"""Who does the work."""

_WRITES_AHEAD = 8


@dataclass(frozen=True)
class Summary:
    """What a batch came to, all its runs together."""

    done: int  # by this run
    before: int  # by earlier ones
    errors: int  # what could not be done, by any


class Batch:
    """A data set to be encoded or decoded into a folder, which may hold a part of the work already.

    Args:
        source: a folder of files or of shards, or one shard file.
        target: the folder of results and manifest.
        kind: form of the results, one of `shards.KINDS`; None: that of the source.
        shard_size: files in a shard where a folder becomes shards.
        column: of pictures, in Parquet and Arrow files.

    Raises:
        ConfigError: an unusable source, a bad option, or a target that was started with other settings.
        OutputError: a target that holds something else, is in use, or cannot be written.
        MissingExtraError: Parquet or Arrow files without pyarrow.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        spec: Spec,
        *,
        kind: str | None = None,
        shard_size: int = 1000,
        column: str | None = None,
    ) -> None:
        source, target = source.resolve(), target.resolve()
        _check(spec, kind, shard_size, target, source)
        self.spec = spec
        found = kind_of(source)
        self.output = Output(target, kind or found)
        self._unread: Counter[str] = Counter()  # files that are not read, by suffix
        self._beside: Counter[str] = Counter()  # files beside shards, likewise
        settings = _settings(spec, self.output.kind, column)
        wanted = spec.wanted(column)
        if found == FOLDER:
            cut = None if self.output.kind == FOLDER else shard_size
            shards = folder_shards(source, wanted, cut, self._unread)
            if cut is not None:
                settings |= {"shard_size": cut, "files_sha256": _names_sha256(shards)}
        self._kept_in_shards = found == self.output.kind != FOLDER
        settle(target, settings)
        self.manifest = Manifest(target)
        self.before = self.manifest.done
        try:
            if found == FOLDER:
                shards = [shard for shard in shards if not self.output.finished(shard.name)]
            else:
                shards = self._read_shards(source, found, wanted)
            self._begin(shards)
        except BaseException:
            self.manifest.close()
            raise

    def _begin(self, shards: list[Shard]) -> None:
        """Find what is to be done, and pack the shards of which nothing is."""
        self.shards = {shard.name: shard for shard in shards}
        self.todo = self._plan(shards)
        self.left = Counter(item.shard for item in self.todo)
        for shard in shards:
            if not self.left[shard.name]:
                self.output.finish(shard)

    def run(self, work: Source | None = None, advance: Callable[[], object] = lambda: None) -> Summary:
        """Do what is missing, once; then the folder is free for another run.

        Args:
            work: who does it; None: a codec in this process.
            advance: called for each item that is done.

        Raises:
            WeightsError, ConfigError: the codec cannot be loaded.
            OutputError: a result cannot be written; what is written counts.
        """
        try:
            if self.todo:
                outcomes = work(self.spec, self.todo) if work else Worker(self.spec).outcomes(self.todo)
                with ThreadPoolExecutor(1, "onedc-write") as writer:
                    for count in ahead(writer, self._store, outcomes, _WRITES_AHEAD):
                        for _ in range(count):
                            advance()
            self.output.clear()
        finally:
            self.manifest.close()
        return Summary(self.manifest.done - self.before, self.before, self.manifest.errors)

    def notes(self) -> list[str]:
        """Lines that tell of the files that were not read, and why."""
        lines = []
        if self._unread:
            what = "kept in the shards as they are" if self._kept_in_shards else "passed over"
            lines.append(f"{what}: {by_suffix(self._unread)}, whose suffixes are not read here")
        if self._beside:
            lines.append(f"passed over: {by_suffix(self._beside)}; a folder of shards is read as these alone")
        return lines

    def _read_shards(self, source: Path, kind: str, wanted: Wanted) -> list[Shard]:
        """The shards that are not packed yet; damaged ones get a line in the manifest."""
        files = shard_files(source, kind)
        if source.is_dir():
            names = {file.name for file in files}
            others = (entry.name for entry in folder_entries(source) if entry.name not in names)
            self._beside.update(map(suffix_of, others))
        _check_stems(files)
        shards = []
        for file in files:
            if self.output.finished(file.stem) or file.name in self.manifest.names:
                continue
            try:
                shards.append(read_shard(file, wanted, self._unread))
            except ImageError as error:
                self.manifest.append([{"name": file.name, "error": str(error)}])
        return shards

    def _plan(self, shards: Iterable[Shard]) -> list[Item]:
        """What has no line yet and can be done. Refusals, and results that were written just before a kill,
        get their lines here."""
        todo = []
        for shard in shards:
            for item in shard.items:
                if item.name in self.manifest.names:
                    continue
                if item.refusal:
                    self.manifest.append([failure(item, item.refusal).record])
                elif self.output.holds(item):
                    data = self.output.path(item).read_bytes()
                    self.manifest.append(
                        [record(item, data, item.place.read() if self.spec.decode else data)]
                    )
                else:
                    todo.append(item)
        return todo

    def _store(self, outcomes: list[Outcome]) -> int:
        """In the writing thread: results, then their lines, then the shards that they complete."""
        for outcome in outcomes:
            if outcome.data is not None:
                self.output.write(outcome.item, outcome.data)
        self.manifest.append(outcome.record for outcome in outcomes)
        for outcome in outcomes:
            self.left[outcome.item.shard] -= 1
            if not self.left[outcome.item.shard]:
                self.output.finish(self.shards[outcome.item.shard])
        return len(outcomes)


def _check(spec: Spec, kind: str | None, shard_size: int, target: Path, source: Path) -> None:
    quality_byte(spec.quality)
    check_effort(spec.effort)
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if source == target:
        raise ConfigError(f"{source}: source and target must be two folders")
    _ = spec.size  # checks its numbers
    numbers = {"shard_size": shard_size, "readers": spec.readers, "batch_size": spec.batch_size}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} {number} must be at least 1")


def _check_stems(files: Iterable[Path]) -> None:
    """Shards are told apart by their stems."""
    seen: dict[str, Path] = {}
    for file in files:
        if seen.setdefault(file.stem, file) != file:
            raise ConfigError(f"{file} and {seen[file.stem].name} would become one shard; rename one")


def _settings(spec: Spec, kind: str, column: str | None) -> dict[str, Any]:
    """What must stay the same from run to run."""
    digest = _weights_sha256(spec.weights or BUNDLED)
    settings: dict[str, Any] = {"direction": "decode", "to": kind, "weights_sha256": digest, "column": column}
    if not spec.decode:
        background = None if spec.background is None else list(parse_color(spec.background))
        settings |= {
            "direction": "encode",
            "quality_byte": quality_byte(spec.quality),
            "background": background,
            "keep": sorted(spec.keep),
        }
        sizes = {"target_bytes": spec.target_bytes, "max_side": spec.max_side}
        sizes |= {"shrink": spec.shrink, "check": spec.check}
        settings |= {name: value for name, value in sizes.items() if value is not getattr(Spec, name)}
        if spec.page or spec.strict:
            settings |= {"page": spec.page, "strict": spec.strict}
    if spec.effort:
        lpips = spec.metric_weights and _weights_sha256(spec.metric_weights / LPIPS_SQUEEZE_FILE)
        settings |= {"effort": spec.effort, "lpips_sha256": lpips}
    return settings


def _weights_sha256(path: Path) -> str:
    with refused_as(WeightsError, f"{path}: cannot be read"):
        return file_sha256(path)


def _names_sha256(shards: Iterable[Shard]) -> str:
    """Of the files that a folder is cut into shards by: with others the cuts would move."""
    digest = hashlib.sha256()
    for item in (item for shard in shards for item in shard.items):
        digest.update(os.fsencode(item.name) + b"\0")
    return digest.hexdigest()
