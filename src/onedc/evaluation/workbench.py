"""One picture through every codec and metric of a run, by way of real files.

A workbench lives in one process; `run` decides which pictures it gets and keeps what it yields.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from onedc.errors import MissingExtraError, OneDCError
from onedc.evaluation.baselines import load_codec
from onedc.evaluation.codecs import (
    BaselineError,
    EvaluatedCodec,
    Match,
    Original,
    Rule,
    SizeCache,
    kept_file,
    match_rate,
    naming,
    pixels_hash,
)
from onedc.evaluation.frechet import SET_METRICS, FeatureSource, FeatureStore, load_sources
from onedc.evaluation.metrics import ImageMetric, load_image_metrics, number_or_reason
from onedc.evaluation.plan import Entry, EvaluationOptions, entries
from onedc.evaluation.recon import Reconstructions
from onedc.evaluation.records import Failure, Record
from onedc.image import RGBArray, write_image
from onedc.target_size import bytes_at


class Workbench:
    """Loaded codecs, metrics and feature networks of a run; `unavailable` says why codecs were left out."""

    def __init__(self, options: EvaluationOptions) -> None:
        self.options = options
        self.entries = entries(options)
        self.codecs, self.unavailable = _load_codecs(options)
        self.metrics: list[ImageMetric] = load_image_metrics(options.metrics, options.metric_weights)
        self.sources, missing = load_sources(options.metrics, options.metric_weights)
        self.missing = {
            name: missing[SET_METRICS[name].source]
            for name in options.metrics
            if name in SET_METRICS and SET_METRICS[name].source in missing
        }
        """Why metrics over sets cannot be had."""
        torch = sys.modules.get("torch")  # what needs it has imported it
        if torch is not None and options.threads is not None:
            torch.set_num_threads(options.threads)
        self.store = FeatureStore([options.output])

    def measure(self, path: Path, done: Mapping[str, Record]) -> Iterator[Record | Failure]:
        """All rows of one picture; those whose key is in `done` (with their features) are not made again."""
        try:
            walk = _Walk(self, Original.read(path))
        except OneDCError as error:
            yield Failure(path.name, "", str(error))
            return
        for entry in self.entries:
            if entry.codec in self.unavailable:
                continue
            try:
                yield walk.row(entry, done)
            except OneDCError as error:
                yield Failure(path.name, entry.codec, str(error))

    def key(self, entry: Entry, picture: Original) -> str:
        """Hash of all that a row's numbers on a picture depend on. Raises OneDCError."""
        facts = [
            [picture.hash, picture.name, entry.group, entry.bpp, str(self.rule(entry))],
            [self._codec_facts(e, picture) for e in (entry, entry.reference) if e is not None],
            sorted(metric.identity for metric in self.metrics),
            [self.made_by(source) for source in self.sources],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]

    def _codec_facts(self, entry: Entry, picture: Original) -> list[object]:
        codec = self.codecs[entry.codec]
        version = "" if entry.quality is None else codec.version(picture, entry.quality)
        return [codec.name, codec.identity, entry.quality, version]

    def rule(self, entry: Entry) -> Rule:
        """From which side a row comes near its target."""
        return Rule.AT_MOST if entry.reference is None else self.options.rule

    def made_by(self, source: FeatureSource) -> str:
        """What features of a source depend on beside the picture."""
        grid = self.options.patches
        return f"{source.identity} {grid.count} grids of {grid.size} px"


def _load_codecs(options: EvaluationOptions) -> tuple[dict[str, EvaluatedCodec], dict[str, str]]:
    """The codecs of a run by the names in its tables, and why others are not there."""
    codecs: dict[str, EvaluatedCodec] = {}
    unavailable = {}
    for name in dict.fromkeys((*options.codecs, *options.against)):
        shown = options.shown_as(name)
        try:
            how = {key: getattr(options, key) for key in ("weights", "device", "precision", "threads")}
            codecs[shown] = load_codec(name, shown_as=shown, **how)
        except MissingExtraError as error:
            unavailable[shown] = str(error)
    if options.recon:
        codecs[options.recon_name] = Reconstructions(options.recon_name, options.recon, options.sizes)
    return codecs, unavailable


class _Walk:
    """One picture on its way through the rows of a run: what was made on the way is not made again."""

    def __init__(self, bench: Workbench, picture: Original) -> None:
        self.bench, self.options, self.picture = bench, bench.options, picture
        self.bytes: dict[tuple[str, str], int] = {}  # by group and codec
        self.made: dict[tuple[str, float], Record] = {}  # by codec and setting

    def row(self, entry: Entry, done: Mapping[str, Record]) -> Record:
        """The record of one row. Raises OneDCError."""
        key = self.bench.key(entry, self.picture)
        record = done.get(key)
        if record is None or not self._has_features(record):
            record = self._measure(entry, key)
        self.bytes[entry.group, entry.codec] = record.bytes
        self.made[entry.codec, record.setting] = record
        return record

    def _has_features(self, record: Record) -> bool:
        pictures = record.image_hash, record.decoded_hash
        return all(self.bench.store.has(p, made_by) for p in pictures for made_by in record.features.values())

    def _measure(self, entry: Entry, key: str) -> Record:
        target = self._target_bytes(entry)
        match = self._match(entry, target)
        made = self.made.get((entry.codec, match.setting)) or self._judge(entry.codec, match.setting)
        return replace(
            made,
            key=key,
            group=entry.group,
            target_bytes=target,
            rule=None if target is None else str(self.bench.rule(entry)),
            reached=match.reached,
        )

    def _target_bytes(self, entry: Entry) -> int | None:
        """Bytes to match; None for a row at the codec's own quality."""
        if entry.bpp is not None:
            return bytes_at(entry.bpp, self.picture.pixels.shape[1], self.picture.pixels.shape[0])
        if entry.reference is None:
            return entry.bytes
        of = entry.reference.group, entry.reference.codec
        if of not in self.bytes:
            raise BaselineError(f"{entry.codec}: no file of {of[1]} to match")
        return self.bytes[of]

    def _match(self, entry: Entry, target_bytes: int | None) -> Match:
        codec = self.bench.codecs[entry.codec]
        if target_bytes is None:
            return Match(codec.nearest_setting(entry.quality or 0.0), True)
        cache = SizeCache(self.options.cache, codec, self.picture)
        rule = self.bench.rule(entry)
        with naming(codec):
            if rule is Rule.AT_MOST:
                setting = codec.setting_within(self.picture, target_bytes)
                if setting is not None:
                    return Match(setting, cache.size_of(setting) <= target_bytes)
            return match_rate(codec, target_bytes, rule, cache.size_of)

    def _judge(self, codec_name: str, setting: float) -> Record:
        """Code, decode and measure at a setting; what depends on the row is left open."""
        codec, original = self.bench.codecs[codec_name], self.picture.pixels
        coded = codec.coded(self.picture, setting, self.options.output / "files")
        if coded.decoded.shape != original.shape:
            sizes_px = ["x".join(map(str, p.shape[1::-1])) for p in (coded.decoded, original)]
            raise BaselineError(f"{codec_name}: decoded to {sizes_px[0]}, the original has {sizes_px[1]}")
        if self.options.keep_decoded:
            self._keep(codec, setting, coded.decoded)
        decoded_hash = pixels_hash(coded.decoded)
        values = {m.name: number_or_reason(m.measure, original, coded.decoded) for m in self.bench.metrics}
        missing = {name: value.reason for name, value in values.items() if value.number is None}
        return Record(
            image=self.picture.name,
            image_hash=self.picture.hash,
            width_px=original.shape[1],
            height_px=original.shape[0],
            codec=codec_name,
            identity=codec.identity,
            setting=setting,
            setting_name=codec.setting_name,
            bytes=coded.size_bytes,
            bpp=8 * coded.size_bytes / self.picture.pixel_count,
            encode_s=coded.encode_s,
            decode_s=coded.decode_s,
            decoded_hash=decoded_hash,
            features=self._store_features(decoded_hash, coded.decoded),
            metrics={name: value.number for name, value in values.items()},
            missing=missing | self.bench.missing,
        )

    def _keep(self, codec: EvaluatedCodec, setting: float, decoded: RGBArray) -> None:
        path = kept_file(self.options.output / "decoded", codec.name, setting, self.picture.name, ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, decoded, force=True)

    def _store_features(self, decoded_hash: str, decoded: RGBArray) -> dict[str, str]:
        """Keep the features of the original and the decoded picture; by source, what made them."""
        for source in self.bench.sources:
            made_by = self.bench.made_by(source)
            for of, pixels in ((self.picture.hash, self.picture.pixels), (decoded_hash, decoded)):
                if not self.bench.store.has(of, made_by):
                    self.bench.store.save(of, made_by, source.extract(self.options.patches.cut(pixels)))
        return {source.name: self.bench.made_by(source) for source in self.bench.sources}
